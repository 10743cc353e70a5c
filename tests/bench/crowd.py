"""Whether a crowd on the page delays a pass: `python -m tests.bench.crowd`; also the part `crowd` of `make bench`.

A watch over 1,000 deployments, manifests saved one after another, and the time from saving to the request leaving: alone, and
while 200 requests a second come in from two processes beside 64 slow clients.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from reconciler.controller.web.server import TIDY_EVERY
from tests.bench.estate import write_estate, write_state
from tests.bench.visitors import SECRET
from tests.bench.watching import memory, next_event

SETTLE = 0.1
RATE, SLOW, PROCESSES = 200, 64, 2
COMMAND = [sys.executable, "-m", "reconciler"]
PERCENTILES = (0.5, 0.95, 0.99, 1.0)


@dataclass
class Watch:
    """A running watch: its address, its log, its manifests."""

    process: subprocess.Popen[str]
    log: IO[str]
    address: str
    manifests: list[Path]


def main(count: int = 1000, saves: int = 200) -> None:
    print(
        f"\nA crowd on the page: {RATE} requests/s and {SLOW} slow clients, {count:,} deployments, {saves} saved manifests"
    )
    with watching(count) as watch:
        print(_line("saved to sent, less the settle time, alone", _passes(watch, saves, 256)))
        with crowd(watch.address, seconds=saves * 0.5) as visitors:
            under = _passes(watch, saves, 128)
            is_over = any(one.poll() is not None for one in visitors)
            said = [json.loads(one.communicate()[0]) for one in visitors]
        print(_line("saved to sent, less the settle time, in the crowd", under))
        print("" if not is_over else "  the crowd had left before the last one: the figure is too good")
        _report(said)
        print(f"memory right afterwards                                {memory(watch.process.pid):8.0f} MiB")
        time.sleep(TIDY_EVERY + 2)
        print(f"memory half a minute later                             {memory(watch.process.pid):8.0f} MiB")


def _report(said: Sequence[dict[str, Any]]) -> None:
    took = [seconds for one in said for seconds in one["seconds"]]
    answers, slow = Counter[str](), Counter[str]()
    for one in said:
        answers.update(one["answers"])
        slow.update(one["slow"])
    print(_line("an answer, from when its request was due", took))
    print(f"  answers {dict(answers)}; slow clients that were shown out {dict(slow)}")


def _line(what: str, seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    at = [ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000 for part in PERCENTILES]
    figures = "  ".join(f"{name} {ms:6.0f} ms" for name, ms in zip(("p50", "p95", "p99", "max"), at, strict=True))
    return f"{what:<52} {figures}"


def _passes(watch: Watch, saves: int, tokens: int) -> list[float]:
    took = []
    for path in watch.manifests[:saves]:
        text = re.sub(r"maxTokens: \d+", f"maxTokens: {tokens}", path.read_text())
        saved = time.time()
        path.write_text(text)
        took.append(next_event(watch.log, "sending") - saved - SETTLE)
    return took


@contextmanager
def crowd(address: str, *, seconds: float) -> Iterator[list[subprocess.Popen[str]]]:
    """Visitors from several processes, for so long; what they say in the end is more than a pipe holds."""
    command = [sys.executable, "-m", "tests.bench.visitors", address]
    command += [str(RATE / PROCESSES), str(seconds), str(SLOW // PROCESSES)]
    visitors = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)]
    try:
        time.sleep(2.0)  # until all are there
        yield visitors
    finally:
        for one in visitors:
            one.kill()


@contextmanager
def watching(count: int) -> Iterator[Watch]:
    """Simulator and watch, over an estate where all is live; the first pass has ended."""
    flags = ["--port", "0", "--job-seconds", "0", "--per-minute", "0", "--per-hour", "0"]
    flags += ["--status-per-minute", "0", "--status-per-hour", "0"]
    simulator = subprocess.Popen([*COMMAND, "simulate", *flags], stdout=subprocess.PIPE, text=True)
    assert simulator.stdout is not None
    host = simulator.stdout.readline().removeprefix("listening on ").strip()
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as folder:
        root = write_estate(Path(folder) / "estate", count, host=host)
        write_state(root, live=True)
        environ = {**os.environ, "BENCH_API_KEY": "kg-simulator", "BENCH_HOOK": SECRET}
        flags = ["--log-format", "json", "--settle", str(SETTLE), "--listen", "127.0.0.1:0"]
        command = [*COMMAND, "watch", "-C", str(root), *flags, "--webhook-secret", "env:BENCH_HOOK"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ)
        try:
            assert process.stderr is not None
            address = _address(process.stderr)
            next_event(process.stderr, "pass")
            yield Watch(process, process.stderr, address, sorted((root / "manifests").rglob("*.yaml")))
        finally:
            for one in (process, simulator):
                one.terminate()
                one.wait()


def _address(log: IO[str]) -> str:
    for line in log:
        found = re.search(r"the page is at (\S+)/", line)
        if found:
            return found.group(1)
    raise SystemExit("the watch ended")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
