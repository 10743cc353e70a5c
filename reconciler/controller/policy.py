"""What the loop may do by itself now, what it must wait for, and what it gives up: a plan, judged. Pure.

`loop` calls `judge` with the plan that `pipeline.make_plan` made. What a change is was decided there; here only: now, later,
or not without a person. Everything is derived from the attempts in the state, which carry their times, so that waiting and
giving up outlive a restart. The rules are RELIABILITY.md's, "How each ending of a POST counts".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias, assert_never

from reconciler.model.applied import (
    MAX_ATTEMPTS,
    REPAIR,
    Accepted,
    Applied,
    Attempt,
    Entry,
    Hold,
    NotProcessed,
    NotSent,
    Operation,
    RefusalKind,
    Unanswered,
    Unknown,
    suspended_until,
    without_lapsed,
)
from reconciler.model.plan import Action, Change, Plan, Reason
from reconciler.model.records import DecisionRecord, Quarantine
from reconciler.platform.pacing import not_sent_wait, rate_limited_wait

WHO = "reconciler watch"

AFTER_FAILURES = (timedelta(minutes=5), timedelta(minutes=20))  # the next failure is the last
HOUR = timedelta(hours=1)
DEPLOYS_AN_HOUR = 3
PROBE = timedelta(minutes=5)  # how often a key that was refused is tried
REDIRECT = timedelta(minutes=20)  # somebody must mend the host's address; asking again does no harm


# What may become of one change


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """It may be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """It may be done at that moment, as far as can be told now."""

    at: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """Not again without a person, or another digest."""

    why: str


Verdict: TypeAlias = Now | Later | GiveUp
NOW = Now()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Nothing is sent in the environment until then: the key is refused, the host cannot be reached."""

    until: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A change that is not done now. `until` is None when only a person, or another manifest, ends it.

    `on_purpose` is what a person suspended: nobody need be told.
    """

    address: str
    why: str
    until: datetime | None
    on_purpose: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """`plan` is what may be done now: the rest is `none` in it, and stops what depends on it.

    `give_up` are the decisions to record first. `held_up` is why the environment as a whole waits, as a sentence.
    `again_at` is when something changes by itself: None when nothing does.
    """

    plan: Plan
    give_up: tuple[DecisionRecord, ...]
    waits: tuple[Wait, ...]
    held_up: str | None
    again_at: datetime | None

    @property
    def acts(self) -> bool:
        """Whether there is anything to do now, writing down included."""
        return any(change.action in _DOES or change.records for change in self.plan.changes)

    @property
    def stuck(self) -> Wait | None:
        """The first change that waits for a person though nobody wanted it to; None without one."""
        return next((wait for wait in self.waits if wait.until is None and not wait.on_purpose), None)


_DOES = frozenset(Action) - {Action.NONE, Action.HOLD}


def judge(plan: Plan, applied: Applied, *, now: datetime, pause: Pause | None = None) -> Judgement:
    """`pause` is what the loop itself found out about the host, beside what the state tells."""
    held = _held(plan, applied, now, pause)
    shown = without_lapsed(applied, now)
    waits: list[Wait] = []
    give_up: list[DecisionRecord] = []
    changes: list[Change] = []
    for change in plan.changes:
        if not (change.action.sends or (held is not None and held.whole and change.action in _BOOKS)):
            quiet = change.records and held is not None and held.whole
            changes.append(replace(change, records=False) if quiet else change)
            waits += _left_alone(change, shown)
            continue
        verdict = _verdict(change, applied.entries.get(change.model_id), now)
        if isinstance(verdict, GiveUp):
            give_up += _decision(change, verdict, now)
        if isinstance(verdict, Now) and held is None:
            changes.append(change)
            continue
        wait = _wait(change, verdict, held)
        waits.append(wait)
        changes.append(_put_off(change, wait.why))
    return Judgement(
        plan=replace(plan, changes=tuple(_without_dependants(changes)), guards=()),
        give_up=tuple(give_up),
        waits=tuple(waits),
        held_up=None if held is None else held.why,
        again_at=min((at for at in (*_untils(waits), *_lapses(applied)) if at > now), default=None),
    )


def _put_off(change: Change, why: str) -> Change:
    """Its running job is followed all the same."""
    action = Action.NONE if change.job is None else Action.FOLLOW
    return replace(change, action=action, reason=Reason.BACKOFF, detail=why, records=False, waits_for=())


