"""One change is sent: paced, claimed in the log, sent, its reply recorded, and again where that is certainly harmless.

`executor` calls `send`. The order of steps is the protocol of RELIABILITY.md, and the only way a call that may change the
platform is made: ATTEMPT is durable before the first byte, RAW before anybody hears of the reply. What a reply means is
decided in `platform.endings`; what comes after each meaning stands here, in `_next`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from reconciler.apply.run import Expected, Run, Work, find_attempt
from reconciler.errors import AuthenticationError, ReconcilerError, StalePlan, StateError, TlsTrustError
from reconciler.model.applied import (
    Accepted,
    Applied,
    Attempt,
    Entry,
    Hold,
    NotProcessed,
    NotSent,
    Operation,
    Outcome,
    RefusalKind,
    Situation,
    Unknown,
)
from reconciler.model.events import Happened
from reconciler.model.plan import Action, Change, Reason
from reconciler.model.records import AttemptRecord, DecisionRecord, NotSentRecord, RawRecord, Record, Resolve
from reconciler.model.run import Ended, Result
from reconciler.model.snapshot import Provenance
from reconciler.platform.api import (
    MAX_KEPT,
    Aborted,
    ConnectFailed,
    NoReply,
    Reply,
    Request,
    Sent,
    deploy_request,
    undeploy_request,
)
from reconciler.platform.endings import TERMINAL, classify
from reconciler.platform.pacing import RATE_LIMITED_WAITS, SENDS, not_sent_wait, rate_limited_wait
from reconciler.platform.replies import read_body

GRACE = 5.0  # seconds that a request in flight gets to be answered after the run is stopped
FRESH = 5.0  # seconds after which an ATTEMPT is too old to be sent: its sender slept, and others may have moved on
SLOW_APPEND = 30.0  # seconds that a store elsewhere may take for it besides; a lease outlasts both (`state.lease`)
RATE_LIMITED_SENDS = len(RATE_LIMITED_WAITS) + 1

# In which row of the classification table an entry may stand when it is sent, for each reason to send it. REFUSED is
# everywhere, because that is where a try of our own that was not processed leaves it.
_USUAL = frozenset({Situation.ABSENT, Situation.LIVE, Situation.REFUSED, Situation.FAILED})
PLANNED = {
    Reason.NEW: _USUAL - {Situation.LIVE},
    Reason.BODY_CHANGED: _USUAL,  # ABSENT: after the job of an undeploy
    Reason.MODEL_REPLACED: _USUAL - {Situation.ABSENT},
    Reason.MANIFEST_GONE: _USUAL - {Situation.ABSENT},
    Reason.JOB_FAILED: frozenset({Situation.FAILED, Situation.REFUSED}),
    Reason.NOT_PROCESSED: frozenset({Situation.REFUSED}),
    Reason.RETRY_ASKED: frozenset({Situation.LIVE, Situation.REFUSED}),
    Reason.SEND_AGAIN: frozenset({Situation.UNKNOWN, Situation.REFUSED}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job of the platform that is to be followed. `fresh` when it was started just now."""

    model_id: str
    attempt: str
    dock_status_id: str
    timeout: int
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Whether the platform did it cannot be told. `candidates` are ids that may be asked about."""

    attempt: str
    reason: str
    candidates: tuple[str, ...]


class Withdrawn(Aborted):
    """The change is not to be sent any more; nothing was recorded and nothing has left. `problem` counts for the exit code."""

    def __init__(self, why: str, problem: ReconcilerError | None = None) -> None:
        super().__init__(why)
        self.problem = problem


class _Unrecorded(Exception):
    """The platform answered and the answer could not be written."""


class _TooLate(Aborted):
    """ATTEMPT was written, and then the sender gave up before the first byte; NOT_SENT is written too."""


async def send(run: Run, work: Work) -> Job | Doubt | Result:
    """Send the change until the platform took it, or certainly will not.

    A Result says that it is over; a Job that it was started. Raises nothing for what network, platform or disk did.
    """
    tries = _Tries()
    while await run.turn(run.posts, run.sends, work):
        call = _Call(run, work)
        try:
            outcome = await call.make()
        except Withdrawn as withdrawn:
            return _withdrawn(run, work, withdrawn)
        except AuthenticationError as error:
            return _unauthorized(run, work, str(error), error)
        except _Unrecorded:
            why = "the platform was asked, and what came of it could not be recorded: keep the RECOVERY line"
            return work.result(Ended.UNKNOWN, why)
        except ReconcilerError as error:
            run.fail(error)
            return work.result(Ended.SKIPPED, f"it was not sent: {error}")
        after = _next(run, work, call, outcome, tries)
        if not isinstance(after, _Again):
            return after
        work.tell(Happened.WAITING, detail=after.why, seconds=after.seconds, attempt=call.written)
        if not await run.sends.sleep(after.seconds):
            break
    return work.result(Ended.SKIPPED, f"it was not sent: {run.closed}")


# What comes after each outcome


@dataclass(slots=True)
class _Tries:
    """How often a change was sent in vain so far, for each reason."""

    connecting: int = 0
    rate_limited: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Again:
    """Send once more, as a new attempt of the same generation, after `seconds`."""

    seconds: float
    why: str


def _next(run: Run, work: Work, call: _Call, outcome: Outcome, tries: _Tries) -> _Again | Job | Doubt | Result:
    match outcome:
        case Accepted():
            return _accepted(work, call, outcome)
        case NotProcessed(kind=RefusalKind.RATE_LIMITED):
            return _rate_limited(run, work, outcome, tries)
        case NotProcessed(kind=RefusalKind.UNAUTHORIZED):
            return _unauthorized(run, work, f"the platform refuses the API key: {outcome.message}")
        case NotProcessed():
            return work.result(
                Ended.REFUSED, f"the platform refused it (HTTP {outcome.status_code}): {outcome.message}"
            )
        case NotSent() if call.untrusted:
            return _unauthorized(run, work, outcome.error, TlsTrustError(f"{run.platform.origin}: {outcome.error}"))
        case NotSent():
            return _not_sent(run, work, outcome, tries)
        case Unknown():
            if call.alarm is not None:
                work.tell(Happened.ALARM, detail=call.alarm, attempt=call.attempt)
            return Doubt(attempt=call.attempt, reason=outcome.reason, candidates=outcome.candidates)
        case _:
            raise AssertionError("a call that was made has an outcome")


def _accepted(work: Work, call: _Call, outcome: Accepted) -> Job | Result:
    work.dock_status_id, work.status = outcome.dock_status_id, outcome.status
    work.tell(Happened.ACCEPTED, attempt=call.attempt)
    if outcome.status in TERMINAL or outcome.dock_status_id is None:
        return over(work, outcome.status, outcome.detail)
    change = work.change
    return Job(
        model_id=change.model_id,
        attempt=call.attempt,
        dock_status_id=outcome.dock_status_id,
        timeout=change.rollout.timeout,
        fresh=True,
    )


def over(work: Work, status: str, detail: str | None) -> Result:
    """The result of a job that has ended."""
    work.status = status
    if status == "FAILED":
        nothing = f" and gave no reason: look at {work.dock_status_id} in the platform's console"
        return work.result(Ended.FAILED, f"its job failed{f': {detail}' if detail else nothing}")
    return work.result(Ended.SUCCEEDED, detail or "")


def _rate_limited(run: Run, work: Work, outcome: NotProcessed, tries: _Tries) -> _Again | Result:
    """The whole host waits, not only this change; `Run.turn` keeps the time."""
    tries.rate_limited += 1
    if tries.rate_limited >= RATE_LIMITED_SENDS:
        return work.result(Ended.REFUSED, f"given up after {tries.rate_limited} sends: {outcome.message}")
    wait = rate_limited_wait(tries.rate_limited, outcome.retry_after)
    run.posts.close(asyncio.get_running_loop().time() + wait)
    return _Again(seconds=wait, why=outcome.message)


def _not_sent(run: Run, work: Work, outcome: NotSent, tries: _Tries) -> _Again | Result:
    tries.connecting += 1
    # Where one change has found nobody after all its tries, the others need not wait as long each.
    if run.host_is_down or tries.connecting >= SENDS:
        run.host_is_down = True
        return work.result(Ended.UNREACHABLE, f"{run.platform.origin} cannot be reached: {outcome.error}")
    return _Again(seconds=not_sent_wait(tries.connecting), why=outcome.error)


def _unauthorized(run: Run, work: Work, why: str, problem: ReconcilerError | None = None) -> Result:
    run.close(why)
    if problem is not None:
        run.complain(problem)
    return work.result(Ended.UNAUTHORIZED, why)


def _withdrawn(run: Run, work: Work, withdrawn: Withdrawn) -> Result:
    if withdrawn.problem is not None:
        run.complain(withdrawn.problem)
    return work.result(Ended.SKIPPED, f"it was not sent: {withdrawn}")


# One call


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """By both clocks: the monotonic one stands still while a machine sleeps."""

    loop: float
    wall: datetime

    @classmethod
    def of(cls, wall: datetime) -> _Moment:
        return cls(loop=asyncio.get_running_loop().time(), wall=wall)

    def after(self, earlier: _Moment) -> float:
        """Seconds."""
        return max(self.loop - earlier.loop, (self.wall - earlier.wall).total_seconds())


class _Call:
    """One attempt. `written` is its id once ATTEMPT is durable; `leaving` says that bytes may have left."""

    def __init__(self, run: Run, work: Work) -> None:
        self.attempt = run.new_attempt()
        self.written: str | None = None
        self.untrusted = False
        self.alarm: str | None = None
        self._run = run
        self._work = work
        self._request = request_of(work.change)
        self._leaving = False
        self._asked = self._claimed = _Moment.of(run.context.now())
        self._first_deploy = False
        self._reply: tuple[RawRecord, Outcome] | None = None

    async def make(self) -> Outcome:
        """Raises Withdrawn, ReconcilerError when nothing was sent, _Unrecorded when something was."""
        try:
            async with self._run.stop.limited(GRACE):
                if not self._run.journal.store.is_local:
                    # Before connecting: others that are ready claim in the same append, and no connection waits for it.
                    await self._claim()
                sent = await self._run.platform.send(self._request, self._before_first_byte)
        except _TooLate as late:
            return NotSent(error=str(late))
        except TimeoutError:
            if not self._leaving:
                await self._give_up("the run was stopped before the first byte")
                return NotSent(error="the run was stopped before it was sent")
            sent = NoReply(error="the run was stopped before the reply came")
        if isinstance(sent, ConnectFailed) and not self._leaving:
            self.untrusted = sent.trust
            if self.written is not None:
                await self._give_up(sent.error)
            return NotSent(error=sent.error)
        return await self._record(sent)

    async def _before_first_byte(self) -> None:
        """The connection is up: claim the entry in the log. Only a claim that is durable, and young, is sent."""
        self._run.host_is_down = False
        if self.written is None:
            await self._claim()
        late = self._run.closed if self._run.sends.requested else self._too_late()
        if late is not None:
            await self._give_up(late)
            raise _TooLate(late)
        self._leaving = True
        self._work.tell(Happened.SENDING, attempt=self.attempt)

    async def _claim(self) -> None:
        now = self._run.context.now
        self._asked = _Moment.of(now())
        await self._run.journal.transact(self._claimed_in)
        self.written = self.attempt
        self._claimed = _Moment.of(now())

    def _too_late(self) -> str | None:
        """Why the claim is too old to be sent."""
        now = _Moment.of(self._run.context.now())
        took, since = now.after(self._asked), now.after(self._claimed)
        allowed = FRESH if self._run.journal.store.is_local else FRESH + SLOW_APPEND
        if took <= allowed and since <= FRESH:
            return None
        return f"{took:.0f} s passed before its first byte; it is too late to be sent"

    def _claimed_in(self, applied: Applied) -> Sequence[Record]:
        """ATTEMPT, if the entry still is what the plan saw and nobody objects. Raises Withdrawn."""
        run, change = self._run, self._work.change
        if run.sends.requested:
            raise Withdrawn(run.closed)
        entry = applied.entries.get(change.model_id)
        self._refuse_other_sender(applied)
        self._refuse_held(applied, entry)
        self._refuse_moved(entry)
        self._first_deploy = entry is None or (entry.live is None and not any(map(_was_taken, entry.attempts)))
        return (*self._sent_again(entry), self._attempt_record(entry))

    def _refuse_other_sender(self, applied: Applied) -> None:
        run = self._run
        if applied.lock is None or applied.lock.epoch != run.epoch:
            who = f" by {applied.lock.holder}" if applied.lock is not None else ""
            why = f"the run lock was taken over{who}"
            run.close(why)
            raise Withdrawn(why, StateError(f"{why[0].upper()}{why[1:]}; this run sends nothing more."))

    def _refuse_held(self, applied: Applied, entry: Entry | None) -> None:
        digest = self._work.change.digest
        suspension = self._in_force(applied.suspension)
        if suspension is not None:
            why = f"the environment was suspended by {suspension.who}: {suspension.why}"
            self._run.close(why)
            raise Withdrawn(why)
        suspension = self._in_force(entry.suspension if entry is not None else None)
        if suspension is not None:
            raise Withdrawn(f"it was suspended by {suspension.who}: {suspension.why}")
        quarantine = self._in_force(entry.quarantine if entry is not None else None)
        if quarantine is not None and digest is not None and quarantine.digest == digest:
            raise Withdrawn(f"it was quarantined by {quarantine.who}: {quarantine.why}")

    def _in_force(self, hold: Hold | None) -> Hold | None:
        lapsed = hold is not None and hold.until is not None and hold.until <= self._run.context.now()
        return None if lapsed else hold

    def _refuse_moved(self, entry: Entry | None) -> None:
        work, found = self._work, Expected.of(entry)
        if found != work.expected or found.situation not in PLANNED[work.change.reason]:
            why = "was changed by somebody else since the plan was made"
            problem = StalePlan(f"{work.change.address} {why}.", next_step="Run it again: it plans anew.")
            raise Withdrawn(f"it {why}", problem)

    def _sent_again(self, entry: Entry | None) -> Sequence[Record]:
        """`rollout.onUnknown: sendAgain` is written down as the decision that it is."""
        last = entry.last if entry is not None else None
        if self._work.expected.situation is not Situation.UNKNOWN or last is None:
            return ()
        verdict = Resolve(model_id=self._work.change.model_id, attempt=last.id, verdict="sendAgain")
        why = "the manifest accepts a duplicate"
        return (DecisionRecord(decision=verdict, who="rollout.onUnknown", why=why, at=self._run.context.now()),)

    def _attempt_record(self, entry: Entry | None) -> AttemptRecord:
        change, context = self._work.change, self._run.context
        return AttemptRecord(
            attempt=self.attempt,
            model_id=change.model_id,
            name=change.name,
            metadata=change.metadata,
            operation=operation_of(change),
            generation=generation_of(entry, change),
            method=self._request.method,
            origin=self._run.platform.origin,
            path=self._request.path,
            model_type=change.model_type,
            body=change.body,
            digest=change.digest,
            provenance=_provenance_of(change, entry, context.provenance),
            epoch=self._run.epoch,
            at=context.now(),
        )

    async def _give_up(self, why: str) -> None:
        """NOT_SENT, if ATTEMPT is there."""

        def not_sent(applied: Applied) -> Sequence[Record]:
            if find_attempt(applied, self._work.change.model_id, self.attempt) is None:
                return ()
            return (NotSentRecord(attempt=self.attempt, error=why, at=self._run.context.now()),)

        self._work.expect(await self._run.journal.transact(not_sent))

    async def _record(self, sent: Sent) -> Outcome:
        """RAW, before anybody hears of it."""
        try:
            applied = await self._run.journal.transact(lambda applied: self._replied(sent, applied))
        except ReconcilerError as error:
            if self._reply is not None:
                self._run.recovery.append(recovery_line(self._work.change.environment, self._reply[0]))
            self._run.fail(error)
            raise _Unrecorded from error
        self._work.expect(applied)
        if self._reply is None:
            raise AssertionError("a transaction that was made has decided")
        return self._reply[1]

    def _replied(self, sent: Sent, applied: Applied) -> Sequence[Record]:
        outcome = self._understood(sent, applied)
        reply = sent if isinstance(sent, Reply) else None
        raw = RawRecord(
            attempt=self.attempt,
            status_code=reply.status_code if reply else None,
            headers=reply.headers if reply else (),
            body=reply.body[:MAX_KEPT].decode("utf-8", "replace") if reply else "",
            error=sent.error,
            outcome=outcome,
            at=self._run.context.now(),
        )
        self._reply = (raw, outcome)
        if isinstance(outcome, Accepted):
            self._run.known.claim(outcome.dock_status_id, self.attempt)
        return (raw, *self._other_held(sent, outcome, applied))

    def _understood(self, sent: Sent, applied: Applied) -> Outcome:
        try:
            return classify(
                sent,
                operation=operation_of(self._work.change),
                known_ids=_OfOthers(self._run, applied, self.attempt),
                extra_not_processed=self._run.context.not_processed,
                first_deploy=self._first_deploy,
                now=self._run.context.now(),
            )
        except Exception as error:  # noqa: BLE001 - a mistake of ours in reading must not cost the reply: it is kept
            return Unknown(reason=f"the reply could not be understood ({type(error).__name__})")

    def _other_held(self, sent: Sent, outcome: Outcome, applied: Applied) -> Sequence[Record]:
        """The platform gave this reply's id to another attempt before: neither can be trusted, so that one is held too."""
        success = isinstance(sent, Reply) and 200 <= sent.status_code < 300  # noqa: PLR2004  # the class of HTTP
        if not (isinstance(outcome, Unknown) and isinstance(sent, Reply) and success):
            return ()
        named = read_body(sent.body).ids[:1]
        owner = self._run.known.owner_of(applied, named[0]) if named else None
        if owner is None or owner == self.attempt:
            return ()
        self.alarm = f"the platform answered with {named[0]}, which belongs to attempt {owner}"
        why = f"the platform gave its dock status id to attempt {self.attempt} too"
        held = Unknown(reason=why, candidates=(named[0],))
        at = self._run.context.now()
        return (RawRecord(attempt=owner, status_code=None, headers=(), body="", error=why, outcome=held, at=at),)


