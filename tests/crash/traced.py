"""The program killed, and its system calls refused, at each of them that changes something: by strace, from outside.

`injector` does the like from inside, where it also sees what was synced when; here nothing of the program is replaced at all,
and what other libraries call counts too. The judge is that of the comparison: the platform's log beside the state.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.crash.history import Wanted
from tests.peers.contender import OURS
from tests.peers.trial import Trial, Verdict, ended, trial

CHANGING = (
    "openat",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "ftruncate",
    "fallocate",
    "rename",
    "unlink",
    "mkdir",
    "connect",
    "sendto",
)
NETWORK = frozenset({"connect", "sendto"})
ERRORS = ("ENOSPC", "EIO", "EROFS", "EACCES", "EMFILE")
# Done: a courtesy failed. State, configuration: nothing was sent. Unfinished.
CODES = frozenset({0, 3, 6, 8, 9})

ONE = Wanted(name="m0")
OTHER = Wanted(name="m0", model_id="cm-m0-b")

_CALL = re.compile(r"(\d+) +(\w+)\((.*)")


def _deploy(one: Trial) -> None:
    """A first deployment; its end writes the snapshot, which is the compaction."""
    one.want(ONE)


def _replace(one: Trial) -> None:
    """Another model under the same name: one is deployed, the other undeployed, and the log since is compacted."""
    one.want(ONE)
    assert ended(one.start()) == 0, one.said.read_text()
    one.want(OTHER)


SCENES: dict[str, tuple[Callable[[Trial], None], Counter[tuple[str, str]]]] = {
    "deploy": (_deploy, Counter({("deploy", ONE.model): 1})),
    "replace": (
        _replace,
        Counter({("deploy", ONE.model): 1, ("deploy", OTHER.model): 1, ("undeploy", ONE.model): 1}),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The `nth` call of its name that a thread makes; where several threads come so far, the first of them is struck."""

    scene: str
    syscall: str
    nth: int

    def __str__(self) -> str:
        return f"{self.scene}:{self.syscall}:{self.nth}"

    @classmethod
    def named(cls, text: str) -> Point:
        """As `str` writes it."""
        scene, syscall, nth = text.split(":")
        return cls(scene=scene, syscall=syscall, nth=int(nth))

    @property
    def refusable(self) -> bool:
        return self.syscall not in NETWORK


def can_trace() -> bool:
    """Whether there is a strace, and it may trace."""
    return (
        shutil.which("strace") is not None
        and subprocess.run(["strace", "true"], capture_output=True, check=False).returncode == 0
    )


def points(scratch: Path, scene: str) -> list[Point]:
    """Where a run can be struck, in the order of a run in peace."""
    with trial(OURS, scratch) as one:
        SCENES[scene][0](one)
        log = one.folder / "trace.log"
        run = one.start("strace", "-f", "-y", "-qq", "-o", str(log), "-e", f"trace={','.join(CHANGING)}")
        assert ended(run) == 0, one.said.read_text()
        return list(dict.fromkeys(_points(log, scene, str(one.folder / "state"))))


def _points(log: Path, scene: str, state: str) -> Iterator[Point]:
    counts: Counter[tuple[str, str]] = Counter()
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if not (call := _CALL.match(line)):
            continue
        thread, syscall, arguments = call.groups()
        counts[thread, syscall] += 1
        if _changes(syscall, arguments, state):
            yield Point(scene=scene, syscall=syscall, nth=counts[thread, syscall])


def _changes(syscall: str, arguments: str, state: str) -> bool:
    if syscall in NETWORK:
        return "AF_UNIX" not in arguments
    if state not in arguments:
        return False
    return syscall != "openat" or any(flag in arguments for flag in ("O_CREAT", "O_WRONLY", "O_RDWR"))


def strike(scratch: Path, point: Point, error: str | None = None) -> int:
    """Struck there, killed or (with `error`) refused; then it goes on to its end. Gives the exit code.

    Raises AssertionError.
    """
    prepare, calls = SCENES[point.scene]
    with trial(OURS, scratch) as one:
        prepare(one)
        how = "signal=KILL" if error is None else f"error={error}"
        inject = f"inject={point.syscall}:{how}:when={point.nth}"
        run = one.start("strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={point.syscall}", "-e", inject)
        code, said = ended(run), one.said.read_text(encoding="utf-8")
        assert "Traceback" not in said, f"{point}, {how}: {said}"
        assert code in CODES if error else code in {0, -9}, f"{point}, {how}: exit {code}\n{said}"
        _check_told(one, point, said)
        before = one.verdict.runs
        verdict = one.to_the_end()
        assert verdict == Verdict(histories=1, runs=verdict.runs, asked=verdict.asked), f"{point}, {how}: {verdict}"
        assert verdict.runs - before <= 3, f"{point}, {how}: {verdict}"
        assert Counter(call[:2] for call in one.calls) == calls, f"{point}, {how}: {one.calls}\n{said}"
        return code


def _check_told(one: Trial, point: Point, said: str) -> None:
    """Where an id was announced, it is in the state or in a RECOVERY line."""
    recovered = "".join(line for line in said.splitlines() if line.startswith("RECOVERY "))
    for _, _, job in one.calls:
        assert job not in said or job in one.state() + recovered, f"{point}: {job} was announced and is not recorded"
