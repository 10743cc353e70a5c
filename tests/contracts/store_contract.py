"""What every store promises, as tests. A store's own test class inherits `StoreContract` and says how it is opened."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import ClassVar, Protocol

import pytest

from reconciler.errors import RunLockHeld, StateForeign, StateMissing
from reconciler.model.applied import Applied
from reconciler.model.records import LockEvent, LockRecord, Record
from reconciler.state.fold import fold
from reconciler.state.lease import Leased
from reconciler.state.store import Conflict, ExpiringLock, RunLock, RunLockLost, Store, Stored
from tests.support.records import HOLDER, NOON, accepted, attempt, empty, note, status

OTHER = replace(HOLDER, user="grace", run="r2")


def folded(store: Store) -> Applied:
    return fold_of(store.read())


def fold_of(stored: Stored) -> Applied:
    return fold(stored.snapshot, stored.records)


def notes_up_to(last: int) -> set[str]:
    """The entries that `note(1)` to `note(last)` make."""
    return {f"cm-{n}" for n in range(1, last + 1)}


def append_until_taken(store: Store, record: Record) -> int:
    """As a transaction does: read the sequence, append, and once more when somebody was faster. Gives the number it got."""
    while True:
        try:
            return store.append(store.read().seq, [record])
        except Conflict:
            continue


class Opener(ABC):
    """Opens handles on one state."""

    @abstractmethod
    def open(self) -> Store: ...


class StoreContract(ABC):
    """`opener` gives handles on one and the same state of the environment `production`, as several processes have them.

    `rounds` is how long writers, readers and followers are at it: fewer where a write takes its time.
    """

    rounds: ClassVar[int] = 24

    @pytest.fixture
    @abstractmethod
    def opener(self) -> Opener: ...

    @pytest.fixture
    def store(self, opener: Opener) -> Store:
        store = opener.open()
        store.create(empty())
        return store

    # Being there

    def test_there_is_nothing_at_first(self, opener: Opener) -> None:
        """Without a state everything but `exists` and `create` says StateMissing."""
        store = opener.open()
        assert not store.exists()
        for use in (
            store.read,
            lambda: store.read_since(0),
            lambda: store.append(0, [note(1)]),
            lambda: store.compact(0, empty()),
            lambda: store.lock_run(HOLDER),
        ):
            with pytest.raises(StateMissing):
                use()
        assert not store.exists()

    def test_a_new_state_is_read_back(self, opener: Opener, store: Store) -> None:
        """What `create` was given is what everybody reads."""
        for handle in (store, opener.open()):
            assert handle.exists()
            assert handle.read() == Stored(snapshot=empty(), records=(), seq=0)

    def test_a_state_is_never_made_twice(self, opener: Opener, store: Store) -> None:
        """A second `create` is refused and changes nothing."""
        store.append(0, [note(1)])
        with pytest.raises(StateForeign):
            opener.open().create(empty(lineage="lineage-2"))
        assert folded(store).lineage == "lineage-1"
        assert set(folded(store).entries) == {"cm-1"}

    def test_another_environment_is_refused(self, opener: Opener) -> None:
        """A state belongs to one environment."""
        with pytest.raises(StateForeign):
            opener.open().create(empty("staging"))
        assert not opener.open().exists()

    def test_a_state_may_begin_later(self, opener: Opener) -> None:
        """A state that is moved from another store goes on counting."""
        store = opener.open()
        begun = replace(empty(), seq=40, serial=3)
        store.create(begun)
        assert store.append(40, [note(1)]) == 41
        assert opener.open().read() == Stored(snapshot=begun, records=(note(1),), seq=41)

    def test_a_store_says_where_it_is(self, store: Store) -> None:
        """Messages name the place."""
        assert "production" in store.location
        assert isinstance(store.is_local, bool)

    # Appending

    def test_records_are_read_in_their_order(self, opener: Opener, store: Store) -> None:
        """Appends give the number of their last record and are seen by everybody, in order."""
        assert store.append(0, [note(1), note(2)]) == 2
        assert store.append(2, [note(3)]) == 3
        for handle in (store, opener.open()):
            assert handle.read() == Stored(snapshot=empty(), records=(note(1), note(2), note(3)), seq=3)

    def test_every_kind_of_record_comes_back(self, opener: Opener, store: Store) -> None:
        """A call from ATTEMPT to its end is the same for who reads it."""
        records = (attempt(), accepted(), status())
        store.append(0, records)
        assert opener.open().read().records == records

    def test_an_append_on_an_old_sequence_is_refused(self, opener: Opener, store: Store) -> None:
        """Whoever has not seen the last record appends nothing."""
        other = opener.open()
        other.append(0, [note(1)])
        for stale in (0, 2, 7):
            with pytest.raises(Conflict):
                store.append(stale, [note(2)])
        assert store.read().records == (note(1),)
        assert store.append(1, [note(2)]) == 2

    def test_appending_nothing_changes_nothing(self, store: Store) -> None:
        """An empty append only looks at the sequence."""
        assert store.append(0, []) == 0
        with pytest.raises(Conflict):
            store.append(1, [])

    def test_large_batches_are_whole(self, opener: Opener, store: Store) -> None:
        """Hundreds of records, and records of the largest size, are one append."""
        many = [note(n) for n in range(4000)]
        assert store.append(0, many) == 4000
        large = replace(accepted(), body="\x01" * 65536)
        store.append(4000, [large] * 3)
        read = opener.open().read()
        assert len(read.records) == 4003
        assert read.records[-1] == large

    def test_the_tail_is_what_is_new(self, opener: Opener, store: Store) -> None:
        """`read_since` gives what others appended, nothing when there is nothing, and None for numbers that never were."""
        other = opener.open()
        assert store.read_since(0) == ((), 0)
        other.append(0, [note(1), note(2)])
        assert store.read_since(0) == ((note(1), note(2)), 2)
        assert store.read_since(2) == ((), 2)
        other.append(2, [note(3)])
        assert store.read_since(2) == ((note(3),), 3)
        assert store.read_since(1) == ((note(2), note(3)), 3)
        assert store.read_since(9) is None

    # Compacting

    def test_a_compaction_changes_no_meaning(self, opener: Opener, store: Store) -> None:
        """After a compaction everybody folds to the same state, with the next serial and no records."""
        seq = store.append(0, [attempt(), accepted(), status()])
        before = folded(store)
        store.compact(seq, before)
        for handle in (store, opener.open()):
            assert handle.read() == Stored(snapshot=replace(before, serial=1), records=(), seq=3)
        assert store.append(3, [note(9)]) == 4
        assert opener.open().read().records == (note(9),)

    def test_a_compaction_with_nothing_new_does_nothing(self, store: Store) -> None:
        """The serial rises only when there is something to fold."""
        store.append(0, [note(1)])
        store.compact(1, folded(store))
        store.compact(1, folded(store))
        assert store.read().snapshot.serial == 1

    def test_a_compaction_on_an_old_sequence_is_refused(self, opener: Opener, store: Store) -> None:
        """A snapshot that does not know the last record replaces nothing."""
        store.append(0, [note(1)])
        known = folded(store)
        opener.open().append(1, [note(2)])
        with pytest.raises(Conflict):
            store.compact(1, known)
        assert set(folded(store).entries) == {"cm-1", "cm-2"}

    @pytest.mark.parametrize("change", [{"lineage": "lineage-2"}, {"environment": "staging"}, {"seq": 5}])
    def test_a_foreign_snapshot_is_refused(self, store: Store, change: dict[str, str]) -> None:
        """Another lineage, environment or number cannot take the place of the state."""
        store.append(0, [note(1)])
        before = store.read()
        with pytest.raises(StateForeign):
            store.compact(1, replace(folded(store), **change))  # type: ignore[arg-type]  # one field each
        assert store.read() == before

    def test_others_notice_a_compaction(self, opener: Opener, store: Store) -> None:
        """A handle that read before goes on: what it has seen is current, and what was folded away it must read again."""
        other = opener.open()
        other.read()
        store.append(0, [note(1), note(2)])
        store.compact(2, folded(store))
        assert other.read_since(1) is None
        assert other.read_since(2) == ((), 2)
        store.append(2, [note(3)])
        assert other.read_since(2) == ((note(3),), 3)
        assert other.append(3, [note(4)]) == 4
        other.compact(4, folded(other))
        assert store.append(4, [note(5)]) == 5
        assert set(folded(opener.open()).entries) == notes_up_to(5)

    def test_many_compactions(self, opener: Opener, store: Store) -> None:
        """Serial and sequence rise with each, and nothing is lost on the way."""
        handles = [store, opener.open(), opener.open()]
        for n in range(1, self.rounds // 2 + 1):
            handle = handles[n % 3]
            seq = append_until_taken(handle, note(n))
            handle.compact(seq, folded(handle))
            assert (handle.read().snapshot.serial, handle.read().seq) == (n, n)
        assert len(folded(opener.open()).entries) == self.rounds // 2

    # Together

    def test_writers_lose_no_update(self, opener: Opener, store: Store) -> None:
        """Threads that append at once all get through, each with a number of its own, and every record is there once."""
        numbers: list[int] = []
        each = self.rounds // 3

        def work(first: int) -> None:
            handle = opener.open()
            numbers.extend([append_until_taken(handle, note(first + n)) for n in range(each)])

        in_threads([partial(work, 100 * k) for k in range(4)])
        assert sorted(numbers) == list(range(1, 4 * each + 1))
        assert len(store.read().records) == 4 * each
        assert set(folded(store).entries) == {f"cm-{100 * k + n}" for k in range(4) for n in range(each)}

    def test_one_handle_serves_threads(self, store: Store) -> None:
        """A handle may be shared between threads."""
        in_threads([partial(append_until_taken, store, note(k)) for k in range(8)])
        assert len(folded(store).entries) == 8

    def test_readers_are_never_confused(self, opener: Opener, store: Store) -> None:
        """While others append and compact, every reading folds to exactly the records up to its sequence."""
        done = threading.Event()

        def write() -> None:
            handle = opener.open()
            try:
                for n in range(1, self.rounds + 1):
                    seq = append_until_taken(handle, note(n))
                    if n % 4 == 0:
                        handle.compact(seq, folded(handle))
            finally:
                done.set()

        def read() -> None:
            handle = opener.open()
            seen = 0
            while not done.is_set():
                stored = handle.read()
                assert stored.seq >= seen
                assert set(fold_of(stored).entries) == notes_up_to(stored.seq)
                seen = stored.seq

        in_threads([write, read, read])
        assert store.read().seq == self.rounds

    def test_followers_miss_nothing(self, opener: Opener, store: Store) -> None:
        """Whoever reads tails, and everything where a tail was folded away, sees every record once and in order."""
        done = threading.Event()

        def write() -> None:
            handle = opener.open()
            try:
                for n in range(1, self.rounds + 1):
                    seq = append_until_taken(handle, note(n))
                    if n % 5 == 0:
                        handle.compact(seq, folded(handle))
            finally:
                done.set()

        def follow() -> None:
            handle = opener.open()
            stored = handle.read()
            known, seq = fold_of(stored), stored.seq
            while seq < self.rounds:
                finished = done.is_set()
                tail = handle.read_since(seq)
                if tail is None:
                    stored = handle.read()
                    known, seq = fold_of(stored), stored.seq
                else:
                    known, seq = fold(known, tail[0]), tail[1]
                assert set(known.entries) == notes_up_to(seq)
                assert not (finished and seq < self.rounds)

        in_threads([write, follow, follow])
        assert store.read().seq == self.rounds

    # The run lock

    def test_one_sender_at_a_time(self, opener: Opener, store: Store) -> None:
        """The second who wants the run lock is told who has it, and gets it when it is released."""
        assert store.sender_is_dead()
        lock = store.lock_run(HOLDER)
        for handle in (store, opener.open()):
            assert not handle.sender_is_dead()
            with pytest.raises(RunLockHeld, match="ada@laptop"):
                handle.lock_run(OTHER)
        lock.release()
        assert opener.open().sender_is_dead()
        second = opener.open().lock_run(OTHER)
        lock.release()  # once more, which must not free what another holds now
        with pytest.raises(RunLockHeld, match="grace@laptop"):
            store.lock_run(HOLDER)
        second.release()

    def test_the_run_lock_stops_no_records(self, opener: Opener, store: Store) -> None:
        """Decisions and statuses are recorded, and everything is read, while somebody sends."""
        lock = store.lock_run(HOLDER)
        other = opener.open()
        assert other.append(0, [note(1)]) == 1
        assert store.read_since(0) == ((note(1),), 1)
        other.compact(1, folded(other))
        lock.release()

    def test_a_race_for_the_run_lock_has_one_winner(self, opener: Opener, store: Store) -> None:
        """Of many who want it at once one gets it."""
        won: list[object] = []
        begin = threading.Barrier(6)

        def want() -> None:
            handle = opener.open()
            begin.wait()
            with suppress(RunLockHeld):
                won.append(handle.lock_run(HOLDER))

        in_threads([want] * 6)
        assert len(won) == 1
        assert not store.sender_is_dead()


class LeaseContract:
    """What stores promise besides, whose run lock is a lease. Mixed in beside StoreContract."""

    def test_who_finds_it_held_is_told_how_to_break_it(self, opener: Opener, store: Store) -> None:
        """The message names the holder and the lease's id, and says when it runs out."""
        lock = store.lock_run(HOLDER)
        other = leased(opener.open())
        lease = other.lease()
        assert lease is not None
        assert lease.holder == HOLDER
        with pytest.raises(RunLockHeld, match=rf"ada@laptop.*{lease.id}.*runs out in \d+ s") as told:
            opener.open().lock_run(OTHER)
        assert f"state unlock -e production --id {lease.id}" in told.value.next_step
        lock.release()
        assert other.lease() is None

    def test_a_renewed_lease_is_the_same(self, opener: Opener, store: Store) -> None:
        """Renewing changes neither id nor holder, and whoever holds it can still release it."""
        lock = store.lock_run(HOLDER)
        before = leased(opener.open()).lease()
        for _ in range(3):
            renewable(lock).renew()
        after = leased(opener.open()).lease()
        assert before is not None
        assert after is not None
        assert (after.id, after.holder, after.renewals) == (before.id, HOLDER, 3)
        lock.release()
        opener.open().lock_run(OTHER).release()

    def test_a_lease_is_broken_by_its_id_alone(self, opener: Opener, store: Store) -> None:
        """Another id breaks nothing; the right one frees the lock, and the former holder may claim nothing more."""
        lock = store.lock_run(HOLDER)
        hand = leased(opener.open())
        assert not hand.break_lease("another")
        assert not hand.sender_is_dead()
        lease = hand.lease()
        assert lease is not None
        assert hand.break_lease(lease.id)
        assert not hand.break_lease(lease.id)
        assert hand.sender_is_dead()
        with pytest.raises(RunLockLost):
            renewable(lock).renew()
        with pytest.raises(RunLockLost):
            store.append(0, [attempt()])
        assert store.append(0, [note(1)]) == 1, "what is no claim is recorded whoever sends"
        second = opener.open().lock_run(OTHER)
        lock.release()
        assert not hand.sender_is_dead()
        second.release()


