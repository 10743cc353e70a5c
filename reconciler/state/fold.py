"""Snapshot + log -> what the state knows. The one place where a record gets its meaning.

Called by whoever reads a store (`apply.journal`, the commands) and by `repair`. Pure: nothing is read or written here, and
the given state is never changed.

A record about an entry or an attempt that the state does not know (forgotten meanwhile, or dropped as history) changes
nothing but `seq`: the log is a record of what happened, and folding it never fails.

Three laws hold for every order in which records can come:
- what is certain is never overwritten: a terminal outcome stays, and a decision settles only what is in doubt;
- a dock status id that was read is never lost, not even to a person who said that nothing happened;
- `live` is what the newest call did that may have been processed: a late SUCCESS of an older job does not replace it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from reconciler.model.applied import (
    MAX_ATTEMPTS,
    Accepted,
    Applied,
    AppliedCommit,
    Attempt,
    Entry,
    Hold,
    Live,
    Lock,
    NotProcessed,
    NotSent,
    Operation,
    Outcome,
    Pinned,
    Unanswered,
    Unknown,
)
from reconciler.model.records import (
    Adopt,
    Advance,
    Allow,
    AttemptRecord,
    DecisionRecord,
    Describe,
    Forget,
    LockEvent,
    LockRecord,
    NotSentRecord,
    Pin,
    Quarantine,
    RawRecord,
    Rebind,
    Record,
    Resolve,
    Resume,
    Retry,
    StatusRecord,
    Suspend,
)

MAX_REPLY = 64 * 1024  # bytes of a reply that the state keeps
MOST_HOMES = 4 * MAX_ATTEMPTS  # known ids of attempts for each entry
_OVER = frozenset({"SUCCESS", "FAILED"})


class _Entries(dict[str, Entry]):
    """Entries by model id, which also finds an attempt without looking through all of them.

    `homes` maps attempt id to model id. It only grows and is shared by every state folded from the same beginning: an
    attempt never moves, and whoever looks it up still looks whether the entry has it. Once most of it must be about attempts
    that no entry keeps, the next state gets one of its own: a watch folds for months.
    """

    __slots__ = ("homes",)

    def __init__(self, entries: dict[str, Entry], homes: dict[str, str]) -> None:
        super().__init__(entries)
        self.homes = homes

    @classmethod
    def of(cls, applied: Applied) -> _Entries:
        entries = applied.entries
        if isinstance(entries, _Entries) and len(entries.homes) <= MOST_HOMES * (len(entries) + 1):
            return cls(entries, entries.homes)
        homes = {attempt.id: entry.model_id for entry in entries.values() for attempt in entry.attempts}
        return cls(dict(entries), homes)

    def find(self, attempt_id: str) -> tuple[Entry, Attempt] | None:
        entry = self.get(self.homes.get(attempt_id, ""))
        found = None if entry is None else _attempt_of(entry, attempt_id)
        return None if entry is None or found is None else (entry, found)


def fold(applied: Applied, records: Iterable[Record]) -> Applied:
    """The state after these records. Folding in two steps gives what folding in one gives."""
    entries = _Entries.of(applied)
    seq = applied.seq
    for record in records:
        seq += 1
        applied = _step(applied, entries, record)
    return replace(applied, entries=entries, seq=seq)


def _step(applied: Applied, entries: _Entries, record: Record) -> Applied:
    """One record: changes `entries`, which belongs to this fold, or gives the environment's new state."""
    match record:
        case LockRecord():
            return _lock(applied, record)
        case AttemptRecord():
            entries[record.model_id] = _begun(entries.get(record.model_id), record)
            entries.homes[record.attempt] = record.model_id
        case NotSentRecord():
            _not_sent(entries, record)
        case RawRecord():
            _replied(entries, record)
        case StatusRecord():
            _ended(entries, record)
        case DecisionRecord():
            return _decided(applied, entries, record)
        case _:
            assert_never(record)
    return applied


# The run lock


def _lock(applied: Applied, record: LockRecord) -> Applied:
    mine = applied.lock is not None and applied.lock.epoch == record.epoch
    match record.event:
        case LockEvent.TAKEN:
            lock = Lock(epoch=record.epoch, holder=record.holder, since=record.at)
            return replace(applied, lock=lock, epoch=max(applied.epoch, record.epoch))
        case LockEvent.RENEWED:
            return applied
        case LockEvent.RELEASED:
            return replace(applied, lock=None, allow_mass_change=False) if mine else applied
        case _:
            assert_never(record.event)


# Attempts


def _begun(entry: Entry | None, record: AttemptRecord) -> Entry:
    entry = entry or Entry(model_id=record.model_id, name=record.name)
    pin = _still_pinned(entry.pin, record.digest)
    # An id used twice would hide the second call behind the first one's outcome; in doubt it counts as unanswered.
    history = tuple(attempt for attempt in entry.attempts if attempt.id != record.attempt)
    return replace(
        entry,
        name=record.name,
        metadata=record.metadata,
        generation=record.generation,
        attempts=_trimmed((*history, _attempt(record))),
        quarantine=entry.quarantine if pin is not None else _still_quarantined(entry.quarantine, record.digest),
        retry=False,
        pin=pin,
    )


