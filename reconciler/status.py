"""How each deployment stands, and why: the three axes and `explain`, derived from a plan and the state it was made from.

Pure. `report.status_text` renders what comes out of here; `cli` calls both. The plan must be one of the whole environment
(no selection), made from the same `applied`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from enum import StrEnum

from reconciler.errors import UsageError
from reconciler.model.applied import (
    Accepted,
    Applied,
    Attempt,
    Entry,
    NotProcessed,
    NotSent,
    Operation,
    Outcome,
    RefusalKind,
    Situation,
    Unanswered,
    Unknown,
    reference_digest,
    situation_of,
    suspended_until,
)
from reconciler.model.events import Event, Happened
from reconciler.model.plan import Action, Change, Plan, Reason
from reconciler.model.run import Ended
from reconciler.model.text import with_stop


class Sync(StrEnum):
    """Whether what was last applied is what the manifests say."""

    SYNCED = "Synced"
    OUT_OF_SYNC = "OutOfSync"
    UNKNOWN = "Unknown"


class Health(StrEnum):
    """How the deployment itself is, as far as its jobs tell: no public call reads it."""

    HEALTHY = "Healthy"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"
    MISSING = "Missing"
    SUSPENDED = "Suspended"
    UNKNOWN = "Unknown"


class Phase(StrEnum):
    """The axis "operation": how the last one ended, or where the next one is."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    TIMED_OUT = "TimedOut"
    SUPERSEDED = "Superseded"
    CANCELLED = "Cancelled"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentStatus:
    """One address on the three axes, with what a person asks next.

    `reason` and `detail` are the plan's. `since` is when `operation` began: the end of the last attempt, its start while its job
    runs, None for what was never tried. `live_since` is when the last confirmed spec went live. `commit` is that of the last
    attempt, `run` the run or pass that made it. `error` is the platform's, or our, last bad word about it, None without one.
    """

    address: str
    environment: str
    name: str
    model_id: str
    model_type: str | None
    sync: Sync
    health: Health
    operation: Phase
    action: Action
    reason: Reason
    detail: str
    call: Operation | None = None
    generation: int = 0
    dock_status_id: str | None = None
    dock_status: str | None = None
    since: datetime | None = None
    live_since: datetime | None = None
    commit: str | None = None
    author: str | None = None
    manifest: str | None = None
    error: str | None = None
    run: str | None = None


class Stand(StrEnum):
    """What one gate says."""

    PASSED = "passed"
    WAITING = "waiting"  # opens by itself, or with the next apply
    BLOCKED = "blocked"  # a person must do something


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One thing that must hold before a change is made. `command` is what opens it, where a command can."""

    name: str
    stand: Stand
    detail: str
    command: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """What the loop of `watch` knows of one change beside plan and state.

    `at` is when it makes the change by itself, None for now; `needs_a_person` that it never does. While it is `held_up`
    nothing is sent; what is `outdated` could not be looked at again; with `dry_run` it only looks.
    """

    at: datetime | None = None
    needs_a_person: bool = False
    held_up: bool = False
    outdated: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a deployment is as it is. `gates` are in the order in which they are asked; `next_step` is a sentence."""

    status: DeploymentStatus
    change: Change
    gates: tuple[Gate, ...]
    next_step: str
    command: str | None


def statuses(plan: Plan, applied: Applied) -> tuple[DeploymentStatus, ...]:
    """Every address of the plan, sorted by address."""
    return tuple(status_of(change, applied) for change in plan.changes)


def status_of(change: Change, applied: Applied) -> DeploymentStatus:
    """One address."""
    entry = applied.entries.get(change.model_id)
    last, live = (entry.last, entry.live) if entry else (None, None)
    job, dock_status = _job(entry)
    operation = _phase(change, entry, applied)
    return DeploymentStatus(
        address=change.address,
        environment=change.environment,
        name=change.name,
        model_id=change.model_id,
        model_type=change.model_type,
        sync=_sync(change, entry),
        health=_health(change, entry, applied),
        operation=operation,
        action=change.action,
        reason=change.reason,
        detail=_detail(change, entry, applied),
        call=last.operation if last else None,
        generation=entry.generation if entry else 0,
        dock_status_id=job,
        dock_status=dock_status,
        since=(last.ended_at or last.started_at) if last else live.since if live else None,
        live_since=live.since if live else None,
        commit=last.provenance.commit if last else live.commit if live else None,
        author=last.provenance.author if last else None,
        manifest=change.position.file if change.position else change.metadata.manifest,
        error=error_of(last) if last is not None and _is_news(entry, operation) else None,
        run=last.run if last else None,
    )


