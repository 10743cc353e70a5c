"""How files are saved in real life: no change is missed, nothing half-written is read, nothing between two states is seen."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

import pytest

from reconciler.controller.rest import Places, read_at_rest
from reconciler.controller.triggers import FileWatch, silent
from reconciler.errors import NotAtRest
from reconciler.source.directory import read_manifests
from tests.service.conftest import SimulatedPlatform
from tests.support.project import ProjectFolder, manifest
from tests.support.saves import PATTERNS, Save, Texts

LONG = bool(os.environ.get("SOAK"))
SETTLE = 0.15
PATIENCE = 60.0
BEFORE, AFTER = b"state: before\n", b"state: after, and it is longer\n"
TEXTS = Texts.of("a")


class Reader:
    """A project folder that is watched as the loop watches it; `seen` are all states that were read, as file -> bytes."""

    def __init__(self, root: Path, folder: str = "manifests", poll: float | None = None) -> None:
        self.root = root
        self.seen: list[dict[str, bytes]] = []
        self._places = Places(root=root, folders=(folder,), ignore=(), project=root / "reconciler.yaml")
        self._asked, self._read = asyncio.Event(), asyncio.Event()
        self._watch = FileWatch(
            places=lambda: self._places, ask=lambda _: self._asked.set(), say=lambda _: None, settle=SETTLE, poll=poll
        )
        self.said: list[NotAtRest | None] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._watch.run()), asyncio.create_task(self._reading())]
        await self.until(lambda _: True)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _reading(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            done = await read_at_rest(lambda: self._places, self._take, settle=SETTLE, say=self.said.append)
            self.seen.append(done.value)
            self._read.set()

    def _take(self) -> dict[str, bytes]:
        files, _ = read_manifests(self.root, self._places.folders, ())
        return {Path(file.path).name: file.data for file in files}

    async def until(self, holds: Callable[[dict[str, bytes]], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not (self.seen and holds(self.seen[-1])):
                self._read.clear()
                await self._read.wait()


async def _saved(root: Path, do: Save, expected: bytes) -> None:
    (root / "manifests").mkdir(parents=True)
    (root / "manifests/a.yaml").write_bytes(TEXTS.before)
    async with Reader(root) as reader:
        await reader.until(lambda files: files == {"a.yaml": TEXTS.before})
        await asyncio.to_thread(do, root, TEXTS)
        await reader.until(lambda files: files.get("a.yaml", TEXTS.gone) == expected)
        between = {files.get("a.yaml", TEXTS.gone) for files in reader.seen}
        assert between == {TEXTS.before, expected}, "a state that was never at rest"
        (root / "manifests/last.yaml").write_bytes(AFTER)  # and whatever became of the folders, they are still watched
        await reader.until(lambda files: "last.yaml" in files)


def _objects() -> int:
    """What Python holds, in blocks."""
    gc.collect()
    return sys.getallocatedblocks()


def _memory() -> float:
    """MiB of the whole process, the library's threads included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class _Use:
    """What the process needs, looked at twice: doing as much again must not need more."""

    def __init__(self) -> None:
        self._before = _open_files()
        self._objects: list[int] = []
        self._memory: list[float] = []

    def look(self, done: str) -> None:
        files = _open_files()
        self._objects.append(_objects())
        self._memory.append(_memory())
        print(f"\n{done}, {self._memory[-1]:.0f} MiB, {files} files open")
        assert files <= self._before + 1

    def is_level(self) -> None:
        """The library's memory is its own affair in a short test: it grows to what it needs."""
        assert self._objects[1] < self._objects[0] * 1.02
        assert not LONG or self._memory[1] < self._memory[0] * 1.1


def _run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    asyncio.run(main())


@pytest.mark.parametrize("part", range(4))
def test_save_patterns(tmp_path: Path, part: int) -> None:
    """Each way to save a file shows the file before and the file afterwards, and nothing else."""
    chosen = sorted(PATTERNS)[part::4]

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for number, name in enumerate(chosen):
                do, text = PATTERNS[name]
                group.create_task(_saved(tmp_path / str(number), do, getattr(TEXTS, text)), name=name)

    before = _open_files()

    async def and_closed() -> None:
        await all_of_them()
        async with asyncio.timeout(PATIENCE):  # a watch that was ended is closed by a thread of its own
            while _open_files() > before + 4:  # noqa: ASYNC110 - nobody tells; four are the event loop's own
                await asyncio.sleep(0.01)

    _run(and_closed)


