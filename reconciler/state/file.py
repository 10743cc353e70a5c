"""The state in a folder on a local disk: the store that a person starts with.

`wiring` makes one per environment. A log of frames (`segments`) with a snapshot before it; docs/state.md shows the layout.
Nothing is acknowledged before it is synced, nothing is overwritten that a reader may need, and whoever only reads neither
locks nor writes. Who may write is decided by flock, which a dead process cannot hold.

Room for replies is taken before a call is made: an append that holds an ATTEMPT first makes sure that a whole empty segment
lies ready, so that the disk can fill up meanwhile and the reply still finds its place.
"""

from __future__ import annotations

import json
import os
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from reconciler.errors import RunLockHeld, StateCorrupt, StateForeign, StateMissing
from reconciler.model.applied import Applied, Holder
from reconciler.model.records import AttemptRecord, Record
from reconciler.state import files
from reconciler.state.files import Descriptor, translated
from reconciler.state.folder import Layout, begin_segment, install_snapshot, provide_spare, remove_segments
from reconciler.state.format import LOG_FORMAT, decode_batch, decode_snapshot, encode_batch, encode_snapshot
from reconciler.state.segments import (
    CONTINUATION_ROOM,
    Header,
    Scan,
    check_header,
    decode_header,
    encode_continuation,
    encode_frame,
    is_continuation,
    salvage,
    scan,
)
from reconciler.state.store import Conflict, DurabilityLost, Stored, check_successor

_READ_TRIES = 100  # how often a reader may be disturbed by writers in a row
_RUN_LOCK_TRIES = 5
_RUN_LOCK_PAUSE = 0.01  # seconds; who only looks whether the sender is dead holds the lock for microseconds
_PEEK = 4096  # bytes; a header fits, and most appends


def environments_in(folder: Path) -> tuple[str, ...]:
    """The names of the environments that have a state in the folder."""
    with translated(folder, "read"):
        try:
            names = sorted(path.name for path in folder.iterdir())
        except FileNotFoundError:
            return ()
        return tuple(name for name in names if (folder / name).is_dir() and FileStore(folder, name).exists())


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """Where the log ends: the open segment, the offset where the next frame goes, and the number of the last record.

    `torn`: the rest of a write that was cut short lies at the offset. `checked`: a writer has seen that nothing lies there.
    """

    file: Descriptor
    path: Path
    header: Header
    offset: int
    seq: int
    torn: bool = False
    checked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tail:
    """What was read from some end of the log on, and the end as it is now."""

    records: tuple[Record, ...]
    end: _End