def phase_of(attempt: Attempt, *, is_last: bool = True) -> Phase:
    """How one attempt ended. One whose job was running when another was sent is Superseded."""
    match attempt.outcome:
        case Accepted(status="SUCCESS"):
            return Phase.SUCCEEDED
        case Accepted(status="FAILED"):
            return Phase.FAILED
        case Accepted() if not is_last:
            return Phase.SUPERSEDED
        case Accepted(timed_out=True):
            return Phase.TIMED_OUT
        case Accepted():
            return Phase.RUNNING
        case NotSent() if attempt.decided is not None:
            return Phase.CANCELLED
        case NotSent() | NotProcessed():
            return Phase.FAILED
        case Unanswered() | Unknown():
            return Phase.UNKNOWN


def error_of(attempt: Attempt) -> str | None:
    """What went wrong with an attempt, in a sentence; None when nothing did."""
    match attempt.outcome:
        case Accepted(status="FAILED", detail=detail, dock_status_id=job):
            return detail or f"its job failed and gave no reason: look at {job} in the platform's console"
        case Accepted(timed_out=True):
            return "its job was not over when time was up; it may still be running"
        case NotProcessed(status_code=code, message=message):
            return f"HTTP {code}: {message}"
        case NotSent(error=error):
            return f"not sent: {error}"
        case Unknown(reason=reason):
            return f"outcome unknown: {reason}"
        case Unanswered():
            return "outcome unknown: no reply was recorded"
        case Accepted():
            return None


def event_of(attempt: Attempt, *, environment: str, address: str) -> Event:
    """What the state remembers of an attempt, as the event that told its last news: the durable form of the same."""
    accepted = attempt.outcome if isinstance(attempt.outcome, Accepted) else None
    ended = _ended(attempt.outcome)
    end = attempt.ended_at
    return Event(
        run=attempt.run,
        environment=environment,
        address=address,
        action=Action.UNDEPLOY if attempt.operation is Operation.UNDEPLOY else Action.DEPLOY,
        happened=Happened.ACCEPTED if ended is Ended.RUNNING else Happened.ENDED,
        at=end or attempt.started_at,
        detail=error_of(attempt) or "",
        attempt=attempt.id,
        dock_status_id=accepted.dock_status_id if accepted else None,
        status=accepted.status if accepted else None,
        seconds=(end - attempt.started_at).total_seconds() if end is not None else None,
        ended=ended,
        digest=attempt.digest,
        commit=attempt.provenance.commit,
    )


def standing_of(change: Change, entry: Entry | None, *, run: str, at: datetime) -> Event | None:
    """What a plan leaves to a person, as an event of the run that met it: a call in doubt, a digest given up; else None."""
    last = entry.last if entry is not None else None
    given_up = change.reason is Reason.QUARANTINED
    if last is None or not (given_up or change.action is Action.HOLD):
        return None
    seen = event_of(last, environment=change.environment, address=change.address)
    happened = Happened.QUARANTINED if given_up else Happened.ENDED
    return replace(seen, run=run, at=at, happened=happened, detail=change.detail)


def _ended(outcome: Outcome) -> Ended:
    match outcome:
        case Accepted(status="SUCCESS"):
            return Ended.SUCCEEDED
        case Accepted(status="FAILED"):
            return Ended.FAILED
        case Accepted(timed_out=timed_out):
            return Ended.TIMED_OUT if timed_out else Ended.RUNNING
        case NotSent():
            return Ended.UNREACHABLE
        case NotProcessed(kind=RefusalKind.UNAUTHORIZED):
            return Ended.UNAUTHORIZED
        case NotProcessed():
            return Ended.REFUSED
        case Unanswered() | Unknown():
            return Ended.UNKNOWN