def test_configmap_is_swapped(tmp_path: Path) -> None:
    """A mounted ConfigMap: files are links into a folder that is swapped as a whole."""

    async def story() -> None:
        top = tmp_path / "manifests"
        (top / "..v1").mkdir(parents=True)
        (top / "..v1/a.yaml").write_bytes(BEFORE)
        (top / "..v1/b.yaml").write_bytes(BEFORE)
        (top / "..data").symlink_to("..v1")
        for name in ("a.yaml", "b.yaml"):
            (top / name).symlink_to(f"..data/{name}")
        async with Reader(tmp_path) as reader:
            await reader.until(lambda files: files == {"a.yaml": BEFORE, "b.yaml": BEFORE})
            for version in range(2, 6):
                text = BEFORE * version
                (top / f"..v{version}").mkdir()
                for name in ("a.yaml", "b.yaml"):
                    (top / f"..v{version}" / name).write_bytes(text)
                (top / "..data_tmp").symlink_to(f"..v{version}")
                (top / "..data_tmp").rename(top / "..data")
                shutil.rmtree(top / f"..v{version - 1}")
                await reader.until(lambda files, text=text: files == {"a.yaml": text, "b.yaml": text})  # type: ignore[misc]
            assert all(files["a.yaml"] == files["b.yaml"] for files in reader.seen)

    _run(story)


def test_git_sync_link_is_swapped(tmp_path: Path) -> None:
    """git-sync: the project's folder itself is reached through a link that is swapped."""

    async def story() -> None:
        for version in ("one", "two"):
            (tmp_path / version / "manifests").mkdir(parents=True)
            (tmp_path / version / "manifests/a.yaml").write_text(version)
        (tmp_path / "current").symlink_to("one")
        async with Reader(tmp_path / "current") as reader:
            await reader.until(lambda files: files == {"a.yaml": b"one"})
            (tmp_path / "next").symlink_to("two")
            (tmp_path / "next").rename(tmp_path / "current")
            await reader.until(lambda files: files == {"a.yaml": b"two"})
            (tmp_path / "two/manifests/a.yaml").write_text("three")
            await reader.until(lambda files: files == {"a.yaml": b"three"})

    _run(story)


def test_polling_sees_it_too(tmp_path: Path) -> None:
    """Where no event is sent, files are looked at in intervals."""

    async def story() -> None:
        (tmp_path / "manifests").mkdir()
        (tmp_path / "manifests/a.yaml").write_bytes(BEFORE)
        async with Reader(tmp_path, poll=0.05) as reader:
            (tmp_path / "manifests/a.yaml").write_bytes(AFTER)
            await reader.until(lambda files: files == {"a.yaml": AFTER})

    _run(story)


def test_git_at_work_is_waited_for(tmp_path: Path) -> None:
    """While git holds its index, nothing is read."""

    async def story() -> None:
        (tmp_path / ".git").mkdir()
        (tmp_path / "manifests").mkdir()
        (tmp_path / "manifests/a.yaml").write_bytes(BEFORE)
        async with Reader(tmp_path) as reader:
            await reader.until(lambda files: files == {"a.yaml": BEFORE})
            lock = tmp_path / ".git/index.lock"
            lock.write_bytes(b"")
            seen = len(reader.seen)
            (tmp_path / "manifests/a.yaml").write_bytes(AFTER)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(4 * SETTLE):
                    await reader.until(lambda files: files == {"a.yaml": AFTER})
            assert len(reader.seen) == seen
            lock.unlink()
            await reader.until(lambda files: files == {"a.yaml": AFTER})

    _run(story)


