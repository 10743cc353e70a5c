"""The seam to durable storage. Every store passes the same contract suite (tests/contracts)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from reconciler.errors import ReconcilerError, StateError, StateForeign
from reconciler.model.applied import Applied, Holder
from reconciler.model.records import Record


class Conflict(Exception):
    """The sequence has moved: somebody else appended. Read the tail, decide again, append again."""


class DurabilityLost(ReconcilerError):
    """A sync failed: what was appended may or may not be there. Final: nothing more may be sent by this process."""

    exit_code = 9
    next_step = "Look at the disk; then run `reconciler status`: what the log holds is followed, nothing is repeated."


class RunLockLost(StateError):
    """Somebody else has the run lock now, or it was broken by hand. Final: its former holder sends nothing more."""

    next_step = "Look at `reconciler status` for who sends now; what was sent is recorded, and nothing more is sent."


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a store holds: the snapshot, the records after it, and the sequence number of the last record."""

    snapshot: Applied
    records: tuple[Record, ...]
    seq: int


class Store(Protocol):
    """The state of one environment. Calls block for milliseconds in the file store, longer in remote ones."""

    @property
    def location(self) -> str:
        """Where a person finds it: a path or a URL."""
        ...

    @property
    def is_local(self) -> bool:
        """True when appends are quick enough to be called from the event loop."""
        ...

    def create(self, snapshot: Applied) -> None:
        """Make the state. Raises StateForeign when there already is one."""
        ...

    def exists(self) -> bool: ...

    def read(self) -> Stored:
        """Everything, without a lock and without writing.

        Raises StateMissing, StateCorrupt, StateTooNew, StateForeign (another environment's files).
        """
        ...

    def read_since(self, seq: int) -> tuple[tuple[Record, ...], int] | None:
        """The records after `seq` and the new sequence; None when they were compacted away (then `read`)."""
        ...

    def append(self, seq: int, records: Sequence[Record]) -> int:
        """Append all records or none, durable when it returns; gives the new sequence.

        Raises Conflict when the sequence is not `seq` any more, DurabilityLost when a sync failed, StateError when
        nothing was written (disk full, read-only, permission).
        """
        ...

    def compact(self, seq: int, snapshot: Applied) -> None:
        """Replace snapshot and log up to `seq` by `snapshot`, which is what they fold to.

        The store gives it the next serial; with nothing appended since the last snapshot it does nothing. Raises as
        `append`, and StateForeign for another lineage; a failed compaction loses nothing.
        """
        ...

    def lock_run(self, holder: Holder) -> RunLock:
        """Take the run lock: one sender per environment. Raises RunLockHeld, naming the holder as far as it is known."""
        ...

    def sender_is_dead(self) -> bool:
        """True only when it is certain that nobody holds the run lock."""
        ...


class RunLock(Protocol):
    """Held until `release`, or until the process dies. Releasing twice is harmless."""

    def release(self) -> None: ...


@runtime_checkable
class ExpiringLock(RunLock, Protocol):
    """A run lock that does not end with its process, so it runs out. Calls block as those of its store do."""

    @property
    def renew_every(self) -> float:
        """Seconds from one renewal to the next."""
        ...

    def renew(self) -> None:
        """Raises RunLockLost, StateError when it could not be renewed this time."""
        ...


@runtime_checkable
class Hurrying(Protocol):
    """A store elsewhere, whose server may never answer."""

    def hurry(self, seconds: float) -> None:
        """Give up what is not answered when so much time has passed; what was being written is then in doubt."""
        ...


def check_successor(before: Applied, seq: int, snapshot: Applied, location: str) -> None:
    """Whether `snapshot` may take the place of `before`. Raises StateForeign: a wrong one would erase another state."""
    if (snapshot.environment, snapshot.lineage) != (before.environment, before.lineage):
        raise StateForeign(
            f"{location} is the state of {before.environment}, lineage {before.lineage}; it is not replaced by one of"
            f" {snapshot.environment}, lineage {snapshot.lineage}"
        )
    if snapshot.seq != seq:
        raise StateForeign(
            f"{location} stands at record {seq}; a snapshot of record {snapshot.seq} does not replace it"
        )
