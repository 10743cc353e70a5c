"""The run lock of stores that other machines share: a lease, which names its holder, is renewed, and runs out.

A process that dies gives nothing back to such a store; so its run lock ends by itself. Two clocks are looked at, never
compared with each other: whoever finds a lease asks the *store's* clock whether it has run out (git has none; see there), and
the holder stops counting on its lease by its *own* clock, some time before that, when it could not renew it.

Correctness does not hang on leases: a sender whose lease somebody else has taken over fails at its next append, because the
log has moved. Leases keep two from trying, and say who it is.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from reconciler.errors import ReconcilerError, RunLockHeld, StateCorrupt
from reconciler.model.applied import Holder
from reconciler.state.shapes import public, shape_of
from reconciler.state.store import RunLockLost

RENEWED = 1 / 3  # of its length, after which it is renewed
# Of its length, for how long after its last renewal a holder claims anything by it. What is left of the shortest, 36 seconds, is
# as much as may pass from there to a request's first byte (`apply.send`).
COUNTED = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What a store keeps of a run lock. `renewals` tells one renewal from the next; `seconds` is its length."""

    __pydantic_config__ = {"strict": True, "extra": "forbid", "alias_generator": public}  # noqa: RUF012 - pydantic's

    id: str
    holder: Holder
    seconds: float
    renewals: int = 0
    released: bool = False

    def renewed(self) -> Lease:
        return replace(self, renewals=self.renewals + 1)


def new_lease(holder: Holder, seconds: float) -> Lease:
    return Lease(id=uuid.uuid4().hex[:12], holder=holder, seconds=seconds)


def encode_lease(lease: Lease) -> bytes:
    return shape_of(Lease).dump(lease, indent=1) + b"\n"


def decode_lease(data: bytes, *, where: str) -> Lease:
    """Raises StateCorrupt."""
    try:
        lease: Lease = shape_of(Lease).load(data)
    except ValueError as error:
        raise StateCorrupt(f"{where} is damaged: {error}", next_step=f"Delete {where}.") from None
    return lease


def held(lease: Lease, location: str, *, environment: str, left: float) -> RunLockHeld:
    """The words for whoever finds it held; `left` are the seconds until it runs out."""
    return RunLockHeld(
        f"the run lock of {location} is held by {lease.holder}; its id is {lease.id}, and without renewal it runs out in"
        f" {max(1, round(left))} s",
        next_step="Wait until that run has sent what it has to send. If it is certainly dead, wait until the lock runs out,"
        f" or break it: `reconciler state unlock -e {environment} --id {lease.id}`.",
    )


def clock() -> float:
    """Seconds that go on while the machine sleeps, where the system has such a clock."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


@runtime_checkable
class Leased(Protocol):
    """A store whose run lock is a lease."""

    def lease(self) -> Lease | None:
        """The lease that somebody holds or has let run out; None when it was released."""
        ...

    def break_lease(self, lease_id: str) -> bool:
        """Ends the lease of that id, whoever holds it. False when it is another one now."""
        ...


class LeaseKeeper(Protocol):
    """What a store does for `LeaseLock`."""

    def renew_lease(self, lease: Lease) -> None:
        """Writes this renewal in the place of the one before it. Raises RunLockLost, StateError."""
        ...

    def release_lease(self, lease: Lease) -> None:
        """Ends it, if it is still there. Raises StateError."""
        ...


class LeaseLock:
    """The holder's side; safe to share between threads. `began` is the clock before the lease was asked for."""

    def __init__(self, keeper: LeaseKeeper, lease: Lease, began: float, now: Callable[[], float] = clock) -> None:
        self._keeper = keeper
        self._lease = lease
        self._now = now
        self._confirmed = began
        self._mutex = threading.Lock()
        self._lost: RunLockLost | None = None
        self._released = False

    @property
    def renew_every(self) -> float:
        return self._lease.seconds * RENEWED

    def renew(self) -> None:
        """Raises RunLockLost when it is gone for good, StateError when the store could not be asked: try again."""
        with self._mutex:
            self._renew()

    def must_hold(self) -> None:
        """Before a call is claimed: that it is still ours, as far as can be known without asking the store each time.

        Raises RunLockLost, or StateError when it could not be renewed for so long that others may take it.
        """
        with self._mutex:
            if self._lost is not None:
                raise self._lost
            age = self._now() - self._confirmed
            if self._released or age < self.renew_every:
                return
            try:
                self._renew()
            except RunLockLost:
                raise
            except ReconcilerError:
                if age >= self._lease.seconds * COUNTED:
                    raise

    def release(self) -> None:
        """Never raises: what could not be released runs out by itself."""
        with self._mutex:
            if self._released:
                return
            self._released = True
            if self._lost is not None:
                return
            try:
                self._keeper.release_lease(self._lease)
            except ReconcilerError:
                return

    def _renew(self) -> None:
        if self._released:
            return
        if self._lost is not None:
            raise self._lost
        began = self._now()
        lease = self._lease.renewed()
        try:
            self._keeper.renew_lease(lease)
        except RunLockLost as error:
            self._lost = error
            raise
        self._lease, self._confirmed = lease, began
