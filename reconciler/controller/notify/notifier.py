"""Between the board and the channels: takes what is news, and delivers it in its own time.

Each channel has a task, a short queue and a pace of its own, so that a slow one holds up neither a pass nor another channel.
What cannot be delivered is tried again a few times, then given up, logged and counted; nothing here raises.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Self

import structlog

from reconciler.controller.board import Board, Pass, View
from reconciler.controller.notify.channels import NotDelivered, Sender
from reconciler.controller.notify.facts import Fact, Memory
from reconciler.controller.notify.text import Message
from reconciler.model.events import Event
from reconciler.model.notification import Channel

QUEUE = 100  # groups that wait for one channel; more, and the oldest is given up
DELAYS = (1.0, 5.0, 30.0, 120.0)  # seconds before each further try
_MINUTE = 60.0


class Delivered(StrEnum):
    """How a message ended."""

    SENT = "sent"
    FAILED = "failed"  # given up after all tries, or refused
    DROPPED = "dropped"  # the queue was full


Tally = Callable[[str, Delivered], None]  # told the channel's name and how a message ended


def nobody_counts(_channel: str, _how: Delivered) -> None:
    """For those who have no metrics."""


class Notifier:
    """`async with Notifier(…)`: listens to the board until the block ends, then has `patience` seconds to finish."""

    def __init__(
        self,
        board: Board,
        channels: Iterable[tuple[Channel, Sender]],
        *,
        tally: Tally = nobody_counts,
        patience: float = 2.0,
    ) -> None:
        self._memory = Memory()
        self._lines = [_Line(channel, sender, board.source, tally) for channel, sender in channels]
        self._patience = patience
        self._tasks: list[asyncio.Task[None]] = []
        if self._lines:
            board.on_pass(self.on_pass)
            board.on_event(self.on_event)

    def on_pass(self, done: Pass, view: View) -> None:
        self._tell(lambda: self._memory.news(done, view))

    def on_event(self, event: Event) -> None:
        self._tell(lambda: self._memory.heard(event))

    def _tell(self, news: Callable[[], tuple[Fact, ...]]) -> None:
        try:
            facts = news()
        except Exception as error:  # noqa: BLE001 - a mistake of ours here must not end the pass that it is about
            structlog.get_logger().error("notification", ended=str(Delivered.FAILED), detail=type(error).__name__)
            return
        for line in self._lines:
            line.put(facts)

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(line.run(), name=f"notify {line.channel.name}") for line in self._lines]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for line in self._lines:
            line.finish()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for line in self._lines:
            with contextlib.suppress(Exception):  # a connection that does not close is nobody's business any more
                await line.sender.close()


@dataclass(slots=True)
class _Line:
    """One channel: what waits for it, and when it may be used."""

    channel: Channel
    sender: Sender
    source: str
    tally: Tally
    waiting: deque[tuple[Fact, ...]] = field(default_factory=deque)
    bell: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    sent: deque[float] = field(default_factory=deque)

    def put(self, facts: tuple[Fact, ...]) -> None:
        """Never waits."""
        chosen = tuple(fact for fact in facts if self._wants(fact))
        if not chosen:
            return
        if len(self.waiting) >= QUEUE:
            self._ended(self.waiting.popleft(), Delivered.DROPPED, f"{QUEUE} messages wait already")
        self.waiting.append(chosen)
        self.bell.set()

    def finish(self) -> None:
        """No more will come: what waits is sent without further tries."""
        self.over.set()
        self.bell.set()

    async def run(self) -> None:
        """One pass, one message; what came while the pace forbade sending goes together."""
        while not (self.over.is_set() and not self.waiting):
            await self.bell.wait()
            self.bell.clear()
            while self.waiting:
                if await self._pace():
                    facts = tuple(fact for group in self.waiting for fact in group)
                    self.waiting.clear()
                else:
                    facts = self.waiting.popleft()
                await self._deliver(facts)

    def _wants(self, fact: Fact) -> bool:
        here = not self.channel.environments or fact.environment in self.channel.environments
        return here and fact.outcome in self.channel.on

    async def _pace(self) -> bool:
        """Waits until a message may be sent. True when it had to."""
        now = asyncio.get_running_loop().time()
        while self.sent and self.sent[0] <= now - _MINUTE:
            self.sent.popleft()
        if len(self.sent) < self.channel.per_minute:
            return False
        await self._rest(self.sent[0] + _MINUTE - now)
        return True

    async def _deliver(self, facts: tuple[Fact, ...]) -> None:
        message = Message(id=f"msg_{secrets.token_hex(8)}", channel=self.channel, source=self.source, facts=facts)
        self.sent.append(asyncio.get_running_loop().time())
        for delay in (*DELAYS, None):
            try:
                await self.sender.send(message)
            except NotDelivered as error:
                if not error.again or delay is None or self.over.is_set():
                    self._ended(facts, Delivered.FAILED, str(error))
                    return
                await self._rest(max(delay, error.after or 0))
            except Exception as error:  # noqa: BLE001 - a mistake of ours or of a library must not end the channel
                self._ended(facts, Delivered.FAILED, type(error).__name__)
                return
            else:
                self._ended(facts, Delivered.SENT, "")
                return

    async def _rest(self, seconds: float) -> None:
        """Sleeps, but not beyond the end."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.over.wait(), timeout=max(0.0, seconds))

    def _ended(self, facts: tuple[Fact, ...], how: Delivered, why: str) -> None:
        self.tally(self.channel.name, how)
        if how is not Delivered.SENT:
            run = ", ".join(dict.fromkeys(fact.pass_id for fact in facts))
            structlog.get_logger().warning(
                "notification", run=run, channel=self.channel.name, ended=str(how), detail=why
            )