def test_checkouts_back_and_forth(tmp_path: Path) -> None:
    """Between two branches only the one or the other is ever seen, and the last one in the end."""
    count, turns = (2000, 200) if LONG else (200, 6)

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false", "-c", "gc.auto=0")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    def write(text: str) -> None:
        (tmp_path / "manifests").mkdir(exist_ok=True)
        for number in range(count):
            (tmp_path / f"manifests/m{number}.yaml").write_text(text)
        git("add", "manifests")
        git("commit", "-qm", text)

    def shows(branch: str) -> Callable[[dict[str, bytes]], bool]:
        return lambda files: len(files) == count and {text[:3] for text in files.values()} == {branch.encode()}

    git("init", "-q", "-b", "one", ".")
    write("one")
    git("checkout", "-qb", "two")
    write("two, which is longer")

    async def story() -> None:
        async with Reader(tmp_path) as reader:
            use = _Use()
            for half in range(2):
                for turn in range(turns // 2):
                    branch = "one" if turn % 2 == 0 else "two"
                    await asyncio.to_thread(git, "checkout", "-q", branch)
                    if turn % 5 == 3:  # now and then it is left at rest
                        await reader.until(shows(branch))
                await asyncio.to_thread(git, "checkout", "-q", "two" if half == 0 else "one")
                await reader.until(shows("two" if half == 0 else "one"))
                assert all(len(set(files.values())) == 1 and len(files) == count for files in reader.seen)
                reads = len(reader.seen)
                reader.seen.clear()
                use.look(f"{turns // 2} checkouts of {count} files, {reads} reads")
            use.is_level()

    _run(story)


# Four events a write: opened, emptied, written, closed. Each file is one writer's.
WRITERS = 5
WRITER = """
import sys
first, end, step = map(int, sys.argv[1:])
for number in range(first, end, step):
    with open(f"m{number % 50}.yaml", "wb") as stream:
        stream.write(b"%d\\n" % number)
"""


def test_storm_of_events(tmp_path: Path) -> None:
    """After a storm of events the last state is seen, no file is left open, and a second storm needs no more than the first."""
    events = 100_000 if LONG else 8_000
    folder = tmp_path / "manifests"
    folder.mkdir()

    def storm(first: int) -> None:
        """By other processes: one that reads as well would hold itself up."""
        end = first + events // 4
        ranges = [(str(first + writer), str(end), str(WRITERS)) for writer in range(WRITERS)]
        writers = [subprocess.Popen([sys.executable, "-ISc", WRITER, *numbers], cwd=folder) for numbers in ranges]
        assert [writer.wait() for writer in writers] == [0] * WRITERS
        (folder / "last.yaml").write_bytes(b"%d\n" % first)

    async def story() -> None:
        async with Reader(tmp_path) as reader:
            use = _Use()
            for first in (0, events):
                began = time.monotonic()
                await asyncio.to_thread(storm, first)
                ended = time.monotonic()
                await reader.until(lambda files, first=first: files.get("last.yaml") == b"%d\n" % first)  # type: ignore[misc]
                end = first + events // 4
                newest = {f"m{n % 50}.yaml": b"%d\n" % n for n in range(end - 50, end)}
                assert reader.seen[-1] == {**newest, "last.yaml": b"%d\n" % first}
                took, later, reads = ended - began, time.monotonic() - ended, len(reader.seen)
                reader.seen.clear()
                use.look(f"{events} events in {took:.1f} s, seen {later:.1f} s after their end, {reads} reads")
            use.is_level()

    _run(story)


def test_events_lost_in_an_overflow(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """When the kernel drops events because nobody reads them, what changed is found at once; new folders are watched too."""
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if queue > 1_000_000:
        pytest.skip(f"the kernel keeps {queue:,} events for us: too many to write in a test")
    noise = [project.write(f"manifests/{name}.txt", "") for name in "xy"]
    project.init(*"abcde")
    watch = project.start("watch", "--settle", str(SETTLE), "--log-format", "json", "--listen", "none")
    watch.wait_for('"event": "pass"')
    watch.signal(signal.SIGSTOP)
    with noise[0].open("wb", buffering=0) as x, noise[1].open("wb", buffering=0) as y:
        for _ in range(queue):  # by turns: two that are the same become one
            x.write(b"-")
            y.write(b"-")
    project.write("manifests/below/f.yaml", manifest("f"))
    project.deploy("a", temperature=0)
    watch.signal(signal.SIGCONT)
    for _ in range(2):
        watch.wait_for('"ended": "succeeded"', within=30)
    watch.wait_for('"event": "pass"', within=30)
    project.write("manifests/below/f.yaml", manifest("f", 0))
    watch.wait_for('"ended": "succeeded"', within=30)
    watch.signal(signal.SIGTERM)
    watch.end().ended(0)
    assert sorted(platform.posts[5:]) == [("deploy", "cm-a"), ("deploy", "cm-f"), ("deploy", "cm-f")]


def test_a_folder_that_comes_and_goes(tmp_path: Path) -> None:
    """Manifests deep below are found again when their folder, or the one it lies in, was removed and made anew."""
    place = tmp_path / "a/b"

    def make(text: bytes) -> None:
        place.mkdir(parents=True)
        (place / "a.yaml").write_bytes(text)

    async def story() -> None:
        make(BEFORE)
        async with Reader(tmp_path, "a/b") as reader:
            await reader.until(lambda files: files == {"a.yaml": BEFORE})
            for gone in (place, place.parent, place, place.parent):
                shutil.rmtree(gone)
                await reader.until(lambda files: files == {})
                make(AFTER)
                await reader.until(lambda files: files == {"a.yaml": AFTER})
                shutil.rmtree(gone)
                make(BEFORE)
                await reader.until(lambda files: files == {"a.yaml": BEFORE})
                (place / "a.yaml").write_bytes(AFTER)
                await reader.until(lambda files: files == {"a.yaml": AFTER})

    _run(story)


def test_silent_file_systems(tmp_path: Path) -> None:
    """A folder on a network file system is polled, and the reason names it."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "22 21 0:40 / /srv/models rw - nfs4 server:/models rw\n"
        "23 21 0:41 / /srv/drive rw - fuse.sshfs somebody@host rw\n"
    )
    assert silent([Path("/home/me")], mounts) is None
    assert "nfs4" in (silent([Path("/srv/models/manifests")], mounts) or "")
    assert "fuse.sshfs" in (silent([Path("/home/me"), Path("/srv/drive")], mounts) or "")
    assert silent([Path("/srv/models")], tmp_path / "missing") is None
