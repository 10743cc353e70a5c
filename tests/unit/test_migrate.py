"""A state moves to another store: what goes with it, what is refused, and that it may be interrupted anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

import pytest

from reconciler.errors import RunLockHeld, StateForeign, StateMissing
from reconciler.model.applied import Applied
from reconciler.model.records import Record
from reconciler.state.fold import fold
from reconciler.state.memory import MemoryStore
from reconciler.state.migrate import MOVED, Migrated, migrate
from reconciler.state.store import Store
from tests.support.failpoints import Died, Fate, FatedStore
from tests.support.records import HOLDER, NOON, accepted, attempt, empty, note, status

MOVER = replace(HOLDER, user="grace", operation="state migrate")


def filled(*records: Record, lineage: str = "lineage-1") -> MemoryStore:
    store = MemoryStore("production")
    store.create(empty(lineage=lineage))
    store.append(0, records)
    return store


def known(store: Store) -> Applied:
    stored = store.read()
    return fold(stored.snapshot, stored.records)


def moved(source: Store, target: Store) -> Migrated:
    return migrate(source, target, MOVER, now=NOON)


def same(one: Applied, other: Applied) -> bool:
    return replace(one, serial=0) == replace(other, serial=0)


def test_everything_goes_with_it() -> None:
    """The copy has lineage, numbers and entries; the serial rises, and the old place is suspended."""
    source, target = filled(attempt(), accepted(), status(), note(7)), MemoryStore("production")
    before = known(source)
    result = moved(source, target)
    assert result.copied
    assert same(known(target), before)
    assert (known(target).seq, known(target).serial, known(target).lineage) == (4, 1, "lineage-1")
    left = known(source).suspension
    assert left is not None
    assert left.why.startswith(MOVED)
    assert target.location in left.why
    assert known(target).suspension is None
    assert source.sender_is_dead(), "the run lock was given back"
    assert target.append(4, [note(8)]) == 5, "and it goes on there"


def test_nobody_may_send_meanwhile() -> None:
    """While somebody holds the run lock nothing is moved."""
    source, target = filled(note(1)), MemoryStore("production")
    lock = source.lock_run(HOLDER)
    with pytest.raises(RunLockHeld):
        moved(source, target)
    lock.release()
    assert not target.exists()


def test_nothing_is_moved_twice() -> None:
    """What was left behind is not moved from, and says where the state is."""
    source, target = filled(note(1)), MemoryStore("production")
    moved(source, target)
    with pytest.raises(StateForeign, match="was moved to memory:production"):
        moved(source, MemoryStore("production"))


def test_without_a_state_there_is_nothing_to_move() -> None:
    """And none is made elsewhere."""
    target = MemoryStore("production")
    with pytest.raises(StateMissing):
        moved(MemoryStore("production"), target)
    assert not target.exists()


TAKEN: dict[str, tuple[Callable[[], MemoryStore], str]] = {
    "another lineage": (lambda: filled(note(1), note(2), lineage="lineage-2"), "lineage lineage-2"),
    "further on": (lambda: filled(note(1), note(2), note(3)), "gone on to record 3"),
    "another history": (lambda: filled(note(1), note(9)), "it is not what"),
    "another beginning": (lambda: filled(note(9)), "it is not what"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_place_that_is_taken_is_refused(name: str) -> None:
    """Lineage and numbers tell whose state it is; neither is changed."""
    make, why = TAKEN[name]
    source, target = filled(note(1), note(2)), make()
    before = known(source), known(target)
    with pytest.raises(StateForeign, match=why):
        moved(source, target)
    assert (known(source), known(target)) == before
    assert source.sender_is_dead()


def test_a_gap_is_refused() -> None:
    """Records that were folded away cannot be brought to a copy that lacks them."""
    source, target = filled(note(1), note(2)), filled(note(1))
    source.compact(2, known(source))
    with pytest.raises(StateForeign, match="folded away"):
        moved(source, target)


def test_what_was_decided_meanwhile_goes_with_it() -> None:
    """Decisions need no run lock: one that comes between copy and suspension is brought along."""

    class Busy(MemoryStore):
        late: ClassVar[list[Record]] = [note(8), note(9)]

        def append(self, seq: int, records: Sequence[Record]) -> int:
            if self.late:
                super().append(seq, [self.late.pop(0)])
            return super().append(seq, records)

    source, target = Busy("production"), MemoryStore("production")
    source.create(empty())
    moved(source, target)
    assert set(known(target).entries) == {"cm-8", "cm-9"}


def test_interrupted_anywhere_it_is_started_again() -> None:
    """Killed before or after any write, a second try completes it; nothing is there twice."""
    at = 0
    while True:
        at += 1
        source, target, fate = filled(attempt(), accepted(), note(1)), MemoryStore("production"), Fate(at)
        before = known(source)
        try:
            moved(FatedStore(source, fate), target)
        except Died:
            fate.bury()
        else:
            break
        if known(source).suspension is None:
            moved(source, target)
        assert same(known(target), before)
        assert known(source).suspension is not None
    assert at > 4
