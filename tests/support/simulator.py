"""Simulated platforms for tests, in three strengths; all obey the same scenario.

- `MemoryPlatform(world)`: implements `Platform` on the world itself. Quickest; virtual or real time.
- `asgi_platform(world)`: the real client over the real ASGI app, without a socket. Virtual or real time.
- `running_simulator(scenario)`: a real server in a thread, `SimulatorProcess` one in a process of its own. Real time.

What the platform saw is in `platform.journal.lines` (dicts, as simulator/journal.py describes), or in the log file.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, Self

import httpx

from reconciler.platform.api import ConnectFailed, NoReply, Reply, Sent, dock_status_path
from reconciler.platform.api import Request as PlatformRequest
from reconciler.platform.client import HttpPlatform
from reconciler.platform.replies import keep_headers
from reconciler.simulator.app import WIRE, create_app
from reconciler.simulator.journal import Journal, describe
from reconciler.simulator.scenario import DEFAULT_KEY, Behaviour, Rule, Scenario
from reconciler.simulator.serve import Server, listen, run
from reconciler.simulator.world import Request, Response, World
from tests.support.virtual_time import START

ORIGIN = "https://platform.example.com"


def scenario(*rules: dict[str, Any], **behaviour: Any) -> Scenario:
    """A scenario in a line: rules as in a scenario file, behaviour by field name. Jobs take 20 s, rates are off."""
    usual: dict[str, Any] = {"per_minute": 0, "per_hour": 0, "status_per_minute": 0, "status_per_hour": 0}
    return Scenario(
        behaviour=Behaviour.model_validate({**usual, **behaviour}),
        rules=tuple(Rule.model_validate(rule) for rule in rules),
    )


def loop_clock() -> float:
    """Seconds since 1970 on the running loop's clock, which starts at START: virtual time as the world wants it."""
    return START.timestamp() + asyncio.get_running_loop().time()


