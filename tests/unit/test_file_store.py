"""The state in a folder: what lies there, who may read it, and everything that can be wrong with it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pytest

from reconciler.errors import RunLockHeld, StateCorrupt, StateError, StateForeign, StateMissing, StateTooNew
from reconciler.state.file import FileStore, environments_in
from reconciler.state.fold import fold
from reconciler.state.format import encode_batch
from reconciler.state.segments import SEGMENT_SIZE, encode_frame, segment_name
from reconciler.state.store import Store
from tests.support.records import HOLDER, accepted, attempt, empty, note, status

NOBODY = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def at(folder: Path) -> Path:
    """The folder of the environment, with a state of three records, none of them in the snapshot."""
    store = FileStore(folder, "production")
    store.create(empty())
    store.append(0, [attempt()])
    store.append(1, [accepted(), status()])
    return folder / "production"


def opened(at: Path) -> FileStore:
    return FileStore(at.parent, at.name)


def compacted(store: Store) -> None:
    stored = store.read()
    store.compact(stored.seq, fold(stored.snapshot, stored.records))


def log(at: Path, first_seq: int = 1) -> Path:
    return at / "log" / segment_name(first_seq)


def flip(path: Path, position: int, mask: int = 0x01) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ mask]))


def used(path: Path) -> int:
    return len(path.read_bytes().rstrip(b"\0"))


# What lies there


def test_what_is_in_the_folder(at: Path) -> None:
    """The files are those of the documentation, readable for the owner alone, and git ignores them."""
    compacted(opened(at))
    found = {str(path.relative_to(at)) for path in at.rglob("*") if path.is_file()}
    assert found == {
        ".gitignore",
        "lock",
        "run.lock",
        "state.json",
        "state.json.1",
        f"log/{segment_name(1)}",
        f"log/{segment_name(4)}",
    } | ({"log/spare"} & found)
    assert (at / ".gitignore").read_bytes() == b"*\n"
    for path in (at.parent, at, *at.rglob("*")):
        allowed = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == allowed, path


def test_the_log_can_be_read_by_eye(at: Path) -> None:
    """A segment is lines of length, checksum and JSON, then NUL to the size it was made with."""
    data = log(at).read_bytes()
    assert len(data) == SEGMENT_SIZE
    lines = data.rstrip(b"\0").decode().splitlines()
    values = [json.loads(line.split(" ", 2)[2]) for line in lines]
    assert values[0]["format"] == "reconciler/log/v2"
    assert [[one["record"]["type"] for one in batch] for batch in values[1:]] == [["ATTEMPT"], ["RAW", "STATUS"]]


def test_a_state_is_made_over_the_remains_of_one(folder: Path) -> None:
    """Whoever was killed while taking a state over, before there was a snapshot, may take over another one."""
    FileStore(folder, "production").create(replace(empty(), seq=5))
    (folder / "production" / "state.json").unlink()
    store = FileStore(folder, "production")
    store.create(replace(empty(), seq=3))
    assert (store.append(3, [note(4)]), store.read().seq) == (4, 4)


def test_generations_are_kept(at: Path) -> None:
    """The last three snapshots stay beside the present one, and the log reaches back to the one before it."""
    store = opened(at)
    for n in range(6):
        store.append(3 + n, [note(n)])
        compacted(store)
    serials = [json.loads((at / f"state.json{end}").read_bytes())["state"]["serial"] for end in ("", ".1", ".2", ".3")]
    assert serials == [6, 5, 4, 3]
    assert not (at / "state.json.4").exists()
    assert sorted(p.name for p in (at / "log").glob("0*")) == [segment_name(9), segment_name(10)]


def test_segments_follow_one_another(at: Path) -> None:
    """When a segment is full the next begins, and everything is read through all of them."""
    store = opened(at)
    large = replace(accepted(), body="x" * 60_000)
    seq = 3
    for _ in range(40):
        seq = store.append(seq, [large])
    assert len(list((at / "log").glob("0*"))) == 3
    for handle in (store, opened(at)):
        assert handle.read().seq == 43
    assert len(opened(at).read().records) == 43


def test_a_record_larger_than_a_segment(at: Path) -> None:
    """What does not fit gets a segment of its own size."""
    many = [replace(accepted(), body="x" * 60_000)] * 30
    assert opened(at).append(3, many) == 33
    assert opened(at).append(33, [note(1)]) == 34
    assert opened(at).read().records[3:] == (*many, note(1))


def test_environments_are_found(at: Path) -> None:
    """The folder tells which environments have a state; other folders and files are none."""
    FileStore(at.parent, "staging").create(empty("staging"))
    (at.parent / "notes").mkdir()
    (at.parent / "file").write_bytes(b"")
    assert environments_in(at.parent) == ("production", "staging")
    assert environments_in(at.parent / "nowhere") == ()


# Damage


def _outcome(at: Path) -> str:
    """What a reader makes of the folder: refused, or the records it reads."""
    try:
        stored = opened(at).read()
    except (StateCorrupt, StateForeign, StateTooNew) as error:
        return "refused" if str(at) in str(error) else f"refused without a place: {error}"
    whole = (attempt(), accepted(), status())
    assert stored.records == whole[: len(stored.records)]
    return f"{len(stored.records)} records"


def test_changed_bytes_are_refused(at: Path) -> None:
    """A changed byte anywhere in snapshot or log is refused by readers and writers alike; nothing is overwritten."""
    size = used(log(at))
    for path, positions in ((at / "state.json", range(0, 300, 29)), (log(at), range(0, size, 41))):
        for position in positions:
            flip(path, position)
            before = path.read_bytes()
            assert _outcome(at) == "refused"
            with pytest.raises(StateError):
                opened(at).append(3, [note(1)])
            assert path.read_bytes() == before
            flip(path, position)
    assert _outcome(at) == "3 records"


def test_cut_files_are_refused(at: Path) -> None:
    """A snapshot or a segment that has lost its end is refused, also where it is cut between two records."""
    for path, lengths in (
        (at / "state.json", (0, 1, 100)),
        (log(at), (0, 1, 50, 200, used(log(at)), SEGMENT_SIZE - 1)),
    ):
        whole = path.read_bytes()
        for length in lengths:
            path.write_bytes(whole[:length])
            assert _outcome(at) == "refused"
        path.write_bytes(whole)
    ends = [n + 1 for n, byte in enumerate(log(at).read_bytes()) if byte == ord("\n")]
    for end in ends:
        whole = log(at).read_bytes()
        log(at).write_bytes(whole[:end])
        assert _outcome(at) == "refused"
        log(at).write_bytes(whole)


def test_a_torn_write_is_cut_by_the_next_writer(at: Path) -> None:
    """A write that a crash cut is not read, is left alone by readers, and is gone after the next append."""
    frame = encode_frame(b'[{"record":{"type":"NOTHING"},"seq":4}]')
    end = used(log(at))
    for length in (1, 9, 20, len(frame) - 1):
        with log(at).open("r+b") as file:
            file.seek(end)
            file.write(frame[:length] + b"z" * 0)
        before = log(at).read_bytes()
        assert _outcome(at) == "3 records"
        assert log(at).read_bytes() == before
    assert opened(at).append(3, [note(1)]) == 4
    assert opened(at).read().records[3:] == (note(1),)
    assert log(at).read_bytes().rstrip(b"\0").endswith(b"\n")


def test_a_long_torn_write_leaves_nothing_behind_a_short_record(at: Path) -> None:
    """Of a torn write that was longer than the next record nothing is left behind that record."""
    long = encode_frame(encode_batch(4, [note(n) for n in range(50)]))
    with log(at).open("r+b") as file:
        file.seek(used(log(at)))
        file.write(long[:-1])
    opened(at).append(3, [note(1)])
    assert log(at).read_bytes().rstrip(b"\0").endswith(encode_frame(encode_batch(4, [note(1)])))
    assert opened(at).append(4, [note(2)]) == 5
    assert opened(at).read().records[3:] == (note(1), note(2))


def test_a_known_end_that_another_tore_is_cut(at: Path) -> None:
    """A writer that was there before also cuts what another left half-written since."""
    store = opened(at)
    store.append(3, [note(1)])
    with log(at).open("r+b") as file:
        file.seek(used(log(at)))
        file.write(b"123 0000")
    assert store.read_since(4) == ((), 4)
    assert store.append(4, [note(2)]) == 5
    assert opened(at).read().records[3:] == (note(1), note(2))


def test_missing_files_are_refused(at: Path) -> None:
    """A part of the state that is gone is said to be gone; nothing is taken for a new state."""
    for path in (at / "state.json", at / "log", log(at)):
        aside = path.with_name("aside")
        path.rename(aside)
        store = opened(at)
        assert store.exists()
        with pytest.raises(StateCorrupt, match="gone"):
            store.read()
        with pytest.raises(StateForeign):
            store.create(empty())
        aside.rename(path)
    shutil.rmtree(at)
    with pytest.raises(StateMissing):
        opened(at).read()


def test_records_that_lack_before_another_file_are_noticed(at: Path) -> None:
    """The end of a file that became NUL, the word of a next file with it, is no end where that next file is there."""
    store = opened(at)
    end = used(log(at))
    store.append(3, [replace(accepted(), body="x" * 60_000)] * 16)
    store.append(19, [replace(accepted(), body="y" * 60_000)] * 4)
    with log(at).open("r+b") as file:
        file.seek(end)
        file.write(bytes(SEGMENT_SIZE - end))
    with pytest.raises(StateCorrupt, match="lacks the records from 4 to 19"):
        opened(at).read()


def test_a_log_without_its_last_file_is_refused(at: Path) -> None:
    """The log says in each of its files but the last that there is another; so its loss is noticed."""
    store = opened(at)
    store.append(3, [replace(accepted(), body="x" * 60_000)] * 16)
    store.append(19, [replace(accepted(), body="y" * 60_000)] * 4)
    log(at, 20).unlink()
    with pytest.raises(StateCorrupt, match="gone"):
        opened(at).read()


def test_a_log_without_its_last_file_is_refused_after_a_compaction(at: Path) -> None:
    """The same holds for the file that a compaction begins."""
    compacted(opened(at))
    opened(at).append(3, [note(1)])
    log(at, 4).unlink()
    with pytest.raises(StateCorrupt, match="gone"):
        opened(at).read()


def test_restored_files_are_refused(at: Path) -> None:
    """A snapshot or a log that came back from a backup without the other is refused, and says which is older."""
    backup = at.parent / "backup"
    shutil.copytree(at, backup)
    store = opened(at)
    for n in range(3):
        store.append(3 + n, [note(n)])
        compacted(store)
    now = at.parent / "now"
    at.rename(now)
    shutil.copytree(now, at)
    shutil.copy(backup / "state.json", at / "state.json")
    with pytest.raises(StateCorrupt, match="older than its log"):
        opened(at).read()
    shutil.rmtree(at)
    shutil.copytree(now, at)
    shutil.rmtree(at / "log")
    shutil.copytree(backup / "log", at / "log")
    with pytest.raises(StateCorrupt, match="log is older"):
        opened(at).read()


def test_the_snapshot_before_is_as_good(at: Path) -> None:
    """The log reaches back to the snapshot before the present one, which may take its place without a loss."""
    store = opened(at)
    compacted(store)
    store.append(3, [note(1)])
    known = fold(store.read().snapshot, store.read().records)
    shutil.copy(at / "state.json.1", at / "state.json")
    stored = opened(at).read()
    assert replace(fold(stored.snapshot, stored.records), serial=1) == known


def test_another_states_files_are_refused(at: Path) -> None:
    """Files of another environment or lineage are foreign, in snapshot and log."""
    other = FileStore(at.parent / "other", "production")
    other.create(empty(lineage="lineage-2"))
    shutil.copy(at / "state.json", at.parent / "kept")
    shutil.copy(at.parent / "other" / "production" / "state.json", at / "state.json")
    with pytest.raises(StateForeign, match="lineage-2"):
        opened(at).read()
    shutil.copy(at.parent / "kept", at / "state.json")
    at.rename(at.parent / "staging")
    with pytest.raises(StateForeign, match="not of staging"):
        FileStore(at.parent, "staging").read()


def test_a_lineage_never_changes_silently(at: Path) -> None:
    """Who has read a state refuses another one that is put in its place."""
    store = opened(at)
    store.read()
    shutil.rmtree(at)
    FileStore(at.parent, "production").create(empty(lineage="lineage-2"))
    for use in (store.read, lambda: store.read_since(3), lambda: store.append(0, [note(1)])):
        with pytest.raises(StateForeign, match="lineage-2"):
            use()


@pytest.mark.parametrize("name", ["state.json", "lock", "run.lock"])
def test_links_are_not_followed(at: Path, name: str) -> None:
    """A file of the state that is a link is refused, wherever it leads."""
    path = at / name
    path.rename(at.parent / "elsewhere")
    path.symlink_to(at.parent / "elsewhere")
    with pytest.raises(StateError, match="symbolic link"):
        _use_everything(opened(at))


@pytest.mark.parametrize("name", ["state.json", "lock", "run.lock", f"log/{segment_name(1)}"])
def test_only_files_are_read(at: Path, name: str) -> None:
    """A FIFO or a folder in the place of a file is refused and never waited for."""
    for make in (os.mkfifo, os.mkdir):
        (at / name).rename(at.parent / "elsewhere")
        make(at / name)
        with pytest.raises(StateError):
            _use_everything(opened(at))
        (at / name).rmdir() if (at / name).is_dir() else (at / name).unlink()
        (at.parent / "elsewhere").rename(at / name)


def _use_everything(store: FileStore) -> None:
    store.append(store.read().seq, [note(1)])
    store.lock_run(HOLDER).release()


def test_a_lock_file_may_be_taken_away(at: Path) -> None:
    """A lock file that somebody deleted comes back, and a handle that had it open uses the new one."""
    store = opened(at)
    store.append(3, [note(1)])
    (at / "lock").unlink()
    assert opened(at).append(4, [note(2)]) == 5
    assert store.append(5, [note(3)]) == 6
    assert (at / "lock").exists()


def test_a_run_lock_file_that_is_gone_proves_nothing(at: Path) -> None:
    """Without the file nobody can tell that the sender is dead."""
    (at / "run.lock").unlink()
    assert not opened(at).sender_is_dead()
    opened(at).lock_run(HOLDER).release()
    assert opened(at).sender_is_dead()


def test_a_holder_that_cannot_be_read(at: Path) -> None:
    """Who holds the run lock is a courtesy; the lock holds without it."""
    lock = opened(at).lock_run(HOLDER)
    (at / "run.lock").write_bytes(b"\xff{")
    with pytest.raises(RunLockHeld, match="not said who"):
        opened(at).lock_run(HOLDER)
    lock.release()


# Causes, each said before anything is half-written


@contextmanager
def somebody_else() -> Iterator[None]:
    """Tests that run as root become nobody for a while; others are somebody already."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_without_permission(at: Path) -> None:
    """Files of another user are neither read nor written, with that reason, and nothing is called missing."""
    store = opened(at)
    store.read()
    at.chmod(0)
    with somebody_else():
        for use in (store.read, lambda: store.append(3, [note(1)]), lambda: store.lock_run(HOLDER)):
            with pytest.raises(StateError, match="permission is denied") as caught:
                use()
            assert not isinstance(caught.value, StateMissing)
    at.chmod(0o700)
    assert _outcome(at) == "3 records"


