"""What asks for a look by time: the clock, and looking at files where no event can be relied on."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

from reconciler.controller.rest import Places
from reconciler.controller.triggers import CLOCK, USUAL_POLL, FileWatch, every
from tests.support.virtual_time import run_virtual


def test_the_clock_is_never_quite_even() -> None:
    """It asks in the interval, give or take a tenth."""
    asked: list[tuple[float, str]] = []

    async def story() -> None:
        loop, chance = asyncio.get_running_loop(), itertools.cycle((0.0, 1.0, 0.5))
        clock = every(100, lambda cause: asked.append((loop.time(), cause)), random=lambda: next(chance))
        task = asyncio.create_task(clock)
        await asyncio.sleep(301)
        task.cancel()

    run_virtual(story())
    assert [(round(at), cause) for at, cause in asked] == [(90, CLOCK), (200, CLOCK), (300, CLOCK)]


def test_where_no_event_is_sent_files_are_looked_at(tmp_path: Path) -> None:
    """On a network file system changes are found by looking in intervals, and it is said why."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"21 1 0:40 / {tmp_path.resolve()} rw - nfs4 server:/models rw\n")
    places = Places(root=tmp_path, folders=("manifests",), ignore=(), project=tmp_path / "reconciler.yaml")
    (tmp_path / "manifests").mkdir()
    said: list[str] = []

    async def story() -> None:
        asked = asyncio.Event()
        watch = FileWatch(
            places=lambda: places, ask=lambda _: asked.set(), say=said.append, settle=1, poll=None, mounts=mounts
        )
        task = asyncio.create_task(watch.run())
        async with asyncio.timeout(1):
            await asked.wait()
        asked.clear()
        await asyncio.sleep(10 * USUAL_POLL)
        assert not asked.is_set(), "nothing had changed"
        (tmp_path / "manifests/a.yaml").write_text("first")
        async with asyncio.timeout(2 * USUAL_POLL):
            await asked.wait()
        task.cancel()

    run_virtual(story())
    (why,) = said
    assert why.startswith("files are looked at every 5 s (")
    assert "lies on nfs4" in why