class FileStore:
    """The state of one environment in `folder/environment`. May be shared between threads, not with a forked child."""

    def __init__(self, folder: Path, environment: str) -> None:
        self._environment = environment
        self._at = Layout(folder, environment)
        self._mutex = threading.RLock()
        self._lock: Descriptor | None = None
        self._end: _End | None = None
        self._lineage: str | None = None
        self._lost: DurabilityLost | None = None

    @property
    def location(self) -> str:
        return str(self._at.folder)

    @property
    def is_local(self) -> bool:
        return True

    def create(self, snapshot: Applied) -> None:
        if snapshot.environment != self._environment:
            raise StateForeign(f"a state of {snapshot.environment} does not belong into {self.location}")
        with translated(self._at.folder, "made"):
            files.make_folder(self._at.log)
            with self._transaction(make=True):
                if self.exists():
                    raise StateForeign(f"{self.location} already holds a state")
                files.open_file(self._at.ignore, os.O_RDWR | os.O_CREAT).write(b"*\n")
                files.open_file(self._at.run_lock, os.O_RDWR | os.O_CREAT)
                for remains in self._at.segments():  # of a `create` that was killed
                    self._at.segment(remains).unlink()
                begin_segment(self._at, (snapshot.environment, snapshot.lineage), snapshot.seq + 1)
                files.write_file(self._at.snapshot, encode_snapshot(snapshot))
                self._lineage = snapshot.lineage

    def exists(self) -> bool:
        """Also where only remains are left: they are for `state repair`, not for a new state to be written over."""
        with translated(self._at.folder, "read"):
            return any(map(os.path.lexists, self._at.snapshots())) or self._has_records()

    def read(self) -> Stored:
        with self._mutex:
            snapshot, tail = self._undisturbed()
            self._end = tail.end
            return Stored(snapshot=snapshot, records=tail.records, seq=tail.end.seq)

    def read_since(self, seq: int) -> tuple[tuple[Record, ...], int] | None:
        with self._mutex:
            tail = self._known_tail(quick=True) if self._end is not None and self._end.seq == seq else None
            if tail is not None:
                self._end = tail.end
                return tail.records, tail.end.seq
            stored = self.read()
            if not stored.snapshot.seq <= seq <= stored.seq:
                return None
            return stored.records[seq - stored.snapshot.seq :], stored.seq

    def append(self, seq: int, records: Sequence[Record]) -> int:
        with self._transaction():
            end = self._catch_up(seq)
            if not records:
                return seq
            frame = encode_frame(encode_batch(seq + 1, records))
            with translated(self._at.log, "written"):
                end = self._with_room(end, len(frame))
                if any(isinstance(record, AttemptRecord) for record in records):
                    provide_spare(self._at)
                self._end = None  # until it is known how far this gets
                end.file.write(frame, end.offset)
                files.sync(end.file, end.path)
            self._end = replace(end, offset=end.offset + len(frame), seq=seq + len(records))
            return self._end.seq

    def compact(self, seq: int, snapshot: Applied) -> None:
        with self._transaction():
            end = self._catch_up(seq)
            data = self._snapshot_file()
            before = self._decode(data)
            check_successor(before, seq, snapshot, self.location)
            if before.seq == seq:
                return
            with translated(self._at.folder, "written"):
                provide_spare(self._at)
                install_snapshot(self._at, replace(snapshot, serial=before.serial + 1), previous=data)
                if end.header.first_seq <= seq:
                    self._end = self._continued(end)
                # The log reaches back to the snapshot before this one, so that a damaged snapshot loses nothing.
                remove_segments(self._at, needed_after=before.seq)

    def lock_run(self, holder: Holder) -> FileRunLock:
        if not self.exists():
            raise StateMissing(f"There is no state in {self.location}")
        with translated(self._at.run_lock, "locked"):
            for _ in range(_RUN_LOCK_TRIES):
                file = files.open_file(self._at.run_lock, os.O_RDWR | os.O_CREAT)
                if files.try_lock(file) and file.is_at(self._at.run_lock):
                    return FileRunLock(file, holder)
                file.close()
                time.sleep(_RUN_LOCK_PAUSE)
        raise RunLockHeld(f"the run lock of {self.location} is held by {self._holder()}")

    def sender_is_dead(self) -> bool:
        with translated(self._at.run_lock, "read"):
            try:
                file = files.open_file(self._at.run_lock, os.O_RDONLY)
            except FileNotFoundError:
                return False  # somebody took the file away; a sender may still hold it
            try:
                return files.try_lock(file)
            finally:
                file.close()

    # Reading

    def _undisturbed(self) -> tuple[Applied, _Tail]:
        """Reads without a lock. What looks damaged may be a writer at work: only what looks the same twice is damaged."""
        seen = None
        for _ in range(_READ_TRIES):
            try:
                return self._everything()
            except (StateCorrupt, StateForeign):
                looks = self._looks()
                if looks == seen:
                    raise
                seen = looks
        return self._everything()

    def _everything(self) -> tuple[Applied, _Tail]:
        snapshot = self._decode(self._snapshot_file())
        with translated(self._at.log, "read"):
            first = self._first_needed(snapshot)
            tail = self._tail(self._open_segment(first), quick=False)
            if tail is None:
                raise StateCorrupt(f"{self._at.segment(first)} is gone")
            self._check_bounds(snapshot, tail.end)
        return snapshot, replace(tail, records=tail.records[snapshot.seq - first + 1 :])

    def _known_tail(self, *, quick: bool) -> _Tail | None:
        """What follows the end that is known; None when that end is not to be found any more."""
        if self._end is None:
            return None
        try:
            with translated(self._at.log, "read"):
                return self._tail(self._end, quick=quick)
        except (StateCorrupt, StateForeign):
            return None  # reading everything tells whether it is so

    def _tail(self, end: _End, *, quick: bool) -> _Tail | None:
        """The records after `end`, through all segments; None when its segment was taken away.

        `quick` looks whether anything begins at the end, and no further: for whoever was there before.
        """
        records: list[Record] = []
        while end.file.is_at(end.path):
            found, continued = _rest(end, quick=quick), False
            for frame in found.frames:
                if is_continuation(frame.payload):
                    continued = True
                    continue
                where = f"{end.path} at byte {frame.start}"
                batch = decode_batch(frame.payload, where=where)
                if not batch or batch[0].seq != end.seq + 1:
                    raise StateCorrupt(f"{where} is damaged: record {end.seq + 1} is not there")
                records.extend(one.record for one in batch)
                end = replace(end, seq=end.seq + len(batch))
            end = replace(end, offset=found.end, torn=found.torn)
            follows = end.header.first_seq <= end.seq and self._at.segment(end.seq + 1).exists()
            if not (continued or follows):
                return _Tail(records=tuple(records), end=end)
            end = self._open_segment(end.seq + 1)
        return None

    def _first_needed(self, snapshot: Applied) -> int:
        """The segment that holds the first record after the snapshot, or is to hold it."""
        segments = self._at.segments()
        needed = [first for first in segments if first <= snapshot.seq + 1]
        if needed:
            return needed[-1]
        if not segments:
            raise StateCorrupt(
                f"the log in {self._at.log} is gone; {self._at.snapshot} alone does not say what was sent since"
            )
        raise StateCorrupt(
            f"{self._at.snapshot} ends with record {snapshot.seq} and the log begins with {segments[0]}: the snapshot is"
            " older than its log, as after restoring it from a backup"
        )

    def _check_bounds(self, snapshot: Applied, end: _End) -> None:
        if end.seq < snapshot.seq:
            raise StateCorrupt(
                f"the log in {self._at.log} ends with record {end.seq}, and {self._at.snapshot} knows record"
                f" {snapshot.seq}: the log is older than its snapshot, as after restoring it from a backup"
            )
        beyond = [first for first in self._at.segments() if first > end.seq + 1]
        if beyond:
            raise StateCorrupt(f"{end.path} lacks the records from {end.seq + 1} to {beyond[0] - 1}")

    def _open_segment(self, first_seq: int) -> _End:
        """The segment, with the end set before its first record."""
        path = self._at.segment(first_seq)
        try:
            file = files.open_file(path, os.O_RDONLY)
        except FileNotFoundError as error:
            raise StateCorrupt(f"{path} is gone") from error
        line = file.read(0, _PEEK).partition(b"\n")[0] + b"\n"
        head = scan(line, where=str(path))
        if not head.frames:
            raise StateCorrupt(f"{path} is damaged at its first line")
        header = decode_header(head.frames[0].payload, where=str(path))
        expected = Header(
            environment=self._environment, lineage=self._lineage or "", first_seq=first_seq, size=file.size()
        )
        check_header(header, expected, where=str(path))
        return _End(file=file, path=path, header=header, offset=head.end, seq=first_seq - 1)

    def _snapshot_file(self) -> bytes:
        with translated(self._at.snapshot, "read"):
            with suppress(FileNotFoundError, NotADirectoryError):
                return files.read_file(self._at.snapshot)
            if self.exists():
                raise StateCorrupt(f"{self._at.snapshot} is gone, and the files beside it are there")
        raise StateMissing(f"There is no state in {self.location}")

    def _decode(self, data: bytes) -> Applied:
        snapshot = decode_snapshot(data, where=str(self._at.snapshot))
        if snapshot.environment != self._environment:
            raise StateForeign(
                f"{self._at.snapshot} is the state of {snapshot.environment}, not of {self._environment}"
            )
        if self._lineage not in {None, snapshot.lineage}:
            raise StateForeign(
                f"{self._at.snapshot} was replaced meanwhile: its lineage is {snapshot.lineage}, not {self._lineage}"
            )
        self._lineage = snapshot.lineage
        return snapshot

    def _has_records(self) -> bool:
        """Whether any segment holds more than its header."""
        return any(len(list(salvage(files.read_file(self._at.segment(first))))) > 1 for first in self._at.segments())

    def _looks(self) -> tuple[int | None, ...]:
        paths = [self._at.snapshot, *map(self._at.segment, self._at.segments())]
        return tuple(map(_checksum, paths))

    # Writing, under the transaction lock

    @contextmanager
    def _transaction(self, *, make: bool = False) -> Iterator[None]:
        with self._mutex:
            if self._lost is not None:
                raise self._lost
            with translated(self._at.lock, "locked"):
                lock = self._take_lock(make=make)
            try:
                yield
            except DurabilityLost as error:
                self._lost = error
                raise
            finally:
                files.unlock(lock)

    def _take_lock(self, *, make: bool) -> Descriptor:
        """The lock of the file that has the name now; a file that was taken away locks nobody out."""
        while True:
            if self._lock is None:
                if not (make or self.exists()):
                    raise StateMissing(f"There is no state in {self.location}")
                self._lock = files.open_file(self._at.lock, os.O_RDWR | os.O_CREAT)
            files.wait_for_lock(self._lock, self._at.lock)
            if self._lock.is_at(self._at.lock):
                return self._lock
            self._lock.close()
            self._lock = None

    def _catch_up(self, seq: int) -> _End:
        """The end of the log, with what a crash left behind it cut. Raises Conflict when it is not at `seq`."""
        known = self._end
        tail = self._known_tail(quick=known.checked) if known is not None else None
        if tail is None:
            tail = self._everything()[1]
        end = tail.end
        with translated(end.path, "written"):
            end = _cleaned(end)
        self._end = end
        if end.seq != seq:
            raise Conflict(f"the log of {self.location} stands at {end.seq}, not at {seq}")
        return end

    def _with_room(self, end: _End, need: int) -> _End:
        """In the open segment, unless it is full, or of an older format: its tag must warn older programs of what is in it."""
        if end.header.format == LOG_FORMAT and end.offset + need <= end.header.size - CONTINUATION_ROOM:
            return end
        return self._continued(end, room=need)

    def _continued(self, end: _End, *, room: int = 0) -> _End:
        """A new segment, and then the word in the one before that there is another."""
        first_seq = end.seq + 1
        owner = (self._environment, self._lineage or "")
        file, header, offset = begin_segment(self._at, owner, first_seq, room=room)
        if end.header.first_seq != first_seq:
            end.file.write(encode_continuation(first_seq), end.offset)
            files.sync(end.file, end.path)
        path = self._at.segment(first_seq)
        return _End(file=file, path=path, header=header, offset=offset, seq=end.seq, checked=True)

    def _holder(self) -> str:
        try:
            return str(Holder(**json.loads(files.read_file(self._at.run_lock))))
        except (OSError, ValueError, TypeError):
            return "another process, which has not said who it is"


