"""An older commit's plan is refused, and a run that finds a newer commit recorded sends and writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.apply.journal import Journal
from reconciler.errors import GuardError
from reconciler.model.applied import Applied, AppliedCommit, Situation
from reconciler.model.plan import Plan
from reconciler.model.records import Advance, DecisionRecord, LockRecord
from reconciler.model.snapshot import Provenance
from reconciler.plan.guards import Older
from tests.support.estates import Estate, resource, resources
from tests.support.situations import NOW, OUTCOMES, applied, attempt, desired, entry, plan
from tests.support.situations import resource as wanted

NEWER = AppliedCommit(commit="b" * 40, committed_at=NOW, who="ada", at=NOW, ci_url="https://ci.example.com/2")
OLDER = Older(commit="a" * 40, applied=NEWER)

ONE, TWO = (Provenance(commit=letter * 40, committed_at=NOW) for letter in "ab")


def _late(state: Applied) -> Older | None:
    """As a run of commit a finds it once b was applied."""
    known = state.commit
    return Older(commit="a" * 40, applied=known) if known is not None and known.commit == TWO.commit else None


def _in_time(_: Applied) -> None:
    return None


def test_the_guard_names_both() -> None:
    """An older commit's change is refused with both commits, who applied the newer one, when and where."""
    (guard,) = plan(desired(wanted("chat")), applied(), older=OLDER).guards
    assert (guard.code, guard.flag) == ("olderCommit", "--allow-older-commit")
    for part in ("a" * 12, "b" * 12, "ada", NEWER.at.strftime("%Y-%m-%d %H:%M"), "https://ci.example.com/2"):
        assert part in guard.message


def test_what_is_only_written_down_is_refused() -> None:
    """An older commit's name or labels for a deployment would undo newer ones, as what it has taken over would."""
    chat = wanted("chat")
    known = applied(entry(chat, is_live=chat))
    for late, state in (
        (wanted("chat", adopt=True), applied()),
        (replace(chat, name="talk"), known),
        (replace(chat, labels=(("team", "a"),)), known),
    ):
        found = plan(desired(late), state, older=OLDER)
        assert not any(change.action.sends for change in found.changes)
        assert [guard.code for guard in found.guards] == ["olderCommit"]


def test_nothing_to_undo_is_not_refused() -> None:
    """An older commit that changes nothing, or only follows a job, is no danger."""
    chat = wanted("chat")
    assert not plan(desired(chat), applied(entry(chat, is_live=chat)), older=OLDER).guards
    running = entry(chat, attempt(chat, OUTCOMES[Situation.RUNNING][0]))
    followed = plan(desired(chat), applied(running), older=OLDER)
    assert [change.action for change in followed.changes] == ["follow"]
    assert not followed.guards


def test_the_run_names_its_commit() -> None:
    """A run writes its commit with the run lock, so that there is no moment in between, and only where it is another one."""
    estate = Estate(resources(1))
    estate.apply(provenance=ONE, older=_in_time)
    known = estate.applied.commit
    assert known is not None
    assert (known.commit, known.committed_at, known.who) == (ONE.commit, NOW, "ada")
    estate.wanted = resources(2)
    estate.apply(provenance=ONE, older=_in_time)
    assert estate.applied.commit == known


def test_a_run_that_only_looks_names_no_commit() -> None:
    """Who decides about one deployment, or follows its job, does not say which commit is applied."""
    estate = Estate(resources(1))
    estate.apply(provenance=ONE)
    assert estate.applied.commit is None


def _planned_before(estate: Estate) -> Plan:
    """The plan of a pipeline that then waits, while a newer one comes and goes."""
    planned = estate.plan()
    Journal(estate.store).transact_now(
        lambda _: [
            DecisionRecord(
                decision=Advance(commit=TWO.commit or "", committed_at=NOW, ci_url=None),
                who="ada",
                why="applied",
                at=estate.now(),
            )
        ]
    )
    return planned


def test_it_looks_again_once_it_has_the_lock() -> None:
    """A plan that was in time and a run that is late: nothing is sent or written, and the run lock is free again."""
    estate = Estate(resources(2))
    planned = _planned_before(estate)
    with pytest.raises(GuardError, match="is older than bbbbbbbbbbbb, which ada applied"):
        estate.apply(planned, provenance=ONE, older=_late)
    assert not estate.calls
    assert not [record for record in estate.records if isinstance(record, LockRecord)]
    estate.apply(planned, provenance=TWO, older=_late)
    assert len(estate.calls) == 2


def _adopts(estate: Estate) -> None:
    estate.wanted = [resource("m000", adopt=True)]


def _sends(estate: Estate) -> None:
    estate.wanted = resources(1)


@pytest.mark.parametrize("does", [_adopts, _sends])
def test_late_bookkeeping_is_refused_too(does: Callable[[Estate], None]) -> None:
    """What is only written down would undo what is newer just as well."""
    estate = Estate()
    does(estate)
    planned = _planned_before(estate)
    before = estate.records
    with pytest.raises(GuardError):
        estate.apply(planned, provenance=ONE, older=_late)
    assert estate.records == before


def test_a_late_run_that_changes_nothing_leaves_the_newer_commit() -> None:
    """It ends well, and what is recorded stays."""
    estate = Estate(resources(1))
    estate.apply(provenance=TWO, older=_in_time)
    before = estate.applied.commit
    report = estate.apply(provenance=ONE, older=_late)
    assert not report.problems
    assert estate.applied.commit == before


def test_going_back_on_purpose_is_recorded() -> None:
    """Where a person allows it, or a loop follows its branch, the older commit is the one that is applied from then on."""
    estate = Estate(resources(1))
    estate.apply(provenance=TWO, older=_in_time)
    estate.wanted = resources(2)
    estate.apply(provenance=ONE, older=_in_time)
    known = estate.applied.commit
    assert known is not None
    assert known.commit == ONE.commit
