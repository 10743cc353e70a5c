"""What of a pass is news: state changes, each told once.

Pure but for the memory that it keeps: the events of the pass under way, and the last outcome told of each address. The same
failure of the same digest is news once, however often it is tried again; a restart of the program repeats only what waits for
a person. Called by `notifier`, at each event and at the end of each pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from reconciler.controller.board import Pass, PassEnd, View
from reconciler.diagnostics import errors_counted, errors_in
from reconciler.errors import AuthenticationError, NotAtRest, PlatformUnreachable, RunLockHeld
from reconciler.model.applied import NotProcessed, RefusalKind
from reconciler.model.events import Event, Happened
from reconciler.model.notification import Outcome
from reconciler.model.plan import Action
from reconciler.model.run import Ended
from reconciler.status import standing_of

# Unreachable, or not at rest, for a moment is nobody's business: it is tried again by itself.
PATIENCE = timedelta(minutes=3)

_OVER = frozenset({Happened.ENDED, Happened.QUARANTINED})
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
        self._heard: dict[str, list[Event]] = {}
        self._told: dict[str, tuple[str | None, Outcome]] = {}
        self._trouble: dict[str, _Trouble] = {}
        self._unreachable_since: dict[str, datetime] = {}
        self._alarms: dict[str, tuple[str, str]] = {}

    def heard(self, event: Event) -> tuple[Fact, ...]:
        """What ended is kept until its pass is over. An alarm is told at once; the same words about one address once."""
        if event.happened in _OVER:
            self._heard.setdefault(event.environment, []).append(event)
        if event.happened is not Happened.ALARM or self._alarms.get(event.address) == (event.run, event.detail):
            return ()
        self._alarms[event.address] = (event.run, event.detail)
        return (_fact(Outcome.ALARM, event),)

    def news(self, done: Pass, view: View) -> tuple[Fact, ...]:
        """What this pass changed. Deployments are sorted by address, and the environment comes first."""
        events = [event for event in self._heard.pop(done.environment, ()) if event.run == done.id]
        found = (*self._of_environment(done, view, events), *self._of_deployments(done, view, events))
        if view.plan is not None:
            self._forget(done.environment, {change.address for change in view.plan.changes})
        return found

    def _of_deployments(self, done: Pass, view: View, events: Iterable[Event]) -> Iterator[Fact]:
        """The last event of each that tells something, else what waits for a person all the same."""
        last = {event.address: event for event in _standing(done, view)}
        last |= {event.address: event for event in events if _outcome_of(event) is not None}
        for address, event in sorted(last.items()):
            outcome = _outcome_of(event)
            if outcome is not None and self._told.get(address) != (event.digest, outcome):
                self._told[address] = (event.digest, outcome)
                yield _fact(outcome, event)

    def _of_environment(self, done: Pass, view: View, events: Sequence[Event]) -> Iterator[Fact]:
        trouble = self._trouble_of(done, view, events)
        before = self._trouble.get(done.environment)
        if trouble is None and before is not None and done.end is not PassEnd.SUPERSEDED:
            del self._trouble[done.environment]
            yield _about(done, Outcome.RECOVERED, f"it was {before[0]}: {before[1]}")
        elif trouble is not None and trouble != before:
            self._trouble[done.environment] = trouble
            yield _about(done, *trouble)

    def _trouble_of(self, done: Pass, view: View, events: Sequence[Event]) -> _Trouble | None:
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
        refused = next((event.detail for event in events if event.ended is Ended.UNAUTHORIZED), None)
        if refused is None and view.held_up and _key_is_refused(view):
            refused = view.held_up
        if refused is not None:
            return _same(told, Outcome.UNAUTHORIZED) or (Outcome.UNAUTHORIZED, refused)
        silent = next((event.detail for event in events if event.ended is Ended.UNREACHABLE), view.held_up)
        if silent is None:
            self._unreachable_since.pop(done.environment, None)
            return None
        if told is not None and told[0] in {Outcome.UNREACHABLE, Outcome.UNAUTHORIZED}:
            return told  # a pause: the words change from try to try, the news does not
        since = self._unreachable_since.setdefault(done.environment, done.started_at)
        return (Outcome.UNREACHABLE, silent) if _end_of(done) - since >= PATIENCE else told

    def _forget(self, environment: str, addresses: set[str]) -> None:
        """What no plan names any more."""
        gone = [one for one in self._told if one.startswith(f"{environment}/") and one not in addresses]
        for address in gone:
            del self._told[address]
            self._alarms.pop(address, None)


def _standing(done: Pass, view: View) -> Iterator[Event]:
    """What no run touched, and is known from the state: so it is told after a restart, too."""
    for change in view.plan.changes if view.plan is not None else ():
        entry = view.applied.entries.get(change.model_id) if view.applied is not None else None
        event = standing_of(change, entry, run=done.id, at=_end_of(done))
        if event is not None:
            yield event


def _outcome_of(event: Event) -> Outcome | None:
    """None for what is not over, was not tried, or is told of the environment."""
    if event.happened is Happened.QUARANTINED:
        return Outcome.QUARANTINED
    if event.happened is not Happened.ENDED or event.ended is None or event.action not in _WORTH_TELLING:
        return None
    return _TOLD.get(event.ended)


def _fact(outcome: Outcome, event: Event) -> Fact:
    success = "it is undeployed" if event.digest is None else "it is live"
    return Fact(
        outcome=outcome,
        environment=event.environment,
        address=event.address,
        detail=event.detail or (success if outcome is Outcome.SUCCEEDED else ""),
        at=event.at,
        pass_id=event.run,
        action=event.action,
        digest=event.digest,
        dock_status_id=event.dock_status_id,
        commit=event.commit,
    )


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
