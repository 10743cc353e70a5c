"""Laws of diff, plan, plan files and renderers, over random estates."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from reconciler.diff import diff
from reconciler.errors import UsageError
from reconciler.model.applied import Accepted, Applied, Situation, situation_of
from reconciler.model.plan import Action, Plan
from reconciler.model.resource import Desired, Resource, Strategy
from reconciler.plan.build import is_satisfied
from reconciler.plan.codec import decode_plan, differences, encode_plan
from reconciler.plan.select import Selection
from reconciler.report.plan_text import plan_text
from reconciler.report.status_text import explain_text, status_text
from reconciler.report.style import PLAIN
from reconciler.status import Stand, explain, statuses
from tests.support.situations import ENVIRONMENT, NOW, applied, attempt, desired, entry, estates, plan, resource, where

Estate = tuple[Desired, Applied]


def done(resources: tuple[Resource, ...]) -> Applied:
    """The state after all of them were deployed."""
    success = Accepted(dock_status_id="ds-1", status="SUCCESS")
    return applied(*(entry(one, attempt(one, success), is_live=one) for one in resources))


@given(estates())
def test_equal_sides_give_an_empty_plan(estate: Estate) -> None:
    """Where everything is live as desired there is nothing to do, nothing to record and nothing to refuse."""
    wanted, _ = estate
    made = plan(replace(wanted, broken=frozenset()), done(wanted.resources), prune=True)
    assert made.is_empty
    assert not made.guards
    assert not any(change.records for change in made.changes)


@given(estates(), st.booleans(), st.randoms(use_true_random=False))
def test_order_changes_no_byte(estate: Estate, prune: bool, shuffle: random.Random) -> None:
    """The order in which entries and resources come does not show in the plan."""
    wanted, known = estate
    resources, entries = list(wanted.resources), list(known.entries.items())
    shuffle.shuffle(resources)
    shuffle.shuffle(entries)
    shuffled = plan(replace(wanted, resources=tuple(resources)), replace(known, entries=dict(entries)), prune=prune)
    assert encode_plan(shuffled) == encode_plan(plan(wanted, known, prune=prune))


@given(estates(), st.booleans())
def test_addresses_are_unique_and_complete(estate: Estate, prune: bool) -> None:
    """Each resource and each entry that may run has exactly one change; edges lead to changes that exist."""
    wanted, known = estate
    changes = diff(wanted, known, prune=prune, now=NOW, locate=where)
    addresses = [change.address for change in changes]
    assert addresses == sorted(set(addresses))
    models = {change.model_id for change in changes}
    assert {one.model_id for one in wanted.resources} <= models
    assert {one.model_id for one in known.entries.values() if one.live is not None} <= models
    assert {edge.address for change in changes for edge in change.waits_for} <= set(addresses)


@given(estates(), st.booleans())
def test_nothing_is_undeployed_that_is_not_applied(estate: Estate, prune: bool) -> None:
    """An undeploy is of something that may run, that no manifest wants, and that prune or a replace removes."""
    wanted, known = estate
    wanted_models = {one.model_id for one in wanted.resources}
    names = {one.name for one in wanted.resources}
    for change in diff(wanted, known, prune=prune, now=NOW, locate=where):
        if change.action is not Action.UNDEPLOY:
            continue
        of = known.entries[change.model_id]
        assert situation_of(of) not in {Situation.ABSENT, Situation.UNKNOWN}
        assert change.model_id not in wanted_models
        assert of.name in names or (prune and not of.metadata.protect)
        assert not wanted.broken


@given(estates())
def test_what_is_in_doubt_is_held(estate: Estate) -> None:
    """Whatever else is true, an entry with an unknown outcome is only sent where its owner accepts a duplicate."""
    wanted, known = estate
    for change in diff(wanted, known, prune=True, now=NOW, locate=where):
        of = known.entries.get(change.model_id)
        if situation_of(of) is Situation.UNKNOWN and change.action is not Action.HOLD:
            assert change.rollout.on_unknown == "sendAgain" or change.reason in {"suspended", "quarantined", "broken"}


@given(estates(), st.sampled_from([("m0",), ("m1", "m2"), ("m*",), (f"{ENVIRONMENT}/m3*",)]))
def test_a_selection_never_adds(estate: Estate, globs: tuple[str, ...]) -> None:
    """A selected plan is a part of the whole one, or refused; nothing in it waits for something pending outside."""
    wanted, known = estate
    whole = plan(wanted, known, prune=True)
    try:
        part = plan(wanted, known, prune=True, selection=Selection(globs=globs))
    except UsageError:
        return
    assert all(change in whole.changes for change in part.changes)
    inside = {change.address for change in part.changes}
    outside = {change.address: change for change in whole.changes if change.address not in inside}
    for change in part.changes:
        if change.action.sends:
            assert all(edge.address in inside or is_satisfied(outside[edge.address]) for edge in change.waits_for)


@given(estates(), st.booleans())
def test_a_replace_never_leaves_a_name_without_a_model_for_nothing(estate: Estate, prune: bool) -> None:
    """A replaced model goes after the new one is there; before it only with UndeployFirst and a new one that follows."""
    wanted, known = estate
    made = plan(wanted, known, prune=prune)
    by_name = {change.name: change for change in made.changes if change.digest is not None}
    for change in made.changes:
        if change.action is Action.UNDEPLOY and change.reason == "modelReplaced":
            new = by_name[change.name]
            waits = any(edge.address == new.address for edge in change.waits_for)
            first = new.rollout.strategy is Strategy.UNDEPLOY_FIRST and new.action.sends
            assert waits or first or new.action in {Action.NONE, Action.RENAME}
            assert not (waits and any(edge.address == change.address for edge in new.waits_for))


@given(estates(), st.booleans())
def test_plan_files_round_trip(estate: Estate, prune: bool) -> None:
    """Every plan is read back as it was, and does not differ from itself."""
    made = plan(*estate, prune=prune)
    read = decode_plan(encode_plan(made), where="plan.json")
    assert read == made
    assert differences(made, read) == ()


@given(estates(), estates())
def test_differences_are_found_between_any_two_plans(one: Estate, other: Estate) -> None:
    """Two plans without differences do the same."""
    first, second = plan(*one, prune=True), plan(*other, prune=True)
    if not differences(first, second) and not differences(second, first):
        assert _sent(first) == _sent(second)


def _sent(made: Plan) -> list[tuple[str, Action, str | None]]:
    return [
        (change.model_id, change.action, change.body) for change in made.changes if change.action is not Action.NONE
    ]


@given(estates(), st.booleans())
def test_every_plan_can_be_rendered_and_explained(estate: Estate, prune: bool) -> None:
    """Whatever the estate, plan, status and explain have words for it, and blocked ones a reason."""
    wanted, known = estate
    made = plan(wanted, known, prune=prune)
    for verbose in (False, True):
        text = plan_text([made], PLAIN, verbose=verbose)
        assert text.splitlines()[-1].startswith(f"Plan: {ENVIRONMENT}: ")
    rows = statuses(made, known)
    assert status_text(rows, PLAIN, now=NOW, wide=True)
    for change in made.changes:
        found = explain(made, known, change.address)
        assert explain_text(found, PLAIN, now=NOW)
        assert all(gate.detail for gate in found.gates)
        if change.action is Action.HOLD:
            assert any(gate.stand is Stand.BLOCKED for gate in found.gates)


@given(estates())
def test_every_pending_change_is_shown(estate: Estate) -> None:
    """Nothing that would be done is missing from the text."""
    made = plan(*estate, prune=True)
    text = plan_text([made], PLAIN)
    replaced = {change.replaces for change in made.changes}
    for change in made.pending:
        assert change.address in text or change.address in replaced
        assert change.model_id in text


HOSTILE = st.text(
    st.characters(codec="utf-8") | st.sampled_from("\x00\x07\x08\x1b\x7f\x85\x9b\r\n\t\u2028\u202e\u2066\u200b\ufeff"),
    max_size=30,
)


@given(HOSTILE, HOSTILE, HOSTILE)
def test_hostile_strings_put_no_control_character_into_text(name: str, value: str, message: str) -> None:
    """Whatever stands in manifests, state or replies, the output holds no control, format or bidi character."""
    before = resource("chat", "cm-1", labels=((name, value),), body={"name": value})
    after = resource("chat", "cm-1", body={"name": name, value: [message, {name: 1}]})
    failed = attempt(before, Accepted(dock_status_id=value, status=name, detail=message))
    gone = replace(entry(resource("x", "cm-9"), failed, is_live=before), name=name, model_id="cm-9")
    known = applied(entry(before, failed, is_live=before), gone)
    made = plan(desired(after), known)
    rows = statuses(made, known)
    texts = [plan_text([made], PLAIN, verbose=True), status_text(rows, PLAIN, now=NOW, wide=True)]
    texts += [explain_text(explain(made, known, change.address), PLAIN, now=NOW) for change in made.changes]
    for text in texts:
        assert all(line.isprintable() for line in text.split("\n")), ascii(text)
    assert encode_plan(made).isascii()


KEY = "kg-00000000-0000-4000-8000-000000000000-canary"
WRITTEN = st.sampled_from([KEY, f"\u202e{KEY}", f"{{{KEY}}}", f"\n{KEY}\n"])
REPEATED = WRITTEN | st.just(f"x {KEY[:5]}\x1b[0m{KEY[5:]}")  # an escape sequence that hides it from a simple search


@given(WRITTEN, WRITTEN, REPEATED)
def test_a_secret_appears_in_no_text(before_: str, after_: str, detail: str) -> None:
    """A key that somebody wrote into a manifest, or that a platform repeats, is blotted out wherever it would be shown."""
    before, after = (resource("chat", "cm-1", body={"x": text}) for text in (before_, after_))
    failed = attempt(before, Accepted(dock_status_id="ds-1", status="FAILED", detail=detail))
    known = applied(entry(before, failed, is_live=before))
    made = plan(desired(after), known)
    texts = [plan_text([made], PLAIN, verbose=True), status_text(statuses(made, known), PLAIN, now=NOW, wide=True)]
    texts.append(explain_text(explain(made, known, "production/chat"), PLAIN, now=NOW))
    assert not any("canary" in text for text in texts)


@given(estates())
def test_no_line_can_command_a_ci_system(estate: Estate) -> None:
    """No line of output begins with what a CI runner obeys."""
    wanted, known = estate
    loud = {k: replace(v, name=f"::error::{v.name} ##[x]") for k, v in known.entries.items()}
    text = plan_text([plan(wanted, replace(known, entries=loud), prune=True)], PLAIN, verbose=True)
    assert "##[" not in text
    assert not any(line.lstrip().startswith("::") for line in text.splitlines())
