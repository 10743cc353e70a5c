"""A store that is killed: nothing that was acknowledged is lost, nothing that was not is half there, and it goes on.

Real processes and SIGKILL, and then power cuts, which take what no sync covers: at each system call, everything that a disk
may be left with. What is not synced is there or not, write by write, whole or torn; names are there up to some moment, as a
journal keeps them. The suite takes every fifth of these; `make power` takes all.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from reconciler.errors import RunLockHeld
from reconciler.state.file import FileStore
from reconciler.state.fold import fold
from reconciler.state.repair import inspect
from reconciler.state.segments import encode_frame, segment_name
from tests.crash.injector import Fault
from tests.support.records import HOLDER, empty, note
from tests.support.store_worker import STORY

pytestmark = pytest.mark.crash

ROOT = Path(__file__).parents[2]
TOLD = [record for records in STORY for record in records]
STORIES = {"cm-1", *(f"cm-{n}" for n in range(4, 8))}  # the entries in the end
MEMORY = Path("/dev/shm")  # kills need no disk, and syncs cost nothing here
STEP = 1 if "POWER" in os.environ else 5


class Worker:
    """tests/support/store_worker.py, which works one job at a time."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.support.store_worker"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def begin(self, job: str, folder: Path, die_at: int | None = None, fault: Fault | None = None) -> int:
        """Starts a job; the pid of the process that does it."""
        told = {"do": job, "folder": str(folder), "die_at": die_at, "fault": asdict(fault) if fault else None}
        assert self._process.stdin
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        return int(self.line().removeprefix("pid "))

    def line(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the worker is gone"
        return line.rstrip("\n")

    def rest(self) -> tuple[list[str], int]:
        """Everything that is still said, and the exit status (negative: the signal)."""
        said = []
        while not (line := self.line()).startswith("end "):
            said.append(line)
        return said, int(line.removeprefix("end "))

    def run(
        self, job: str, folder: Path, die_at: int | None = None, fault: Fault | None = None
    ) -> tuple[list[str], int]:
        self.begin(job, folder, die_at, fault)
        return self.rest()

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    where = MEMORY if os.access(MEMORY, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=where) as name:
        yield Path(name)


def acknowledged(said: list[str]) -> int:
    return max((int(line.split()[1]) for line in said if line.startswith("acked ")), default=0)


def entries(folder: Path) -> set[str]:
    stored = FileStore(folder, "production").read()
    return set(fold(stored.snapshot, stored.records).entries)


def tear(folder: Path) -> None:
    """Leaves the beginning of a record at the end of the log, as a crash does."""
    log = max((folder / "production" / "log").glob("0*"))
    with log.open("r+b") as file:
        file.seek(len(log.read_bytes().rstrip(b"\0")))
        file.write(encode_frame(b"[]" * 600)[:900])


def check(folder: Path, said: list[str]) -> None:
    """What may be there after a death at which `said` was acknowledged; then the state goes on."""
    store = FileStore(folder, "production")
    if not store.exists():
        assert "made" not in said
        store.create(empty())
    stored = store.read()
    acked = acknowledged(said)
    assert stored.seq in {acked, *(sum(map(len, STORY[: n + 1])) for n in range(len(STORY)) if n == batches(acked))}
    state = fold(stored.snapshot, stored.records)
    told = fold(empty(), TOLD[: stored.seq])
    assert (state.entries, state.seq) == (told.entries, told.seq)
    assert state.serial >= said.count("compacted")
    assert store.sender_is_dead()
    store.lock_run(HOLDER).release()
    assert store.append(stored.seq, [note(50)]) == stored.seq + 1
    store.compact(stored.seq + 1, fold(state, [note(50)]))
    assert entries(folder) == {*told.entries, "cm-50"}
    assert inspect(folder, "production").healthy


def batches(seq: int) -> int:
    """How many appends of the story make that number."""
    made = 0
    while sum(map(len, STORY[:made])) < seq:
        made += 1
    return made


def test_killed_before_every_system_call(worker: Worker, folder: Path) -> None:
    """Killed before each system call of a store's life, what was acknowledged is there, and at most one append more."""
    call = 0
    while True:
        call += 1
        there = folder / str(call)
        said, ended = worker.run("story", there, die_at=call)
        check(there, said)
        shutil.rmtree(there)
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
    assert said[-1] == "done"
    assert call > 60


def test_killed_again_during_recovery(worker: Worker, folder: Path) -> None:
    """Killed before each system call of the recovery from a torn write, nothing is lost, however often."""
    call = 0
    ended = -1
    worker.run("story", folder / "torn")
    tear(folder / "torn")
    while ended != 0:
        call += 1
        there = folder / str(call)
        shutil.copytree(folder / "torn", there)
        said, ended = worker.run("recover", there, die_at=call)
        assert entries(there) in (STORIES, {*STORIES, "cm-107"})
        assert acknowledged(said) <= FileStore(there, "production").read().seq
        assert worker.run("recover", there)[1] == 0
        shutil.rmtree(there)
    assert call > 15


def damage_the_snapshot(folder: Path) -> bytes:
    """Gives what lies in its place; a generation and the log say the same."""
    (folder / "production" / "state.json").write_bytes(b"nonsense")
    return b"nonsense"


def damage_the_log(folder: Path) -> bytes:
    """Two records more, of which the first rots; gives the segment. What it held is lost, and the one after it can be read."""
    store = FileStore(folder, "production")
    seq = store.read().seq
    for number in (8, 9):
        seq = store.append(seq, [note(number)])
    log = max((folder / "production" / "log").glob("0*"))
    data = log.read_bytes().replace(b"cm-8", b"cm-0")
    log.write_bytes(data)
    return data


# What is damaged, the entries that can be read all the same, and whether anything is lost, so that nothing is sent by itself.
DAMAGES = [(damage_the_snapshot, STORIES, False), (damage_the_log, {*STORIES, "cm-9"}, True)]


@pytest.mark.parametrize(("damage", "readable", "lost"), DAMAGES)
def test_killed_during_repair(
    damage: Callable[[Path], bytes], readable: set[str], lost: bool, worker: Worker, folder: Path
) -> None:
    """Killed before each system call of a repair, a second repair ends well and everything readable is there."""
    call = 0
    ended = -1
    worker.run("story", folder / "damaged")
    damaged = damage(folder / "damaged")
    while ended != 0:
        call += 1
        there = folder / str(call)
        shutil.copytree(folder / "damaged", there)
        _, ended = worker.run("mend", there, die_at=call)
        assert worker.run("mend", there)[1] == 0
        check_repaired(there, readable, damaged, lost=lost)
        shutil.rmtree(there)
    assert call > 10


def check_repaired(folder: Path, readable: set[str], damaged: bytes, *, lost: bool) -> None:
    """What could be read is there, and so are the damaged bytes; where something is lost, a person is waited for."""
    assert entries(folder) == readable
    assert damaged in [path.read_bytes() for path in (folder / "production").rglob("*.damaged-*")]
    stored = FileStore(folder, "production").read()
    assert (fold(stored.snapshot, stored.records).suspension is not None) == lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What is there after a power cut at the `at`th call, and what the store's user had heard by then."""

    at: int
    number: int
    folder: Path
    said: list[str]
    ended: bool  # there are fewer calls than that

    def __str__(self) -> str:
        return f"call {self.at}, image {self.number}"


def images(worker: Worker, job: str, scratch: Path, begin: Path | None = None) -> Iterator[Image]:
    """One after the other; the last one is of the job that ended in peace. `begin` is the state that the job finds."""
    at = number = 0
    while True:
        at += 1
        count = number + 1
        while number < count:
            image, count = _image(worker, job, scratch / f"{at}-{number}", begin, at, number)
            yield image
            shutil.rmtree(image.folder.parent)
            if image.ended:
                return
            number += STEP
        number -= count


def _image(  # noqa: PLR0917 - what a fault is made of
    worker: Worker, job: str, place: Path, begin: Path | None, at: int, number: int
) -> tuple[Image, int]:
    """One, and how many there are at that call."""
    (place / "attic").mkdir(parents=True)
    folder = place / "state"
    if begin is not None:
        shutil.copytree(begin, folder)
    said, ended = worker.run(job, folder, fault=Fault(at=at, how="power-image", image=number))
    told = [json.loads(line) for line in (place / "witness").read_text().splitlines()] if ended else []
    assert ended in {0, -signal.SIGKILL}, said
    count = told[-1]["images"] if told else 1
    return Image(at=at, number=number, folder=folder, said=said, ended=not told), count


def test_power_cut_at_every_system_call(worker: Worker, folder: Path) -> None:
    """Whatever the power leaves, what was acknowledged is there, and at most one append more, and the store goes on."""
    seen = 0
    for image in images(worker, "story", folder):
        seen += 1
        try:
            check(image.folder, image.said)
        except Exception as error:
            raise AssertionError(f"{image}: {error!r}") from error
    assert image.said[-1] == "done"
    assert seen > 400 // STEP


def test_power_cut_during_recovery(worker: Worker, folder: Path) -> None:
    """Whatever the power leaves of the recovery from a torn write, nothing is lost, and the next one ends well."""
    worker.run("story", folder / "torn")
    tear(folder / "torn")
    for image in images(worker, "recover", folder, folder / "torn"):
        ends = [{*STORIES, "cm-107"}] if acknowledged(image.said) else [STORIES, {*STORIES, "cm-107"}]
        assert entries(image.folder) in ends, image
        assert worker.run("recover", image.folder)[1] == 0, image
        assert inspect(image.folder, "production").healthy, image


@pytest.mark.parametrize(("damage", "readable", "lost"), DAMAGES)
def test_power_cut_during_repair(
    damage: Callable[[Path], bytes], readable: set[str], lost: bool, worker: Worker, folder: Path
) -> None:
    """Whatever the power leaves of a repair, a second one ends well, and what could be read and what was damaged is there."""
    worker.run("story", folder / "damaged")
    damaged = damage(folder / "damaged")
    for image in images(worker, "mend", folder, folder / "damaged"):
        assert worker.run("mend", image.folder)[1] == 0, image
        try:
            check_repaired(image.folder, readable, damaged, lost=lost)
        except AssertionError as error:
            raise AssertionError(f"{image}: {error}") from error


def test_killed_at_any_moment(worker: Worker, tmp_path: Path) -> None:
    """Killed while it appends and compacts as fast as it can, a writer leaves everything that it acknowledged."""
    FileStore(tmp_path, "production").create(empty())
    for round_ in range(12):
        pid = worker.begin("write_for_ever", tmp_path)
        heard = [worker.line() for _ in range(3 + 5 * (round_ % 4))]
        os.kill(pid, signal.SIGKILL)
        said, ended = worker.rest()
        assert ended == -signal.SIGKILL
        stored = FileStore(tmp_path, "production").read()
        acked = acknowledged([*heard, *said])
        assert acked <= stored.seq <= acked + 2
        state = fold(stored.snapshot, stored.records)
        assert state.seq == stored.seq
        assert {f"cm-{n}" for n in range(1, acked + 1)} <= set(state.entries)


def test_processes_lose_no_update(tmp_path: Path) -> None:
    """Processes that append at once all get through, each with numbers of its own."""
    FileStore(tmp_path, "production").create(empty())
    workers = [Worker() for _ in range(3)]
    for worker in workers:
        worker.begin("append_some", tmp_path)
    acked = []
    for worker in workers:
        said, ended = worker.rest()
        assert ended == 0
        acked += [line.split()[1:] for line in said]
        worker.close()
    assert sorted(int(seq) for seq, _ in acked) == list(range(1, 61))
    stored = FileStore(tmp_path, "production").read()
    assert [f"{r.decision.model_id}" for r in stored.records] == [  # type: ignore[union-attr]  # notes, all of them
        model for _, model in sorted(acked, key=lambda one: int(one[0]))
    ]


def test_a_killed_holder_frees_the_run_lock(worker: Worker, tmp_path: Path) -> None:
    """The run lock of another process holds while it lives, is named after it, and is free the moment it is killed."""
    store = FileStore(tmp_path, "production")
    store.create(empty())
    pid = worker.begin("hold", tmp_path)
    assert worker.line() == "locked"
    assert not store.sender_is_dead()
    with pytest.raises(RunLockHeld, match="ada@laptop"):
        store.lock_run(HOLDER)
    assert store.append(0, [note(1)]) == 1
    os.kill(pid, signal.SIGKILL)
    worker.rest()
    assert store.sender_is_dead()
    store.lock_run(HOLDER).release()


_FAILING = """
import sys
from pathlib import Path
from reconciler.errors import ReconcilerError
from reconciler.state.file import FileStore
from tests.support.records import empty, note
store = FileStore(Path(sys.argv[1]), "production")
store.create(empty())
for seq in (0, 1, 1, 2):
    try:
        print(store.append(seq, [note(seq)]))
    except ReconcilerError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("injected", "ends"),
    [
        # The third is that of the second append. What the disk holds is unknown, so nothing more is written.
        ("fdatasync:error=EIO:when=3", ["1", "DurabilityLost", "DurabilityLost", "DurabilityLost"]),
        # Nothing was written, so the append is refused, and may be tried again.
        ("pwrite64:error=ENOSPC:when=6", ["1", "StateError", "2", "3"]),
        ("pwrite64:error=EIO:when=6", ["1", "StateError", "2", "3"]),
    ],
)
def test_a_disk_that_fails(tmp_path: Path, injected: str, ends: list[str]) -> None:
    """A failed sync is final for the process; a failed write is refused with its cause. Both leave a readable state."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace, to make system calls fail")
    name = injected.partition(":")[0]
    command = ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={name}", "-e", f"inject={injected}"]
    done = subprocess.run(
        [*command, sys.executable, "-c", _FAILING, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if "ptrace" in done.stderr:
        pytest.skip("strace is not allowed here")
    assert done.stderr == ""
    assert [line.split()[0] for line in done.stdout.splitlines()] == ends
    stored = FileStore(tmp_path, "production").read()
    assert stored.seq >= 1
    assert FileStore(tmp_path, "production").append(stored.seq, [note(9)]) == stored.seq + 1
    assert (tmp_path / "production" / "log" / segment_name(1)).exists()
