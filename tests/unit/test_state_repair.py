"""Going on from a damaged state: everything that can be read is there again, and what is lost is said and held."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.errors import RunLockHeld, StateCorrupt, StateError, StateForeign, StateMissing, StateTooNew
from reconciler.model.applied import REPAIR, Applied
from reconciler.model.records import Record
from reconciler.state.file import FileStore
from reconciler.state.fold import fold
from reconciler.state.repair import inspect, repair
from reconciler.state.segments import segment_name
from tests.support.records import HOLDER, NOON, accepted, attempt, empty, note, status

RECORDS: list[Record] = [attempt(), accepted(), status(), note(4), note(5), note(6)]


@pytest.fixture
def at(tmp_path: Path) -> Path:
    """A state with a compaction after its third record."""
    store = FileStore(tmp_path, "production")
    store.create(empty())
    for seq, record in enumerate(RECORDS[:3]):
        store.append(seq, [record])
    store.compact(3, known(tmp_path))
    for seq, record in enumerate(RECORDS[3:], start=3):
        store.append(seq, [record])
    return tmp_path / "production"


def known(folder: Path) -> Applied:
    stored = FileStore(folder, "production").read()
    return fold(stored.snapshot, stored.records)


def mended(at: Path) -> tuple[Applied, str | None]:
    """The state after a repair, and what it says is lost; reading, writing and compacting go on."""
    lost = repair(at.parent, "production", now=NOON).lost
    state = known(at.parent)
    store = FileStore(at.parent, "production")
    seq = store.append(store.read().seq, [note(99)])
    store.compact(seq, known(at.parent))
    assert "cm-99" in known(at.parent).entries
    assert inspect(at.parent, "production").healthy
    assert repair(at.parent, "production", now=NOON).done == ()
    return state, lost


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x01
    path.write_bytes(data)


def line_of(path: Path, number: int) -> int:
    """The middle of a line of a segment; the header is line 0."""
    lines = path.read_bytes().split(b"\n")
    return sum(len(line) + 1 for line in lines[:number]) + len(lines[number]) // 2


def same(state: Applied) -> Applied:
    """Without what a repair may change though nothing is lost."""
    return replace(state, serial=0)


def test_a_healthy_state_is_left_alone(at: Path) -> None:
    """There is nothing to repair, and nothing is touched."""
    findings = inspect(at.parent, "production")
    assert (findings.healthy, findings.problem, findings.lost) == (True, None, None)
    assert [finding.problem for finding in findings.files] == [None] * 4
    before = sorted((p, p.stat().st_mtime_ns) for p in at.rglob("*.json*"))
    assert repair(at.parent, "production", now=NOON).done == ()
    assert sorted((p, p.stat().st_mtime_ns) for p in at.rglob("*.json*")) == before


def test_a_torn_write_is_no_damage(at: Path) -> None:
    """What the next writer cuts by itself needs no repair."""
    log = at / "log" / segment_name(4)
    end = len(log.read_bytes().rstrip(b"\0"))
    with log.open("r+b") as file:
        file.seek(end)
        file.write(b"100 abc")
    assert inspect(at.parent, "production").healthy


@pytest.mark.parametrize("damage", [b"", b"\0" * 500, b"{}", b"nonsense"])
def test_a_damaged_snapshot_loses_nothing(at: Path, damage: bytes) -> None:
    """From the snapshot before it and the log everything is there again; the damaged file is kept."""
    before = known(at.parent)
    (at / "state.json").write_bytes(damage)
    findings = inspect(at.parent, "production")
    assert not findings.healthy
    assert findings.files[0].problem is not None
    state, lost = mended(at)
    assert lost is None
    assert same(state) == same(before)
    assert state.serial > before.serial - 1
    assert (at / "state.json.damaged-1").read_bytes() == damage


def test_a_snapshot_that_is_gone_loses_nothing(at: Path) -> None:
    """The same without the file."""
    before = known(at.parent)
    (at / "state.json").unlink()
    state, lost = mended(at)
    assert (same(state), lost) == (same(before), None)


def test_an_older_snapshot_in_its_place_loses_nothing(at: Path) -> None:
    """A snapshot restored from a backup is passed over when what came after it can be read elsewhere."""
    before = known(at.parent)
    store = FileStore(at.parent, "production")
    for n in range(7, 10):
        store.append(n - 1, [note(n)])
        store.compact(n, known(at.parent))
        if n == 7:
            shutil.copy(at / "state.json.1", at.parent / "kept")
    before = known(at.parent)
    shutil.copy(at.parent / "kept", at / "state.json")
    with pytest.raises(StateCorrupt, match="older than its log"):
        FileStore(at.parent, "production").read()
    state, lost = mended(at)
    assert (same(state), lost) == (same(before), None)


def test_a_damaged_record_is_said_and_everything_waits(at: Path) -> None:
    """Every other record is there; which one is lost is said, and nothing is sent until a person has looked."""
    log = at / "log" / segment_name(4)
    flip(log, line_of(log, 2))
    damaged = log.read_bytes()
    state, lost = mended(at)
    assert lost is not None
    assert lost.startswith("records 5")
    assert set(state.entries) == {"cm-1", "cm-4", "cm-6"}
    assert state.seq > 6
    assert state.suspension is not None
    assert state.suspension.who == REPAIR
    assert "records 5" in state.suspension.why
    assert (at / "log" / f"{segment_name(4)}.damaged-1").read_bytes() == damaged


def test_a_damaged_last_record_is_a_loss_too(at: Path) -> None:
    """Whether more came after the last record that can be read is not known, and that is said."""
    log = at / "log" / segment_name(4)
    flip(log, line_of(log, 3))
    state, lost = mended(at)
    assert lost == "whatever was recorded after 5"
    assert set(state.entries) == {"cm-1", "cm-4", "cm-5"}
    assert state.suspension is not None


@pytest.mark.parametrize(
    ("harm", "left"),
    [
        (lambda at: shutil.rmtree(at / "log"), {"cm-1"}),
        (lambda at: (at / "log" / segment_name(4)).unlink(), {"cm-1"}),
        (lambda at: (at / "log" / segment_name(4)).write_bytes(b""), {"cm-1"}),
        (lambda at: flip(at / "log" / segment_name(4), 3), {"cm-1", "cm-4", "cm-5", "cm-6"}),
    ],
)
def test_a_log_that_is_gone_is_said(at: Path, harm: Callable[[Path], None], left: set[str]) -> None:
    """What the log held is lost, as far as it cannot be read; that is said, and nothing is sent meanwhile."""
    harm(at)
    state, lost = mended(at)
    assert lost is not None
    assert "whatever was recorded after" in lost
    assert set(state.entries) == left
    assert state.suspension is not None


def test_without_any_snapshot_there_is_no_way(at: Path) -> None:
    """When no snapshot can be read nothing is invented and nothing is moved."""
    for path in at.glob("state.json*"):
        path.write_bytes(b"nonsense")
    before = sorted(at.rglob("*"))
    with pytest.raises(StateCorrupt, match="No snapshot") as caught:
        repair(at.parent, "production", now=NOON)
    assert "backup" in caught.value.next_step
    assert sorted(at.rglob("*")) == before


def test_the_oldest_generation_is_better_than_none(at: Path) -> None:
    """When several snapshots are damaged the newest readable one is gone on with, and the gap is said."""
    store = FileStore(at.parent, "production")
    for n in range(7, 10):
        store.append(n - 1, [note(n)])
        store.compact(n, known(at.parent))
    for name in ("state.json", "state.json.1"):
        (at / name).write_bytes(b"nonsense")
    state, lost = mended(at)
    assert lost is not None
    assert lost.startswith("records 8")
    assert set(state.entries) == {"cm-1", "cm-4", "cm-5", "cm-6", "cm-7", "cm-9"}
    assert state.suspension is not None


def test_damaged_files_are_numbered(at: Path) -> None:
    """A second repair keeps its damaged file beside the first one's."""
    for damage in (b"first", b"second"):
        (at / "state.json").write_bytes(damage)
        repair(at.parent, "production", now=NOON)
    assert (at / "state.json.damaged-1").read_bytes() == b"first"
    assert (at / "state.json.damaged-2").read_bytes() == b"second"