def _without_dependants(changes: list[Change]) -> Iterator[Change]:
    """What is put off and followed meanwhile would look satisfied once its job is over; so its dependants are put off here.

    Everything else that is put off stops its dependants in the run itself.
    """
    followed = [change for change in changes if change.reason is Reason.BACKOFF and change.action is Action.FOLLOW]
    if not followed:
        yield from changes
        return
    blocked = {change.address for change in followed}
    first = min(change.rollout.wave for change in followed)
    while more := {c.address for c in changes if c.address not in blocked and _follows_on(c, blocked, first)}:
        blocked |= more
    for change in changes:
        yield (
            _put_off(change, "it waits for another one")
            if change.action.sends and change.address in blocked
            else change
        )


def _follows_on(change: Change, blocked: set[str], wave: int) -> bool:
    is_last = change.action is Action.UNDEPLOY and change.reason is not Reason.MODEL_REPLACED
    return change.action.sends and (
        is_last or change.rollout.wave > wave or any(edge.address in blocked for edge in change.waits_for)
    )


_BOOKS = (Action.ADOPT, Action.RENAME)


# The environment as a whole


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """`whole`: a person must read the plan, so not even bookkeeping is done."""

    why: str
    until: datetime | None
    whole: bool = False


def _held(plan: Plan, applied: Applied, now: datetime, pause: Pause | None) -> _Held | None:
    if plan.guards:
        what = "; ".join(guard.message for guard in plan.guards)
        flags = ", ".join(dict.fromkeys(guard.flag for guard in plan.guards))
        return _Held(why=f"{what}: a person must allow it ({flags})", until=None, whole=True)
    refused = _key_refused(applied)
    found = [held for held in (refused, pause) if held is not None and held.until > now]
    if not found:
        return None
    longest = max(found, key=lambda one: one.until)
    return _Held(why=longest.why, until=longest.until)


def _key_refused(applied: Applied) -> Pause | None:
    """A breaker: one refused key stands for all calls to the host. The newest call decides."""
    newest = max((entry.last for entry in applied.entries.values() if entry.last), key=_began, default=None)
    match newest.outcome if newest is not None else None:
        case NotProcessed(kind=RefusalKind.UNAUTHORIZED, message=why) if newest is not None:
            until = _ended(newest) + PROBE
            return Pause(until=until, why=f"the platform refuses the API key ({why}); it is tried every 5 min")
        case _:
            return None


def _began(attempt: Attempt) -> datetime:
    return attempt.started_at


def _ended(attempt: Attempt) -> datetime:
    return attempt.ended_at or attempt.started_at


# One change


def _verdict(change: Change, entry: Entry | None, now: datetime) -> Verdict:
    """A person's word counts above all rules; then the limit; then how the last attempt at the same thing ended."""
    if entry is None or entry.last is None or entry.retry:
        return NOW
    limit = _limit(entry, now)
    found = _after(change, entry, entry.last)
    if isinstance(found, GiveUp) or limit is None:
        return found if not isinstance(found, Later) or found.at > now else NOW
    return max((one for one in (limit, found) if isinstance(one, Later)), key=lambda later: later.at)


def _after(change: Change, entry: Entry, last: Attempt) -> Verdict:
    if (last.operation, last.digest) != (_operation(change), _digest(change)):
        return NOW  # something newer, or something else, than what was tried
    match last.outcome:
        case Accepted(status="FAILED"):
            return _after_failures(entry, last)
        case NotProcessed(kind=kind) as refusal:
            return _after_refusal(kind, refusal, last)
        case NotSent() if last.decided is not None:
            return NOW  # a person said that it did not happen
        case NotSent(error=why):
            tries = _trailing(entry, last, NotSent)
            return Later(at=_ended(last) + timedelta(seconds=not_sent_wait(tries)), why=f"it was not sent ({why})")
        case Accepted() | Unanswered() | Unknown():
            return NOW  # what the plan makes of these needs no waiting: a person or a manifest asked for it
        case _:
            assert_never(last.outcome)


def _after_failures(entry: Entry, last: Attempt) -> Verdict:
    failures = _trailing(entry, last, Accepted)
    if failures > len(AFTER_FAILURES):
        return GiveUp(why=f"its job failed {failures} times{_because(last)}")
    wait = AFTER_FAILURES[failures - 1]
    return Later(at=_ended(last) + wait, why=f"its job failed{_because(last)}; try {failures + 1} of 3")


def _because(last: Attempt) -> str:
    match last.outcome:
        case Accepted(detail=str(detail)):
            return f": {detail}"
        case _:
            return ""


