"""Deliveries to `/webhook` through the whole ASGI program: bytes are lines of a head, an empty line, and a body."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Iterator
from functools import cache
from typing import Any

from reconciler.controller.board import Board
from reconciler.controller.web.app import Site
from reconciler.controller.web.options import Hands, Options
from tests.support.records import NOON

SECRET = "0123456789abcdef-secret"
SIGNED = b"@signed@"  # in a head: the right signature of the body, which no fuzzer guesses
PIECE = 64 * 1024  # bytes that arrive together
_WINDOW = 300
Pairs = list[tuple[bytes, bytes]]


def deliver(data: bytes) -> int:
    """The HTTP status. Fails for an error of ours, and where what nobody signed is listened to."""
    head, _, body = data.partition(b"\n\n")
    pairs = _pairs(head, body)
    status = _loop().run_until_complete(_answer(pairs, body))
    assert status < 500, status
    if status in {200, 202}:
        assert _is_signed(pairs, body)
    return status


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@cache
def _app() -> Any:
    return Site(Board(source="here"), Options(webhook_secret=SECRET), Hands(now=lambda: NOON)).app()


def _pairs(head: bytes, body: bytes) -> Pairs:
    """Names are in lower case, as every ASGI server gives them."""
    pairs = []
    for line in head.split(b"\n"):
        name, _, value = line.partition(b":")
        pairs.append((name.strip().lower(), value.strip()))
    stamp = next((value for name, value in pairs if name == b"x-reconciler-timestamp"), b"")
    signatures = {
        b"x-hub-signature-256": _signature(body),
        b"x-reconciler-signature": _signature(stamp + b"." + body),
    }
    return [(name, value.replace(SIGNED, signatures.get(name, SECRET.encode()))) for name, value in pairs]


async def _answer(pairs: Pairs, body: bytes) -> int:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/webhook",
        "raw_path": b"/webhook",
        "query_string": b"",
        "root_path": "",
        "headers": [*pairs, (b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8080),
    }
    pieces = _pieces(body)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(pieces, {"type": "http.disconnect"})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await _app()(scope, receive, send)
    status: int = sent[0]["status"]
    return status


def _pieces(body: bytes) -> Iterator[dict[str, Any]]:
    for at in range(0, len(body), PIECE):
        yield {"type": "http.request", "body": body[at : at + PIECE], "more_body": True}
    yield {"type": "http.request", "body": b"", "more_body": False}


def _signature(message: bytes) -> bytes:
    return b"sha256=" + hmac.new(SECRET.encode(), message, hashlib.sha256).hexdigest().encode()


def _is_signed(pairs: Pairs, body: bytes) -> bool:
    """Reckoned here once more, from any of the headers of a kind."""
    if any(name == b"x-hub-signature-256" and value == _signature(body) for name, value in pairs):
        return True
    if any(name == b"x-gitlab-token" and value == SECRET.encode() for name, value in pairs):
        return True
    stamps = [value for name, value in pairs if name == b"x-reconciler-timestamp"]
    signed = [value for name, value in pairs if name == b"x-reconciler-signature"]
    fresh = [stamp for stamp in stamps if stamp.isdigit() and abs(int(stamp) - NOON.timestamp()) <= _WINDOW]
    return any(_signature(stamp + b"." + body) in signed for stamp in fresh)
