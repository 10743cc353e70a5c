"""The loop that jumps: other tests lean on it."""

import asyncio
import threading
import time

import pytest

from tests.support.virtual_time import START, Stuck, run_virtual, wall_clock


def test_time_jumps() -> None:
    """A day of sleeping passes at once, and timers fire in their order."""
    order: list[str] = []

    async def sleeper(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        order.append(f"{name}@{asyncio.get_running_loop().time():.0f}")

    async def main() -> None:
        await asyncio.gather(sleeper("long", 86_400 * 3), sleeper("short", 1), sleeper("middle", 60))
        assert (wall_clock() - START).total_seconds() == 86_400 * 3

    run_virtual(main())
    assert order == ["short@1", "middle@60", f"long@{86_400 * 3}"]


def test_timeouts_work() -> None:
    """A timeout ends what takes longer, at the exact virtual moment."""

    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(12.5):
                await asyncio.sleep(1000)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 12.5


def test_threads_are_waited_for() -> None:
    """Time stands still while a worker thread works."""
    started = threading.Event()

    def work() -> str:
        started.wait(10)
        time.sleep(0.01)
        return "done"

    async def main() -> tuple[str, float]:
        timer = asyncio.create_task(asyncio.sleep(1000))
        future = asyncio.create_task(asyncio.to_thread(work))
        started.set()
        result = await future
        now = asyncio.get_running_loop().time()
        timer.cancel()
        return result, now

    assert run_virtual(main()) == ("done", 0.0)


def test_stuck() -> None:
    """A wait that can never end is an error, not a hang."""
    with pytest.raises(Stuck):
        run_virtual(asyncio.Event().wait())
