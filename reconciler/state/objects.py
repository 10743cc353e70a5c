"""The state in an object store: s3://, gs://, az://. `wiring` makes one store per environment.

    <environment>/state.json               the snapshot, replaced only if it is the one that was read
    <environment>/log/<first record>.json  one append, created only if it is not there
    <environment>/lock.json                the run lock, replaced only if it is the one that was read
    <environment>/clock                    written by whoever wants to know the store's time

The log's next object is where writers meet: of two that append after the same record one creates it. Objects of the log stay
for a day after a snapshot has made them superfluous. So no name is free again for a writer who slept meanwhile, and whoever
has not looked for longer than an hour looks again before writing.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from reconciler.errors import ReconcilerError, StateCorrupt, StateError, StateForeign, StateMissing
from reconciler.model.applied import Applied, Holder
from reconciler.model.records import AttemptRecord, Record
from reconciler.state.batch import Batch, decode_owned, encode, new_write
from reconciler.state.bucket import Bucket, Found, InDoubt, Moved, Version
from reconciler.state.format import decode_snapshot, encode_snapshot
from reconciler.state.lease import Lease, LeaseLock, clock, decode_lease, encode_lease, held, new_lease
from reconciler.state.store import Conflict, DurabilityLost, RunLockLost, Stored, check_successor

LEASE_SECONDS = 60.0
KEPT = timedelta(days=1)  # how long an object of the log outlives its use
LOOK_AGAIN = 3600.0  # seconds after which what was seen of the log counts for nothing
_GRAIN = 2.0  # seconds; stores tell times in whole ones
_READERS = 8  # objects of the log that are read at once
_RACES = 20  # for the lock, before it counts as held

_SNAPSHOT = "state.json"
_LOCK = "lock.json"
_CLOCK = "clock"


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """Where the log ended when it was last looked at, and when that was by our clock."""

    seq: int
    lineage: str
    looked: float


def environments_in(bucket: Bucket) -> tuple[str, ...]:
    """The names of the environments that have a state in the bucket."""
    return tuple(name for name in bucket.folders() if bucket.get(f"{name}/{_SNAPSHOT}") is not None)


class ObjectStore:
    """The state of one environment. May be shared between threads, not with a forked child."""

    def __init__(self, bucket: Bucket, environment: str, *, clock: Callable[[], float] = clock) -> None:
        self._bucket = bucket
        self._environment = environment
        self._clock = clock
        self._mutex = threading.RLock()
        self._end: _End | None = None
        self._lineage: str | None = None
        self._lock: LeaseLock | None = None
        self._lock_version: Version | None = None
        self._lost: DurabilityLost | None = None

    @property
    def location(self) -> str:
        return f"{self._bucket.shown}/{self._environment}"

    @property
    def is_local(self) -> bool:
        return False

    def hurry(self, seconds: float) -> None:
        self._bucket.hurry(seconds)

    def create(self, snapshot: Applied) -> None:
        if snapshot.environment != self._environment:
            raise StateForeign(f"a state of {snapshot.environment} does not belong into {self.location}")
        if self.exists():
            raise StateForeign(f"{self.location} already holds a state")
        self._bucket.refuse_unconditional(self._name(f"probe-{uuid.uuid4().hex}"))
        try:
            self._bucket.create(self._name(_SNAPSHOT), encode_snapshot(snapshot))
        except Moved:
            raise StateForeign(f"{self.location} already holds a state") from None

    def exists(self) -> bool:
        """Also where only remains of a log are left: they are not to be written over."""
        return self._bucket.get(self._name(_SNAPSHOT)) is not None or bool(self._bucket.names(self._name("log")))

    def read(self) -> Stored:
        with self._mutex:
            return self._everything()[0]

    def read_since(self, seq: int) -> tuple[tuple[Record, ...], int] | None:
        with self._mutex:
            end = self._known(seq)
            if end is not None:
                records = self._follow(end)
                return records, seq + len(records)
            stored, _ = self._everything()
        if not stored.snapshot.seq <= seq <= stored.seq:
            return None
        return stored.records[seq - stored.snapshot.seq :], stored.seq

    def append(self, seq: int, records: Sequence[Record]) -> int:
        lock = self._lock
        if lock is not None and any(isinstance(record, AttemptRecord) for record in records):
            lock.must_hold()
        with self._mutex:
            if self._lost is not None:
                raise self._lost
            end = self._at(seq) if records else self._surely_at(seq)
            if records:
                self._append(end, records)
            return seq + len(records)

    def compact(self, seq: int, snapshot: Applied) -> None:
        with self._mutex:
            self._surely_at(seq)
            before, version = self._snapshot()
            check_successor(before, seq, snapshot, self.location)
            if before.seq == seq:
                return
            data = encode_snapshot(replace(snapshot, serial=before.serial + 1))
            try:
                self._bucket.replace(self._name(_SNAPSHOT), data, version)
            except Moved:
                raise Conflict(f"{self.location} was compacted by somebody else") from None
            with suppress(ReconcilerError):  # what is superfluous does no harm
                self._clear_up(seq)

    # The run lock

    def lock_run(self, holder: Holder) -> LeaseLock:
        if self._bucket.get(self._name(_SNAPSHOT)) is None:
            raise StateMissing(f"There is no state in {self.location}")
        for _ in range(_RACES):
            found, began = self._bucket.get(self._name(_LOCK)), self._clock()
            if found is not None:
                self._refuse_held(found)
            lease = new_lease(holder, LEASE_SECONDS)
            try:
                self._write_lock(lease, found.version if found is not None else None)
            except Moved:
                continue
            self._lock = LeaseLock(self, lease, began, self._clock)
            return self._lock
        raise StateError(f"{self.location}/{_LOCK} changes all the time", next_step="Run it again.")

    def sender_is_dead(self) -> bool:
        found = self._bucket.get(self._name(_LOCK))
        return found is None or self._left(found, self._decode_lock(found)) <= 0

    def lease(self) -> Lease | None:
        found = self._bucket.get(self._name(_LOCK))
        lease = self._decode_lock(found) if found is not None else None
        return None if lease is None or lease.released else lease

    def break_lease(self, lease_id: str) -> bool:
        found = self._bucket.get(self._name(_LOCK))
        lease = self._decode_lock(found) if found is not None else None
        if found is None or lease is None or lease.id != lease_id or lease.released:
            return False
        try:
            self._bucket.replace(
                self._name(_LOCK), encode_lease(replace(lease.renewed(), released=True)), found.version
            )
        except Moved:
            return self.break_lease(lease_id)  # it was renewed meanwhile, or is another one now
        return True

    def renew_lease(self, lease: Lease) -> None:
        """By the version that we wrote; where its answer was lost, by what is there now, if that is ours."""
        with self._mutex:
            for _ in range(2):
                if self._lock_version is None:
                    found = self._bucket.get(self._name(_LOCK))
                    mine = self._decode_lock(found) if found is not None else None
                    if found is None or mine is None or mine.id != lease.id or mine.released:
                        raise RunLockLost(f"the run lock of {self.location} was taken over or broken")
                    self._lock_version = found.version
                try:
                    self._write_lock(lease, self._lock_version)
                except Moved:
                    self._lock_version = None
                    continue
                return
        raise RunLockLost(f"the run lock of {self.location} was taken over or broken")

    def release_lease(self, lease: Lease) -> None:
        self.break_lease(lease.id)

    def _write_lock(self, lease: Lease, before: Version | None) -> None:
        name, data = self._name(_LOCK), encode_lease(lease)
        if before is None:
            self._lock_version = self._bucket.create(name, data)
        else:
            self._lock_version = self._bucket.replace(name, data, before)

    def _refuse_held(self, found: Found) -> None:
        lease = self._decode_lock(found)
        left = self._left(found, lease)
        if left > 0:
            raise held(lease, self.location, environment=self._environment, left=left)

    def _left(self, found: Found, lease: Lease) -> float:
        """Seconds until it runs out, by the store's clock: the time that the store gives to something written now."""
        if lease.released:
            return 0.0
        try:
            self._bucket.put(self._name(_CLOCK), uuid.uuid4().hex.encode())
            now = self._bucket.get(self._name(_CLOCK))
        except ReconcilerError:  # may read only: then it is not known, and counts as held
            return lease.seconds
        age = (now.at - found.at).total_seconds() if now is not None else 0.0
        return lease.seconds + _GRAIN - age

    def _decode_lock(self, found: Found) -> Lease:
        return decode_lease(found.data, where=f"{self.location}/{_LOCK}")

    # Reading

    def _everything(self) -> tuple[Stored, _End]:
        snapshot, _ = self._snapshot()
        looked = self._clock()
        names = [name for name, _ in self._bucket.names(self._name("log"), after=_log_name(snapshot.seq))]
        self._end = _End(seq=snapshot.seq, lineage=snapshot.lineage, looked=looked)
        records: list[Record] = []
        for batch in self._batches(names, snapshot):
            records.extend(one.record for one in batch.records)
        stored = Stored(snapshot=snapshot, records=tuple(records), seq=snapshot.seq + len(records))
        self._end = replace(self._end, seq=stored.seq)
        return stored, self._end

    def _batches(self, names: Sequence[str], snapshot: Applied) -> list[Batch]:
        """The objects of the log, each where the one before it ends."""
        with ThreadPoolExecutor(_READERS) as pool:
            contents = list(pool.map(lambda name: self._bucket.get(self._name(f"log/{name}")), names))
        next_seq, batches = snapshot.seq + 1, []
        for name, found in zip(names, contents, strict=True):
            where = f"{self.location}/log/{name}"
            if found is None:
                raise StateCorrupt(f"{where} is gone", next_step=_MEND)
            if name != _log_name(next_seq):
                raise StateCorrupt(f"{self.location}/log/{_log_name(next_seq)} is gone", next_step=_MEND)
            batches.append(decode_owned(found.data, (self._environment, snapshot.lineage), next_seq, where=where))
            next_seq = batches[-1].last_seq + 1
        return batches

    def _follow(self, end: _End) -> tuple[Record, ...]:
        """What was appended after the end that is known."""
        records: list[Record] = []
        while True:
            looked, name = self._clock(), f"log/{_log_name(end.seq + 1)}"
            found = self._bucket.get(self._name(name))
            if found is None:
                self._end = replace(end, looked=looked)
                return tuple(records)
            owner = (self._environment, end.lineage)
            batch = decode_owned(found.data, owner, end.seq + 1, where=f"{self.location}/{name}")
            records.extend(one.record for one in batch.records)
            end = self._end = replace(end, seq=batch.last_seq, looked=looked)

    def _snapshot(self) -> tuple[Applied, Version]:
        where = f"{self.location}/{_SNAPSHOT}"
        found = self._bucket.get(self._name(_SNAPSHOT))
        if found is None:
            if self._bucket.names(self._name("log")):
                raise StateCorrupt(f"{where} is gone, and its log is there", next_step=_MEND)
            raise StateMissing(f"There is no state in {self.location}")
        try:
            snapshot = decode_snapshot(found.data, where=where)
        except StateCorrupt as error:
            error.next_step = _MEND
            raise
        if snapshot.environment != self._environment:
            raise StateForeign(f"{where} is the state of {snapshot.environment}, not of {self._environment}")
        if self._lineage not in {None, snapshot.lineage}:
            raise StateForeign(
                f"{where} was replaced meanwhile: its lineage is {snapshot.lineage}, not {self._lineage}"
            )
        self._lineage = snapshot.lineage
        return snapshot, found.version

    def _known(self, seq: int) -> _End | None:
        """The end that is known, if it is that one and was seen not long ago."""
        end = self._end
        return end if end is not None and end.seq == seq and self._clock() - end.looked < LOOK_AGAIN else None

    def _at(self, seq: int) -> _End:
        """The log's end, which is at `seq` as far as we know. Raises Conflict."""
        end = self._known(seq) or self._everything()[1]
        if end.seq != seq:
            raise Conflict(f"the log of {self.location} stands at {end.seq}, not at {seq}")
        return end

    def _surely_at(self, seq: int) -> _End:
        """The log's end, which is at `seq` now. Raises Conflict."""
        end = self._at(seq)
        found = self._follow(end)
        if found:
            raise Conflict(f"the log of {self.location} stands at {seq + len(found)}, not at {seq}")
        return end

    # Writing

    def _append(self, end: _End, records: Sequence[Record]) -> None:
        first, last = end.seq + 1, end.seq + len(records)
        data = encode((self._environment, end.lineage), first, records, new_write())
        self._end = None  # until it is known how this ends
        try:
            self._bucket.create(self._name(f"log/{_log_name(first)}"), data)
        except Moved:
            self._end = end
            raise Conflict(f"the log of {self.location} has moved on from {end.seq}") from None
        except InDoubt as error:
            self._lost = DurabilityLost(str(error), next_step=error.next_step)
            raise self._lost from error
        if self._clock() - end.looked > KEPT.total_seconds() / 2:
            # We slept in between, so long that the name may have been used and cleared up.
            self._lost = DurabilityLost(
                f"this process slept while it wrote to {self.location}; what it wrote may not count"
            )
            raise self._lost
        self._end = replace(end, seq=last)

    def _clear_up(self, seq: int) -> None:
        """Objects of the log that the snapshot has made superfluous, a day after they were written."""
        listed = self._bucket.names(self._name("log"))
        newest = max((at for _, at in listed), default=None)
        if newest is not None:
            self._bucket.delete(self._name(f"log/{name}") for name, at in listed if _is_spent(name, at, seq, newest))

    def _name(self, name: str) -> str:
        return f"{self._environment}/{name}"


_MEND = "Bring it back from the bucket's versions or a copy; nothing was changed."


def _log_name(first_seq: int) -> str:
    return f"{first_seq:020d}.json"


def _is_spent(name: str, at: datetime, seq: int, newest: datetime) -> bool:
    """Whether an object of the log holds nothing after record `seq`, and is old by the store's own clock."""
    return name <= _log_name(seq) and newest - at > KEPT
