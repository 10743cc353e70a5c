"""Bit rot in a state folder: one byte that flips, one file that loses its end, anywhere in snapshot and log.

A reader refuses whatever it needs and finds damaged: a crash leaves a write without its end or with whole sectors unwritten,
and neither a flipped byte nor a shorter file is ever taken for that. `state repair` then goes on from what can be read: all
of it, or it says what is lost and lets nothing be sent until a person has looked. What no reader needs, the generation before
the snapshot and the log up to it, changes nothing where it is damaged, and `state repair` names it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import StateCorrupt, StateForeign, StateTooNew
from reconciler.model.applied import Applied
from reconciler.model.records import Record
from reconciler.state.file import FileStore
from reconciler.state.fold import fold
from reconciler.state.repair import inspect, repair
from tests.support.records import NOON, accepted, attempt, empty, note, status

MEMORY = Path("/dev/shm")  # where there is memory to write to, syncs cost nothing
NAME = "production"
BEFORE: tuple[Record, ...] = (attempt(), accepted(), status())
AFTER: tuple[Record, ...] = (note(4), note(5), note(6))


@dataclass(frozen=True, slots=True)
class Damage:
    """A byte with a bit turned over, or the length that is left."""

    path: Path
    at: int
    mask: int | None

    def __str__(self) -> str:
        return f"{self.path.name}: {'cut to' if self.mask is None else f'{self.mask:#x} at'} {self.at}"

    def of(self, data: bytes) -> bytes:
        if self.mask is None:
            return data[: self.at]
        return data[: self.at] + bytes([data[self.at] ^ self.mask]) + data[self.at + 1 :]


def new_state(folder: Path) -> Path:
    """A state of two generations: three records in the snapshot, three more in the log alone."""
    store = FileStore(folder, NAME)
    store.create(empty())
    for seq, record in enumerate(BEFORE):
        store.append(seq, [record])
    store.compact(3, known(folder))
    for seq, record in enumerate(AFTER, start=3):
        store.append(seq, [record])
    return folder / NAME


def known(folder: Path) -> Applied:
    stored = FileStore(folder, NAME).read()
    return fold(stored.snapshot, stored.records)


def damages(at: Path, step: int) -> Iterator[Damage]:
    """Of both generations and both files of the log, every `step`th byte and length, as far as anything was written."""
    for path in (at / "state.json", at / "state.json.1", *sorted(at.glob("log/0*.log"))):
        for position in range(0, len(path.read_bytes().rstrip(b"\0")), step):
            yield Damage(path, position, 1 << (position % 8))
            yield Damage(path, position, None)


def everywhere(step: int) -> tuple[Counter[str], list[str]]:
    """Every damage, one after the other; what came of them, and what broke a promise."""
    tally, failures = Counter[str](), []
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        at = new_state(Path(folder) / "state")
        whole = shutil.copytree(at, Path(folder) / "whole")
        before = known(at.parent)
        for damage in damages(at, step):
            try:
                tally[strike(at, damage, before)] += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
                failures.append(f"{damage}: {error!r}")
            shutil.rmtree(at)
            shutil.copytree(whole, at)
    return tally, failures


def strike(at: Path, damage: Damage, before: Applied) -> str:
    """`whole` where nothing was lost after the repair, `suspended` where it may be, `spare` where nobody needs the file.

    `too new` where one bit made a newer version of it, which only a newer program may judge.
    """
    spoiled = damage.of(damage.path.read_bytes())
    damage.path.write_bytes(spoiled)
    try:
        state = known(at.parent)
    except (StateCorrupt, StateForeign, StateTooNew):
        return _repaired(at, damage, spoiled, before)
    assert damage.path in {at / "state.json.1", min(at.glob("log/0*.log"))}, "damage was taken for a torn write"
    assert state == before
    try:
        assert next(one.problem for one in inspect(at.parent, NAME).files if one.path == damage.path)
    except StateTooNew:
        return "too new"
    return "spare"


def _repaired(at: Path, damage: Damage, spoiled: bytes, before: Applied) -> str:
    assert damage.path.read_bytes() == spoiled, "a reader wrote"
    try:
        lost = repair(at.parent, NAME, now=NOON).lost
    except StateTooNew:
        return "too new"
    state = known(at.parent)
    assert inspect(at.parent, NAME).healthy
    assert any(path.read_bytes() == spoiled for path in at.rglob("*.damaged-1")), "the damaged file is gone"
    assert (state.serial, state.seq) >= (before.serial, 0)
    assert state.entries.items() <= before.entries.items(), "an entry that was not there"
    if lost is None:
        assert (state.entries, state.suspension) == (before.entries, None)
        return "whole"
    assert state.suspension is not None
    return "suspended"