def _attempt(record: AttemptRecord) -> Attempt:
    return Attempt(
        id=record.attempt,
        operation=record.operation,
        generation=record.generation,
        origin=record.origin,
        path=record.path,
        model_type=record.model_type,
        body=record.body,
        digest=record.digest,
        provenance=record.provenance,
        manifest=record.metadata.manifest,
        epoch=record.epoch,
        started_at=record.at,
    )


def _still_quarantined(quarantine: Hold | None, digest: str | None) -> Hold | None:
    """Sending another digest lifts it. An undeploy has none: the digest stays barred."""
    lifted = quarantine is not None and digest is not None and quarantine.digest != digest
    return None if lifted else quarantine


def _still_pinned(pin: Pinned | None, digest: str | None) -> Pinned | None:
    """Sending anything else lifts it; while it holds, the spec that it stands for stays in quarantine."""
    return pin if pin is not None and pin.digest == digest else None


def _trimmed(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """The last ten, and before them what history must not lose: what is not over, and the newest that was processed."""
    if len(attempts) <= MAX_ATTEMPTS:
        return attempts
    newest = next((a.id for a in reversed(attempts) if isinstance(a.outcome, Accepted)), None)
    excess = len(attempts) - MAX_ATTEMPTS
    kept = []
    for attempt in attempts:
        if excess and _is_over(attempt.outcome) and attempt.id != newest:
            excess -= 1
        else:
            kept.append(attempt)
    return tuple(kept)


def _not_sent(entries: _Entries, record: NotSentRecord) -> None:
    found = entries.find(record.attempt)
    if found is not None and isinstance(found[1].outcome, Unanswered):
        _settle(entries, *found, NotSent(error=record.error), record.at)


def _replied(entries: _Entries, record: RawRecord) -> None:
    found = entries.find(record.attempt)
    if found is None or not _counts(record.outcome, found[1]):
        return
    entry, attempt = found
    attempt = replace(attempt, reply=_bounded(record.body) or attempt.reply, decided=None)
    _settle(entries, entry, attempt, record.outcome, record.at)


def _counts(outcome: Outcome, attempt: Attempt) -> bool:
    """A reply settles what nobody settled. After a decision only an id counts that the person did not name.

    A running job comes into doubt when the platform gives its id to another call too; the id stays as a candidate.
    """
    if isinstance(outcome, Unknown) and isinstance(attempt.outcome, Accepted):
        return not _is_over(attempt.outcome) and attempt.outcome.dock_status_id in outcome.candidates
    if attempt.decided is None:
        return isinstance(attempt.outcome, Unanswered)
    named = attempt.outcome.dock_status_id if isinstance(attempt.outcome, Accepted) else None
    return isinstance(outcome, Accepted) and outcome.dock_status_id is not None and outcome.dock_status_id != named


def _ended(entries: _Entries, record: StatusRecord) -> None:
    found = entries.find(record.attempt)
    if found is None:
        return
    outcome = found[1].outcome
    if not isinstance(outcome, Accepted) or outcome.dock_status_id != record.dock_status_id or _is_over(outcome):
        return
    told = replace(
        outcome,
        status=record.status,
        detail=outcome.detail if record.detail is None else record.detail,
        timed_out=record.timed_out and record.status not in _OVER,
    )
    _settle(entries, *found, told, record.at)


def _settle(entries: _Entries, entry: Entry, attempt: Attempt, outcome: Outcome, at: datetime) -> None:
    """Gives an attempt its outcome, and the entry what follows from it."""
    over = _is_over(outcome)
    settled = replace(attempt, outcome=outcome, ended_at=at if over else None, reply=None if over else attempt.reply)
    attempts = tuple(settled if other.id == settled.id else other for other in entry.attempts)
    entry = replace(entry, attempts=_trimmed(attempts))
    entries[entry.model_id] = _with_success(entry, settled, at)


def _with_success(entry: Entry, attempt: Attempt, at: datetime) -> Entry:
    outcome = attempt.outcome
    if not (isinstance(outcome, Accepted) and outcome.status == "SUCCESS" and _is_newest(entry, attempt)):
        return entry
    if attempt.operation is Operation.UNDEPLOY:
        return replace(entry, live=None)
    if attempt.model_type is None or attempt.body is None or attempt.digest is None:
        return entry  # a deploy always has them; a log that says otherwise does not make anything live
    live = Live(
        model_type=attempt.model_type,
        body=attempt.body,
        digest=attempt.digest,
        how="deployed",
        dock_status_id=outcome.dock_status_id,
        since=at,
        commit=attempt.provenance.commit,
    )
    return replace(entry, live=live)


def _is_newest(entry: Entry, attempt: Attempt) -> bool:
    """Whether no later attempt may have been processed."""
    for other in reversed(entry.attempts):
        if other.id == attempt.id:
            return True
        if _may_have_worked(other.outcome):
            return False
    return False


def _may_have_worked(outcome: Outcome) -> bool:
    return isinstance(outcome, Accepted | Unknown | Unanswered)


def _is_over(outcome: Outcome) -> bool:
    """Whether nothing more will be learnt about it."""
    match outcome:
        case NotSent() | NotProcessed():
            return True
        case Accepted(status=status):
            return status in _OVER
        case Unanswered() | Unknown():
            return False
        case _:
            assert_never(outcome)


def _attempt_of(entry: Entry, attempt_id: str) -> Attempt | None:
    return next((attempt for attempt in reversed(entry.attempts) if attempt.id == attempt_id), None)


def _bounded(text: str) -> str:
    if len(text) * 4 <= MAX_REPLY:
        return text
    return text.encode(errors="replace")[:MAX_REPLY].decode(errors="ignore")


# Decisions


def _decided(applied: Applied, entries: _Entries, record: DecisionRecord) -> Applied:
    match record.decision:
        case Rebind(binding=binding):
            return replace(applied, binding=binding)
        case Allow():
            return replace(applied, allow_mass_change=True)
        case Advance() as advance:
            return replace(applied, commit=_commit(advance, record))
        case Suspend(model_id=None):
            return replace(applied, suspension=_hold(record))
        case Resume(model_id=None):
            return replace(applied, suspension=None)
        case Forget(model_id=model_id):
            entries.pop(model_id, None)
        case Adopt() as adopt:
            entries[adopt.model_id] = _adopted(entries.get(adopt.model_id), adopt, record.at)
        case Resolve() as resolve:
            _resolved(entries, resolve, record)
        case decision:
            _about_entry(entries, decision, record)
    return applied


def _about_entry(
    entries: _Entries, decision: Describe | Retry | Quarantine | Pin | Suspend | Resume, record: DecisionRecord
) -> None:
    entry = entries.get(decision.model_id or "")
    if entry is None:
        return
    match decision:
        case Describe(name=name, metadata=metadata):
            entry = replace(entry, name=name, metadata=metadata)
        case Retry():
            entry = replace(entry, retry=True, quarantine=None, pin=None)
        case Quarantine(digest=digest):
            entry = replace(entry, quarantine=_hold(record, digest))
        case Pin() as pin:
            entry = replace(entry, pin=_pinned(pin, record), quarantine=_hold(record, pin.instead_of), retry=False)
        case Suspend():
            entry = replace(entry, suspension=_hold(record))
        case Resume():
            entry = replace(entry, suspension=None)
        case _:
            assert_never(decision)
    entries[entry.model_id] = entry


def _hold(record: DecisionRecord, digest: str | None = None) -> Hold:
    return Hold(who=record.who, why=record.why, since=record.at, until=record.until, digest=digest)


def _pinned(pin: Pin, record: DecisionRecord) -> Pinned:
    return Pinned(
        model_type=pin.model_type,
        body=pin.body,
        digest=pin.digest,
        instead_of=pin.instead_of,
        attempt=pin.attempt,
        commit=pin.commit,
        who=record.who,
        why=record.why,
        since=record.at,
    )


def _commit(advance: Advance, record: DecisionRecord) -> AppliedCommit:
    return AppliedCommit(
        commit=advance.commit,
        committed_at=advance.committed_at,
        who=record.who,
        at=record.at,
        ci_url=advance.ci_url,
    )


def _adopted(entry: Entry | None, adopt: Adopt, at: datetime) -> Entry:
    """Says that the model runs as the manifest says; so an earlier wish to send it again has lapsed."""
    live = Live(
        model_type=adopt.model_type,
        body=adopt.body,
        digest=adopt.digest,
        how="adopted",
        dock_status_id=None,
        since=at,
        commit=adopt.commit,
    )
    entry = entry or Entry(model_id=adopt.model_id, name=adopt.name)
    return replace(entry, name=adopt.name, metadata=adopt.metadata, live=live, retry=False, pin=None)


def _resolved(entries: _Entries, resolve: Resolve, record: DecisionRecord) -> None:
    found = entries.find(resolve.attempt)
    if found is None or found[0].model_id != resolve.model_id:
        return
    entry, attempt = found
    if isinstance(attempt.outcome, Unanswered | Unknown):
        _settle(entries, entry, replace(attempt, decided=record.who), _verdict(resolve, record), record.at)


def _verdict(resolve: Resolve, record: DecisionRecord) -> Outcome:
    why = f": {record.why}" if record.why else ""
    match resolve.verdict:
        case "accepted":
            return Accepted(dock_status_id=resolve.dock_status_id, status=resolve.status or "IN_PROGRESS")
        case "happened":
            return Accepted(dock_status_id=None, status="SUCCESS")
        case "didNotHappen":
            return NotSent(error=f"{record.who} says that it did not happen{why}")
        case "sendAgain":
            return NotSent(error=f"whether it was processed is unknown; {record.who} accepts a duplicate{why}")
        case _:
            assert_never(resolve.verdict)
