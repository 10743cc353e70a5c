"""How quickly `watch` acts on a saved manifest, and what it costs while nothing happens: `python -m tests.bench.watching`.

The time from saving a manifest to the request arriving at the platform, less the settle time, beside a bare loop that is given
a file to post at the same pace; idle CPU and memory at rest, without the page, and with it, somebody who has it open and some
visits. Also the part `watch` of `make bench`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

import httpx

from tests.bench.estate import write_estate, write_state
from tests.bench.platforms import Platform, line, platform

SETTLE = 1.0
PATHS = ("/", "/d/production/model-00001", "/?q=model-00002", "/api/v1/status", "/metrics")
VISITS = 20
COMMAND = [sys.executable, "-m", "reconciler"]


def main(count: int = 1000, saves: int = 100, idle: float = 20.0) -> None:
    print(f"\nWatch, {count:,} manifests, {saves} saves, settle time {SETTLE:g} s")
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as folder, platform(Path(folder)) as ours:
        root = write_estate(Path(folder) / "estate", count, host=ours.origin)
        write_state(root, live=True)
        with watching(root) as (watch, log):
            _measure(log, root, ours, saves)
            _at_rest(watch, idle)
        with watching(root, "--listen", "127.0.0.1:0") as (watch, log):
            address = page_address(log)
            next_event(log, "pass")
            visitor = httpx.Client(base_url=address, trust_env=False, timeout=30)
            with visitor, visitor.stream("GET", "/events"):
                _visit(visitor)
                print(f"With the page, one that has it open, and {VISITS * len(PATHS)} visits before:")
                _at_rest(watch, idle)


@contextmanager
def watching(root: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """A watch and its log."""
    flags = ["--log-format", "json", "--settle", str(SETTLE), *(more or ("--listen", "none"))]
    watch = subprocess.Popen(
        [*COMMAND, "watch", "-C", str(root), *flags],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "BENCH_API_KEY": "kg-simulator"},
    )
    try:
        assert watch.stderr is not None
        yield watch, watch.stderr
    finally:
        watch.terminate()
        watch.communicate()


def _measure(log: IO[str], root: Path, ours: Platform, saves: int) -> None:
    next_event(log, "pass")
    manifests = sorted((root / "manifests").rglob("*.yaml"))
    took: list[float] = []
    least: list[float] = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        platform(Path(scratch)) as other,
        _bare(Path(scratch), other) as file,
    ):
        for path in manifests[:saves]:
            text = path.read_text().replace("maxTokens: 512", "maxTokens: 256")
            took.append(_save(path, text, ours))
            next_event(log, "pass")
            least.append(_save(file, text, other))
    print(line("saved to arrived, less the settle time", took, "(to reach: median 150, p99 500)"))
    print(line("a bare loop of inotify and httpx, the same", least))
    print(f"{'over the bare loop, median':<58} {(statistics.median(took) - statistics.median(least)) * 1000:13.0f} ms")


def _save(path: Path, text: str, to: Platform) -> float:
    saved = time.time()
    path.write_text(text)
    return to.next_post() - saved - SETTLE


@contextmanager
def _bare(folder: Path, to: Platform) -> Iterator[Path]:
    """A bare loop, and the one file that it watches."""
    watched = folder / "watched"
    watched.mkdir()
    url = f"{to.origin}/api/public/models/cm-1/deploy?modelType=openSource"
    command = [sys.executable, "-m", "tests.bench.bare", str(watched), str(SETTLE), url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(1)  # until its watch is there; nothing tells
        yield watched / "manifest.yaml"
    finally:
        process.terminate()
        process.communicate()


def _visit(visitor: httpx.Client) -> None:
    for path in PATHS * VISITS:
        visitor.get(path).raise_for_status()


def page_address(log: Iterable[str]) -> str:
    """Where the log says that the page is."""
    for told in log:
        if "the page is at " in told:
            return told.partition("the page is at ")[2].split('/"')[0]
    raise SystemExit("no page is served")


def _at_rest(watch: subprocess.Popen[str], idle: float) -> None:
    before = _cpu(watch.pid)
    time.sleep(idle)
    used = (_cpu(watch.pid) - before) / idle * 100
    print(f"{'CPU while nothing happens':<58} {used:13.2f} %  (to reach: 1)")
    print(f"{'memory at rest':<58} {memory(watch.pid):13.0f} MiB  (to reach: 120)")


def next_event(log: IO[str], event: str) -> float:
    """When the next such event was logged, in seconds since 1970."""
    for told in log:
        if not told.startswith("{"):
            raise SystemExit(f"the watch said: {told}{log.read()}")
        said = json.loads(told)
        if said.get("event") == event:
            return datetime.fromisoformat(said["timestamp"]).timestamp()
    raise SystemExit("the watch ended")


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(told.split()[1]) for told in lines if told.startswith("VmRSS")) / 1024


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
