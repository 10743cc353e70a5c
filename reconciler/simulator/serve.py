"""The simulator as a server: uvicorn on a given or a free port, with a hand on every connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, TextIO

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from reconciler.errors import PlatformUnreachable, UsageError
from reconciler.simulator.app import WIRE, create_app
from reconciler.simulator.journal import Journal, describe_part
from reconciler.simulator.scenario import Scenario
from reconciler.simulator.world import World

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s: closing sends a reset
_GRACE = 1  # seconds that running replies get when it is told to stop


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """Where it listens (`port` 0: a free one), what it plays, and where it writes its log."""

    host: str = "127.0.0.1"
    port: int = 0
    scenario: Scenario = field(default_factory=Scenario)
    log: Path | None = None


class _Wire:
    """The transport of one connection, able to stop in the middle of a reply. Everything else is the transport's."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._left: int | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._left is None:
            self._transport.write(data)
        elif self._left > 0:
            self._transport.write(data[: self._left])
            self.limit(max(0, self._left - len(data)))

    def limit(self, count: int) -> None:
        self._left = count
        if count == 0:
            self._transport.close()

    def lose(self, how: Literal["reset", "eof"]) -> None:
        self._left = 0
        if how == "reset":
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()
        else:
            self._transport.close()


class FaultyProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol that lends its wire to the app and logs requests of which only a part came."""

    journal: Journal

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent has it
        self._incomplete = 0
        super().connection_made(_Wire(transport))  # type: ignore[arg-type]  # it passes everything on

    def data_received(self, data: bytes) -> None:
        self._incomplete += len(data)
        super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        if self.scope is not None:
            self.scope["extensions"] = {WIRE: self.transport}  # type: ignore[dict-item]  # ours
        if self.cycle is not None and not self.cycle.more_body:
            self._incomplete = 0

    def connection_lost(self, exc: Exception | None) -> None:
        if self._incomplete:
            self.journal.write(describe_part(self._incomplete, time.time()))
        super().connection_lost(exc)


class Server(uvicorn.Server):
    """Says `listening on …` when it is ready, and remembers which signal stopped it."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.stopped_by: int | None = None
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        try:
            for number in signals:
                loop.add_signal_handler(number, self._stop, number)
        except (ValueError, RuntimeError):  # not in the main thread: whoever started the thread stops it
            yield
            return
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def _stop(self, number: int) -> None:
        self.stopped_by = number
        self.force_exit = self.should_exit  # asked twice
        self.should_exit = True


def serve(settings: SimulatorSettings, *, out: IO[str] | None = None) -> int | None:
    """Serve until SIGINT or SIGTERM; gives the signal's number. Prints `listening on http://HOST:PORT` when it is ready.

    Raises UsageError when the log cannot be written, PlatformUnreachable when the port cannot be had.
    """
    with _opened(settings.log) as stream, listen(settings.host, settings.port) as sock:
        return run(World(settings.scenario), sock, Journal(stream), out or sys.stdout)


def run(
    world: World,
    sock: socket.socket,
    journal: Journal,
    out: IO[str],
    *,
    started: Callable[[Server], None] | None = None,
) -> int | None:
    """Serve on a socket that already listens. `started` is given the server before it runs, to stop it from elsewhere."""
    host, port = sock.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    protocol = type("JournalledProtocol", (FaultyProtocol,), {"journal": journal})
    config = uvicorn.Config(
        create_app(world, journal=journal),
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
    )
    server = Server(config, lambda: print(f"listening on {address}", file=out, flush=True))
    if started is not None:
        started(server)
    with _quiet_once_stopping(server):
        asyncio.run(server.serve(sockets=[sock]))
    return server.stopped_by


@contextlib.contextmanager
def _quiet_once_stopping(server: Server) -> Iterator[None]:
    """Replies that are cut off by the end of the server are no errors, though uvicorn would log them with a traceback."""
    log = logging.getLogger("uvicorn.error")

    def keep(_: logging.LogRecord) -> bool:
        return not server.should_exit

    log.addFilter(keep)
    try:
        yield
    finally:
        log.removeFilter(keep)


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises PlatformUnreachable when the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(address)
            sock.listen(2048)
        except OSError:
            sock.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        raise PlatformUnreachable(
            f"The simulator cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}.",
            next_step="Choose another --port; 0 takes a free one.",
        ) from error
    return sock


@contextlib.contextmanager
def _opened(log: Path | None) -> Iterator[TextIO]:
    """The log's stream; without a log what is written goes nowhere."""
    try:
        stream = open("/dev/null" if log is None else log, "a", encoding="utf-8")  # noqa: SIM115, PTH123  # closed below
    except OSError as error:
        raise UsageError(
            f"The log {log} cannot be written: {error.strerror}.", next_step="Choose another --log."
        ) from error
    with stream:
        yield stream
