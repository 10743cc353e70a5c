"""The fault injector of a worker process: counts its system calls, and kills, stops or disturbs it at the nth.

`worker` installs it in a forked child, never elsewhere: it replaces functions of `os` and `socket`, because those are
the edge of the process, and what is between the program and that edge stays exactly what users run. Counted are the calls
that change files or talk to the network:

    open (for writing) · pwrite · ftruncate · fsync · fdatasync · replace · unlink · mkdir · connect · post · send · recv

Locks are not: the kernel gives them back, so dying with one is dying before the call that comes next. A failpoint is a number
and what happens there (`Fault.how`). Or it is a moment: every entry to a function and every return from one, of Python or C and
in any thread, is one, so that a process can also die between two calls, while it thinks.

Everything that is written, synced and sent is also told to the witness, a file that outlives the process: by it `judge` knows
what was durable when. A state elsewhere is written by other processes and libraries; there the store's appends are told.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NoReturn

from reconciler.model.records import Record
from reconciler.state.format import encode_batch
from tests.crash.unsynced import Unsynced

How = Literal["kill", "torn", "power", "power-some", "power-image", "moment", "term", "stop", "error", "errors"]

# The stores whose appends are told as such, by module.
ELSEWHERE = {
    "reconciler.state.git": "GitStore",
    "reconciler.state.objects": "ObjectStore",
    "reconciler.state.postgres": "PostgresStore",
}

# What can be refused, and what is fair to say about it.
FILE_CALLS = frozenset({"open", "pwrite", "ftruncate", "fsync", "fdatasync", "replace", "unlink", "mkdir"})
SYNCS = frozenset({"fsync", "fdatasync"})

BROKEN = 70  # the exit code of a worker whose injector has a mistake

_FRAME = re.compile(rb"[1-9][0-9]{0,8} [0-9a-f]{8} (\[.*\])\n", re.DOTALL)
MESSAGES = "/messages"  # where histories have their notifications sent: no call of the platform
_HEAD = re.compile(rb"(POST) (?!%s )(\S+) HTTP/1\.1\r\n" % MESSAGES.encode())
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens at the `at`th counted call; 0 is never.

    - `kill`: SIGKILL before the call.
    - `torn`: SIGKILL after half of it where it writes or sends, else after it.
    - `power`: as `torn`, and everything unsynced is lost; `power-some`: a part of it, chosen by `seed`.
    - `power-image`: the same before a sync and after half of any other call; what is left is the image of that number.
    - `moment`: SIGKILL at the `at`th moment instead, or after the counted call that it falls into.
    - `term`: SIGTERM before the call, which is made all the same.
    - `stop`: SIGSTOP before the call; whoever waits sends SIGCONT. It has `slept` that many seconds, by the clock that goes on.
    - `error`: the call fails with `errno`, if it is one of FILE_CALLS; `errors`: all of them from there on.

    With `call`, only calls of that name count; `post` is the send with the first byte of a POST. `slow` are seconds that every
    sync takes: a run appends in a thread where the disk is slow.
    """

    at: int = 0
    how: How = "kill"
    call: str | None = None
    slow: float = 0.0
    errno: int = errno.ENOSPC
    seed: int | None = None
    image: int = 0
    slept: float = 0.0


NO_FAULT = Fault()
SLOW = 0.0015  # seconds


