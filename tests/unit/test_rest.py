"""Files are read when they are at rest: not while somebody writes them, and not before they were left alone for a while."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.controller.rest import AGAIN, IMPATIENT, NANO, Places, look_at, read_at_rest
from reconciler.errors import NotAtRest
from tests.support.virtual_time import run_virtual

SETTLE = 3.0
NEARLY = SETTLE - 0.001  # times of day have fewer digits than a loop's time


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """One manifest and the project file, in a checkout."""
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "a.yaml").write_text("first")
    (tmp_path / "reconciler.yaml").write_text("")
    return Places(root=tmp_path, folders=("manifests",), ignore=(), project=tmp_path / "reconciler.yaml")


def manifest_of(places: Places) -> Path:
    return places.root / "manifests" / "a.yaml"


def read(places: Places, reader: Callable[[], str]) -> tuple[str, float]:
    """What was read, and how many seconds after the files were last touched."""
    touched = max(path.stat().st_ctime for path in places.root.rglob("*"))

    async def whole() -> tuple[str, float]:
        loop = asyncio.get_running_loop()
        found = await read_at_rest(
            lambda: places, reader, settle=SETTLE, say=lambda _: None, wall=lambda: touched + loop.time()
        )
        return found.value, loop.time()

    return run_virtual(whole())


def test_what_was_just_written_is_left_alone_for_a_while(places: Places) -> None:
    """Files are read once nobody has touched them for the settle time."""
    value, seconds = read(places, manifest_of(places).read_text)
    assert value == "first"
    assert NEARLY <= seconds < 2 * SETTLE


def test_old_times_do_not_count(places: Places) -> None:
    """A copy that keeps the times of what it copies was written just now all the same."""
    for path in (*places.root.rglob("*"), places.root):
        os.utime(path, (1, 1))
    _, seconds = read(places, manifest_of(places).read_text)
    assert seconds >= NEARLY


def test_what_changes_while_it_is_read_is_read_again(places: Places) -> None:
    """What was read while somebody wrote is thrown away."""
    readings = []

    def reader() -> str:
        readings.append(manifest_of(places).read_text())
        if len(readings) == 1:
            manifest_of(places).with_name("b.yaml").write_text("more")
        return f"{readings[-1]}, {len(list(manifest_of(places).parent.iterdir()))} files, reading {len(readings)}"

    value, _ = read(places, reader)
    assert value == "first, 2 files, reading 2"
    assert len(readings) == 2


def test_a_failure_counts_only_at_rest(places: Places) -> None:
    """A file that is gone for a moment while it is replaced is no failure; one that stays away is."""
    readings = []

    def reader() -> str:
        readings.append(1)
        if len(readings) == 1:
            manifest_of(places).rename(manifest_of(places).with_suffix(".aside"))
        return manifest_of(places).read_text()

    with pytest.raises(FileNotFoundError):
        read(places, reader)
    assert len(readings) == 2


def test_what_was_removed_was_touched(places: Places) -> None:
    """Of a file that is gone the folder tells when: it is waited for as for one that was written."""
    folder = manifest_of(places).parent
    before = look_at(places)
    while folder.stat().st_ctime_ns / NANO <= before.touched:  # the file system's clock has steps
        (folder / "b.yaml").write_text("more")
        (folder / "b.yaml").unlink()
    look = look_at(places)
    assert look.touched == folder.stat().st_ctime_ns / NANO
    assert look.newest == "manifests"


def test_git_at_work_in_a_linked_worktree(places: Places) -> None:
    """A worktree that git made beside the repository has its lock there, not below itself."""
    lock = places.root / "repository/.git/worktrees/one/index.lock"
    lock.parent.mkdir(parents=True)
    for spelled in (lock.parent, Path("repository/.git/worktrees/one")):
        (places.root / ".git").write_text(f"gitdir: {spelled}\n")
        assert look_at(places).lock is None
        lock.write_bytes(b"")
        found = look_at(places).lock
        assert found is not None
        assert found.path == lock
        lock.unlink()


def test_a_lock_of_git_is_told_and_waited_for(places: Places) -> None:
    """What git left behind is named with its age and what to do, now and then again; once it is gone everything is read."""
    (places.root / ".git").mkdir()
    lock = places.root / ".git" / "index.lock"
    lock.write_bytes(b"")
    os.utime(lock, (0, 0))
    said: list[tuple[float, NotAtRest | None]] = []

    async def whole() -> str:
        loop = asyncio.get_running_loop()

        def say(waits: NotAtRest | None) -> None:
            said.append((loop.time(), waits))
            if len(said) == 2:
                lock.unlink()

        return (await read_at_rest(lambda: places, manifest_of(places).read_text, settle=SETTLE, say=say)).value

    assert run_virtual(whole()) == "first"
    (first, told), (second, again), (_, over) = said
    assert SETTLE + IMPATIENT <= first < SETTLE + IMPATIENT + 1
    assert AGAIN <= second - first < AGAIN + 1
    assert told is not None
    assert f"{lock} is there since 1970-01-01 00:00:00 UTC" in str(told)
    assert str(told) == str(again)
    assert "remove it" in told.next_step
    assert over is None


def test_what_keeps_changing_is_named(places: Places) -> None:
    """It is told which file changes, since when, and how long it must be left alone; when git begins, that is told instead."""
    said: list[str | None] = []
    (places.root / ".git").mkdir()
    lock = places.root / ".git" / "index.lock"

    async def whole() -> None:
        def say(waits: NotAtRest | None) -> None:
            said.append(None if waits is None else str(waits))
            if len(said) == 1:
                lock.write_bytes(b"")
            elif len(said) == 2:
                lock.unlink()

        async def write() -> None:
            for _ in range(int(SETTLE + IMPATIENT) + 2):
                manifest_of(places).write_text(manifest_of(places).read_text() + "more")
                await asyncio.sleep(1)

        writing = asyncio.create_task(write())
        began = manifest_of(places).stat().st_ctime
        loop = asyncio.get_running_loop()
        reading = read_at_rest(
            lambda: places,
            manifest_of(places).read_text,
            settle=SETTLE,
            say=say,
            wall=lambda: began + min(loop.time(), 1),
        )
        await asyncio.gather(reading, writing)

    run_virtual(whole())
    assert len(said) == 3
    assert "The files keep changing since" in (said[0] or "")
    assert "the last one is manifests/a.yaml." in (said[0] or "")
    assert "nothing was changed for 3 s" in (said[0] or "")
    assert "index.lock is there since" in (said[1] or "")
    assert said[2] is None
