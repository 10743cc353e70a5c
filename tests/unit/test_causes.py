"""What a change under review causes, and what rides along with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.plan import Action, Change, Plan, Reason
from reconciler.plan.causes import Causes, causes

ACTIONS = (Action.DEPLOY, Action.REDEPLOY, Action.RETRY, Action.NONE, Action.FOLLOW)


def plan(**bodies: tuple[Action, str] | None) -> Plan:
    """`name=(action, body)`."""
    changes = tuple(change(name, *given) for name, given in sorted(bodies.items()) if given is not None)
    return Plan(environment="e", origin="https://h", lineage="l", changes=changes)


def change(name: str, action: Action, body: str, **more: Any) -> Change:
    reason = Reason.UNCHANGED if action is Action.NONE else Reason.NEW
    known = {"address": f"e/{name}", "environment": "e", "name": name, "model_id": f"cm-{name}", "detail": "d"}
    return Change(**{**known, "action": action, "reason": reason, "body": body, **more})


def compare(head: Plan, before: Plan | None) -> Causes:
    return causes(head, before, base="main", commit="c")


def test_told_apart() -> None:
    """A change that the base makes too rides along; another one is caused, also of the same deployment."""
    before = plan(a=(Action.RETRY, "1"), b=(Action.REDEPLOY, "1"), c=(Action.NONE, "1"))
    head = plan(a=(Action.RETRY, "1"), b=(Action.REDEPLOY, "2"), c=(Action.REDEPLOY, "2"), d=(Action.DEPLOY, "1"))
    found = compare(head, before)
    assert (found.caused, found.riding, found.undone) == (("e/b", "e/c", "e/d"), ("e/a",), ())


def test_undone() -> None:
    """What only the base would change is told: the change under review takes it back, manifest and all perhaps."""
    before = plan(a=(Action.REDEPLOY, "1"), b=(Action.DEPLOY, "1"))
    found = compare(plan(a=(Action.NONE, "0")), before)
    assert (found.caused, found.riding, found.undone) == ((), (), ("e/a", "e/b"))
    selected = replace(plan(a=(Action.NONE, "0")), globs=("a",))
    assert compare(selected, before).undone == ("e/a",)


def test_orphaned() -> None:
    """A manifest that is taken away where nothing is undeployed is the change's doing; an orphan of before is not."""
    gone = change("a", Action.NONE, "1", reason=Reason.ORPHAN)
    other = change("b", Action.NONE, "1", reason=Reason.PROTECTED)
    head = replace(plan(), changes=(gone, other))
    found = compare(head, replace(plan(a=(Action.NONE, "1")), changes=(change("a", Action.NONE, "1"), other)))
    assert (found.orphaned, found.caused) == (("e/a",), ())


def test_new_environment() -> None:
    """Everything is caused where the base does not know the environment."""
    assert compare(plan(a=(Action.DEPLOY, "1")), None).caused == ("e/a",)


def test_following_is_nobody_s_doing() -> None:
    """A running job is followed whatever is merged, so it neither rides along nor is caused."""
    both = plan(a=(Action.FOLLOW, "1"))
    found = compare(both, both)
    assert (found.caused, found.riding) == ((), ())


def test_labels_do_not_count() -> None:
    """Another wording or label does not make the change under review the cause of an earlier failure's retry."""
    head = Plan(
        environment="e", origin="o", lineage="l", changes=(change("a", Action.RETRY, "1", detail="other", hint="h"),)
    )
    assert compare(head, plan(a=(Action.RETRY, "1"))).riding == ("e/a",)


ESTATES = st.dictionaries(st.sampled_from("abcd"), st.tuples(st.sampled_from(ACTIONS), st.sampled_from("12")))


@given(head=ESTATES, before=ESTATES)
def test_each_change_once(head: dict[str, Any], before: dict[str, Any]) -> None:
    """Every pending change is caused or rides along, never both; against itself nothing is caused."""
    found = compare(plan(**head), plan(**before))
    pending = {f"e/{name}" for name, (action, _) in head.items() if action not in {Action.NONE, Action.FOLLOW}}
    assert {*found.caused, *found.riding} == pending
    assert not {*found.caused} & {*found.riding}
    assert compare(plan(**head), plan(**head)).caused == ()
