"""States that an earlier version wrote: read as they are, and written on so that the earlier version refuses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.errors import StateTooNew
from reconciler.model.applied import AppliedCommit
from reconciler.model.records import Advance, Record
from reconciler.state.batch import decode, encode, new_write
from reconciler.state.file import FileStore
from reconciler.state.fold import fold
from reconciler.state.format import FORMAT, LOG_FORMAT, decode_snapshot, encode_batch, encode_snapshot
from reconciler.state.segments import SEGMENT_SIZE, Header, encode_frame, encode_header, segment_name
from tests.support.records import accepted, at, attempt, decided, empty, note, status

V1 = (Path(__file__).parent / "formats" / "state-v1.json").read_bytes()  # written by the program of that version
SMALL = fold(empty(), [attempt(), accepted(), status()])
ADVANCE = decided(Advance(commit="c2", committed_at=at(1), ci_url=None))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of version 1: its snapshot, and a segment that nothing was appended to."""
    place = tmp_path / "production"
    (place / "log").mkdir(parents=True)
    (place / "state.json").write_bytes(V1)
    _segment(place)
    return tmp_path


def _segment(place: Path, *records: Record) -> Path:
    header = Header(
        environment="production", lineage="lineage-1", first_seq=4, size=SEGMENT_SIZE, format="reconciler/log/v1"
    )
    frames = encode_frame(encode_batch(4, records)) if records else b""
    path = place / "log" / segment_name(4)
    path.write_bytes((encode_header(header) + frames).ljust(SEGMENT_SIZE, b"\0"))
    return path


def _tag(segment: Path) -> str:
    tag: str = json.loads(segment.read_bytes().split(b"\n")[0].split(b" ", 2)[2])["format"]
    return tag


def test_a_snapshot_of_version_1() -> None:
    """It says what it said, knows no commit, and is written as the present version."""
    state = decode_snapshot(V1, where="state.json")
    assert state == SMALL
    assert state.commit is None
    assert json.loads(encode_snapshot(state))["format"] == FORMAT


@pytest.mark.parametrize("held", [(), (note(4),)])
def test_a_folder_of_version_1(folder: Path, held: tuple[Record, ...]) -> None:
    """What is appended begins a segment of its own, whose tag an earlier version refuses; nothing that was there is lost."""
    before = _segment(folder / "production", *held)
    store, seq = FileStore(folder, "production"), 3 + len(held)
    assert store.read().records == held
    store.append(seq, [ADVANCE])
    assert _tag(folder / "production" / "log" / segment_name(seq + 1)) == LOG_FORMAT
    assert not held or _tag(before) == "reconciler/log/v1"
    stored = FileStore(folder, "production").read()
    assert stored.records == (*held, ADVANCE)
    state = fold(stored.snapshot, stored.records)
    assert state.commit == AppliedCommit(commit="c2", committed_at=at(1), who="ada", at=at(3))
    store.compact(seq + 1, state)
    assert json.loads((folder / "production" / "state.json").read_bytes())["format"] == FORMAT
    assert FileStore(folder, "production").read().snapshot.commit == state.commit


def test_an_append_of_version_1() -> None:
    """A document that holds an append is read with the tag of version 1, and refused with a tag of the next one."""
    data = encode(("production", "lineage-1"), 4, [note(4)], new_write())
    tag = LOG_FORMAT.encode()
    earlier = decode(data.replace(tag, b"reconciler/log/v1"), where="4.json")
    assert earlier.records == decode(data, where="4.json").records
    with pytest.raises(StateTooNew):
        decode(data.replace(tag, b"reconciler/log/v3"), where="4.json")
