"""A store that lives as long as the process: for tests, trials, and as the plainest reading of the `Store` contract."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from reconciler.errors import RunLockHeld, StateForeign, StateMissing
from reconciler.model.applied import Applied, Holder
from reconciler.model.records import Record
from reconciler.state.store import Conflict, Stored, check_successor


class MemoryStore:
    """The state of one environment in memory. Safe to share between threads."""

    def __init__(self, environment: str) -> None:
        self._environment = environment
        self._mutex = threading.Lock()
        self._snapshot: Applied | None = None
        self._records: tuple[Record, ...] = ()
        self._holder: Holder | None = None

    @property
    def location(self) -> str:
        return f"memory:{self._environment}"

    @property
    def is_local(self) -> bool:
        return True

    def create(self, snapshot: Applied) -> None:
        with self._mutex:
            if self._snapshot is not None:
                raise StateForeign(f"{self.location} already holds a state (lineage {self._snapshot.lineage})")
            if snapshot.environment != self._environment:
                raise StateForeign(f"a state of {snapshot.environment} does not belong into {self.location}")
            self._snapshot = snapshot

    def exists(self) -> bool:
        return self._snapshot is not None

    def read(self) -> Stored:
        with self._mutex:
            snapshot = self._require()
            return Stored(snapshot=snapshot, records=self._records, seq=self._seq(snapshot))

    def read_since(self, seq: int) -> tuple[tuple[Record, ...], int] | None:
        with self._mutex:
            snapshot = self._require()
            if seq < snapshot.seq or seq > self._seq(snapshot):
                return None
            return self._records[seq - snapshot.seq :], self._seq(snapshot)

    def append(self, seq: int, records: Sequence[Record]) -> int:
        with self._mutex:
            snapshot = self._require()
            self._check(seq, snapshot)
            self._records += tuple(records)
            return self._seq(snapshot)

    def compact(self, seq: int, snapshot: Applied) -> None:
        with self._mutex:
            before = self._require()
            self._check(seq, before)
            check_successor(before, seq, snapshot, self.location)
            if self._records:
                self._snapshot, self._records = replace(snapshot, serial=before.serial + 1), ()

    def lock_run(self, holder: Holder) -> MemoryRunLock:
        with self._mutex:
            self._require()
            if self._holder is not None:
                raise RunLockHeld(f"the run lock of {self.location} is held by {self._holder}")
            self._holder = holder
        return MemoryRunLock(self)

    def sender_is_dead(self) -> bool:
        return self._holder is None

    def _unlock(self) -> None:
        self._holder = None

    def _require(self) -> Applied:
        if self._snapshot is None:
            raise StateMissing(f"There is no state in {self.location}")
        return self._snapshot

    def _seq(self, snapshot: Applied) -> int:
        return snapshot.seq + len(self._records)

    def _check(self, seq: int, snapshot: Applied) -> None:
        if seq != self._seq(snapshot):
            raise Conflict(f"the log of {self.location} stands at {self._seq(snapshot)}, not at {seq}")


class MemoryRunLock:
    """Held until released."""

    def __init__(self, store: MemoryStore) -> None:
        self._store: MemoryStore | None = store

    def release(self) -> None:
        if self._store is not None:
            self._store._unlock()  # noqa: SLF001  # the two halves of one thing
            self._store = None
