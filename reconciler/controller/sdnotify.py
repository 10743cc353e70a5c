"""Tells systemd that the program is ready, alive, and stopping: https://www.freedesktop.org/software/systemd/man/sd_notify.html.

`cli.watch` makes a Systemd from the environment and runs `watchdog` beside the loop. Without systemd it says nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping


class Systemd:
    """What the unit's manager is told. Telling never fails and never waits."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        micros = environ.get("WATCHDOG_USEC", "")
        ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._period = int(micros) / 1_000_000 if micros.isdecimal() and ours else 0.0

    def ready(self, status: str = "") -> None:
        self.tell("READY=1", f"STATUS={status}")

    def stopping(self) -> None:
        self.tell("STOPPING=1")

    def tell(self, *lines: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
        ):
            sock.setblocking(False)
            sock.connect(address)
            sock.send("\n".join(line.replace("\n", " ") for line in lines).encode())

    async def watchdog(self, is_alive: Callable[[], bool]) -> None:
        """Says that all is well as long as it is; returns at once where no watchdog waits for it."""
        while self._address and self._period:
            if is_alive():
                self.tell("WATCHDOG=1")
            await asyncio.sleep(self._period / 3)
