"""A simulated platform for benchmarks: as quick as it can be, and its log tells when a request had arrived."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

PATIENCE = 60.0
ENOUGH = 100  # values, to have a 99th percentile that is not the worst
LIMITS = ("--per-minute", "0", "--per-hour", "0", "--status-per-minute", "0", "--status-per-hour", "0")


@dataclass
class Platform:
    """A running simulator and the log that it writes."""

    origin: str
    log: Path
    _read: int = 0
    _arrived: list[float] = field(default_factory=list)

    def next_post(self) -> float:
        """When the next POST that nobody asked about had arrived, in seconds since 1970."""
        until = time.monotonic() + PATIENCE
        while not self._arrived:
            if time.monotonic() > until:
                raise SystemExit("no request arrived")
            time.sleep(0.005)
            self._look()
        return self._arrived.pop(0)

    def _look(self) -> None:
        with self.log.open("rb") as stream:
            stream.seek(self._read)
            whole = stream.read().rpartition(b"\n")[0]
        if not whole:
            return
        self._read += len(whole) + 1
        for line in map(json.loads, whole.splitlines()):
            if line.get("method") == "POST":
                self._arrived.append(datetime.fromisoformat(line["time"]).timestamp())


@contextmanager
def platform(folder: Path) -> Iterator[Platform]:
    """A simulator whose jobs end at once; `folder` is where its log lies."""
    log = folder / "platform.jsonl"
    command = [sys.executable, "-m", "reconciler", "simulate", "--port", "0", "--job-seconds", "0", *LIMITS]
    process = subprocess.Popen([*command, "--log", str(log)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Platform(process.stdout.readline().removeprefix("listening on ").strip(), log)
    finally:
        process.terminate()
        process.wait()


def line(what: str, seconds: Sequence[float], reach: str = "") -> str:
    """One row: the median, the 99th percentile where there are enough for one, and the worst, in milliseconds."""
    ordered = sorted(seconds)
    parts = {"median": 0.5, "p99": 0.99, "worst": 1.0} if len(ordered) >= ENOUGH else {"median": 0.5, "worst": 1.0}
    at = {name: ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000 for name, part in parts.items()}
    figures = "  ".join(f"{name} {ms:6.0f} ms" for name, ms in at.items())
    return f"{what:<58} {figures}  {reach}"
