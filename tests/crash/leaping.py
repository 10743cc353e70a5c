"""An event loop that waits for sockets really and for time never: waits of seconds cost nothing, in a process of its own.

While a connection is open or a thread is at work the clock is the real one. When nothing is awaited but a timer, the clock
leaps to it. So a worker polls jobs, honours 429 and backs off at full speed, and its deadlines for the network stay what they
are.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _LeapingSelector(selectors.DefaultSelector):
    """Sockets that nobody reads at the moment are not registered, so one file is the loop's own waking pipe, alone."""

    def __init__(self) -> None:
        super().__init__()
        self.leapt = 0.0
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0 and not self.threads and len(self.get_map()) <= 1:
            self.leapt += timeout
            timeout = 0
        return super().select(timeout)


class LeapingLoop(asyncio.SelectorEventLoop):
    """`loop.time()` is the monotonic clock and everything that was leapt over."""

    def __init__(self) -> None:
        self._leaping = _LeapingSelector()
        super().__init__(self._leaping)

    def time(self) -> float:
        return time.monotonic() + self._leaping.leapt

    def run_in_executor(  # type: ignore[override]  # the stub's *args are typed by position
        self, executor: Any, func: Any, *args: Any
    ) -> asyncio.Future[Any]:
        future = super().run_in_executor(executor, func, *args)
        self._leaping.threads += 1
        future.add_done_callback(self._thread_is_back)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the parent's
        self._leaping.threads += 1  # joins the pool from a thread of its own
        try:
            await super().shutdown_default_executor()
        finally:
            self._leaping.threads -= 1

    def _thread_is_back(self, _: asyncio.Future[Any]) -> None:
        self._leaping.threads -= 1


def run_leaping(coroutine: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`."""
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        return runner.run(coroutine)
