"""Reads the manifests when somebody asks, and gives every environment's worker what was read; keeps all of it going.

`cli.watch` makes one and runs the triggers beside it. Asking is cheap and says only "look again": whatever is asked while
files are being read means one more reading, and a worker is offered a reading only when it asked, when somebody asked for
all, or when the reading says something new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from reconciler.apply.context import Stop
from reconciler.controller.loop import Means, Reading, Worker
from reconciler.controller.triggers import FETCH, FILES
from reconciler.errors import NotAtRest, ReconcilerError
from reconciler.model.resource import Environment
from reconciler.pipeline import Checked

_HINTS = (FILES, FETCH)  # when these find nothing new, there is nothing to do
BUSY = "the files are not at rest"
HEARTBEAT = 5.0
LAST_MOMENT = 6.0  # seconds after which nobody is waited for any more: out within 7


class Supervisor:
    """`read` gives the manifests at rest, or raises ReconcilerError; it tells the function that it is given when it must
    wait for long. `means.ask` is set here.
    """

    def __init__(
        self,
        read: Callable[[Callable[[NotAtRest], None]], Awaitable[Checked]],
        means: Means,
        environments: Iterable[Environment],
        *,
        only: frozenset[str] = frozenset(),
    ) -> None:
        """`only` are the names that concern us; all of them when it is empty."""
        self.workers: dict[str, Worker] = {}
        self._read = read
        self._means = replace(means, ask=self.ask)
        self._first = tuple(environments)
        self._only = only
        self._bell = asyncio.Event()
        self._asked: dict[str | None, list[str]] = {}
        self._last: Reading | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ended = Stop()

    def ask(self, cause: str, environment: str | None = None) -> None:
        """Look again: in one environment, or in all."""
        causes = self._asked.setdefault(environment, [])
        if cause not in causes:
            causes.append(cause)
        self._bell.set()

    @property
    def fatal(self) -> ReconcilerError | None:
        """Why the process must end: what was written may not be on the disk."""
        return next((worker.fatal for worker in self.workers.values() if worker.fatal is not None), None)

    async def run(self) -> None:
        """Until the stop is asked for, or one pass of every environment, if that is all that is wanted."""
        for environment in self._first:
            self._start(environment)
        helpers = [asyncio.create_task(self._reading()), asyncio.create_task(self._beating())]
        try:
            if self._means.once:
                self.ask("once")
                await self._all_ended(helpers)
            else:
                with self._means.stop.calling(self._ended.request):
                    await self._stopped(helpers)
        finally:
            for task in (*helpers, *self._tasks.values()):
                task.cancel()
            await asyncio.gather(*helpers, *self._tasks.values(), return_exceptions=True)

    async def _all_ended(self, helpers: list[asyncio.Task[None]]) -> None:
        waiting = set(self._tasks.values())
        while waiting:
            done, _ = await asyncio.wait({*waiting, *helpers}, return_when=asyncio.FIRST_COMPLETED)
            _raise_from(done)
            waiting -= done

    async def _stopped(self, helpers: list[asyncio.Task[None]]) -> None:
        """Nothing new is begun; what is in flight gets its grace."""
        ended = asyncio.create_task(_asked_for(self._ended))
        await asyncio.wait({ended, *helpers}, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        _raise_from(helpers)
        if self.fatal is not None:
            self._means.stop.request()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=LAST_MOMENT)

    # Reading

    async def _reading(self) -> None:
        while True:
            await self._bell.wait()
            self._bell.clear()
            asked, self._asked = self._asked, {}
            self._offer(await self._attempt(asked), asked)

    async def _attempt(self, asked: dict[str | None, list[str]]) -> Reading:
        cause = ", ".join(dict.fromkeys(cause for causes in asked.values() for cause in causes))
        try:
            return Reading(cause=cause, checked=await self._read(self._cannot_read_yet))
        except ReconcilerError as error:
            return Reading(cause=cause, problem=error)

    def _cannot_read_yet(self, problem: NotAtRest) -> None:
        """Everybody learns why, and follows what runs; a single pass just waits."""
        if not self._means.once:
            self._offer(Reading(cause=BUSY, problem=problem), {None: [BUSY]})

    def _offer(self, reading: Reading, asked: dict[str | None, list[str]]) -> None:
        is_new, self._last = not _says_the_same(self._last, reading), reading
        if reading.checked is not None:
            self._have(reading.checked.environments.values())
        for name, worker in self.workers.items():
            causes = [*asked.get(None, ()), *asked.get(name, ())]
            if is_new or any(cause not in _HINTS for cause in causes):
                worker.offer(replace(reading, cause=", ".join(dict.fromkeys(causes)) or reading.cause))

    # Workers

    def _have(self, environments: Iterable[Environment]) -> None:
        """A worker for every environment, and for no other."""
        wanted = {e.name: e for e in environments if not self._only or e.name in self._only}
        for name in self.workers.keys() - wanted.keys():
            self.workers.pop(name).retire()
        for name in wanted.keys() - self.workers.keys():
            self._start(wanted[name])

    def _start(self, environment: Environment) -> None:
        worker = Worker(environment, self._means)
        self.workers[environment.name] = worker
        task = asyncio.create_task(worker.run(), name=environment.name)
        task.add_done_callback(self._ended_worker)
        self._tasks[environment.name] = task

    def _ended_worker(self, task: asyncio.Task[None]) -> None:
        """A worker ends when it is retired; else what it must not outlive ends everything."""
        if self._tasks.get(task.get_name()) is task and not self._means.once:
            del self._tasks[task.get_name()]
        if self.fatal is not None or (not task.cancelled() and task.exception() is not None):
            self._ended.request()

    async def _beating(self) -> None:
        while True:
            self._means.board.alive()
            await asyncio.sleep(HEARTBEAT)


async def _asked_for(stop: Stop) -> None:
    while not stop.requested:
        await stop.sleep(3600)


def _raise_from(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()


def _says_the_same(before: Reading | None, now: Reading) -> bool:
    if before is None:
        return False
    if before.checked is None or now.checked is None:
        return before.checked is now.checked and str(before.problem) == str(now.problem)
    a, b = before.checked, now.checked
    return (a.snapshot, a.environments) == (b.snapshot, b.environments)