def test_readers_need_no_right_to_write() -> None:
    """Who may only read reads everything and leaves no trace; writing is refused with the reason."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    with tempfile.TemporaryDirectory() as name:
        at = Path(name) / "production"
        FileStore(at.parent, at.name).create(empty())
        opened(at).append(0, [attempt(), accepted(), status()])
        for path in (at.parent, at, *at.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        before = sorted((p, p.stat().st_mtime_ns) for p in at.rglob("*"))
        with somebody_else():
            assert _outcome(at) == "3 records"
            assert opened(at).sender_is_dead()
            with pytest.raises(StateError, match="permission is denied"):
                opened(at).append(3, [note(1)])
        assert sorted((p, p.stat().st_mtime_ns) for p in at.rglob("*")) == before


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A file where the folder should be is a message, not a traceback."""
    (tmp_path / "state").write_bytes(b"")
    with pytest.raises(StateError):
        FileStore(tmp_path / "state", "production").create(empty())
    with pytest.raises(StateError, match="Not a directory"):
        FileStore(tmp_path / "state", "production").read()


@contextmanager
def mounted(path: Path, size: str) -> Iterator[None]:
    """A small disk at the path. Skips where that is not allowed."""
    path.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path)], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip("needs the right to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk_is_found_before_the_call(tmp_path: Path) -> None:
    """No ATTEMPT is recorded, and so nothing is sent, unless there is room for what comes back; decisions go on."""
    with mounted(tmp_path / "disk", "2560k"):
        store = FileStore(tmp_path / "disk" / "state", "production")
        store.create(empty())
        (tmp_path / "disk" / "filler").write_bytes(bytes(1 << 20))
        with pytest.raises(StateError, match="the disk is full"):
            store.append(0, [attempt()])
        assert store.append(0, [note(1)]) == 1
        assert store.read().records == (note(1),)
        with pytest.raises(StateError, match="the disk is full"):
            compacted(store)
        assert store.read().seq == 1
        (tmp_path / "disk" / "filler").unlink()
        assert store.append(1, [attempt()]) == 2
        (tmp_path / "disk" / "filler").write_bytes(bytes(256 << 10))
        large = replace(accepted(), body="x" * 60_000)
        for seq in range(2, 20):
            store.append(seq, [large])
        assert FileStore(tmp_path / "disk" / "state", "production").read().seq == 20


def test_a_disk_that_is_full_from_the_start(tmp_path: Path) -> None:
    """A state that finds no room is not made at all, and is made when there is room."""
    with mounted(tmp_path / "disk", "512k"):
        store = FileStore(tmp_path / "disk" / "state", "production")
        with pytest.raises(StateError, match="the disk is full"):
            store.create(empty())
        assert not store.exists()
        subprocess.run(["mount", "-o", "remount,size=8m", str(tmp_path / "disk")], check=True)
        store.create(empty())
        assert store.append(0, [attempt()]) == 1


def test_a_read_only_disk(tmp_path: Path) -> None:
    """Reading goes on on a disk that is read-only, and writing says so."""
    with mounted(tmp_path / "disk", "8m"):
        store = FileStore(tmp_path / "disk" / "state", "production")
        store.create(empty())
        store.append(0, [note(1)])
        del store  # a handle that wrote keeps its files open
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "disk")], check=True)
        fresh = FileStore(tmp_path / "disk" / "state", "production")
        assert fresh.read().seq == 1
        assert fresh.sender_is_dead()
        with pytest.raises(StateError, match="read-only"):
            fresh.append(1, [note(2)])


