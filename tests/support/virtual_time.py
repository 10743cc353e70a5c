"""An event loop whose time jumps to the next timer whenever nothing is ready: tests about waiting never wait.

`run_virtual(coro)` is `asyncio.run` on such a loop. Worker threads (`asyncio.to_thread`) are waited for really, and time
stands still meanwhile. Sockets are not for this loop: it would jump past an answer that is on its way.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

START = datetime(2030, 1, 1, tzinfo=UTC)  # the wall-clock reading when a virtual loop's time is 0
_THREAD_PATIENCE = 60.0  # real seconds for a worker thread before the test is called hung


class Stuck(RuntimeError):
    """Every task waits for something that cannot come: no timer is set, no thread runs, no callback is ready."""


class _JumpingSelector(selectors.SelectSelector):
    """Looks at its files without waiting, and lets the loop's clock jump instead."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: VirtualLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0 or self.loop is None:
            return ready
        if self.loop.threads:
            ready = super().select(_THREAD_PATIENCE)
            if not ready:
                raise Stuck(f"a worker thread has not come back within {_THREAD_PATIENCE:.0f} s")
            return ready
        if timeout is None:
            raise Stuck("nothing is ready and no timer is set: some task waits for what never comes")
        self.loop.advance(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """`loop.time()` starts at 0 and moves only by timers."""

    def __init__(self) -> None:
        self._now = 0.0
        self.threads = 0
        selector = _JumpingSelector()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds

    def run_in_executor(  # type: ignore[override]  # the stub's *args are typed by position
        self, executor: Any, func: Any, *args: Any
    ) -> asyncio.Future[Any]:
        future = super().run_in_executor(executor, func, *args)
        self.threads += 1
        future.add_done_callback(self._thread_is_back)
        return future

    async def shutdown_default_executor(self) -> None:
        self.threads += 1  # joins the pool from a thread of its own
        try:
            await super().shutdown_default_executor()
        finally:
            self.threads -= 1

    def _thread_is_back(self, _: asyncio.Future[Any]) -> None:
        self.threads -= 1


def run_virtual(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine to its end on a virtual loop. Raises Stuck instead of hanging."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


def wall_clock() -> datetime:
    """The wall clock of the running loop: START plus its time. For the code under test that is given a clock."""
    return START + timedelta(seconds=asyncio.get_running_loop().time())
