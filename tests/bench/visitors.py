"""A crowd for the page: `python -m tests.bench.visitors ADDRESS RATE SECONDS SLOW`, one process of as many as are wanted.

Requests leave when they are due, whether the ones before were answered or not (an answer's time counts from when its request
was due, so that a server that stands still cannot make its own figures better). Beside them, clients that send or read a byte
at a time. Prints one line of JSON. Raw streams: a real client library spends more CPU than the server that it asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

SECRET = "bench-bench-bench-secret"
CONNECTIONS = 32
PATIENCE = 20.0
DRIBBLE = 0.2  # seconds from a slow client's byte to the next

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Crowd:
    """One process's share of the visitors, and what they saw."""

    host: str
    port: int
    seconds: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    slow: Counter[str] = field(default_factory=Counter)

    async def come(self, rate: float, seconds: float, slow: int) -> None:
        dribblers = [asyncio.create_task(self._dribble(number)) for number in range(slow)]
        due: asyncio.Queue[tuple[int, float] | None] = asyncio.Queue()
        visitors = [asyncio.create_task(self._visit(due)) for _ in range(CONNECTIONS)]
        began = time.monotonic()
        for number in range(int(rate * seconds)):
            at = began + number / rate
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            due.put_nowait((number, at))
        for _ in visitors:
            due.put_nowait(None)
        await asyncio.gather(*visitors)
        for task in dribblers:
            task.cancel()
        await asyncio.gather(*dribblers, return_exceptions=True)

    async def _visit(self, due: asyncio.Queue[tuple[int, float] | None]) -> None:
        streams: Streams | None = None
        while (item := await due.get()) is not None:
            number, at = item
            try:
                async with asyncio.timeout(PATIENCE):
                    streams = streams or await asyncio.open_connection(self.host, self.port)
                    said = await _ask(streams, self._request(number))
                self.answers[said] += 1
            except (OSError, TimeoutError, EOFError) as error:
                self.answers[type(error).__name__] += 1
                streams = None
            self.seconds.append(time.monotonic() - at)

    def _request(self, number: int) -> bytes:
        """Four pages, two of metrics, one of the API, two searches that nobody else makes, one delivery."""
        path = ("/", "/metrics", "/", "q", "/d", "/api/v1/status", "/", "q", "/metrics", "/webhook")[number % 10]
        head = f"Host: {self.host}:{self.port}\r\nAccept-Encoding: gzip\r\n"
        if path == "/webhook":
            return _delivery(head, f'{{"number": {number}, "process": {os.getpid()}}}'.encode())
        if path == "q":
            path = f"/?q=model-{number:05}"
        elif path == "/d":
            path = f"/d/production/model-{number % 1000:05}"
        return f"GET {path} HTTP/1.1\r\n{head}\r\n".encode()

    async def _dribble(self, number: int) -> None:
        """Half a request a byte at a time, a page read a byte at a time, or a body that hardly comes; and again."""
        way = (self._send_slowly, self._read_slowly, self._deliver_slowly)[number % 3]
        while True:
            with contextlib.suppress(OSError, EOFError):
                _, writer = streams = await asyncio.open_connection(self.host, self.port)
                try:
                    await way(streams)
                finally:
                    writer.close()
            self.slow[way.__name__.strip("_")] += 1
            await asyncio.sleep(DRIBBLE)

    async def _send_slowly(self, streams: Streams) -> None:
        await _trickle(streams, f"GET / HTTP/1.1\r\nHost: {self.host}\r\nX-Slow: {'x' * 4000}".encode())

    async def _deliver_slowly(self, streams: Streams) -> None:
        head = f"POST /webhook HTTP/1.1\r\nHost: {self.host}\r\nX-Hub-Signature-256: sha256=00\r\nContent-Length: 4000\r\n\r\n"
        streams[1].write(head.encode())
        await _trickle(streams, b"x" * 4000)

    async def _read_slowly(self, streams: Streams) -> None:
        reader, writer = streams
        writer.write(f"GET / HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())
        while await reader.read(1):  # noqa: ASYNC110 - it is slow on purpose
            await asyncio.sleep(DRIBBLE)


async def _trickle(streams: Streams, data: bytes) -> None:
    for byte in data:
        if streams[0].at_eof():
            return
        streams[1].write(bytes([byte]))
        await streams[1].drain()
        await asyncio.sleep(DRIBBLE)


async def _ask(streams: Streams, request: bytes) -> str:
    """The status code; the answer is read to its end."""
    reader, writer = streams
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = next((line for line in head.split("\r\n") if line.startswith("content-length:")), None)
    if length is not None:
        await reader.readexactly(int(length.partition(":")[2]))
    elif "transfer-encoding: chunked" in head:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
        await reader.readuntil(b"\r\n")
    return head.split(" ", 2)[1]


def _delivery(head: str, body: bytes) -> bytes:
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    head += f"X-Hub-Signature-256: sha256={signature}\r\nContent-Length: {len(body)}\r\n"
    return f"POST /webhook HTTP/1.1\r\n{head}\r\n".encode() + body


def main(address: str, rate: str, seconds: str, slow: str) -> None:
    parts = urlsplit(address)
    crowd = Crowd(host=parts.hostname or "", port=parts.port or 80)
    asyncio.run(crowd.come(float(rate), float(seconds), int(slow)))
    print(json.dumps({"seconds": crowd.seconds, "answers": crowd.answers, "slow": crowd.slow}))


if __name__ == "__main__":
    main(*sys.argv[1:])
