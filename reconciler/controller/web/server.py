"""The server: uvicorn inside the loop's own event loop, with a bound on everything that a client could make grow.

A client that is slow, silent or one of too many loses its connection; nobody else notices. Signals belong to the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from reconciler.controller.board import Board
from reconciler.controller.web.app import Site
from reconciler.controller.web.options import Hands, Options, check
from reconciler.errors import UsageError

MAX_CONNECTIONS = 256
MAX_HEAD = 16 * 1024  # bytes of a request's head
HEAD_PATIENCE = 10.0  # seconds for a request's head to arrive
WRITE_PATIENCE = 20.0  # seconds for a client to take some of what waits for it
IDLE = 15  # seconds that a connection may stay open between requests
GRACE = 1  # seconds that running answers get when the server is told to stop
BACKLOG = 512
TIDY_EVERY = 30.0  # seconds between looks whether there was a crowd
CROWD = 500  # requests


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 with deadlines for the client, and a number of connections above which the least deserving one goes."""

    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as its parent has it
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > MAX_CONNECTIONS:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_answering():
            self._stop_head_timer()
        elif self.conn.their_state is h11.IDLE:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._stop_write_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop_write_timer()
        self._write_timer = self.loop.call_later(WRITE_PATIENCE, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_write_timer()
        super().resume_writing()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_PATIENCE, self.transport.abort)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _make_room(self) -> None:
        """Somebody who has not asked yet goes first; where all have asked, the newcomer goes."""
        others = (one for one in self.connections if isinstance(one, BoundedProtocol) and one is not self)
        goes = next((one for one in others if not one._is_answering()), self)  # noqa: SLF001 - of the same class
        goes.transport.abort()


class _Server(uvicorn.Server):
    """Leaves signals alone, and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.listens.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serve(board: Board, options: Options, hands: Hands | None = None) -> AsyncIterator[str]:
    """Serves while the context is open; gives the address, as `http://127.0.0.1:8080`.

    Raises UsageError for options that leave the door open, and where the port cannot be had.
    """
    check(options)
    site = Site(board, options, hands or Hands())
    with _listen(options) as sock:
        server = _Server(_config(site))
        task = asyncio.create_task(server.serve(sockets=[sock]))
        tidies = asyncio.create_task(tidying(server))
        try:
            await server.listens.wait()
            yield _address(sock)
        finally:
            tidies.cancel()
            site.close()
            server.should_exit = True
            await task


async def tidying(server: uvicorn.Server) -> None:
    """Gives the memory of a crowd back: the collector of the command waits for more circles than the visitors leave, and the
    C library keeps what it freed.
    """
    tidied_at = 0
    while True:
        await asyncio.sleep(TIDY_EVERY)
        if server.server_state.total_requests - tidied_at >= CROWD:
            tidied_at = server.server_state.total_requests
            gc.collect()
            _trim()


def _trim() -> None:
    """Only glibc has this call, and only it needs it."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _config(site: Site) -> uvicorn.Config:
    settings: dict[str, Any] = {
        "http": BoundedProtocol,
        "ws": "none",
        "lifespan": "off",
        "proxy_headers": False,
        "server_header": False,
        "access_log": False,
        "log_config": None,
        "log_level": "error",  # that a request is no HTTP is no news
        "backlog": BACKLOG,
        "h11_max_incomplete_event_size": MAX_HEAD,
        "timeout_keep_alive": IDLE,
        "timeout_graceful_shutdown": GRACE,
    }
    return uvicorn.Config(site.app(), **settings)


@contextlib.contextmanager
def _listen(options: Options) -> Iterator[socket.socket]:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
    except (OSError, OverflowError, UnicodeError) as error:
        raise _cannot_listen(options, error) from error
    with sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
        except (OSError, OverflowError) as error:
            raise _cannot_listen(options, error) from error
        yield sock


def _cannot_listen(options: Options, error: Exception) -> UsageError:
    reason = getattr(error, "strerror", None) or error
    return UsageError(
        f"The page cannot be served on {options.host}:{options.port}: {reason}.",
        next_step="Choose another address or port.",
    )


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
