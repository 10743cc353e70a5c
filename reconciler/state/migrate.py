"""A state moves from one store to another: `reconciler state migrate`. Knows stores by their contract alone.

Nobody sends meanwhile, because the mover holds the run lock. The copy has the lineage and the numbers of what it is a copy of;
by them it is told whether a place that is taken already holds the same state, up to where. What was moved from is suspended
afterwards, so that nobody goes on there with an old project file. Interrupted anywhere it can be started again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from reconciler.errors import StateForeign
from reconciler.model.applied import Applied, Holder
from reconciler.model.records import DecisionRecord, Record, Suspend
from reconciler.state.fold import fold
from reconciler.state.store import Conflict, Store

MOVED = "the state was moved to "
_TRIES = 20  # how often others may write to the old place while we copy


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """What is in the new place now. `copied` False: it was there already, and only lacked what was written since."""

    applied: Applied
    copied: bool


def migrate(source: Store, target: Store, holder: Holder, *, now: datetime) -> Migrated:
    """Move one environment's state.

    Raises RunLockHeld while somebody sends, StateMissing, and StateForeign when the source was moved before, or the target
    holds another state, or one that has gone on by itself.
    """
    lock = source.lock_run(holder)
    try:
        for _ in range(_TRIES):
            applied, tail = _read(source)
            copied = _bring(applied, tail, source, target)
            why = f"{MOVED}{target.location}; say so in the project file"
            mark = DecisionRecord(decision=Suspend(model_id=None), who=holder.user, why=why, at=now)
            try:
                source.append(applied.seq, [mark])
            except Conflict:
                continue
            return Migrated(applied=fold(*_pair(target)), copied=copied)
    finally:
        lock.release()
    raise StateForeign(f"{source.location} changes all the time", next_step="Run it again when nothing else runs.")


def _pair(store: Store) -> tuple[Applied, tuple[Record, ...]]:
    stored = store.read()
    return stored.snapshot, stored.records


def _read(source: Store) -> tuple[Applied, tuple[Record, ...]]:
    """What is to be moved, and the records that its log still has."""
    snapshot, records = _pair(source)
    applied = fold(snapshot, records)
    moved = applied.suspension
    if moved is not None and moved.why.startswith(MOVED):
        raise StateForeign(
            f"{source.location} is what was left behind: {moved.why}",
            next_step="Name the new place in the project file. Nothing is to be moved from here any more.",
        )
    return applied, records


def _bring(applied: Applied, tail: tuple[Record, ...], source: Store, target: Store) -> bool:
    """The target holds what the source does. True when it was made, False when it was there."""
    if not target.exists():
        target.create(replace(applied, lock=None, serial=applied.serial + 1))
        _require_equal(applied, target)
        return True
    known = fold(*_pair(target))
    if known.lineage != applied.lineage:
        raise _other(target, f"it has the lineage {known.lineage}, and {source.location} has {applied.lineage}")
    if known.seq > applied.seq:
        raise _other(target, f"it has gone on to record {known.seq}, and {source.location} ends with {applied.seq}")
    missing = applied.seq - known.seq
    if missing > len(tail):
        raise _other(target, f"it ends with record {known.seq}, and the records after it were folded away")
    news = tail[len(tail) - missing :]
    if _substance(fold(known, news)) != _substance(applied):
        raise _other(target, f"up to record {known.seq} it is not what {source.location} was then")
    if news:
        target.append(known.seq, news)
    _require_equal(applied, target)
    return False


def _require_equal(applied: Applied, target: Store) -> None:
    if _substance(fold(*_pair(target))) != _substance(applied):
        raise _other(target, "what is read from it is not what was written")


def _substance(applied: Applied) -> Applied:
    """Without what two places need not have in common."""
    return replace(applied, serial=0, lock=None, entries=dict(applied.entries))


def _other(target: Store, why: str) -> StateForeign:
    return StateForeign(
        f"{target.location} holds a state already that is not this one: {why}",
        next_step="Name a place that holds none; nothing was changed.",
    )
