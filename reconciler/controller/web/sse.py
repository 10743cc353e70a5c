"""Server-sent events: every open page is told that there is something new, at most twice a second, and fetches it itself.

A page that was asleep or away misses nothing: it is told the newest version, never what changed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import PlainTextResponse, Response

from reconciler.controller.board import Board

MAX_STREAMS = 128
PAUSE = 0.5  # seconds from one event to the next
PING = 15  # seconds; keeps proxies from closing the stream
SEND_PATIENCE = 10.0  # seconds for a client to take an event


class Streams:
    """All open streams of one server."""

    def __init__(self, board: Board, instance: str) -> None:
        self._board, self._instance = board, instance
        self._bells: set[asyncio.Event] = set()
        self._closing = False
        self._open = 0

    def response(self) -> Response:
        """A new stream; 503 where there are too many, and the page then asks every now and then."""
        if self._open >= MAX_STREAMS or self._closing:
            return PlainTextResponse("Too many pages are open.\n", 503, headers={"Retry-After": "30"})
        return EventSourceResponse(self._events(), ping=PING, send_timeout=SEND_PATIENCE)

    def close(self) -> None:
        """End every stream now."""
        self._closing = True
        for bell in self._bells:
            bell.set()

    async def _events(self) -> AsyncIterator[ServerSentEvent]:
        self._open += 1
        try:
            with self._board.subscribed() as bell:
                self._bells.add(bell)
                try:
                    while not self._closing:
                        bell.clear()
                        yield self._news()
                        await asyncio.sleep(PAUSE)
                        await bell.wait()
                finally:
                    self._bells.discard(bell)
        finally:
            self._open -= 1

    def _news(self) -> ServerSentEvent:
        data = json.dumps({"instance": self._instance, "version": self._board.version})
        return ServerSentEvent(event="board", data=data, retry=3000)