_LIMITED = """
import resource, sys
from pathlib import Path
from reconciler.errors import StateError
from reconciler.state.file import FileStore
from tests.support.records import accepted, attempt, empty, note
folder, what = Path(sys.argv[1]), sys.argv[2]
store = FileStore(folder, "production")

def say(use):
    try:
        print(use())
    except StateError as error:
        print(f"StateError: {error} | {error.next_step}")

if what == "files":
    store.create(empty())
    store.append(0, [attempt()])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    say(lambda: store.append(1, [accepted()]))
    say(lambda: FileStore(folder, "production").read())
    say(lambda: FileStore(folder, "production").append(2, [note(1)]))
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    say(lambda: FileStore(folder, "production").read().seq)
else:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    say(lambda: store.create(empty()))
    say(store.exists)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    store.create(empty())
    store.append(0, [note(1)])
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    say(lambda: store.append(1, [attempt()]))
    say(lambda: store.append(1, [note(2)]))
    say(lambda: store.read().seq)
"""


def _limited(folder: Path, what: str) -> list[str]:
    command = [sys.executable, "-c", _LIMITED, str(folder), what]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root, timeout=60)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_too_many_open_files(folder: Path) -> None:
    """A reply is recorded with no file left to open, because what it needs was opened for ATTEMPT; others say why not."""
    reply, reading, writing, after = _limited(folder, "files")
    assert reply == "2"
    assert "too many files open" in reading
    assert "too many files open" in writing
    assert after == "2"


