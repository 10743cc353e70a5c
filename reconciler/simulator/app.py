"""The world as an ASGI program: reads requests whole, asks the world, and delivers the reply as badly as it is told to.

Losing and cutting replies needs a hand on the connection: the server puts a `Wire` into `scope["extensions"]`
(`serve.FaultyProtocol` does it for uvicorn).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Literal, Protocol

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from reconciler.simulator.journal import Journal, describe
from reconciler.simulator.world import Request, Response, World

WIRE = "reconciler.wire"


class Wire(Protocol):
    """A hand on the connection of one request."""

    def lose(self, how: Literal["reset", "eof"]) -> None:
        """Close it now; not one more byte leaves."""
        ...

    def limit(self, count: int) -> None:
        """Close it once that many bytes of the reply, its head included, have left."""
        ...


def create_app(world: World, *, clock: Callable[[], float] = time.time, journal: Journal | None = None) -> ASGIApp:
    """An ASGI application. `clock` gives seconds since 1970."""
    log = journal or Journal()

    async def app(scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        http = HttpRequest(scope, receive)
        try:
            body = await http.body()
        except ClientDisconnect:
            return  # the server logs what came
        request = _as_request(scope, body)
        now = clock()
        response = world.handle(request, now)
        log.write(describe(request, response, now))
        await _deliver(response, scope, receive, send, clock)

    return app


def _as_request(scope: AsgiScope, body: bytes) -> Request:
    return Request(
        method=scope["method"],
        path=(scope.get("raw_path") or scope["path"].encode()).decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
    )


async def _deliver(
    response: Response, scope: AsgiScope, receive: Receive, send: Send, clock: Callable[[], float]
) -> None:
    delivery = response.delivery
    if delivery.delay:
        await asyncio.sleep(delivery.delay)
    if delivery.lost:
        await _lose(scope, receive, delivery.lost)
        return
    if delivery.cut is not None:
        wire: Wire = scope["extensions"][WIRE]
        wire.limit(delivery.cut)
    headers = [
        *response.headers,
        ("date", formatdate(clock(), usegmt=True)),
        ("content-length", str(len(response.body))),
    ]
    raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]
    await send({"type": "http.response.start", "status": response.status, "headers": raw})
    await _send_body(response, scope, receive, send)


async def _lose(scope: AsgiScope, receive: Receive, how: Literal["reset", "eof"]) -> None:
    """What is already written still leaves; nothing after it does."""
    wire: Wire = scope["extensions"][WIRE]
    wire.lose(how)
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_body(response: Response, scope: AsgiScope, receive: Receive, send: Send) -> None:
    delivery, body = response.delivery, response.body
    if delivery.cut_body is not None and delivery.cut_body < len(body):
        await send({"type": "http.response.body", "body": body[: delivery.cut_body], "more_body": True})
        await _lose(scope, receive, "eof")
        return
    if delivery.slow is not None:
        size = delivery.slow.chunk
        for start in range(0, len(body), size):
            await send({"type": "http.response.body", "body": body[start : start + size], "more_body": True})
            await asyncio.sleep(delivery.slow.every)
        body = b""
    await send({"type": "http.response.body", "body": body, "more_body": False})
