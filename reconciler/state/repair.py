"""What is left of a damaged file state, and how to go on from it. For `reconciler state repair`.

`inspect` only reads. `repair` takes the newest snapshot that can be read and every record that can be read after it, writes
them as a new snapshot, and keeps every damaged file beside it as `*.damaged-<n>`; nothing is deleted.

A lost record may be a call that was sent. So where records are missing, or may be, the repaired state is suspended: nothing
is sent by itself until a person has looked at what runs.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from reconciler.errors import StateCorrupt, StateError, StateForeign, StateMissing
from reconciler.model.applied import REPAIR, Applied, Holder
from reconciler.model.records import DecisionRecord, Record, Suspend
from reconciler.state import files
from reconciler.state.file import FileStore
from reconciler.state.files import translated
from reconciler.state.fold import fold
from reconciler.state.folder import Layout, begin_segment, install_snapshot, provide_spare
from reconciler.state.format import decode_batch, decode_snapshot
from reconciler.state.segments import Header, check_header, decode_header, is_continuation, salvage, scan


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFinding:
    """One file: what it holds, `problem` where it does not hold what it must."""

    path: Path
    holds: str
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What there is. `healthy` is what a reader says; `lost` is what no file has any more, as a sentence, None when complete.

    `snapshot` is what would be gone on with: the newest that can be read, with every record that can be read after it.
    """

    files: tuple[FileFinding, ...]
    healthy: bool
    problem: str | None
    snapshot: Applied | None
    lost: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What was done, each as a sentence; empty when the state is healthy."""

    done: tuple[str, ...]
    lost: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Snapshot:
    path: Path
    value: Applied | None
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    """`records` are those that can be read, by their number; `continued` says that there was another segment after it."""

    path: Path
    first_seq: int
    lineage: str | None
    records: dict[int, Record]
    problem: str | None
    continued: bool = False


def inspect(folder: Path, environment: str) -> Findings:
    """Raises StateMissing, StateTooNew; StateForeign where the files belong to another environment."""
    return _inspect(Layout(folder, environment), environment, folder)


def repair(folder: Path, environment: str, *, now: datetime) -> Repaired:
    """Raises as `inspect`; StateCorrupt when no snapshot can be read; RunLockHeld while somebody sends.

    Running it again after it was interrupted is safe.
    """
    at = Layout(folder, environment)
    with _alone(folder, environment, at):
        findings = _inspect(at, environment, folder)
        if findings.healthy:
            return Repaired(done=())
        if findings.snapshot is None:
            raise StateCorrupt(
                f"No snapshot in {at.folder} can be read: {findings.problem}.",
                next_step="Restore the folder from a backup, or move it away, `reconciler init`, and take over what runs.",
            )
        snapshot = _suspended(findings.snapshot, findings.lost, now)
        with translated(at.folder, "written"):
            return Repaired(done=tuple(_go_on_with(at, snapshot, findings)), lost=findings.lost)


# Looking


def _inspect(at: Layout, environment: str, folder: Path) -> Findings:
    if not FileStore(folder, environment).exists():
        raise StateMissing(f"There is no state in {at.folder}")
    problem = _what_a_reader_says(folder, environment)
    snapshots = [_look_at_snapshot(path, environment) for path in at.snapshots() if os.path.lexists(path)]
    segments = [_look_at_segment(at.segment(first), environment, first) for first in at.segments()]
    base = _best([one.value for one in snapshots if one.value is not None], segments)
    records, lost = _after(base, segments) if base is not None else ({}, None)
    return Findings(
        files=(*map(_snapshot_finding, snapshots), *map(_segment_finding, segments)),
        healthy=problem is None,
        problem=problem,
        snapshot=_folded(base, records, snapshots) if base is not None else None,
        lost=lost,
    )


def _what_a_reader_says(folder: Path, environment: str) -> str | None:
    try:
        FileStore(folder, environment).read()
    except (StateCorrupt, StateForeign) as error:
        return str(error)
    except StateError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EIO:
            return str(error)  # the disk has lost it; other causes are mended where they are
        raise
    return None


def _look_at_snapshot(path: Path, environment: str) -> _Snapshot:
    try:
        value = decode_snapshot(files.read_file(path), where=str(path))
    except StateCorrupt as error:
        return _Snapshot(path=path, value=None, problem=str(error))
    except OSError as error:
        return _Snapshot(path=path, value=None, problem=str(files.state_error(error, path, "read")))
    if value.environment != environment:
        raise StateForeign(f"{path} is the state of {value.environment}, not of {environment}")
    return _Snapshot(path=path, value=value, problem=None)


def _look_at_segment(path: Path, environment: str, first_seq: int) -> _Segment:
    try:
        data = files.read_file(path)
    except OSError as error:
        unreadable = str(files.state_error(error, path, "read"))
        return _Segment(path=path, first_seq=first_seq, lineage=None, records={}, problem=unreadable)
    frames = list(salvage(data))
    problem, header = None, None
    try:
        scan(data, where=str(path))
        header = decode_header(frames[0].payload if frames else b"", where=str(path))
        own = Header(environment=environment, lineage=header.lineage, first_seq=first_seq, size=len(data))
        check_header(header, own, where=str(path))
    except (StateCorrupt, StateForeign) as error:
        problem = str(error)
    records = dict(_records(frame.payload for frame in frames))
    lineage = header.lineage if header else None
    return _Segment(
        path=path,
        first_seq=first_seq,
        lineage=lineage,
        records=records,
        problem=problem,
        continued=any(is_continuation(frame.payload) for frame in frames),
    )


def _records(payloads: Iterable[bytes]) -> Iterator[tuple[int, Record]]:
    """Whatever is a batch of records; a header, or what only looks like a frame, is none."""
    for payload in payloads:
        try:
            batch = decode_batch(payload, where="")
        except StateCorrupt:
            continue
        yield from ((one.seq, one.record) for one in batch)


def _best(snapshots: list[Applied], segments: list[_Segment]) -> Applied | None:
    """The snapshot from which most is known without a gap; the newest of those."""

    def reaches(snapshot: Applied) -> tuple[int, int]:
        records = _records_of(snapshot, segments)
        reached = snapshot.seq
        while reached + 1 in records:
            reached += 1
        return reached, snapshot.seq

    return max(snapshots, key=reaches, default=None)


def _records_of(snapshot: Applied, segments: list[_Segment]) -> dict[int, Record]:
    """Every record after the snapshot. A segment that does not say whose it is counts as its neighbours do."""
    found: dict[int, Record] = {}
    for segment in segments:
        if segment.lineage in {None, snapshot.lineage}:
            found.update((seq, record) for seq, record in segment.records.items() if seq > snapshot.seq)
    return found


def _after(base: Applied, segments: list[_Segment]) -> tuple[dict[int, Record], str | None]:
    """The records after the snapshot, and what is lost: numbers that lack, or an end that cannot be told."""
    records = _records_of(base, segments)
    newest = max(records, default=base.seq)
    missing = [seq for seq in range(base.seq + 1, newest) if seq not in records]
    told = []
    if missing:
        told.append(f"records {_ranges(missing)}")
    if not _ends_surely(base, newest, segments):
        told.append(f"whatever was recorded after {newest}")
    return records, " and ".join(told) or None


def _ends_surely(base: Applied, newest: int, segments: list[_Segment]) -> bool:
    """Whether the last segment is undamaged and reaches to the newest record: then nothing can have come after it."""
    last = segments[-1] if segments else None
    if last is None or last.continued or last.problem is not None or last.lineage != base.lineage:
        return False
    return max(last.records, default=last.first_seq - 1) >= newest


def _ranges(numbers: list[int]) -> str:
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in ranges)


def _folded(base: Applied, records: dict[int, Record], snapshots: list[_Snapshot]) -> Applied:
    """With the highest serial and number seen anywhere, so that neither ever falls."""
    folded = fold(base, (records[seq] for seq in sorted(records)))
    known = [one.value for one in snapshots if one.value is not None]
    return replace(
        folded,
        seq=max([base.seq, *records, *(one.seq for one in known)]),
        serial=max(one.serial for one in known) + 1,
    )


def _snapshot_finding(one: _Snapshot) -> FileFinding:
    value = one.value
    holds = f"serial {value.serial}, record {value.seq}, {_entries(value)}" if value else "nothing readable"
    return FileFinding(path=one.path, holds=holds, problem=one.problem)


def _entries(value: Applied) -> str:
    return f"{len(value.entries)} {'entry' if len(value.entries) == 1 else 'entries'}"


def _segment_finding(one: _Segment) -> FileFinding:
    holds = f"records {_ranges(sorted(one.records))}" if one.records else "no records"
    return FileFinding(path=one.path, holds=holds, problem=one.problem)


# Doing


def _suspended(snapshot: Applied, lost: str | None, now: datetime) -> Applied:
    if lost is None:
        return snapshot
    why = f"the state was damaged and lost {lost}; look in the platform's console what runs before anything is sent"
    record = DecisionRecord(decision=Suspend(model_id=None), who=REPAIR, why=why, at=now)
    return fold(snapshot, (record,))


def _go_on_with(at: Layout, snapshot: Applied, findings: Findings) -> Iterator[str]:
    """The new snapshot first: whatever is moved away after it is needed by nobody."""
    previous = None
    for finding in findings.files:
        if finding.path != at.snapshot:
            continue
        if finding.problem is None:
            previous = files.read_file(at.snapshot)
        else:
            yield f"kept the damaged {at.snapshot.name} as {_set_aside(at.snapshot, keep=True).name}"
    files.make_folder(at.log)
    provide_spare(at)
    install_snapshot(at, snapshot, previous=previous)
    yield f"wrote {at.snapshot.name}: serial {snapshot.serial}, record {snapshot.seq}, {_entries(snapshot)}"
    for finding in findings.files:
        if finding.path != at.snapshot and finding.problem is not None:
            yield f"kept {finding.path.name} as {_set_aside(finding.path).name}"
    begin_segment(at, (snapshot.environment, snapshot.lineage), snapshot.seq + 1)
    yield f"began a new log at record {snapshot.seq + 1}"


def _set_aside(path: Path, *, keep: bool = False) -> Path:
    """Under another name that is free; with `keep` under both until the first is replaced."""
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.damaged-{number}")):
        number += 1
    if keep and path.is_file() and not path.is_symlink():
        files.write_file(aside, files.read_file(path))
    else:
        path.rename(aside)
        files.sync_folder(path.parent)
    return aside


@contextmanager
def _alone(folder: Path, environment: str, at: Layout) -> Iterator[None]:
    """Nobody sends and nobody writes meanwhile."""
    holder = Holder(user=os.environ.get("USER", ""), host="", pid=os.getpid(), operation="state repair", run="-")
    run_lock = FileStore(folder, environment).lock_run(holder)
    try:
        with translated(at.lock, "locked"):
            lock = files.open_file(at.lock, os.O_RDWR | os.O_CREAT)
            files.wait_for_lock(lock, at.lock)
        try:
            yield
        finally:
            lock.close()
    finally:
        run_lock.release()
