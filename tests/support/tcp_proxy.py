"""A relay between a client and a server, which a test can cut or be told by, at any piece that passes.

    with relay(to=("127.0.0.1", 5000)) as proxy: …      connect to proxy.port; proxy.pieces counts

`to` may be a path, of a Unix socket; `at` then is the path that it listens on. Every piece that arrives at either end is a
moment: `proxy.on_piece(number, direction)` is asked before it is passed on; False cuts the connection there and then.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Direction = Literal["to server", "to client"]
Address = tuple[str, int] | Path


def _always(number: int, direction: Direction) -> bool:
    return True


@dataclass
class Proxy:
    """`on_piece` may be replaced at any time. It is called by many threads, one at a time."""

    to: Address
    at: Path | None = None
    port: int = 0
    on_piece: Callable[[int, Direction], bool] = _always
    pieces: int = 0
    mutex: threading.Lock = field(default_factory=threading.Lock)
    _sockets: set[socket.socket] = field(default_factory=set)

    def begin(self, on_piece: Callable[[int, Direction], bool] = _always) -> None:
        """Count from nothing again."""
        with self.mutex:
            self.pieces, self.on_piece = 0, on_piece

    def passes(self, direction: Direction) -> bool:
        with self.mutex:
            self.pieces += 1
            return self.on_piece(self.pieces, direction)

    def serve(self, client: socket.socket) -> None:
        server = _connected(self.to)
        with self.mutex:
            self._sockets |= {client, server}
        ends = itertools.count(1)
        for source, sink, direction in ((client, server, "to server"), (server, client, "to client")):
            threading.Thread(target=self._pump, args=(source, sink, direction, ends), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, direction: Direction, ends: Iterator[int]) -> None:
        with contextlib.suppress(OSError):
            while (data := source.recv(65536)) and self.passes(direction):
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        if next(ends) == 2:  # the other direction has ended too
            for one in (source, sink):
                one.close()
            with self.mutex:
                self._sockets -= {source, sink}

    def close(self) -> None:
        for one in self._sockets:
            one.close()


@contextlib.contextmanager
def relay(to: Address, at: Path | None = None) -> Iterator[Proxy]:
    listener = _listening(at)
    proxy = Proxy(to=to, at=at, port=0 if at else listener.getsockname()[1])

    def accept() -> None:
        with contextlib.suppress(OSError):
            for _ in itertools.count():
                client, _peer = listener.accept()
                try:
                    proxy.serve(client)
                except OSError:
                    client.close()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(60)
        proxy.close()


def _listening(at: Path | None) -> socket.socket:
    if at is None:
        return socket.create_server(("127.0.0.1", 0), backlog=128)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(at))
    listener.listen(128)
    return listener


def _connected(to: Address) -> socket.socket:
    if isinstance(to, tuple):
        connection = socket.create_connection(to, timeout=60)
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(to))
    return connection
