"""Transactions: decided on the state as it is, appended once, durable before anybody hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from reconciler.apply.journal import Journal
from reconciler.errors import StateError
from reconciler.model.applied import Applied
from reconciler.model.records import DecisionRecord, Record, Suspend
from reconciler.state.store import DurabilityLost
from tests.support.estates import new_store
from tests.support.failpoints import Fate, FatedStore
from tests.support.virtual_time import START, run_virtual


def note(who: str) -> DecisionRecord:
    return DecisionRecord(decision=Suspend(model_id=None), who=who, why="", at=START)


def who_suspends(applied: Applied) -> str:
    return applied.suspension.who if applied.suspension else "nobody"


class Watched(FatedStore):
    """Counts appends, and is local or not."""

    def __init__(self, *, local: bool = True, error: Exception | None = None) -> None:
        super().__init__(new_store(), Fate())
        self.appends: list[int] = []
        self.error = error
        self._local = local

    @property
    def is_local(self) -> bool:
        return self._local

    def append(self, seq: int, records: Sequence[Record]) -> int:
        self.appends.append(len(records))
        if self.error is not None:
            raise self.error
        return super().append(seq, records)


@pytest.mark.parametrize("local", [True, False])
def test_concurrent_transactions_share_an_append(*, local: bool) -> None:
    """What is asked for at the same time becomes durable with one append, and each sees those before it."""
    store = Watched(local=local)
    journal = Journal(store)
    seen: list[str] = []

    async def one(name: str) -> Applied:
        def decide(applied: Applied) -> list[Record]:
            seen.append(who_suspends(applied))
            return [note(name)]

        return await journal.transact(decide)

    async def main() -> list[Applied]:
        return list(await asyncio.gather(*(one(name) for name in "abcd")))

    states = run_virtual(main())
    assert store.appends == [4]
    assert seen == ["nobody", "a", "b", "c"]
    assert {who_suspends(state) for state in states} == {"d"}


def test_nothing_decided_is_nothing_appended() -> None:
    """A transaction without records touches nothing."""
    store = Watched()
    journal = Journal(store)
    run_virtual(journal.transact(lambda _: ()))
    journal.transact_now(lambda _: ())
    assert store.appends == []


@pytest.mark.parametrize("local", [True, False])
def test_a_refusal_is_its_own(*, local: bool) -> None:
    """What one transaction raises is raised to its caller, and the others in the batch go through."""
    journal = Journal(Watched(local=local))

    def refuse(_: Applied) -> list[Record]:
        raise ValueError("no")

    async def main() -> list[object]:
        asked = (journal.transact(decide) for decide in (refuse, lambda _: [note("b")]))
        return list(await asyncio.gather(*asked, return_exceptions=True))

    refused, done = run_virtual(main())
    assert isinstance(refused, ValueError)
    assert isinstance(done, Applied)


@pytest.mark.parametrize("local", [True, False])
def test_decided_again_when_somebody_else_was_quicker(*, local: bool) -> None:
    """No decision is taken on a state that has moved."""
    store = Watched(local=local)
    mine, other = Journal(store), Journal(store)
    other.transact_now(lambda _: [note("other")])
    seen: list[str] = []

    def decide(applied: Applied) -> list[Record]:
        seen.append(who_suspends(applied))
        return [note("me")]

    run_virtual(mine.transact(decide))
    assert seen == ["nobody", "other"]
    assert len(store.read().records) == 2


def test_interleaved_journals_lose_nothing() -> None:
    """However many write at once, every record is there once (P7)."""
    store = new_store()

    async def writer(name: str) -> None:
        journal = Journal(store)
        for number in range(20):
            await journal.transact(lambda _, text=f"{name}{number}": [note(text)])  # type: ignore[misc]
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(writer(name) for name in "abcde"))

    run_virtual(main())
    written = [record.who for record in store.read().records if isinstance(record, DecisionRecord)]
    assert sorted(written) == sorted(f"{name}{number}" for name in "abcde" for number in range(20))


@pytest.mark.parametrize("local", [True, False])
def test_cancelled_callers_block_nobody(*, local: bool) -> None:
    """A caller that is cancelled before its append appends nothing, and the others do not notice."""
    store = Watched(local=local)
    journal = Journal(store)

    async def main() -> Applied:
        first = asyncio.create_task(journal.transact(lambda _: [note("first")]))
        second = asyncio.create_task(journal.transact(lambda _: [note("second")]))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await second
        return await journal.transact(lambda _: [note("third")])

    assert who_suspends(run_virtual(main())) == "third"
    if local:
        assert sum(store.appends) == 2


@pytest.mark.parametrize("local", [True, False])
def test_errors_reach_everybody(*, local: bool) -> None:
    """When an append fails, everybody in the batch hears of it, and a later one may succeed."""
    store = Watched(local=local, error=StateError("No space left on device"))
    journal = Journal(store)

    async def main() -> None:
        asked = [journal.transact(lambda _: [note("x")]) for _ in range(3)]
        errors = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(error) for error in errors] == [StateError] * 3
        store.error = None
        await journal.transact(lambda _: [note("y")])

    run_virtual(main())
    assert who_suspends(journal.applied) == "y"


def test_durability_lost_is_final() -> None:
    """After a failed sync nothing is appended any more, although the disk seems to work again."""
    store = Watched(error=DurabilityLost("fsync failed"))
    journal = Journal(store)
    for _ in range(2):
        with pytest.raises(DurabilityLost):
            journal.transact_now(lambda _: [note("x")])
        store.error = None
    with pytest.raises(DurabilityLost):
        run_virtual(journal.transact(lambda _: [note("y")]))
    assert len(store.appends) == 1


def test_compaction_meets_another_writer() -> None:
    """A compaction takes along what others appended meanwhile."""
    store = new_store()
    mine, other = Journal(store), Journal(store)
    mine.transact_now(lambda _: [note("me")])
    other.refresh()
    other.transact_now(lambda _: [note("other")])
    mine.compact()
    stored = store.read()
    assert stored.records == ()
    assert who_suspends(stored.snapshot) == "other"
    assert who_suspends(other.refresh()) == "other"


def test_refresh_after_a_compaction() -> None:
    """Whoever missed a compaction reads everything anew."""
    store = new_store()
    mine, other = Journal(store), Journal(store)
    mine.transact_now(lambda _: [note("a"), note("b")])
    mine.compact()
    assert who_suspends(other.refresh()) == "b"
    other.transact_now(lambda _: [note("c")])
    assert who_suspends(mine.refresh()) == "c"


def test_a_slow_store_goes_into_a_thread() -> None:
    """Once an append took long, the next ones are made beside the event loop."""
    on_loop: list[bool] = []

    class Slow(Watched):
        def append(self, seq: int, records: Sequence[Record]) -> int:
            try:
                asyncio.get_running_loop().advance(0.01)  # type: ignore[attr-defined]
                on_loop.append(True)
            except RuntimeError:
                on_loop.append(False)
            return super().append(seq, records)

    journal = Journal(Slow())

    async def main() -> None:
        for name in "ab":
            await journal.transact(lambda _, name=name: [note(name)])  # type: ignore[misc]

    run_virtual(main())
    assert on_loop == [True, False]