class Injector:
    """One process. `witness` is the path of its file, `attic` a folder for what a power cut brings back."""

    def __init__(self, fault: Fault, witness: Path, attic: Path) -> None:
        self._fault = fault
        self._count = 0
        self._calls: list[str] = []
        self._moments = 0
        self._inside = 0  # counted calls under way
        self._over = False  # dying: what is called now is called plainly
        self._lock = threading.RLock()  # one call at a time, and none any more in a process that dies
        self._write = os.write
        self._witness = os.open(witness, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._unsynced = _unsynced(fault, attic)
        self._frames: dict[int, list[int]] = {}  # inode -> numbers of records written and not synced
        self._requests: dict[socket.socket, bytearray] = {}

    @property
    def slow(self) -> float:
        return self._fault.slow

    def install(self, *, elsewhere: bool = False) -> None:
        """Take the places of the calls. There is no way back; the process is given up in the end."""
        _Files(self).install()
        _Network(self).install()
        if elsewhere:
            _Appends(self).install()
        if self._fault.how == "moment":
            threading.setprofile(self._moment)
            sys.setprofile(self._moment)

    def finish(self) -> None:
        """The process ends in peace: how often it could have been struck, and where."""
        sys.setprofile(None)
        self.tell("finished", calls=self._calls, moments=self._moments)

    def tell(self, event: str, **what: Any) -> None:
        line = json.dumps({"event": event, "at": self._count, "pid": os.getpid(), **what}) + "\n"
        self._write(self._witness, line.encode())

    def call(self, name: str, do: Callable[[], Any], half: Callable[[], Any] | None = None) -> Any:
        """One counted call. `half` does a part of it."""
        with self._lock:
            if self._over:
                return do()
            self._count += 1
            self._calls.append(name)
            self._inside += 1
            try:
                return self._strike(name, do, half) if self._strikes(name) else do()
            finally:
                self._inside -= 1

    def _moment(self, *_: object) -> None:
        """The interpreter calls it. What is done and not told yet is told first."""
        self._moments += 1
        if 0 < self._fault.at <= self._moments and not self._inside:
            self.tell("struck", how=self._fault.how, moment=self._moments)
            self._die()

    def _strikes(self, name: str) -> bool:
        fault = self._fault
        if fault.how == "moment":
            return False
        if fault.call is not None:
            return name == fault.call and self._calls.count(name) == fault.at
        if fault.how == "errors":
            return 0 < fault.at <= self._count and name in FILE_CALLS
        return self._count == fault.at

    def _strike(self, name: str, do: Callable[[], Any], half: Callable[[], Any] | None) -> Any:
        fault = self._fault
        self.tell("struck", call=name, how=fault.how)
        match fault.how:
            case "kill":
                self._die()
            case "torn" | "power" | "power-some":
                (half or do)()
                self._die()
            case "power-image":
                if name not in SYNCS:
                    (half or do)()
                self._die()
            case "term":
                os.kill(os.getpid(), signal.SIGTERM)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
                _have_slept(fault.slept)
            case "error" | "errors" if name in FILE_CALLS:
                raise OSError(fault.errno, os.strerror(fault.errno))
        return do()

    def _die(self) -> NoReturn:
        self._over = True
        if self._unsynced is not None:
            self.tell("power cut", images=self._unsynced.images)
            try:
                self._unsynced.lose()
            except BaseException as error:  # noqa: BLE001 - a mistake in here must not look like one of the program's
                self.tell("broken", error=repr(error))
                os._exit(BROKEN)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("nobody survives that")

    # What the witness is told

    def writing(self, fd: int, data: bytes, offset: int) -> None:
        if self._unsynced is not None and not self._over:
            self._unsynced.contents(fd, offset, len(data))

    def wrote(self, fd: int, data: bytes) -> None:
        found = _FRAME.fullmatch(data)
        if found is not None and not self._over:
            records = json.loads(found[1])
            self._frames.setdefault(os.fstat(fd).st_ino, []).extend(one["seq"] for one in records)
            self.tell("wrote", records=records)

    def synced(self, fd: int) -> None:
        if self._over:
            return
        if self._unsynced is not None:
            self._unsynced.synced(fd)
        numbers = self._frames.pop(os.fstat(fd).st_ino, None)
        if numbers:
            self.tell("synced", numbers=numbers)

    def appended(self, records: list[dict[str, Any]]) -> None:
        """By a store elsewhere, which is durable when it says so."""
        with self._lock:
            self._inside += 1
            self.tell("wrote", records=records)
            self.tell("synced", numbers=[one["seq"] for one in records])
            self._inside -= 1

    def names(self) -> Unsynced | None:
        return None if self._over else self._unsynced

    def sending(self, sock: socket.socket, data: bytes) -> None:
        """A POST's first byte is about to leave. Every POST has a connection of its own."""
        found = _HEAD.match(data)
        if found is not None and sock not in self._requests:
            self._requests[sock] = bytearray()
            self.tell("post", path=found[2].decode())

    def sent(self, sock: socket.socket, data: bytes) -> None:
        request = self._requests.get(sock)
        if request is None:
            return
        request += data
        head, end, body = bytes(request).partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        found = _HEAD.match(head + b"\r\n")
        if end and length is not None and found is not None and len(body) == int(length[1]):
            self.tell("whole", path=found[2].decode())
            request.clear()


def _unsynced(fault: Fault, attic: Path) -> Unsynced | None:
    """Who remembers what a power cut takes, where there will be one."""
    match fault.how:
        case "power":
            return Unsynced(attic, None)
        case "power-some":
            return Unsynced(attic, fault.seed)
        case "power-image":
            return Unsynced(attic, None, fault.image)
    return None


def _have_slept(seconds: float) -> None:
    """The monotonic clock is ahead by so much from here on."""
    real = time.monotonic
    time.monotonic = lambda: real() + seconds


class _Files:
    """`os`, as the state uses it."""

    def __init__(self, injector: Injector) -> None:
        self._injector = injector

    def install(self) -> None:
        for name in ("open", "pwrite", "ftruncate", "fsync", "fdatasync", "replace", "unlink", "mkdir"):
            setattr(os, name, getattr(self, f"_{name}")(getattr(os, name)))

    def _open(self, real: Any) -> Any:
        def call(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            def do() -> int:
                return int(real(path, flags, mode, dir_fd=dir_fd))

            if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return do()

            def told() -> int:
                lost = self._injector.names()
                if lost is None or not flags & os.O_CREAT:
                    return do()
                there = os.path.lexists(path)
                if not there:
                    lost.name_given(Path(path))
                elif flags & os.O_TRUNC:
                    held = real(path, os.O_RDWR)
                    lost.contents(held, 0, 0)
                    os.close(held)
                return do()

            return int(self._injector.call("open", told))

        return call

    def _pwrite(self, real: Any) -> Any:
        def call(fd: int, data: bytes, offset: int) -> int:
            def write(part: bytes) -> int:
                self._injector.writing(fd, part, offset)
                written = int(real(fd, part, offset))
                self._injector.wrote(fd, part)
                return written

            return int(self._injector.call("pwrite", lambda: write(data), lambda: write(data[: len(data) // 2])))

        return call

    def _ftruncate(self, real: Any) -> Any:
        def call(fd: int, length: int) -> None:
            def do() -> None:
                lost = self._injector.names()
                if lost is not None:
                    lost.contents(fd, length, 0)
                real(fd, length)

            self._injector.call("ftruncate", do)

        return call

    def _fsync(self, real: Any) -> Any:
        return self._sync("fsync", real)

    def _fdatasync(self, real: Any) -> Any:
        return self._sync("fdatasync", real)

    def _sync(self, name: str, real: Any) -> Any:
        def call(fd: int) -> None:
            def do() -> None:
                real(fd)
                self._injector.synced(fd)

            time.sleep(self._injector.slow)
            self._injector.call(name, do)

        return call

    def _replace(self, real: Any) -> Any:
        def call(source: Any, target: Any) -> None:
            def do() -> None:
                lost = self._injector.names()
                if lost is not None and os.path.lexists(source):
                    lost.renamed(Path(source), Path(target))
                real(source, target)

            self._injector.call("replace", do)

        return call

    def _unlink(self, real: Any) -> Any:
        def call(path: Any, *, dir_fd: int | None = None) -> None:
            def do() -> None:
                lost = self._injector.names()
                if lost is not None:
                    lost.name_taken(Path(path))
                real(path, dir_fd=dir_fd)

            self._injector.call("unlink", do)

        return call

    def _mkdir(self, real: Any) -> Any:
        def call(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
            def do() -> None:
                lost = self._injector.names()
                if lost is not None and not os.path.lexists(path):
                    lost.folder_made(Path(path))
                real(path, mode, dir_fd=dir_fd)

            self._injector.call("mkdir", do)

        return call


class _Appends:
    """The stores elsewhere: what is being appended may be there when the process dies, and what was is."""

    def __init__(self, injector: Injector) -> None:
        self._injector = injector

    def install(self) -> None:
        for module, name in ELSEWHERE.items():
            store = getattr(import_module(module), name)
            store.append = self._append(store.append)

    def _append(self, real: Any) -> Any:
        def append(store: Any, seq: int, records: Sequence[Record]) -> int:
            told = json.loads(encode_batch(seq + 1, records))
            self._injector.tell("appending", records=told)
            end = int(real(store, seq, records))
            if told:
                self._injector.appended(told)
            return end

        return append


class _Network:
    """`socket.socket`, as asyncio uses it; the loop's own waking pipe is not the network."""

    def __init__(self, injector: Injector) -> None:
        self._injector = injector

    def install(self) -> None:
        for name in ("connect", "send", "recv"):
            setattr(socket.socket, name, getattr(self, f"_{name}")(getattr(socket.socket, name)))

    def _connect(self, real: Any) -> Any:
        def connect(sock: socket.socket, address: Any) -> None:
            self._injector.call("connect", lambda: real(sock, address))

        return connect

    def _send(self, real: Any) -> Any:
        def send(sock: socket.socket, data: Any, flags: int = 0) -> int:
            if sock.family not in {socket.AF_INET, socket.AF_INET6}:
                return int(real(sock, data, flags))
            whole = bytes(data)

            def part(piece: bytes) -> int:
                self._injector.sending(sock, piece)
                left = int(real(sock, piece, flags))
                self._injector.sent(sock, piece[:left])
                return left

            name = "post" if _HEAD.match(whole) else "send"
            return int(self._injector.call(name, lambda: part(whole), lambda: part(whole[: len(whole) // 2])))

        return send

    def _recv(self, real: Any) -> Any:
        def recv(sock: socket.socket, size: int, flags: int = 0) -> bytes:
            if sock.family not in {socket.AF_INET, socket.AF_INET6}:
                return bytes(real(sock, size, flags))
            return bytes(self._injector.call("recv", lambda: real(sock, size, flags)))

        return recv
