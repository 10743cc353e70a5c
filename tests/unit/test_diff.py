"""The classification table of DESIGN.md, cell by cell, and the rules around it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.diff import TABLE, Wish, cell_of
from reconciler.model.applied import Accepted, Applied, Hold, Holder, Lock, Operation, Outcome, Situation, situation_of
from reconciler.model.plan import Action, Because, Reason
from reconciler.model.resource import Desired, OnUnknown, Strategy
from tests.support.cases import folders, inputs
from tests.support.situations import (
    NOW,
    OUTCOMES,
    REFUSED,
    applied,
    attempt,
    changes,
    desired,
    entry,
    in_situation,
    live,
    resource,
)

WANTED = resource("chat", "cm-1")
OTHER = resource("chat", "cm-1", body={"deviceType": "g5.12xlarge"})
SUCCESS = Accepted(dock_status_id="ds-1", status="SUCCESS")
NOTHING = None

# The table as DESIGN.md writes it: (row, column) -> what happens, where nothing is live below, and where OTHER's spec is.
EXPECTED: dict[tuple[Situation, Wish], tuple[Action | None, Action | None]] = {
    (Situation.ABSENT, Wish.GONE): (NOTHING, NOTHING),
    (Situation.ABSENT, Wish.SAME): (Action.DEPLOY, Action.DEPLOY),
    (Situation.ABSENT, Wish.OTHER): (Action.DEPLOY, Action.DEPLOY),
    (Situation.LIVE, Wish.GONE): (Action.NONE, Action.NONE),  # prune is off
    (Situation.LIVE, Wish.SAME): (Action.NONE, Action.NONE),
    (Situation.LIVE, Wish.OTHER): (Action.REDEPLOY, Action.REDEPLOY),
    (Situation.RUNNING, Wish.GONE): (Action.FOLLOW, Action.FOLLOW),
    (Situation.RUNNING, Wish.SAME): (Action.FOLLOW, Action.FOLLOW),
    (Situation.RUNNING, Wish.OTHER): (Action.DEPLOY, Action.REDEPLOY),
    (Situation.REFUSED, Wish.GONE): (NOTHING, Action.NONE),
    (Situation.REFUSED, Wish.SAME): (Action.RETRY, Action.RETRY),
    (Situation.REFUSED, Wish.OTHER): (Action.DEPLOY, Action.NONE),  # equal to live
    (Situation.FAILED, Wish.GONE): (Action.NONE, Action.NONE),
    (Situation.FAILED, Wish.SAME): (Action.RETRY, Action.RETRY),
    (Situation.FAILED, Wish.OTHER): (Action.DEPLOY, Action.REDEPLOY),  # also when equal to live
    (Situation.UNKNOWN, Wish.GONE): (Action.HOLD, Action.HOLD),
    (Situation.UNKNOWN, Wish.SAME): (Action.HOLD, Action.HOLD),
    (Situation.UNKNOWN, Wish.OTHER): (Action.HOLD, Action.HOLD),
}
CELLS = [(row, column, outcome) for row, column in EXPECTED for outcome in OUTCOMES.get(row, (SUCCESS,))]


def test_every_cell_is_expected() -> None:
    """The program's table and the one in this file have the same cells."""
    assert {(row, column) for row, columns in TABLE.items() for column in columns} == set(EXPECTED)


@pytest.mark.parametrize(("row", "column", "outcome"), CELLS)
def test_cell(row: Situation, column: Wish, outcome: Outcome) -> None:
    """Each cell gives the action that the design says, with and without something live below."""
    wanted = {Wish.GONE: [], Wish.SAME: [WANTED], Wish.OTHER: [OTHER]}[column]
    for below, expected in zip((None, OTHER), EXPECTED[row, column], strict=True):
        known = in_situation(WANTED, row, outcome, below=below)
        assert situation_of(known) is row
        found = changes(desired(*wanted), applied(*([known] if known else [])))
        assert [change.action for change in found.values()] == ([] if expected is None else [expected])


def test_every_cell_is_visited_by_a_scenario_folder() -> None:
    """No cell of the table is without a folder in tests/cases that a person can read."""
    seen = {cell for name in folders() for wanted, known in inputs(name) for cell in _cells(wanted, known)}
    # What was never applied has no digest that could be the same.
    assert set(EXPECTED) - seen == {(Situation.ABSENT, Wish.SAME)}


