"""A raw TCP server on loopback that does with each connection exactly what a test says, and keeps what it received.

For what the simulator cannot do: half requests, broken HTTP, endless replies, TLS, proxies. A test gives a function from a
`Peer` (one connection) to nothing; when it returns the connection is closed. Leaving the `with` block waits for all of them,
so that `received` is complete.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

_PATIENCE = 60.0  # seconds until a test is called hung
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass
class Peer:
    """The server's end of one connection. `received` is every byte that came, decrypted where there is TLS."""

    number: int
    sock: socket.socket
    received: bytearray = field(default_factory=bytearray)
    error: OSError | None = None

    def read(self, count: int) -> bytes:
        """Up to `count` bytes, fewer only where the client ends."""
        got = bytearray()
        while len(got) < count:
            piece = self.sock.recv(count - len(got))
            if not piece:
                break
            got += piece
            self.received += piece
        return bytes(got)

    def read_request(self) -> bytes:
        """One request, head and body; what there is of it where the client ends."""
        got = bytearray()
        while not got.endswith(b"\r\n\r\n"):
            piece = self.read(self._certain(got))
            if not piece:
                return bytes(got)
            got += piece
        found = _LENGTH.search(bytes(got))
        return bytes(got) + self.read(int(found[1]) if found else 0)

    def _certain(self, got: bytearray) -> int:
        """How many bytes more certainly belong to the head of which this has come. TLS cannot be looked into: one."""
        if isinstance(self.sock, ssl.SSLSocket):
            return 1
        there = bytes(got) + self.sock.recv(65536, socket.MSG_PEEK)
        end = there.find(b"\r\n\r\n")
        return max(1, (len(there) if end < 0 else end + 4) - len(got))

    def read_to_end(self) -> None:
        while self.read(65536):
            pass

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def reset(self) -> None:
        """The next close sends a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def secure(self, context: ssl.SSLContext) -> None:
        """Speak TLS from here on."""
        self.sock = context.wrap_socket(self.sock, server_side=True)


Behaviour = Callable[[Peer], None]


@dataclass
class LoopbackServer:
    """Where it listens, and every connection it had, in their order."""

    port: int
    peers: list[Peer] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def received(self) -> list[bytes]:
        return [bytes(peer.received) for peer in self.peers]


@contextlib.contextmanager
def loopback_server(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[LoopbackServer]:
    """Serve connections, each in a thread. What goes wrong on one is kept in its `error`."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    server = LoopbackServer(port=listener.getsockname()[1])
    threads: list[threading.Thread] = []

    def serve(peer: Peer) -> None:
        try:
            peer.sock.settimeout(_PATIENCE)
            peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                peer.secure(tls)
            behaviour(peer)
        except OSError as error:
            peer.error = error
        finally:
            peer.sock.close()

    # Connects last, so that every connection before it has been accepted; closing the listener would drop those that wait.
    last = socket.socket()
    last.bind(("127.0.0.1", 0))
    last_address = last.getsockname()

    def accept() -> None:
        while True:
            sock, address = listener.accept()
            if address == last_address:
                sock.close()
                return
            peer = Peer(number=len(server.peers), sock=sock)
            server.peers.append(peer)
            threads.append(threading.Thread(target=serve, args=(peer,), daemon=True))
            threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield server
    finally:
        with last, listener:
            last.connect(listener.getsockname())
            acceptor.join(_PATIENCE)
        for thread in threads:
            thread.join(_PATIENCE)
            assert not thread.is_alive(), "a connection was never ended"


def reply_bytes(body: bytes, *, status: str = "200 OK", headers: tuple[str, ...] = ()) -> bytes:
    """A whole HTTP/1.1 reply."""
    head = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def answering(data: bytes) -> Behaviour:
    """Reads one request, sends these bytes and closes."""

    def behave(peer: Peer) -> None:
        peer.read_request()
        peer.send(data)

    return behave


def silent(peer: Peer) -> None:
    """Reads for ever and never answers."""
    peer.read_to_end()
