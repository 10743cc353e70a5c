"""What systemd hears, over the socket that it gives."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.controller.sdnotify import Systemd
from tests.support.virtual_time import run_virtual


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(30)
        yield sock


def heard(manager: socket.socket) -> str:
    return manager.recv(4096).decode()


def test_ready_and_stopping(manager: socket.socket) -> None:
    """Readiness carries a line of status, whatever that holds; stopping is said."""
    systemd = Systemd({"NOTIFY_SOCKET": manager.getsockname()})
    systemd.ready("2 environments\nMAINPID=1")
    systemd.stopping()
    assert heard(manager) == "READY=1\nSTATUS=2 environments MAINPID=1"
    assert heard(manager) == "STOPPING=1"


def test_an_abstract_socket() -> None:
    """An address that begins with @ has no file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0reconciler-test-{os.getpid()}")
        sock.settimeout(30)
        Systemd({"NOTIFY_SOCKET": f"@reconciler-test-{os.getpid()}"}).stopping()
        assert heard(sock) == "STOPPING=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}, {"NOTIFY_SOCKET": "x" * 300}])
def test_nobody_listens(environ: dict[str, str]) -> None:
    """Without systemd, or with one that went away, telling does nothing."""
    Systemd(environ).ready()


def test_the_watchdog_is_fed_while_the_loop_lives(manager: socket.socket) -> None:
    """Thrice in each period, and not while the loop gives no sign of life."""
    environ = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
    looks: list[float] = []

    def is_alive() -> bool:
        looks.append(asyncio.get_running_loop().time())
        return len(looks) != 2

    async def go() -> None:
        async with asyncio.timeout(35):
            await Systemd(environ).watchdog(is_alive)

    with pytest.raises(TimeoutError):
        run_virtual(go())
    assert looks == [0, 10, 20, 30]
    assert [heard(manager) for _ in range(3)] == ["WATCHDOG=1"] * 3
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        heard(manager)


@pytest.mark.parametrize("more", [{}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}])
def test_no_watchdog(manager: socket.socket, more: dict[str, str]) -> None:
    """Without a period, or with one that is another process's, nothing waits to be fed."""
    asyncio.run(Systemd({"NOTIFY_SOCKET": manager.getsockname(), **more}).watchdog(lambda: True))
