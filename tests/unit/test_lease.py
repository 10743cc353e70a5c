"""The holder's side of a run lock that runs out: when it asks, what it believes, and when it stops."""

from __future__ import annotations

import pytest

from reconciler.errors import StateCorrupt, StateError
from reconciler.state.lease import COUNTED, RENEWED, Lease, LeaseLock, decode_lease, encode_lease, new_lease
from reconciler.state.store import ExpiringLock, RunLockLost
from tests.support.records import HOLDER

LENGTH = 60.0


class Keeper:
    """A store that remembers what it was asked, and fails as it is told."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails: StateError | None = None
        self.time = 1000.0
        self.lock = LeaseLock(self, new_lease(HOLDER, LENGTH), self.time, now=lambda: self.time)

    def renew_lease(self, lease: Lease) -> None:
        self.asked.append(f"renew {lease.renewals}")
        if self.fails is not None:
            raise self.fails

    def release_lease(self, lease: Lease) -> None:
        self.asked.append(f"release {lease.renewals}")
        if self.fails is not None:
            raise self.fails


def test_a_young_lease_needs_no_question() -> None:
    """Claims within the time after a renewal cost nothing."""
    keeper = Keeper()
    keeper.time += LENGTH * RENEWED - 1
    keeper.lock.must_hold()
    assert keeper.asked == []
    assert isinstance(keeper.lock, ExpiringLock)
    assert keeper.lock.renew_every == pytest.approx(20)


def test_a_claim_renews_when_it_is_time() -> None:
    """Where nobody renewed beside it, the claim does, and the time begins anew."""
    keeper = Keeper()
    for _ in range(3):
        keeper.time += LENGTH * RENEWED + 1
        keeper.lock.must_hold()
        keeper.lock.must_hold()
    assert keeper.asked == ["renew 1", "renew 2", "renew 3"]


def test_a_store_that_does_not_answer() -> None:
    """For a while the lease still counts; after that nothing is claimed by it, until it could be renewed again."""
    keeper = Keeper()
    keeper.fails = StateError("no answer")
    keeper.time += LENGTH * COUNTED - 1
    keeper.lock.must_hold()
    keeper.time += 2
    with pytest.raises(StateError, match="no answer"):
        keeper.lock.must_hold()
    keeper.fails = None
    keeper.lock.must_hold()
    assert keeper.asked[-1] == "renew 1", "the same renewal, which may have got there before"


def test_time_counts_from_before_the_renewal() -> None:
    """A renewal that took long is as old as its beginning."""
    keeper = Keeper()

    class Slow(Keeper):
        def renew_lease(self, lease: Lease) -> None:
            super().renew_lease(lease)
            self.time += LENGTH / 2

    keeper = Slow()
    keeper.lock.renew()
    keeper.lock.must_hold()
    assert keeper.asked == ["renew 1", "renew 2"]


def test_lost_is_lost() -> None:
    """Once another has it nothing is asked any more, and nothing released."""
    keeper = Keeper()
    keeper.fails = RunLockLost("taken over")
    with pytest.raises(RunLockLost):
        keeper.lock.renew()
    keeper.fails = None
    for use in (keeper.lock.renew, keeper.lock.must_hold):
        with pytest.raises(RunLockLost):
            use()
    keeper.lock.release()
    assert keeper.asked == ["renew 1"]


def test_released_is_released() -> None:
    """A release is made once, survives a store that is away, and no renewal follows it."""
    keeper = Keeper()
    keeper.fails = StateError("no answer")
    keeper.lock.release()
    keeper.lock.release()
    keeper.lock.renew()
    keeper.time += 10 * LENGTH
    keeper.lock.must_hold()
    assert keeper.asked == ["release 0"]


def test_a_lease_as_text() -> None:
    """It is read back as it was written; anything else is damage, and says where."""
    lease = new_lease(HOLDER, LENGTH).renewed()
    assert decode_lease(encode_lease(lease), where="here") == lease
    with pytest.raises(StateCorrupt, match="here is damaged"):
        decode_lease(b"{}", where="here")
