"""The process dies at the nth step that the outside could see: wrappers around a store and a platform that count the steps.

    fate = Fate(at=7)
    estate.store, estate.platform = FatedStore(store, fate), FatedPlatform(platform, fate)
    with pytest.raises(BaseException): …        # Died, or a group that holds it
    fate.bury()                                  # the kernel gives back the dead process's run lock

Once dead, every step raises: nothing that a real process would not have done any more reaches store or platform. A run that
takes fewer steps than `at` lives, and `fate.steps` tells how many there were.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from reconciler.model.applied import Applied, Holder
from reconciler.model.records import Record
from reconciler.platform.api import Platform, Request, Sent
from reconciler.state.store import RunLock, Store, Stored


class Died(BaseException):
    """kill -9. Not an Exception: nobody may handle it."""


class Fate:
    """Counts steps from 1 and kills at step `at`."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.steps = 0
        self.dead = False
        self._locks: list[RunLock] = []

    def step(self) -> None:
        self.steps += 1
        if self.dead or self.steps == self.at:
            self.dead = True
            raise Died(f"at step {self.at}")

    def holds(self, lock: RunLock) -> None:
        self._locks.append(lock)

    def bury(self) -> None:
        """The locks of the dead are free."""
        for lock in self._locks:
            lock.release()


class FatedStore:
    """Dies before an append is durable, or after it and before anybody hears of it."""

    def __init__(self, store: Store, fate: Fate) -> None:
        self._store = store
        self._fate = fate

    @property
    def location(self) -> str:
        return self._store.location

    @property
    def is_local(self) -> bool:
        return self._store.is_local

    def create(self, snapshot: Applied) -> None:
        self._store.create(snapshot)

    def exists(self) -> bool:
        return self._store.exists()

    def read(self) -> Stored:
        return self._store.read()

    def read_since(self, seq: int) -> tuple[tuple[Record, ...], int] | None:
        return self._store.read_since(seq)

    def append(self, seq: int, records: Sequence[Record]) -> int:
        self._fate.step()
        moved = self._store.append(seq, records)
        self._fate.step()
        return moved

    def compact(self, seq: int, snapshot: Applied) -> None:
        self._fate.step()
        self._store.compact(seq, snapshot)
        self._fate.step()

    def lock_run(self, holder: Holder) -> RunLock:
        self._fate.step()
        lock = self._store.lock_run(holder)
        self._fate.holds(lock)
        self._fate.step()
        return FatedLock(lock, self._fate)

    def sender_is_dead(self) -> bool:
        return self._store.sender_is_dead()


class FatedLock:
    """The dead release nothing; `Fate.bury` does."""

    def __init__(self, lock: RunLock, fate: Fate) -> None:
        self._lock = lock
        self._fate = fate

    def release(self) -> None:
        if not self._fate.dead:
            self._lock.release()


class FatedPlatform:
    """Dies before connecting, before the first byte, before the reply is read, or before an answer is."""

    def __init__(self, platform: Platform, fate: Fate) -> None:
        self._platform = platform
        self._fate = fate

    @property
    def origin(self) -> str:
        return self._platform.origin

    async def send(self, request: Request, before_first_byte: Callable[[], Awaitable[None]]) -> Sent:
        self._fate.step()

        async def due() -> None:
            await before_first_byte()
            self._fate.step()

        sent = await self._platform.send(request, due)
        self._fate.step()
        return sent

    async def ask(self, dock_status_id: str) -> Sent:
        self._fate.step()
        return await self._platform.ask(dock_status_id)

    async def close(self) -> None:
        await self._platform.close()
