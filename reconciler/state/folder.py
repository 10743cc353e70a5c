"""The folder of one environment's state: what its files are called, and how they are made and put in place.

For `file`, the store, and `repair`. Whoever calls what writes here holds the transaction lock. Every step can be the last
before a power cut: what is there then is read as if the step had not begun, or as if it were done.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from reconciler.model.applied import Applied
from reconciler.state import files
from reconciler.state.files import Descriptor
from reconciler.state.format import encode_snapshot
from reconciler.state.segments import CONTINUATION_ROOM, SEGMENT_SIZE, Header, encode_header, first_seq_of, segment_name

Owner: TypeAlias = tuple[str, str]  # environment and lineage, which every segment names

GENERATIONS = 3  # snapshots kept beside the present one


class Layout:
    """Where everything is."""

    def __init__(self, folder: Path, environment: str) -> None:
        self.folder = folder / environment
        self.snapshot = self.folder / "state.json"
        self.log = self.folder / "log"
        self.spare = self.log / "spare"
        self.lock = self.folder / "lock"
        self.run_lock = self.folder / "run.lock"
        self.ignore = self.folder / ".gitignore"

    def generation(self, number: int) -> Path:
        """1 is the snapshot before the present one."""
        return self.folder / f"{self.snapshot.name}.{number}"

    def snapshots(self) -> tuple[Path, ...]:
        """The present one and the generations, newest first, whether they are there or not."""
        return (self.snapshot, *map(self.generation, range(1, GENERATIONS + 1)))

    def segment(self, first_seq: int) -> Path:
        return self.log / segment_name(first_seq)

    def segments(self) -> list[int]:
        """The number of the first record of every segment, in order."""
        try:
            names = [path.name for path in self.log.iterdir()]
        except FileNotFoundError:
            return []
        return sorted(first for name in names if (first := first_seq_of(name)) is not None)


def install_snapshot(at: Layout, snapshot: Applied, *, previous: bytes | None) -> None:
    """Gives the snapshot its name; `previous`, what had it, becomes generation 1. A reader always finds one of the two."""
    if previous is not None and not _holds(at.generation(1), previous):
        for number in range(GENERATIONS, 1, -1):
            with suppress(FileNotFoundError):
                at.generation(number - 1).replace(at.generation(number))
        files.write_file(at.generation(1), previous)
    files.write_file(at.snapshot, encode_snapshot(snapshot))


def _holds(path: Path, data: bytes) -> bool:
    try:
        return files.read_file(path) == data
    except OSError:
        return False


def provide_spare(at: Layout) -> None:
    """An empty segment that only needs a name. This is where a full disk is found."""
    try:
        if at.spare.lstat().st_size == SEGMENT_SIZE:
            return
    except FileNotFoundError:
        pass
    files.write_file(at.spare, bytes(SEGMENT_SIZE))


def begin_segment(at: Layout, owner: Owner, first_seq: int, *, room: int = 0) -> tuple[Descriptor, Header, int]:
    """A new segment with at least `room` bytes for frames: the open file, its header, and where its first frame goes.

    It takes the place of one of that name, which then holds no records.
    """
    path = at.segment(first_seq)
    header = _header(owner, first_seq, SEGMENT_SIZE)
    if len(encode_header(header)) + room > SEGMENT_SIZE - CONTINUATION_ROOM:
        header = _header(owner, first_seq, (room // SEGMENT_SIZE + 2) * SEGMENT_SIZE)
        files.write_file(path, encode_header(header).ljust(header.size, b"\0"))
        return files.open_file(path, os.O_RDWR), header, len(encode_header(header))
    file = _fresh_spare(at)
    file.write(encode_header(header))
    files.sync(file, at.spare)
    at.spare.replace(path)
    files.sync_folder(at.log)
    return file, header, len(encode_header(header))


def _header(owner: Owner, first_seq: int, size: int) -> Header:
    return Header(environment=owner[0], lineage=owner[1], first_seq=first_seq, size=size)


def _fresh_spare(at: Layout) -> Descriptor:
    """The spare, made anew when a crash left a header in it."""
    provide_spare(at)
    file = files.open_file(at.spare, os.O_RDWR)
    if file.read(0, 1) == b"\0":
        return file
    file.close()
    files.write_file(at.spare, bytes(SEGMENT_SIZE))
    return files.open_file(at.spare, os.O_RDWR)


def remove_segments(at: Layout, *, needed_after: int) -> None:
    """Drops the segments all of whose records are at or before `needed_after`. What cannot be dropped only takes room."""
    segments = at.segments()
    needed = max((first for first in segments if first <= needed_after + 1), default=0)
    for first in segments:
        if first < needed:
            with suppress(OSError):
                at.segment(first).unlink()