def _job(entry: Entry | None) -> tuple[str | None, str | None]:
    """The dock status id and dock status to show: the last attempt's, else that of what is live."""
    if entry is None:
        return None, None
    if entry.last is not None and isinstance(entry.last.outcome, Accepted):
        return entry.last.outcome.dock_status_id, entry.last.outcome.status
    return (entry.live.dock_status_id, "SUCCESS") if entry.live and entry.live.dock_status_id else (None, None)


def _sync(change: Change, entry: Entry | None) -> Sync:
    if change.action is Action.HOLD or change.reason in {Reason.BROKEN, Reason.SEND_AGAIN}:
        return Sync.UNKNOWN
    if change.digest is None:  # no manifest
        return Sync.OUT_OF_SYNC
    if change.action is Action.NONE and change.reason is Reason.UNCHANGED:
        return Sync.SYNCED
    if change.reason is Reason.PINNED:
        return Sync.OUT_OF_SYNC  # an earlier spec is live, not the manifest's
    is_live = situation_of(entry) is Situation.LIVE and entry is not None and reference_digest(entry) == change.digest
    return Sync.SYNCED if is_live and change.action is Action.NONE else Sync.OUT_OF_SYNC


# What the row of the classification table says of the deployment's health; LIVE and REFUSED look closer below.
_HEALTH: Mapping[Situation, Health] = {
    Situation.ABSENT: Health.MISSING,
    Situation.LIVE: Health.HEALTHY,
    Situation.RUNNING: Health.PROGRESSING,
    Situation.REFUSED: Health.HEALTHY,
    Situation.FAILED: Health.DEGRADED,
    Situation.UNKNOWN: Health.UNKNOWN,
}


def _health(change: Change, entry: Entry | None, applied: Applied) -> Health:
    situation = situation_of(entry)
    if change.reason is Reason.SUSPENDED or (entry is not None and _is_suspended(change, entry, applied)):
        return Health.SUSPENDED
    if situation is Situation.REFUSED and (entry is None or entry.live is None):
        return Health.MISSING
    if situation is Situation.RUNNING and _timed_out(entry):
        return Health.UNKNOWN  # nobody watches the job any more
    if situation is Situation.LIVE and entry is not None and entry.live is not None and entry.live.how == "adopted":
        return Health.UNKNOWN  # its values were taken on trust
    return _HEALTH[situation]


def _is_suspended(change: Change, entry: Entry, applied: Applied) -> bool:
    """Suspended, also with nothing to hold back."""
    return change.action is Action.NONE and (entry.suspension or applied.suspension) is not None


def _suspended_by(entry: Entry | None, applied: Applied) -> tuple[str, bool] | None:
    """Who, why and until when, and whether it is a suspension of its own."""
    if entry is not None and entry.suspension is not None:
        return entry.suspension.in_words("suspended"), True
    if applied.suspension is not None:
        return applied.suspension.in_words(f"{applied.environment} is suspended"), False
    return None


def _detail(change: Change, entry: Entry | None, applied: Applied) -> str:
    """What keeps an unchanged one as it is matters more than that nothing is to be done."""
    said = _suspended_by(entry, applied) if change.reason is Reason.UNCHANGED else None
    return change.detail if said is None else said[0]


def _is_news(entry: Entry | None, operation: Phase) -> bool:
    """Whether what went wrong with the last attempt still matters."""
    return situation_of(entry) is not Situation.LIVE and operation not in {Phase.CANCELLED, Phase.RUNNING}


def _timed_out(entry: Entry | None) -> bool:
    last = entry.last if entry else None
    return last is not None and isinstance(last.outcome, Accepted) and last.outcome.timed_out


def _phase(change: Change, entry: Entry | None, applied: Applied) -> Phase:
    last = entry.last if entry else None
    if last is not None and isinstance(last.outcome, Unanswered) and _is_being_sent(last, applied):
        return Phase.RUNNING
    situation = situation_of(entry)
    if situation in {Situation.RUNNING, Situation.UNKNOWN} and last is not None:
        return phase_of(last)
    if change.action in {Action.DEPLOY, Action.REDEPLOY, Action.UNDEPLOY, Action.ADOPT, Action.RENAME}:
        return Phase.PENDING
    if situation is Situation.REFUSED and change.reason is Reason.UNCHANGED:
        return Phase.CANCELLED  # the refused change was withdrawn
    if situation is Situation.LIVE:
        return Phase.SUCCEEDED
    return phase_of(last) if last is not None else Phase.PENDING