class MemoryPlatform:
    """A `Platform` without HTTP: the world answers, `before_first_byte` is awaited first, faults are obeyed.

    `connect_failures` are taken one per send: a ConnectFailed is returned instead of sending, None sends.
    `patience` is how many seconds of delay it takes before it gives up with NoReply, as the client's deadline does.
    """

    def __init__(
        self,
        world: World,
        *,
        clock: Callable[[], float] = loop_clock,
        key: str = DEFAULT_KEY,
        connect_failures: Iterable[ConnectFailed | None] = (),
        patience: float = 90.0,
        journal: Journal | None = None,
    ) -> None:
        self.world = world
        self.journal = journal or Journal()
        self.connect_failures = deque(connect_failures)
        self._clock = clock
        self._key = key
        self._patience = patience

    @property
    def origin(self) -> str:
        return ORIGIN

    async def send(self, request: PlatformRequest, before_first_byte: Callable[[], Awaitable[None]]) -> Sent:
        failure = self.connect_failures.popleft() if self.connect_failures else None
        if failure is not None:
            return failure
        await before_first_byte()
        return await self._exchange(request)

    async def ask(self, dock_status_id: str) -> Sent:
        return await self._exchange(PlatformRequest(method="GET", path=dock_status_path(dock_status_id)))

    async def close(self) -> None: ...

    async def _exchange(self, sent: PlatformRequest) -> Sent:
        path, _, query = sent.path.partition("?")
        headers = {"host": "platform.example.com", "x-api-key": self._key}
        if sent.body is not None:
            headers["content-type"] = "application/json"
        request = Request(method=sent.method, path=path, query=query, headers=headers, body=sent.body or b"")
        now = self._clock()
        response = self.world.handle(request, now)
        self.journal.write(describe(request, response, now))
        delivery = response.delivery
        slow = delivery.slow
        took = delivery.delay + (slow.every * (len(response.body) // slow.chunk) if slow else 0)
        await asyncio.sleep(min(took, self._patience))
        if took > self._patience:
            return NoReply(error="not finished in time")
        return carried(response, now)


def carried(response: Response, now: float) -> Sent:
    """What of a reply arrives, and what the client makes of it; `now` is when it was made."""
    delivery = response.delivery
    if delivery.lost:
        return NoReply(error="Connection reset by peer" if delivery.lost == "reset" else "the connection ended")
    length = str(len(response.body))
    told = (*response.headers, ("date", formatdate(now, usegmt=True)), ("content-length", length))
    head = len(f"HTTP/1.1 {response.status} \r\n") + sum(len(n) + len(v) + 4 for n, v in told) + 2
    kept = len(response.body) if delivery.cut_body is None else delivery.cut_body
    if delivery.cut is not None:
        kept = min(kept, delivery.cut - head)
    if kept < 0:
        return NoReply(error="the connection ended")
    error = f"the reply ended after {kept} bytes of its body" if kept < len(response.body) else None
    headers = keep_headers(told)
    return Reply(status_code=response.status, headers=headers, body=response.body[:kept], error=error)


# Over ASGI


def asgi_platform(
    world: World,
    *,
    key: str = DEFAULT_KEY,
    journal: Journal | None = None,
    clock: Callable[[], float] = loop_clock,
    **options: Any,
) -> AsgiPlatform:
    """The real client, the real app, no socket. `options` go to HttpPlatform."""
    log = journal or Journal()
    transport = AsgiTransport(create_app(world, clock=clock, journal=log))
    return AsgiPlatform(transport, key, log, world, options)


class AsgiPlatform(HttpPlatform):
    """An HttpPlatform that knows its simulated counterpart."""

    def __init__(
        self, transport: AsgiTransport, key: str, journal: Journal, world: World, options: dict[str, Any]
    ) -> None:
        super().__init__(ORIGIN, lambda: key, transport=transport, environ={}, **options)
        self.carrier = transport
        self.journal = journal
        self.world = world


class _Lost(Exception):
    """The simulated connection is gone."""


@dataclass
class _Wire:
    """The simulated connection of one request; implements `simulator.app.Wire`."""

    lost: str | None = None
    limited: int | None = None

    def lose(self, how: Literal["reset", "eof"]) -> None:
        self.lost = how

    def limit(self, count: int) -> None:
        self.limited = count


class AsgiTransport(httpx.AsyncBaseTransport):
    """Carries httpx's requests to an ASGI app in this process, honouring the `trace` extension and the app's faults.

    `connect_failures` are taken one per request and raised instead of connecting, None connects.
    """

    def __init__(self, app: Any, *, connect_failures: Iterable[httpx.TransportError | None] = ()) -> None:
        self.app = app
        self.connect_failures = deque(connect_failures)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        failure = self.connect_failures.popleft() if self.connect_failures else None
        if failure is not None:
            raise failure
        trace = request.extensions["trace"]
        await trace("connection.connect_tcp.complete", {})
        await trace("http11.send_request_headers.started", {"request": SimpleNamespace(method=request.method.encode())})
        sent, body, wire = await self._call(request, await request.aread())
        if sent is None:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        whole = not wire.lost
        if wire.limited is not None:
            head = sum(len(n) + len(v) + 4 for n, v in sent["headers"]) + len("HTTP/1.1 200 \r\n\r\n")
            if wire.limited < head:
                raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
            whole = wire.limited - head >= len(body)
            body = body[: wire.limited - head]
        return httpx.Response(sent["status"], headers=sent["headers"], stream=_Body(body, whole=whole))

    async def _call(self, request: httpx.Request, content: bytes) -> tuple[dict[str, Any] | None, bytes, _Wire]:
        wire, body, started = _Wire(), bytearray(), None
        inbox = [{"type": "http.request", "body": content, "more_body": False}]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": request.url.path,
            "raw_path": request.url.raw_path.partition(b"?")[0],
            "query_string": request.url.query,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "extensions": {WIRE: wire},
        }

        async def receive() -> dict[str, Any]:
            return inbox.pop() if inbox else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = message
            else:
                body.extend(message.get("body", b""))

        await self.app(scope, receive, send)
        return started, bytes(body), wire


class _Body(httpx.AsyncByteStream):
    def __init__(self, body: bytes, *, whole: bool) -> None:
        self._body = body
        self._whole = whole

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._body:
            yield self._body
        if not self._whole:
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


# Over real sockets


class ChangingWorld(World):
    """A world that can begin anew, so that one server serves many tests."""

    def become(self, told: Scenario) -> None:
        """Forget everything and play this scenario; no call may be under way."""
        super().__init__(told)


@dataclass(frozen=True, kw_only=True)
class RunningSimulator:
    """A server in a thread."""

    origin: str
    journal: Journal
    server: Server
    world: ChangingWorld

    @property
    def accepted(self) -> list[dict[str, Any]]:
        """The calls that started a job, in their order."""
        return [line for line in self.journal.lines if line["accepted"]]


class _Announcement(io.StringIO):
    """Passes the line `listening on …` to whoever waits for it."""

    def __init__(self, ready: queue.Queue[str]) -> None:
        super().__init__()
        self._ready = ready

    def write(self, text: str) -> int:
        if text.strip():
            self._ready.put(text)
        return len(text)


@contextlib.contextmanager
def running_simulator(told: Scenario | None = None) -> Iterator[RunningSimulator]:
    """A real simulator on a free loopback port, in a thread with its own loop."""
    ready: queue.Queue[str] = queue.Queue()
    servers: queue.Queue[Server] = queue.Queue()
    journal = Journal()
    sock = listen("127.0.0.1", 0)
    world = ChangingWorld(told or scenario())
    arguments = (world, sock, journal, _Announcement(ready))
    thread = threading.Thread(target=lambda: run(*arguments, started=servers.put), name="simulator", daemon=True)
    thread.start()
    server = servers.get(timeout=60)
    try:
        line = ready.get(timeout=60)
        yield RunningSimulator(
            origin=line.removeprefix("listening on ").strip(), journal=journal, server=server, world=world
        )
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


class SimulatorProcess:
    """`reconciler simulate` in a process of its own: `with SimulatorProcess(tmp_path) as simulator: … simulator.origin`."""

    def __init__(self, folder: Path, told: Scenario | None = None, *flags: str) -> None:
        self.log = folder / "simulator.log"
        path = folder / "scenario.yaml"
        path.write_text((told or scenario()).model_dump_json(by_alias=True), encoding="utf-8")
        arguments = ["--port", "0", "--log", str(self.log), "--scenario", str(path), *flags]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "reconciler", "simulate", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        self._ended: tuple[int, str] | tuple[()] = ()
        self.pid = self._process.pid
        assert self._process.stdout is not None
        line = self._process.stdout.readline()  # empty when it ended instead
        if not line.startswith("listening on "):
            _, complaint = self._process.communicate()
            raise AssertionError(f"the simulator did not start: {complaint}")
        self.origin = line.removeprefix("listening on ").strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> tuple[int, str]:
        """End it; gives its exit code and what it said on stderr."""
        if self._process.poll() is None:
            self._process.terminate()
        return self.wait()

    def wait(self) -> tuple[int, str]:
        """Wait for its end, which somebody else brings about; gives its exit code and what it said on stderr."""
        if not self._ended:
            _, complaint = self._process.communicate(timeout=60)
            self._ended = (self._process.returncode, complaint)
        return self._ended

    def wait_for_lines(self, count: int) -> None:
        """Until the log has so many lines."""
        while len(self.lines) < count:
            assert self._process.poll() is None, "the simulator ended"

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log so far."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    @property
    def accepted(self) -> list[dict[str, Any]]:
        """The calls that started a job, in their order."""
        return [line for line in self.lines if line["accepted"]]
