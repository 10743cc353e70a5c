"""What a run is given by its caller, and the wish to stop it.

`wiring` and the commands make a `RunContext`; `executor` and `docks` read it. Clocks and randomness come in here, so that
tests have their own; waiting is done on the running event loop, whose `time()` is the monotonic clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime

from reconciler.model.applied import Applied, Holder
from reconciler.model.events import Listener, nobody_listens
from reconciler.model.resource import USUAL_RATE_LIMIT, RateLimit
from reconciler.model.snapshot import NO_PROVENANCE, Provenance
from reconciler.plan.guards import Older
from reconciler.platform.pacing import DOCK_STATUS_PER_HOST, Pacer, windows_of

PARALLELISM = 4


class Stop:
    """The wish that something ends: asked for once, by a signal or by the run itself, and never taken back.

    Everything that waits during a run waits here. Belongs to one event loop; `request` is called on it.
    """

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._signal: int | None = None
        self._then: set[Callable[[], None]] = set()

    def request(self, signum: int | None = None) -> None:
        """Ask for the end. `signum` is the signal behind it, None when it is not a signal. Asking again changes nothing."""
        if self._asked.is_set():
            return
        self._signal = signum
        self._asked.set()
        for call in tuple(self._then):
            call()

    @property
    def requested(self) -> bool:
        return self._asked.is_set()

    @property
    def signal(self) -> int | None:
        return self._signal

    @contextmanager
    def child(self) -> Iterator[Stop]:
        """A stop of its own that is asked for with this one, but not the other way round."""
        child = Stop()
        with self.calling(lambda: child.request(self._signal)):
            yield child

    @contextmanager
    def calling(self, call: Callable[[], None]) -> Iterator[None]:
        """Calls it when the stop is asked for, as long as the block lasts; at once when it was asked for already."""
        if self.requested:
            call()
        self._then.add(call)
        try:
            yield
        finally:
            self._then.discard(call)

    async def sleep(self, seconds: float) -> bool:
        """Sleep. True when the time has passed, False when the stop was asked for before."""
        if self.requested:
            return False
        if seconds <= 0:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._asked.wait()
        except TimeoutError:
            return True
        return False

    @asynccontextmanager
    async def limited(self, grace: float) -> AsyncIterator[None]:
        """Lets the block go on for at most `grace` seconds after the stop is asked for, then raises TimeoutError."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as limit:

            def shorten() -> None:
                limit.reschedule(loop.time() + grace)

            if self.requested:
                shorten()
            self._then.add(shorten)
            try:
                yield
            finally:
                self._then.discard(shorten)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The pacers of one host, for a caller that makes run after run: the platform counts over all of them."""

    posts: Pacer
    polls: Pacer

    @classmethod
    def of(cls, rate_limit: RateLimit) -> Pace:
        return cls(posts=Pacer(windows_of(rate_limit)), polls=Pacer(DOCK_STATUS_PER_HOST))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """One run's surroundings.

    `run` is its id, unique; `holder` is shown to whoever finds the run lock held. `now` is wall-clock UTC, `random` gives
    numbers from 0 to 1. `parallelism` is how many changes are sent and followed at once: like a worker, a change keeps its
    place from its first send until its job ends. Jobs that ran before the run are followed beside them, all at once.
    `wait` False: send what is ready, follow nothing. `not_processed` are HTTP codes that the operator declares as certainly
    not processed. `room` is asked for when a newer plan is due: nothing more is sent, what is in flight is read in its own
    time, and jobs are left to the newer plan. `pace` is None where the run has the host for itself. `older` says whether the
    run's commit is older than the one that a state names; None where the run is not about a commit's manifests, so that
    none is recorded either.
    """

    run: str
    holder: Holder
    now: Callable[[], datetime]
    random: Callable[[], float]
    stop: Stop
    provenance: Provenance = NO_PROVENANCE
    rate_limit: RateLimit = USUAL_RATE_LIMIT
    parallelism: int = PARALLELISM
    wait: bool = True
    not_processed: frozenset[int] = frozenset()
    listener: Listener = nobody_listens
    room: Stop | None = None
    pace: Pace | None = None
    older: Callable[[Applied], Older | None] | None = None