class ExpiryContract(LeaseContract):
    """For stores whose time a test can set. `opener` is an AgingOpener."""

    def test_a_lease_runs_out(self, opener: AgingOpener, store: Store) -> None:
        """Without renewal it ends, not before its time; then another takes it, and the former holder is told."""
        lock = store.lock_run(HOLDER)
        length = leased(store).lease()
        assert length is not None
        opener.age(length.seconds * 0.9)
        assert not opener.open().sender_is_dead()
        with pytest.raises(RunLockHeld):
            opener.open().lock_run(OTHER)
        opener.age(length.seconds * 0.2)
        assert opener.open().sender_is_dead()
        second = opener.open().lock_run(OTHER)
        assert not opener.open().sender_is_dead()
        with pytest.raises(RunLockLost):
            renewable(lock).renew()
        lock.release()
        with pytest.raises(RunLockHeld, match="grace@laptop"):
            opener.open().lock_run(HOLDER)
        second.release()

    def test_a_renewal_begins_its_time_anew(self, opener: AgingOpener, store: Store) -> None:
        """Whoever renews in time is never taken for dead."""
        lock = store.lock_run(HOLDER)
        length = leased(store).lease()
        assert length is not None
        for _ in range(3):
            opener.age(length.seconds * 0.8)
            renewable(lock).renew()
        assert not opener.open().sender_is_dead()
        lock.release()

    def test_a_paused_holder_appends_nothing_more(self, opener: AgingOpener, store: Store) -> None:
        """Once another has taken over and said so in the log, what the former holder has in hand comes too late."""
        lock = store.lock_run(HOLDER)
        store.append(0, [note(1)])
        length = leased(store).lease()
        assert length is not None
        opener.age(length.seconds * 1.2)
        other = opener.open()
        second = other.lock_run(OTHER)
        other.append(1, [LockRecord(event=LockEvent.TAKEN, epoch=2, holder=OTHER, at=NOON)])
        with pytest.raises(Conflict):
            store.append(1, [attempt()])
        assert [record.type for record in opener.open().read().records] == ["DECISION", "LOCK"]
        lock.release()
        second.release()


class AgingOpener(Opener):
    """Can make a lease older."""

    @abstractmethod
    def age(self, seconds: float) -> None: ...


class LeasedStore(Store, Leased, Protocol):
    """Both."""


def leased(store: Store) -> LeasedStore:
    assert isinstance(store, Leased)
    return store


def renewable(lock: RunLock) -> ExpiringLock:
    assert isinstance(lock, ExpiringLock)
    return lock


def in_threads(jobs: list[Callable[[], object]]) -> None:
    """All at once; what one raises is raised here."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        for future in [pool.submit(job) for job in jobs]:
            future.result(timeout=60)