def _is_being_sent(last: Attempt, applied: Applied) -> bool:
    return applied.lock is not None and applied.lock.epoch == last.epoch


def find(plan: Plan, address: str) -> Change:
    """The change at an address. Raises UsageError with a did-you-mean."""
    by_address = {change.address: change for change in plan.changes}
    change = by_address.get(address)
    if change is not None:
        return change
    names = {one.name: one.address for one in plan.changes}
    close = get_close_matches(address, [*by_address, *names], n=1)
    did_you_mean = (
        f"Did you mean {names.get(close[0], close[0])}?" if close else "`reconciler status` lists the addresses."
    )
    raise UsageError(f"{plan.environment} has no {address}.", next_step=did_you_mean)


def explain(plan: Plan, applied: Applied, address: str, loop: Loop | None = None) -> Explanation:
    """Every gate between one deployment and its next change, which `loop` makes, or else the next apply.

    Raises UsageError for an unknown address.
    """
    change = find(plan, address)
    case = _Case(change=change, plan=plan, applied=applied, entry=applied.entries.get(change.model_id))
    gates = tuple(gate(case) for gate in GATES)
    blocked = next((gate for gate in gates if gate.stand is Stand.BLOCKED), None)
    waiting = next((gate for gate in gates if gate.stand is Stand.WAITING), None)
    next_step, command = _next_step(change, blocked, waiting, _lapses_at(waiting, case), loop)
    return Explanation(
        status=status_of(change, applied), change=change, gates=gates, next_step=next_step, command=command
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """What a gate may look at."""

    change: Change
    plan: Plan
    applied: Applied
    entry: Entry | None


def _gate_binding(case: _Case) -> Gate:
    bound = case.applied.binding.origin
    if bound == case.plan.origin:
        return Gate(name="bound", stand=Stand.PASSED, detail=f"the state belongs to {bound}")
    detail = f"the state belongs to {bound}, and the project file says {case.plan.origin}"
    return Gate(
        name="bound",
        stand=Stand.BLOCKED,
        detail=detail,
        command=f"reconciler apply -e {case.plan.environment} --rebind",
    )


def _gate_manifest(case: _Case) -> Gate:
    change = case.change
    if change.reason is Reason.BROKEN:
        return Gate(name="manifest", stand=Stand.BLOCKED, detail=change.detail, command="reconciler validate")
    if change.position is not None and change.digest is not None:
        return Gate(name="manifest", stand=Stand.PASSED, detail=f"valid, {change.position.file}:{change.position.line}")
    if change.action is Action.UNDEPLOY:
        return Gate(name="manifest", stand=Stand.PASSED, detail=change.detail)
    if change.reason in {Reason.ORPHAN, Reason.PROTECTED}:
        command = f"reconciler undeploy {change.address}"
        return Gate(name="manifest", stand=Stand.BLOCKED, detail=change.detail, command=command)
    return Gate(name="manifest", stand=Stand.PASSED, detail="none; nothing new is wanted of it")


NOT_SUSPENDED = "not suspended"


def _gate_suspension(case: _Case) -> Gate:
    entry, change = case.entry, case.change
    if change.reason is Reason.SUSPENDED:
        own = entry is not None and entry.suspension is not None
        return _suspended(case, change.detail, own=own)
    said = _suspended_by(entry, case.applied)
    if said is not None:
        return _suspended(case, said[0], own=said[1])
    return Gate(name=NOT_SUSPENDED, stand=Stand.PASSED, detail="nobody has suspended it")


def _suspended(case: _Case, detail: str, *, own: bool) -> Gate:
    command = f"reconciler resume {case.change.address if own else case.change.environment}"
    lapses = suspended_until(case.entry, case.applied) is not None
    stand = Stand.WAITING if lapses else Stand.BLOCKED
    return Gate(name=NOT_SUSPENDED, stand=stand, detail=detail, command=command)


def _lapses_at(waiting: Gate | None, case: _Case) -> datetime | None:
    """When the suspension ends that is waited for."""
    is_it = waiting is not None and waiting.name == NOT_SUSPENDED
    return suspended_until(case.entry, case.applied) if is_it else None


def _gate_quarantine(case: _Case) -> Gate:
    change = case.change
    if change.reason is Reason.QUARANTINED:
        command = f"reconciler retry {change.address}"
        return Gate(name="not quarantined", stand=Stand.BLOCKED, detail=change.detail, command=command)
    if change.reason is Reason.PINNED:
        command = f"reconciler retry {change.address}"
        return Gate(name="not rolled back", stand=Stand.BLOCKED, detail=change.detail, command=command)
    quarantine = case.entry.quarantine if case.entry else None
    other = "another spec is quarantined, not this one" if quarantine is not None else "it is not in quarantine"
    return Gate(name="not quarantined", stand=Stand.PASSED, detail=other)


def _gate_outcome(case: _Case) -> Gate:
    change = case.change
    if change.action is not Action.HOLD:
        return Gate(name="outcome known", stand=Stand.PASSED, detail="how the last attempt ended is known, or will be")
    last = case.entry.last if case.entry else None
    if last is not None and isinstance(last.outcome, Unanswered) and _is_being_sent(last, case.applied):
        return Gate(name="outcome known", stand=Stand.WAITING, detail=change.detail)
    command = f"reconciler resolve {change.address} --dock-status-id ds-… | --it-happened | --it-did-not | --send-again"
    return Gate(name="outcome known", stand=Stand.BLOCKED, detail=change.detail, command=command)


def _gate_job(case: _Case) -> Gate:
    change = case.change
    if change.job is None:
        return Gate(name="no job runs", stand=Stand.PASSED, detail="no job of it is running")
    command = f"reconciler status -e {change.environment} --wait"
    return Gate(name="no job runs", stand=Stand.WAITING, detail=f"its job {change.job} is running", command=command)


def _gate_dependencies(case: _Case) -> Gate:
    change = case.change
    if not change.waits_for:
        needs = ", ".join(change.rollout.depends_on)
        return Gate(name="dependencies", stand=Stand.PASSED, detail=f"satisfied: {needs}" if needs else "it has none")
    said = ", ".join(f"{edge.address} ({edge.because})" for edge in change.waits_for)
    addresses = {edge.address for edge in change.waits_for}
    stuck = _first_stuck(case, (c for c in case.plan.changes if c.address in addresses))
    if stuck is None:
        return Gate(name="dependencies", stand=Stand.WAITING, detail=f"waits for {said}")
    detail = f"waits for {said}; {stuck.address}: {stuck.detail}"
    command = f"reconciler explain {stuck.address}"
    return Gate(name="dependencies", stand=_stand_of(case, stuck), detail=detail, command=command)


def _gate_wave(case: _Case) -> Gate:
    change = case.change
    wave = change.rollout.wave
    if not change.action.sends or change.action is Action.UNDEPLOY:
        return Gate(name="wave", stand=Stand.PASSED, detail=f"wave {wave}")
    earlier = [c for c in case.plan.changes if c.rollout.wave < wave and _holds_a_wave(c)]
    if not earlier:
        return Gate(name="wave", stand=Stand.PASSED, detail=f"wave {wave}, and every lower wave is done")
    first = _first_stuck(case, earlier)
    detail = f"wave {wave} waits for {len(earlier)} in lower waves, {(first or earlier[0]).address} among them"
    if first is None:
        return Gate(name="wave", stand=Stand.WAITING, detail=detail)
    command = f"reconciler explain {first.address}"
    return Gate(name="wave", stand=_stand_of(case, first), detail=detail, command=command)


def _holds_a_wave(change: Change) -> bool:
    last = change.action is Action.UNDEPLOY and change.reason is not Reason.MODEL_REPLACED
    return _is_stuck(change) or (change.action not in {Action.NONE, Action.ADOPT, Action.RENAME} and not last)


def _is_stuck(change: Change) -> bool:
    """Whether it stays as it is until a person does something, or until its suspension ends."""
    return change.action is Action.HOLD or change.reason in {Reason.SUSPENDED, Reason.QUARANTINED, Reason.BROKEN}


def _first_stuck(case: _Case, changes: Iterable[Change]) -> Change | None:
    """What a person must do something about comes before what ends by itself."""
    stuck = [change for change in changes if _is_stuck(change)]
    return next((one for one in stuck if _stand_of(case, one) is Stand.BLOCKED), stuck[0] if stuck else None)


def _stand_of(case: _Case, stuck: Change) -> Stand:
    entry = case.applied.entries.get(stuck.model_id)
    lapses = stuck.reason is Reason.SUSPENDED and suspended_until(entry, case.applied) is not None
    return Stand.WAITING if lapses else Stand.BLOCKED


def _gate_guards(case: _Case) -> Gate:
    guards = [guard for guard in case.plan.guards if guard.code != "protected"]
    if not guards or case.change.action is Action.NONE:
        return Gate(name="guards", stand=Stand.PASSED, detail="no guard refuses the plan")
    flags = " ".join(dict.fromkeys(guard.flag for guard in guards))
    command = f"reconciler apply -e {case.plan.environment} {flags}"
    return Gate(name="guards", stand=Stand.BLOCKED, detail=guards[0].message, command=command)


def _gate_protection(case: _Case) -> Gate:
    change = case.change
    if change.replaces is not None and change.rollout.protect:
        detail = (
            f"protected: replacing its model would undeploy {change.replaces}; write rollout.protect: false to allow it"
        )
        return Gate(name="protection", stand=Stand.BLOCKED, detail=detail)
    other = next((guard for guard in case.plan.guards if guard.code == "protected"), None)
    if other is not None and change.action is not Action.NONE:
        return Gate(name="protection", stand=Stand.BLOCKED, detail=other.message)
    protected = change.rollout.protect or change.metadata.protect
    return Gate(
        name="protection",
        stand=Stand.PASSED,
        detail="protected, and nothing undeploys it" if protected else "not protected",
    )


GATES: tuple[Callable[[_Case], Gate], ...] = (
    _gate_binding,
    _gate_manifest,
    _gate_suspension,
    _gate_quarantine,
    _gate_outcome,
    _gate_job,
    _gate_dependencies,
    _gate_wave,
    _gate_protection,
    _gate_guards,
)


def _next_step(
    change: Change, blocked: Gate | None, waiting: Gate | None, lapses_at: datetime | None, loop: Loop | None
) -> tuple[str, str | None]:
    if blocked is not None:
        return f"{_sentence(blocked.detail)} A person must decide.", blocked.command
    if waiting is not None and lapses_at is not None:
        at = f"{lapses_at:%Y-%m-%d %H:%M} UTC"
        goes_on = f"It goes on by itself at {at}."
        ends = f"The suspension ends by itself at {at}; then the next apply goes on."
        by_hand = loop is None or loop.dry_run
        return f"{_sentence(waiting.detail)} {ends if by_hand else goes_on}", waiting.command
    if change.action is Action.NONE:
        is_old = loop is not None and loop.outdated
        return "Nothing was to be done at the last look." if is_old else "Nothing is to be done.", None
    is_by_hand = loop is None or loop.dry_run
    apply = f"reconciler apply -e {change.environment}" if is_by_hand else None
    if waiting is not None:
        when = " in the next apply" if is_by_hand else ""
        return f"{_sentence(waiting.detail)} It goes on by itself{when}.", waiting.command or apply
    if loop is not None and loop.needs_a_person:
        return "The loop does not try it again by itself. A person must decide.", f"reconciler retry {change.address}"
    who = _who(loop)
    if change.action is Action.RETRY and change.reason in {Reason.JOB_FAILED, Reason.NOT_PROCESSED}:
        return f"{who} sends it again. It ends the same way unless the cause of the error is mended first.", apply
    return f"{who} does it: {change.action}.", apply


def _who(loop: Loop | None) -> str:
    """The beginning of a sentence: who makes the change, and when."""
    if loop is None:
        return "The next apply"
    if loop.dry_run:
        return "The loop only looks; the next apply"
    if loop.at is not None and not loop.outdated:
        return f"At {loop.at:%Y-%m-%d %H:%M:%S} UTC the loop"
    return "Once nothing stands in the way any more, the loop" if loop.held_up else "The loop"


def _sentence(clause: str) -> str:
    return with_stop(f"{clause[:1].upper()}{clause[1:]}")
