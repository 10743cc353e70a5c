"""Hostile input in a process of its own, where time and memory can be measured, and where a hang or a crash harms nobody.

    python -m tests.fuzz.measured WORK FIRST LAST FILE

does the pieces of work with these numbers and prints what came of them as JSON. FILE holds the number that is under way: who
is killed cannot say it. What is measured is processor time, so a busy machine changes nothing.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.limits import MEMORY, SECONDS, held

ROOT = Path(__file__).parent.parent.parent
_ROOM = 1024**3  # bytes of addresses: far beyond MEMORY, and what a runaway meets


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """`failures` are texts that begin with the number; `slowest` is processor seconds and the number.

    `peak` is of the whole process, with everything in it.
    """

    tally: Counter[str]
    failures: tuple[str, ...]
    slowest: tuple[float, int]
    peak: float  # MiB

    def within_limits(self) -> None:
        assert not self.failures, "\n".join(self.failures[:5])
        assert self.slowest[0] <= SECONDS, self.slowest
        assert self.peak <= MEMORY, self.peak


def measure(work: str, numbers: range) -> Measured:
    """A process that was killed is a failure of the number that it was at."""
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder) / "at"
        command = [sys.executable, "-m", "tests.fuzz.measured", work, str(numbers.start), str(numbers.stop), str(at)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reached = at.read_text() if at.exists() else "the beginning"
            ending = f"{work} {reached}: exit code {done.returncode}\n{done.stderr[-2000:]}"
            return Measured(tally=Counter(), failures=(ending,), slowest=(0, 0), peak=0)
    told = json.loads(done.stdout)
    slowest = (told["slowest"][0], told["slowest"][1])
    return Measured(tally=Counter(told["tally"]), failures=tuple(told["failures"]), slowest=slowest, peak=told["peak"])


def _mutation(number: int) -> str:
    from tests.fuzz.law import judge
    from tests.fuzz.mutations import mutation

    return judge(*mutation(number))


def _killer(number: int) -> str:
    from tests.fuzz.killers import KILLERS
    from tests.fuzz.targets import TARGETS

    target, data = KILLERS[list(KILLERS)[number]]()
    TARGETS[target](data)
    return target


def _cut(number: int) -> str:
    from tests.fuzz.law import judge_cut
    from tests.fuzz.mutations import cut

    return judge_cut(*cut(number))


WORK: Mapping[str, Callable[[int], str]] = {"mutation": _mutation, "killer": _killer, "cut": _cut}


def main() -> None:
    name, first, last, at = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    work, tally, failures, slowest = WORK[name], Counter[str](), list[str](), (0.0, first)
    resource.setrlimit(resource.RLIMIT_AS, (_ROOM, _ROOM))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process
    under_way = os.open(at, os.O_WRONLY | os.O_CREAT)
    for number in range(first, last):
        os.pwrite(under_way, b"%-20d" % number, 0)
        # The first one pays for what is imported late.
        signal.setitimer(signal.ITIMER_PROF, SECONDS if number > first else 10 * SECONDS)
        began = time.process_time()
        try:
            tally[work(number)] += 1
        except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
            failures.append(f"{name} {number}: {traceback.format_exc(limit=-4)}")
        if number > first:
            slowest = max(slowest, (time.process_time() - began, number))
    signal.setitimer(signal.ITIMER_PROF, 0)
    json.dump({"tally": tally, "failures": failures, "slowest": slowest, "peak": _peak()}, sys.stdout)


def _peak() -> float:
    """The most memory that this process ever held, in MiB. What getrusage says includes the parent before the exec."""
    if Path("/proc/self/status").exists():
        return held("VmHWM")
    divisor = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / divisor


if __name__ == "__main__":
    main()