def test_a_limit_on_the_size_of_files(folder: Path) -> None:
    """The limit of the shell is found like a full disk: before the call, with nothing half-written."""
    made, there, sent, decided, seq = _limited(folder, "size")
    assert "a limit on the size of files" in made
    assert there == "False"
    assert "a limit on the size of files" in sent
    assert decided == "2"
    assert seq == "2"


# The order of system calls, on which everything above rests


class Calls:
    """The state-changing system calls of this thread, by name, as they happen."""

    NAMES = frozenset({"mkdir", "pwrite", "fdatasync", "fsync", "rename", "replace", "unlink", "flock"})

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __enter__(self) -> Self:
        sys.setprofile(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _event(self, _: FrameType, event: str, function: Any) -> None:
        if event == "c_call" and getattr(function, "__module__", None) in {"posix", "fcntl"}:
            name = function.__name__
            if name in self.NAMES:
                self.seen.append(name)


def test_an_append_is_one_write_and_one_sync(at: Path) -> None:
    """An append returns after its sync, and needs no more than one write and one sync."""
    store = opened(at)
    store.append(3, [attempt("a2")])
    with Calls() as calls:
        store.append(4, [attempt("a3"), attempt("a4")])
    assert calls.seen == ["flock", "pwrite", "fdatasync", "flock"]


def test_a_torn_tail_is_cut_durably_before_the_next_write(at: Path) -> None:
    """Remains of a torn write are overwritten and synced first, so that they cannot come back behind a later record."""
    with log(at).open("r+b") as file:
        file.seek(used(log(at)))
        file.write(b"12")
    with Calls() as calls:
        opened(at).append(3, [note(1)])
    assert calls.seen == ["flock", "pwrite", "fdatasync", "pwrite", "fdatasync", "flock"]


def test_a_new_state_is_synced_from_its_folder_on(folder: Path) -> None:
    """Each folder is synced into the one above it, and each file under its name, before a new state is said to be there."""
    with Calls() as calls:
        FileStore(folder, "production").create(empty())
    folders = ["mkdir", "fsync"] * 3  # the states', the environment's, the log's
    file = ["pwrite", "fsync", "replace", "fsync"]
    begun = [*file, "pwrite", "fdatasync", "replace", "fsync"]  # the spare; then it is the first file of the log
    ignored = ["pwrite"]
    assert [name for name in calls.seen if name != "flock"] == [*folders, *ignored, *begun, *file]


def test_a_snapshot_is_synced_before_it_has_its_name(at: Path) -> None:
    """Every file is synced before it takes its name, and its folder after it; the log moves on last."""
    store = opened(at)
    store.append(3, [attempt("a2")])
    with Calls() as calls:
        compacted(store)
    synced = ["pwrite", "fsync", "replace", "fsync"]
    segment = ["pwrite", "fdatasync", "replace", "fsync", "pwrite", "fdatasync"]
    generations = ["replace", "replace"]  # there are none yet
    assert [name for name in calls.seen if name != "flock"] == [*generations, *synced, *synced, *segment]


def test_reading_changes_nothing(at: Path) -> None:
    """Whoever only reads locks nothing and writes nothing."""
    with Calls() as calls:
        store = opened(at)
        store.read()
        store.read_since(3)
    assert calls.seen == []


def test_errors_name_their_cause() -> None:
    """An error that nobody foresaw still has its own words."""
    from reconciler.state.files import state_error

    error = state_error(OSError(errno.EXDEV, os.strerror(errno.EXDEV)), Path("state.json"), "written")
    assert str(error) == "state.json cannot be written: Invalid cross-device link"
