"""What the loop knows at this moment, for everything that shows it: the page, the API, metrics, probes and notifications.

The loop publishes whole values; readers take them as they are and never ask the loop. Whoever wants to follow along
subscribes, and is told that something is new, not what: slow readers miss nothing that still matters.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import ParamSpec

import structlog

from reconciler.controller.policy import Wait
from reconciler.diagnostics import Diagnostic
from reconciler.errors import ReconcilerError
from reconciler.model.applied import Applied
from reconciler.model.events import Event
from reconciler.model.plan import Plan
from reconciler.model.resource import Environment
from reconciler.model.run import RunReport

P = ParamSpec("P")


class PassEnd(StrEnum):
    """How a pass ended."""

    SUCCEEDED = "succeeded"  # nothing remains, or all that may be done now is done
    WAITING = "waiting"  # a person must allow something first: a mass change, a resolve, a resume
    FAILED = "failed"  # something could not be done: retried by itself
    REFUSED = "refused"  # the manifests, the state or the source forbid it: nothing was tried
    SUPERSEDED = "superseded"  # something newer came before everything was sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One turn of the loop in one environment. `id` ties it to its events; `cause` says what asked for the look.

    `detail` is a sentence. `seconds` counts on the monotonic clock. `commit` is the manifests' commit, where there is one.
    `problem` is what ended it before its time, or forbade it.
    """

    id: str
    environment: str
    cause: str
    started_at: datetime
    seconds: float
    end: PassEnd
    detail: str = ""
    commit: str | None = None
    report: RunReport | None = None
    problem: ReconcilerError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One environment as the loop sees it: the last plan and state, and the pass that made them.

    `running` is the id of a pass under way. `waits` are the changes that are not done now, each with why and until when.
    `held_up` is why nothing is sent by itself, as a sentence, None when nothing stands in the way. `next_look` is when the
    loop looks again by itself.
    """

    environment: Environment
    plan: Plan | None = None
    applied: Applied | None = None
    diagnostics: tuple[Diagnostic, ...] = ()
    last: Pass | None = None
    last_success_at: datetime | None = None
    running: str | None = None
    waits: tuple[Wait, ...] = ()
    held_up: str | None = None
    next_look: datetime | None = None
    dry_run: bool = False


# Told after what they tell is durable. They run on the event loop and must not wait.
EventListener = Callable[[Event], None]
PassListener = Callable[[Pass, View], None]


class Board:
    """Belongs to one event loop."""

    def __init__(self, *, source: str, remote: str | None = None) -> None:
        """`source` says what is watched, for people; `remote` is the https address of the repository, where it is known."""
        self.source = source
        self.remote = remote
        self.version = 0
        self.beat: float | None = None
        self._views: dict[str, View] = {}
        self._waiting: set[asyncio.Event] = set()
        self._events: list[EventListener] = []
        self._passes: list[PassListener] = []
        self._mistaken: set[tuple[object, type[Exception]]] = set()

    @property
    def views(self) -> Mapping[str, View]:
        """By environment name, sorted."""
        return MappingProxyType(dict(sorted(self._views.items())))

    def publish(self, view: View) -> None:
        """The loop's latest word about one environment."""
        self._views[view.environment.name] = view
        self._is_new()

    def finish(self, done: Pass, view: View) -> None:
        """A pass has ended: publish, and tell those who listen for passes."""
        self.publish(view)
        for listener in self._passes:
            self._call(listener, done, view)

    def tell(self, event: Event) -> None:
        """Something happened in a pass."""
        for listener in self._events:
            self._call(listener, event)
        self._is_new()

    def alive(self) -> None:
        """The loop turns: `beat` is the time on the monotonic clock."""
        self.beat = asyncio.get_running_loop().time()

    def on_event(self, listener: EventListener) -> None:
        self._events.append(listener)

    def on_pass(self, listener: PassListener) -> None:
        self._passes.append(listener)

    @contextmanager
    def subscribed(self) -> Iterator[asyncio.Event]:
        """An event that is set whenever there is something new; the reader clears it and looks."""
        bell = asyncio.Event()
        self._waiting.add(bell)
        try:
            yield bell
        finally:
            self._waiting.discard(bell)

    def _call(self, listener: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """What is told has happened: a listener's mistake changes nothing for the pass nor for other listeners."""
        try:
            listener(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - a mistake of ours, told once as what it is
            if (listener, type(error)) not in self._mistaken:
                self._mistaken.add((listener, type(error)))
                _log_mistake(error)

    def _is_new(self) -> None:
        self.version += 1
        for bell in self._waiting:
            bell.set()


def _log_mistake(error: Exception) -> None:
    """Without a traceback, which may hold what no log may; the place is enough to find it."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    with suppress(OSError, ValueError):  # it may be the log that fails
        structlog.get_logger().error(
            "an unexpected error in what listens to the loop",
            detail=f"{type(error).__name__}: {error}",
            place=f"{Path(place.filename).name}:{place.lineno}",
        )