def _cells(wanted: Desired, known: Applied) -> Iterator[tuple[Situation, Wish]]:
    resources = {one.model_id: one for one in wanted.resources}
    for model_id in resources.keys() | known.entries.keys():
        yield cell_of(known.entries.get(model_id), resources.get(model_id))


def test_undeploy_needs_prune_and_no_protection() -> None:
    """A deployment whose manifest is gone is undeployed only where prune is on and nothing protects it."""
    shielded = resource("chat", "cm-1", protect=True)
    for known, prune, expected in (
        (WANTED, True, (Action.UNDEPLOY, Reason.MANIFEST_GONE)),
        (WANTED, False, (Action.NONE, Reason.ORPHAN)),
        (shielded, True, (Action.NONE, Reason.PROTECTED)),
        (shielded, False, (Action.NONE, Reason.PROTECTED)),
    ):
        found = changes(desired(), applied(entry(known, attempt(known, SUCCESS), is_live=known)), prune=prune)
        assert [(change.action, change.reason) for change in found.values()] == [expected]


def test_adopt_only_where_nothing_is_recorded() -> None:
    """rollout.adopt is ignored once the state knows anything of the model."""
    adopting = resource("chat", "cm-1", adopt=True)
    gone = entry(WANTED, attempt(WANTED, SUCCESS, operation=Operation.UNDEPLOY))
    refused = entry(WANTED, attempt(WANTED, REFUSED))
    assert changes(desired(adopting), applied())["production/chat"].action is Action.ADOPT
    assert changes(desired(adopting), applied(gone))["production/chat"].action is Action.DEPLOY
    assert changes(desired(adopting), applied(refused))["production/chat"].action is Action.RETRY


def test_adopted_after_a_failure_is_live() -> None:
    """Adopting says that the model runs as the manifest says: an earlier failed attempt is history."""
    failed = attempt(OTHER, Accepted(dock_status_id="ds-1", status="FAILED"), hours_ago=48)
    known = entry(WANTED, failed)
    found = changes(desired(WANTED), applied(replace(known, live=live(WANTED, "adopted"))))
    assert found["production/chat"].reason is Reason.UNCHANGED


def test_in_flight_is_not_called_unknown_to_resolve() -> None:
    """While its sender lives, an unanswered attempt is held without asking a person to decide."""
    known = entry(WANTED, attempt(WANTED, OUTCOMES[Situation.UNKNOWN][0], epoch=7))
    holder = Holder(user="ada", host="laptop", pid=1, operation="apply", run="r")
    found = changes(desired(WANTED), applied(known, lock=Lock(epoch=7, holder=holder, since=NOW)))
    assert "being sent by" in found["production/chat"].detail
    assert found["production/chat"].hint is None
    found = changes(desired(WANTED), applied(known, lock=Lock(epoch=8, holder=holder, since=NOW)))
    assert found["production/chat"].hint is not None


def test_send_again_never_undeploys() -> None:
    """onUnknown: sendAgain repeats a deploy whose outcome is unknown, never an undeploy."""
    brave = resource("chat", "cm-1", on_unknown=OnUnknown.SEND_AGAIN)
    unknown = OUTCOMES[Situation.UNKNOWN][1]
    deployed = entry(WANTED, attempt(WANTED, unknown))
    undeployed = entry(WANTED, attempt(WANTED, unknown, operation=Operation.UNDEPLOY), is_live=WANTED)
    assert changes(desired(brave), applied(deployed))["production/chat"].reason is Reason.SEND_AGAIN
    assert changes(desired(brave), applied(undeployed))["production/chat"].action is Action.HOLD


def test_suspension_lapses() -> None:
    """A suspension holds back until its end, and not at it."""
    for until, reason in ((NOW + timedelta(seconds=1), Reason.SUSPENDED), (NOW, Reason.BODY_CHANGED)):
        hold = Hold(who="Ada", why="freeze", since=NOW, until=until)
        known = entry(WANTED, attempt(WANTED, SUCCESS), is_live=WANTED, suspension=hold)
        assert changes(desired(OTHER), applied(known))["production/chat"].reason is reason


def test_suspended_writes_nothing_down() -> None:
    """What is suspended is not described anew either."""
    hold = Hold(who="Ada", why="freeze", since=NOW)
    known = entry(WANTED, attempt(WANTED, SUCCESS), is_live=WANTED, suspension=hold)
    relabelled = resource("chat", "cm-1", labels=(("a", "b"),), body={"deviceType": "g6e.xlarge"})
    assert not changes(desired(relabelled), applied(known))["production/chat"].records