def _after_refusal(kind: RefusalKind, refusal: NotProcessed, last: Attempt) -> Verdict:
    """Refused and conflicting calls would be refused again, whatever the time."""
    said = f"HTTP {refusal.status_code}: {refusal.message}"
    match kind:
        case RefusalKind.REFUSED | RefusalKind.CONFLICT:
            return GiveUp(why=f"the platform refused it ({said})")
        case RefusalKind.REDIRECTED:
            return Later(at=_ended(last) + REDIRECT, why=f"the host sends elsewhere ({said}); check `host`")
        case RefusalKind.UNAUTHORIZED:
            return Later(at=_ended(last) + PROBE, why=f"the platform refuses the API key ({said})")
        case RefusalKind.RATE_LIMITED:
            seconds = rate_limited_wait(MAX_ATTEMPTS, refusal.retry_after)
            return Later(at=_ended(last) + timedelta(seconds=seconds), why=f"the platform's rate limit ({said})")
        case _:
            assert_never(kind)


def _trailing(entry: Entry, last: Attempt, kind: type[Accepted | NotSent]) -> int:
    """How many of the newest attempts ended like the last one, at the same thing. For jobs, calls without one do not count."""
    count = 0
    for attempt in reversed(entry.attempts):
        if (attempt.operation, attempt.digest) != (last.operation, last.digest):
            break
        if isinstance(attempt.outcome, kind):
            if isinstance(attempt.outcome, Accepted) and attempt.outcome.status != "FAILED":
                break
            count += 1
        elif kind is NotSent:
            break
    return count


def _limit(entry: Entry, now: datetime) -> Later | None:
    """Three calls an hour that the platform may have processed, whatever they asked for.

    When the ten attempts that are kept are all younger than an hour, older ones may have been dropped: that counts too.
    """
    recent = [attempt for attempt in entry.attempts if attempt.started_at > now - HOUR]
    counted = [attempt for attempt in recent if isinstance(attempt.outcome, Accepted | Unknown | Unanswered)]
    why = f"{DEPLOYS_AN_HOUR} deploys of it in an hour are the limit"
    if len(counted) >= DEPLOYS_AN_HOUR:
        return Later(at=counted[-DEPLOYS_AN_HOUR].started_at + HOUR, why=why)
    if len(recent) >= MAX_ATTEMPTS:
        return Later(at=recent[-MAX_ATTEMPTS].started_at + HOUR, why=f"{len(recent)} attempts in an hour are the limit")
    return None


def _operation(change: Change) -> Operation:
    return Operation.UNDEPLOY if change.action is Action.UNDEPLOY else Operation.DEPLOY


def _digest(change: Change) -> str | None:
    return None if change.action is Action.UNDEPLOY else change.digest


# What comes of it


def _decision(change: Change, verdict: GiveUp, now: datetime) -> Iterator[DecisionRecord]:
    """An undeploy has no digest to bar: it waits for a person without a record, as long as its attempts say so."""
    if change.digest is not None and change.action is not Action.UNDEPLOY:
        decision = Quarantine(model_id=change.model_id, digest=change.digest)
        yield DecisionRecord(decision=decision, who=WHO, why=verdict.why, at=now)


def _wait(change: Change, verdict: Verdict, held: _Held | None) -> Wait:
    match verdict:
        case GiveUp(why=why):
            hint = f"{why}; `reconciler retry {change.address}` sends it again"
            return Wait(address=change.address, why=hint, until=None)
        case Later(at=at, why=why) if held is None or (held.until is not None and held.until < at):
            return Wait(address=change.address, why=why, until=at)
        case _ if held is not None:
            return Wait(address=change.address, why=held.why, until=held.until)
        case _:
            raise AssertionError("what may be done now does not wait")


_NEEDS_A_PERSON = frozenset({Reason.OUTCOME_UNKNOWN, Reason.QUARANTINED})


def _left_alone(change: Change, applied: Applied) -> Iterator[Wait]:
    if change.action not in {Action.HOLD, Action.NONE}:
        return
    if change.reason is Reason.SUSPENDED:
        entry = applied.entries.get(change.model_id)
        until, on_purpose = suspended_until(entry, applied), _is_on_purpose(entry, applied)
        yield Wait(address=change.address, why=change.detail, until=until, on_purpose=on_purpose)
    elif change.reason in _NEEDS_A_PERSON:
        yield Wait(address=change.address, why=change.detail, until=None)


def _is_on_purpose(entry: Entry | None, applied: Applied) -> bool:
    holds = (entry.suspension if entry is not None else None, applied.suspension)
    return all(hold.who != REPAIR for hold in holds if hold is not None)


def _untils(waits: Iterable[Wait]) -> Iterator[datetime]:
    return (wait.until for wait in waits if wait.until is not None)


def _lapses(applied: Applied) -> Iterator[datetime]:
    """Suspensions and quarantines that end by themselves."""
    holds: list[Hold | None] = [applied.suspension]
    for entry in applied.entries.values():
        holds += (entry.suspension, entry.quarantine)
    return (hold.until for hold in holds if hold is not None and hold.until is not None)
