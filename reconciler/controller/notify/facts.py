"""What of a pass is news: state changes, each told once.

Pure but for the memory that it keeps: the last outcome told of each address. The same failure of the same digest is news once,
however often it is tried again; a restart of the program repeats only what waits for a person. Called by `notifier`, per pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from reconciler.controller.board import Pass, PassEnd, View
from reconciler.diagnostics import errors_counted, errors_in
from reconciler.errors import AuthenticationError, NotAtRest, PlatformUnreachable, RunLockHeld
from reconciler.model.applied import NotProcessed, RefusalKind
from reconciler.model.events import Event, Happened
from reconciler.model.notification import Outcome
from reconciler.model.plan import Action, Change, Reason
from reconciler.model.run import Ended, Result

# Unreachable, or not at rest, for a moment is nobody's business: it is tried again by itself.
PATIENCE = timedelta(minutes=3)

# How a change ended -> what is told of it. What is not here is not over, was not tried, or is told of the environment.
_TOLD = {
    Ended.SUCCEEDED: Outcome.SUCCEEDED,
    Ended.FAILED: Outcome.FAILED,
    Ended.REFUSED: Outcome.FAILED,
    Ended.TIMED_OUT: Outcome.FAILED,
    Ended.UNKNOWN: Outcome.HELD,
}
# Bookkeeping changes nothing on the platform.
_WORTH_TELLING = frozenset({Action.DEPLOY, Action.REDEPLOY, Action.UNDEPLOY, Action.RETRY, Action.FOLLOW, Action.HOLD})


_Trouble: TypeAlias = tuple[Outcome, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing worth telling. `address` is the environment's name for what is about all of it."""

    outcome: Outcome
    environment: str
    address: str
    detail: str
    at: datetime
    pass_id: str
    action: Action | None = None
    digest: str | None = None
    dock_status_id: str | None = None
    commit: str | None = None


