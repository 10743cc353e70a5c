"""Edges, selection and guards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.errors import UsageError
from reconciler.model.applied import Accepted, Entry, Hold, Situation
from reconciler.model.plan import Action, Because, Reason
from reconciler.model.resource import Resource
from reconciler.plan.select import Selection
from reconciler.report.markdown import plan_markdown
from reconciler.report.plan_text import plan_text
from reconciler.report.style import PLAIN
from tests.support.situations import NOW, OUTCOMES, applied, attempt, desired, entry, plan, resource

SUCCESS = Accepted(dock_status_id="ds-1", status="SUCCESS")
BIG = {"deviceType": "g5.12xlarge"}


def deployed(of: Resource, **fields: Any) -> Entry:
    return entry(of, attempt(of, SUCCESS), is_live=of, **fields)


@pytest.mark.parametrize(
    ("base", "waits"),
    [
        (None, True),  # to be deployed
        (deployed(resource("base")), False),
        (entry(resource("base"), attempt(resource("base"), OUTCOMES[Situation.UNKNOWN][1])), True),
        (entry(resource("base"), attempt(resource("base"), OUTCOMES[Situation.RUNNING][0])), True),
        (entry(resource("base"), attempt(resource("base"), OUTCOMES[Situation.FAILED][0])), True),
        (deployed(resource("base", body=BIG)), True),  # to be redeployed
        (deployed(resource("base", body=BIG), suspension=Hold(who="Ada", why="x", since=NOW)), True),
    ],
)
def test_a_dependency_is_waited_for_until_it_is_live_as_desired(base: Entry | None, waits: bool) -> None:
    """Dependants wait for everything but a dependency that is live with the desired digest."""
    made = plan(desired(resource("base"), resource("chat", depends_on=("base",))), applied(*([base] if base else [])))
    chat = next(change for change in made.changes if change.name == "chat")
    assert [(edge.address, edge.because) for edge in chat.waits_for] == (
        [("production/base", Because.DEPENDS_ON)] if waits else []
    )


@pytest.mark.parametrize(
    ("running", "touched", "refused"),
    [
        (1, 1, True),
        (2, 1, False),
        (4, 3, False),
        (3, 3, True),
        (10, 3, False),
        (10, 4, True),
        (20, 6, False),
        (20, 7, True),
    ],
)
def test_mass_change(running: int, touched: int, refused: bool) -> None:
    """More than max(3, 30 %) of what runs is a mass change, and so is all of it however little."""
    known = applied(*(deployed(resource(f"m{i}")) for i in range(running)))
    wanted = desired(*(resource(f"m{i}", body=BIG if i < touched else None) for i in range(running)))
    assert [guard.code for guard in plan(wanted, known).guards] == (["massChange"] if refused else [])
    assert not plan(wanted, known, allow_mass_change=True).guards


def test_first_deployments_are_no_mass_change() -> None:
    """Filling an empty environment, again after a refusal too, disturbs nobody."""
    wanted = [resource(f"m{i}") for i in range(9)]
    assert not plan(desired(*wanted), applied()).guards
    refused = [entry(one, attempt(one, OUTCOMES[Situation.REFUSED][0])) for one in wanted]
    made = plan(desired(*wanted), applied(*refused))
    assert made.counts()[Action.RETRY] == 9
    assert not made.guards


def test_a_protected_name_is_not_given_another_model() -> None:
    """A protected name refuses a replace, whatever the mass guard is told."""
    old, new = resource("chat", "cm-1"), resource("chat", "cm-2", protect=True)
    made = plan(
        desired(new, resource("other")), applied(deployed(old), deployed(resource("other"))), allow_mass_change=True
    )
    assert [guard.code for guard in made.guards] == ["protected"]


def test_selection_takes_a_replace_whole() -> None:
    """Both halves of a replace are selected by the manifest's labels, whatever the old entry's labels were."""
    old, new = resource("chat", "cm-1", labels=(("team", "old"),)), resource("chat", "cm-2", labels=(("team", "new"),))
    made = plan(desired(new), applied(deployed(old)), selection=Selection(labels=(("team", "new"),)))
    assert [change.address for change in made.changes] == ["production/chat", "production/chat@cm-1"]


@pytest.mark.parametrize(
    ("wanted", "glob", "named"),
    [
        ([resource("base"), resource("chat", depends_on=("base",))], "chat", "production/base"),
        ([resource("base", wave=-1), resource("chat")], "chat", "production/base"),
        ([resource("chat")], "nobody", "nobody"),
    ],
)
def test_selection_never_adds(wanted: list[Resource], glob: str, named: str) -> None:
    """A selection that leaves out what a selected change waits for is a usage error that names it."""
    with pytest.raises(UsageError, match=named):
        plan(desired(*wanted), applied(), selection=Selection(globs=(glob,)))


def test_selection_refuses_a_suspended_dependency_too() -> None:
    """A dependency that is held back is pending as well: without it the dependant would be sent too early."""
    held = deployed(resource("base", body=BIG), suspension=Hold(who="Ada", why="x", since=NOW))
    wanted = desired(resource("base"), resource("chat", depends_on=("base",)))
    with pytest.raises(UsageError, match="production/base is not"):
        plan(wanted, applied(held), selection=Selection(globs=("chat",)))


@pytest.mark.parametrize(
    ("whole", "own", "wanted", "silent"),
    [
        (False, False, {}, []),
        (True, False, {}, ["production is suspended by Grace: migration"]),
        (False, True, {}, ["production/chat is suspended by Ada: test"]),
        (True, True, {}, ["production is suspended by Grace: migration", "production/chat is suspended by Ada: test"]),
        (True, False, BIG, []),
        (True, True, BIG, ["production is suspended by Grace: migration"]),
    ],
)
def test_suspensions_are_told_once(*, whole: bool, own: bool, wanted: dict[str, Any], silent: list[str]) -> None:
    """Who suspended what is in every plan; it is said apart where no change that is held back says it."""
    chat = deployed(resource("chat"), suspension=Hold(who="Ada", why="test", since=NOW) if own else None)
    known = replace(applied(chat), suspension=Hold(who="Grace", why="migration", since=NOW) if whole else None)
    made = plan(desired(resource("chat", body=wanted or None)), known)
    assert [one.in_words() for one in made.silent_suspensions] == silent
    assert len(made.suspensions) == whole + own
    (comment,) = plan_markdown([made])
    assert all(words in comment and words in plan_text([made], PLAIN) for words in silent)
    assert ("**Suspended:**" in comment) == bool(silent)


def test_orphans_are_warned_about() -> None:
    """What runs without a manifest is in every plan, as a warning."""
    made = plan(desired(), applied(deployed(resource("chat"))))
    assert made.is_empty
    assert [change.reason for change in made.changes] == [Reason.ORPHAN]
    assert made.warnings[0].startswith("production/chat (cm-chat) runs without a manifest")