def test_a_link_is_not_damage(at: Path) -> None:
    """A link in the place of the snapshot was put there by somebody: it is refused and not moved."""
    (at / "state.json").rename(at.parent / "elsewhere")
    (at / "state.json").symlink_to(at.parent / "elsewhere")
    with pytest.raises(StateError, match="symbolic link"):
        repair(at.parent, "production", now=NOON)
    assert (at / "state.json").is_symlink()


def test_nobody_is_disturbed(at: Path) -> None:
    """While somebody sends nothing is repaired."""
    (at / "state.json").write_bytes(b"")
    lock = FileStore(at.parent, "production").lock_run(HOLDER)
    with pytest.raises(RunLockHeld):
        repair(at.parent, "production", now=NOON)
    lock.release()
    assert repair(at.parent, "production", now=NOON).done


def test_what_is_not_there_is_not_repaired(tmp_path: Path) -> None:
    """Without a state there is nothing to repair."""
    for use in (lambda: inspect(tmp_path, "production"), lambda: repair(tmp_path, "production", now=NOON)):
        with pytest.raises(StateMissing):
            use()
    assert list(tmp_path.iterdir()) == []


def test_another_environments_state_is_not_repaired(at: Path) -> None:
    """Files of another environment are not made this one's."""
    at.rename(at.parent / "staging")
    with pytest.raises(StateForeign):
        repair(at.parent, "staging", now=NOON)


def test_a_newer_state_is_not_repaired(at: Path) -> None:
    """What a newer program wrote is not damaged."""
    data = (at / "state.json").read_bytes()
    (at / "state.json").write_bytes(data.replace(b"reconciler/state/v2", b"reconciler/state/v3"))
    with pytest.raises(StateTooNew):
        repair(at.parent, "production", now=NOON)