class Memory:
    """What was told. Bounded by the deployments that there are."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[str | None, Outcome]] = {}
        self._trouble: dict[str, _Trouble] = {}
        self._unreachable_since: dict[str, datetime] = {}
        self._alarms: dict[str, tuple[str, str]] = {}

    def news(self, done: Pass, view: View) -> tuple[Fact, ...]:
        """What this pass changed. Deployments are sorted by address, and the environment comes first."""
        changes = {change.address: change for change in view.plan.changes} if view.plan else {}
        found = (*self._of_environment(done, view), *self._of_deployments(done, changes))
        if view.plan is not None:
            self._forget(done.environment, changes)
        return found

    def alarm(self, event: Event) -> tuple[Fact, ...]:
        """An alarm is told at once; the same words about one address once."""
        if event.happened is not Happened.ALARM or self._alarms.get(event.address) == (event.run, event.detail):
            return ()
        self._alarms[event.address] = (event.run, event.detail)
        fact = Fact(
            outcome=Outcome.ALARM,
            environment=event.environment,
            address=event.address,
            detail=event.detail,
            at=event.at,
            pass_id=event.run,
            action=event.action,
            dock_status_id=event.dock_status_id,
        )
        return (fact,)

    def _of_deployments(self, done: Pass, changes: dict[str, Change]) -> Iterator[Fact]:
        results = {result.address: result for result in done.report.results} if done.report else {}
        for address in sorted({*results, *changes}):
            change, result = changes.get(address), results.get(address)
            outcome = _outcome_of(change, result)
            if outcome is None:
                continue
            digest = change.digest if change else None
            if self._told.get(address) == (digest, outcome):
                continue
            self._told[address] = (digest, outcome)
            yield Fact(
                outcome=outcome,
                environment=done.environment,
                address=address,
                detail=(result.detail if result else "") or (change.detail if change else ""),
                at=_end_of(done),
                pass_id=done.id,
                action=result.action if result else change.action if change else None,
                digest=digest,
                dock_status_id=(result.dock_status_id if result else None) or (change.job if change else None),
                commit=done.commit,
            )

    def _of_environment(self, done: Pass, view: View) -> Iterator[Fact]:
        trouble = self._trouble_of(done, view)
        before = self._trouble.get(done.environment)
        if trouble is None and before is not None and done.end is not PassEnd.SUPERSEDED:
            del self._trouble[done.environment]
            yield _about(done, Outcome.RECOVERED, f"it was {before[0]}: {before[1]}")
        elif trouble is not None and trouble != before:
            self._trouble[done.environment] = trouble
            yield _about(done, *trouble)

    def _trouble_of(self, done: Pass, view: View) -> _Trouble | None:
        """What stands in the way of the whole environment, in the words in which it was told first."""
        told = self._trouble.get(done.environment)
        match done.problem:
            case RunLockHeld():
                return told  # somebody else is at work, which is no trouble
            case AuthenticationError() as error:
                return _same(told, Outcome.UNAUTHORIZED) or (Outcome.UNAUTHORIZED, str(error))
        if done.end is PassEnd.REFUSED or (done.problem and not isinstance(done.problem, PlatformUnreachable)):
            return _refusal(done, told)
        wrong = errors_in(view.diagnostics)
        if wrong:
            return (
                Outcome.REFUSED,
                f"{errors_counted(len(wrong))}; the first: {wrong[0].position}: {wrong[0].message}",
            )
        if view.plan is not None and view.plan.guards:
            return Outcome.WAITING, view.held_up or "; ".join(guard.message for guard in view.plan.guards)
        results = done.report.results if done.report else ()
        refused = next((result.detail for result in results if result.ended is Ended.UNAUTHORIZED), None)
        if refused is None and view.held_up and _key_is_refused(view):
            refused = view.held_up
        if refused is not None:
            return _same(told, Outcome.UNAUTHORIZED) or (Outcome.UNAUTHORIZED, refused)
        silent = next((result.detail for result in results if result.ended is Ended.UNREACHABLE), view.held_up)
        if silent is None:
            self._unreachable_since.pop(done.environment, None)
            return None
        if told is not None and told[0] in {Outcome.UNREACHABLE, Outcome.UNAUTHORIZED}:
            return told  # a pause: the words change from try to try, the news does not
        since = self._unreachable_since.setdefault(done.environment, done.started_at)
        return (Outcome.UNREACHABLE, silent) if _end_of(done) - since >= PATIENCE else told

    def _forget(self, environment: str, changes: dict[str, Change]) -> None:
        """What no plan names any more."""
        gone = [one for one in self._told if one.startswith(f"{environment}/") and one not in changes]
        for address in gone:
            del self._told[address]
            self._alarms.pop(address, None)


def _outcome_of(change: Change | None, result: Result | None) -> Outcome | None:
    if change is not None and change.reason is Reason.QUARANTINED:
        return Outcome.QUARANTINED
    if result is not None:
        return _TOLD.get(result.ended) if result.action in _WORTH_TELLING else None
    return Outcome.HELD if change is not None and change.action is Action.HOLD else None


def _refusal(done: Pass, told: _Trouble | None) -> _Trouble | None:
    """Files that are not at rest are news after a while, and once: the words change, the news does not."""
    if not isinstance(done.problem, NotAtRest):
        return Outcome.REFUSED, done.detail
    if _end_of(done) - done.problem.since < PATIENCE:
        return told
    return _same(told, Outcome.REFUSED) or (Outcome.REFUSED, done.detail)


def _same(told: _Trouble | None, outcome: Outcome) -> _Trouble | None:
    return told if told is not None and told[0] is outcome else None


def _key_is_refused(view: View) -> bool:
    """As the state tells it: also right after a start."""
    entries = view.applied.entries.values() if view.applied else ()
    outcomes = (entry.last.outcome for entry in entries if entry.last is not None)
    return any(isinstance(one, NotProcessed) and one.kind is RefusalKind.UNAUTHORIZED for one in outcomes)


def _about(done: Pass, outcome: Outcome, detail: str) -> Fact:
    return Fact(
        outcome=outcome,
        environment=done.environment,
        address=done.environment,
        detail=detail,
        at=_end_of(done),
        pass_id=done.id,
        commit=done.commit,
    )


def _end_of(done: Pass) -> datetime:
    return done.started_at + timedelta(seconds=done.seconds)


__all__ = ["PATIENCE", "Fact", "Memory"]
