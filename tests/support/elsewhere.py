"""A memory store that behaves like one elsewhere: slow appends in threads, and a run lock that runs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reconciler.errors import ReconcilerError
from reconciler.model.applied import Holder
from reconciler.model.records import Record
from reconciler.state.memory import MemoryStore
from reconciler.state.store import RunLock

RENEW_EVERY = 20.0


class StoreElsewhere(MemoryStore):
    """`appends` keeps what was appended together; `before_append` is called first, with what is to be appended.

    `renewals` are obeyed one a renewal: an error is raised, None renews.
    """

    def __init__(self, environment: str) -> None:
        super().__init__(environment)
        self.appends: list[tuple[Record, ...]] = []
        self.before_append: Callable[[Sequence[Record]], None] = lambda _: None
        self.renewals: list[ReconcilerError | None] = []
        self.renewed = 0

    @property
    def is_local(self) -> bool:
        return False

    def append(self, seq: int, records: Sequence[Record]) -> int:
        self.before_append(records)
        moved = super().append(seq, records)
        self.appends.append(tuple(records))
        return moved

    def lock_run(self, holder: Holder) -> LockElsewhere:  # type: ignore[override]  # a lock that can do more
        return LockElsewhere(self, super().lock_run(holder))

    def told(self) -> None:
        self.renewed += 1
        error = self.renewals.pop(0) if self.renewals else None
        if error is not None:
            raise error


class LockElsewhere:
    """Held until released, renewed meanwhile."""

    def __init__(self, store: StoreElsewhere, lock: RunLock) -> None:
        self._store = store
        self._lock = lock

    @property
    def renew_every(self) -> float:
        return RENEW_EVERY

    def renew(self) -> None:
        self._store.told()

    def release(self) -> None:
        self._lock.release()