class FileRunLock:
    """flock on `run.lock`, which also says whose it is, for the message to whoever comes second."""

    def __init__(self, file: Descriptor, holder: Holder) -> None:
        self._file: Descriptor | None = file
        with suppress(OSError):  # the lock is the flock; the words are a courtesy
            os.ftruncate(file.fd, 0)
            file.write(json.dumps(asdict(holder)).encode() + b"\n")

    def release(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                os.ftruncate(file.fd, 0)
            file.close()


def _rest(end: _End, *, quick: bool) -> Scan:
    """What lies from the end on to the end of its segment."""
    if quick:
        begun = end.file.read(end.offset, 1)
        if begun in {b"", b"\0"}:
            return Scan(frames=(), end=end.offset, torn=False)
    return scan(end.file.read(end.offset, end.header.size - end.offset), base=end.offset, where=str(end.path))


def _cleaned(end: _End) -> _End:
    """Open for writing, and NUL from the end on. Synced, so that no remains can come back behind a later frame."""
    if not end.checked:
        end = replace(end, file=files.open_file(end.path, os.O_RDWR))
    if end.torn:
        end.file.write(bytes(end.header.size - end.offset), end.offset)
        files.sync(end.file, end.path)
    return replace(end, torn=False, checked=True)


def _checksum(path: Path) -> int | None:
    try:
        return zlib.crc32(files.read_file(path))
    except OSError:
        return None