@pytest.mark.parametrize("strategy", list(Strategy))
def test_replace_edges_point_one_way(strategy: Strategy) -> None:
    """A replace is two changes and one edge between them, whose direction the strategy says."""
    old, new = resource("chat", "cm-1"), resource("chat", "cm-2", strategy=strategy)
    found = changes(desired(new), applied(entry(old, attempt(old, SUCCESS), is_live=old)))
    first, second = found["production/chat"], found["production/chat@cm-1"]
    assert (first.action, second.action) == (Action.DEPLOY, Action.UNDEPLOY)
    assert first.replaces == second.address
    waiting, awaited = (second, first) if strategy is Strategy.DEPLOY_FIRST else (first, second)
    assert [(edge.address, edge.because) for edge in waiting.waits_for] == [(awaited.address, Because.REPLACE)]
    assert awaited.waits_for == ()


def test_undeploy_first_waits_for_a_held_old_model() -> None:
    """With UndeployFirst the new model is never deployed beside one of which nobody knows whether it runs."""
    old, new = resource("chat", "cm-1"), resource("chat", "cm-2", strategy=Strategy.UNDEPLOY_FIRST)
    found = changes(desired(new), applied(entry(old, attempt(old, OUTCOMES[Situation.UNKNOWN][1]), is_live=old)))
    assert found["production/chat"].waits_for[0].address == "production/chat@cm-1"
    assert found["production/chat"].replaces is None


def test_old_model_stays_while_its_replacement_is_held_back() -> None:
    """With UndeployFirst the old model is not undeployed for a new one that will not be deployed."""
    old, new = resource("chat", "cm-1"), resource("chat", "cm-2", strategy=Strategy.UNDEPLOY_FIRST)
    hold = Hold(who="Ada", why="failed often", since=NOW, digest=new.digest)
    failed = entry(new, attempt(new, Accepted(dock_status_id="ds-2", status="FAILED")), quarantine=hold)
    found = changes(desired(new), applied(entry(old, attempt(old, SUCCESS), is_live=old), failed))
    assert found["production/chat"].action is Action.NONE
    assert found["production/chat@cm-1"].waits_for[0].address == "production/chat"


def test_two_entries_of_one_name_have_two_addresses() -> None:
    """Addresses are unique also where a name was replaced twice and both old models still run."""
    olds = [resource("chat", f"cm-{i}") for i in (1, 2)]
    known = applied(*(entry(old, attempt(old, SUCCESS), is_live=old) for old in olds))
    assert sorted(changes(desired(), known)) == ["production/chat@cm-1", "production/chat@cm-2"]
    assert sorted(changes(desired(resource("chat", "cm-3")), known)) == [
        "production/chat",
        "production/chat@cm-1",
        "production/chat@cm-2",
    ]


def test_undeployed_entry_takes_no_name() -> None:
    """An entry of which nothing is left does not change how another one is called."""
    gone, old = resource("chat", "cm-1"), resource("chat", "cm-2")
    known = applied(
        entry(gone, attempt(gone, SUCCESS, operation=Operation.UNDEPLOY)),
        entry(old, attempt(old, SUCCESS), is_live=old),
    )
    assert sorted(changes(desired(), known)) == ["production/chat"]


def test_field_changes_tell_true_from_one_and_null_from_nothing() -> None:
    """Fields differ as JSON values do; what is not there is None."""
    before = resource("chat", "cm-1", body={"a": 1, "b": [True], "c": {"d": 1}, "f": [{"g": 1}], "same": 1.5})
    after = resource("chat", "cm-1", body={"a": True, "b": [1], "c": {"e": []}, "f": [{"g": True}], "same": 1.5})
    found = changes(desired(after), applied(entry(before, attempt(before, SUCCESS), is_live=before)))
    fields = {field.path: (field.before, field.after) for field in found["production/chat"].fields}
    expected = {
        "a": (1, True),
        "b": ([True], [1]),
        "c.d": (1, None),
        "c.e": (None, []),
        "f": ([{"g": 1}], [{"g": True}]),
    }
    assert fields == expected
    assert str(fields) == str(expected)  # 1 and True are equal to Python


def test_is_deployed_previously_is_no_difference() -> None:
    """How a deploy is asked for does not change what is deployed."""
    before = resource("chat", "cm-1", body={"isDeployedPreviously": True})
    after = resource("chat", "cm-1", body={"isDeployedPreviously": False})
    found = changes(desired(after), applied(entry(before, attempt(before, SUCCESS), is_live=before)))
    assert found["production/chat"].reason is Reason.UNCHANGED