def request_of(change: Change) -> Request:
    """What is sent for a change, byte for byte as planned."""
    if operation_of(change) is Operation.UNDEPLOY:
        return undeploy_request(change.model_id)
    if change.model_type is None or change.body is None:
        raise AssertionError("a change that deploys has a model type and a body")
    return deploy_request(change.model_id, change.model_type, change.body)


def operation_of(change: Change) -> Operation:
    return Operation.UNDEPLOY if change.action is Action.UNDEPLOY else Operation.DEPLOY


def generation_of(entry: Entry | None, change: Change) -> int:
    """The same as the last attempt's where that one certainly was not processed and asked for the same; else the next."""
    last = entry.last if entry is not None else None
    if entry is None or last is None:
        return 1
    certain = isinstance(last.outcome, NotSent | NotProcessed) and last.decided is None
    same = last.operation is operation_of(change) and last.digest == change.digest
    return last.generation if certain and same and not entry.retry else entry.generation + 1


def _was_taken(attempt: Attempt) -> bool:
    return attempt.operation is Operation.DEPLOY and isinstance(attempt.outcome, Accepted)


class _OfOthers:
    """The dock status ids that belong to other attempts; a container for `classify`."""

    def __init__(self, run: Run, applied: Applied, attempt: str) -> None:
        self._run = run
        self._applied = applied
        self._attempt = attempt

    def __contains__(self, dock_status_id: object) -> bool:
        owner = self._run.known.owner_of(self._applied, str(dock_status_id))
        return owner is not None and owner != self._attempt


def _provenance_of(change: Change, entry: Entry | None, run: Provenance) -> Provenance:
    """The run's; where an earlier spec is put back, that spec's commit, with what its attempt knows of it."""
    if change.commit is None:
        return run
    attempts = entry.attempts if entry is not None else ()
    known = (one.provenance for one in reversed(attempts) if one.provenance.commit == change.commit)
    return replace(next(known, Provenance(commit=change.commit)), actor=run.actor, ci_url=run.ci_url)


def recovery_line(environment: str, record: Record) -> str:
    """A record that could not be written, for stderr: what a person needs to resolve the attempt by hand."""
    from reconciler.state.format import encode_record

    told = {"environment": environment, "record": json.loads(encode_record(0, record))["record"]}
    return f"RECOVERY {json.dumps(told, ensure_ascii=True, sort_keys=True, separators=(',', ':'))}"
