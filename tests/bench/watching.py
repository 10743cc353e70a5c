"""How quickly `watch` acts on a saved manifest, and what it costs while nothing happens: `python -m tests.bench.watching`.

Prints the time from saving a manifest to the request leaving, less the settle time; idle CPU; and memory at rest.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import IO

from tests.bench.estate import write_estate, write_state

SETTLE = 1.0
COMMAND = [sys.executable, "-m", "reconciler"]


def main(count: int = 1000, saves: int = 25, idle: float = 20.0) -> None:
    flags = ["--port", "0", "--job-seconds", "0", "--per-minute", "0", "--per-hour", "0"]
    flags += ["--status-per-minute", "0", "--status-per-hour", "0"]
    simulator = subprocess.Popen([*COMMAND, "simulate", *flags], stdout=subprocess.PIPE, text=True)
    assert simulator.stdout is not None
    host = simulator.stdout.readline().removeprefix("listening on ").strip()
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as folder:
        root = write_estate(Path(folder) / "estate", count, host=host)
        write_state(root, live=True)
        watch = subprocess.Popen(
            [*COMMAND, "watch", "-C", str(root), "--log-format", "json", "--settle", str(SETTLE), "--listen", "none"],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "BENCH_API_KEY": "kg-simulator"},
        )
        try:
            assert watch.stderr is not None
            _measure(watch, watch.stderr, root, saves, idle)
        finally:
            watch.terminate()
            watch.wait()
            simulator.terminate()
            simulator.wait()


def _measure(watch: subprocess.Popen[str], log: IO[str], root: Path, saves: int, idle: float) -> None:
    next_event(log, "pass")
    manifests = sorted((root / "manifests").rglob("*.yaml"))
    took = []
    for path in manifests[:saves]:
        text = path.read_text().replace("maxTokens: 512", "maxTokens: 256")
        saved = time.time()
        path.write_text(text)
        took.append(next_event(log, "sending") - saved - SETTLE)
        next_event(log, "pass")
    ordered = sorted(took)
    print(f"saved to sent, less the settle time, median     {statistics.median(took) * 1000:8.0f} ms   (to reach: 150)")
    print(f"saved to sent, less the settle time, worst      {ordered[-1] * 1000:8.0f} ms   (to reach: 500)")
    before = _cpu(watch.pid)
    time.sleep(idle)
    print(
        f"CPU while nothing happens                       {(_cpu(watch.pid) - before) / idle * 100:8.2f} %    (to reach: 1)"
    )
    print(f"memory at rest                                  {memory(watch.pid):8.0f} MiB  (to reach: 120)")


def next_event(log: IO[str], event: str) -> float:
    """When the next such event was logged, in seconds since 1970."""
    for line in log:
        said = json.loads(line)
        if said.get("event") == event:
            return datetime.fromisoformat(said["timestamp"]).timestamp()
    raise SystemExit("the watch ended")


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


if __name__ == "__main__":
    main()
