"""`make torture`: the crash tests in their long form, and single failures again.

    tools/torture.py                                        everything, for an hour or so on two processors
    tools/torture.py campaign --seed 0 --runs 10000         random histories; each is repeated by its own seed
    tools/torture.py campaign --store git --runs 300        the same with the state elsewhere: s3, postgres, azure, gcs
    tools/torture.py sweep [--at N] [--how torn] [--slow 0] [--seed S] 20 deployments, each failpoint, each way to die
    tools/torture.py disk [--at N] [--how errors] [--errno EIO]
    tools/torture.py contention [--processes 16] [--rounds 20]
    tools/torture.py traced [--point deploy:pwrite64:5] [--errno EIO]       from outside, by strace; needs it

Prints what fails as it happens, with the command that repeats it, and a tally in the end; exit code 1 when anything failed.
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a file, it finds the tests all the same

from tests.crash import campaign, contention, disk, sweep, traced  # noqa: E402 - after the path
from tests.crash.evidence import folder_for  # noqa: E402
from tests.crash.history import Wanted, write_project  # noqa: E402
from tests.crash.injector import SLOW, Fault  # noqa: E402
from tests.crash.nursery import Nursery  # noqa: E402
from tests.remote.places import LONG_PLACES, Servers, place, servers  # noqa: E402

MEMORY = Path("/dev/shm")  # where there is memory to write to, syncs cost nothing
T = TypeVar("T")
PIECE = 25  # cases that one process plays with one nursery
FOLDER = "file"
LOOKS_EVERY = 4  # histories that are shown in every format in the end; all are looked through


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One history to be played: the command that repeats it, and what is needed for that."""

    repeat: str
    seed: int = 0
    fault: Fault | None = None
    processes: int = 0
    rounds: int = 0
    point: traced.Point | None = None
    error: str | None = None
    store: str = FOLDER


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the cases of one process share. `scratch` holds the folder of each."""

    nursery: Nursery
    scratch: Path
    behind: Servers


def main() -> int:
    """Plays; gives the exit code."""
    options = _options()
    failed = 0
    everything = ["sweep", "disk", "traced", "contention", "campaign"] if options.store == FOLDER else ["campaign"]
    for what in everything if options.what == "all" else [options.what]:
        failed += _play_all(what, CASES[what](options), options)
    return 1 if failed else 0


def _play_all(what: str, cases: list[Case], options: argparse.Namespace) -> int:
    """Gives the number of failures. Interrupted, it still tells how far it came."""
    began, tally, failed, played = time.monotonic(), Counter[str](), 0, 0
    pieces = [(what, cases[at : at + PIECE], options.keep) for at in range(0, len(cases), PIECE)]
    try:
        with ProcessPoolExecutor(max_workers=options.workers) as pool:
            for piece, (done, failures) in zip(pieces, pool.map(_play_piece, pieces), strict=True):
                tally += done
                played += len(piece[1])
                failed += len(failures)
                for failure in failures:
                    print(f"FAILED {what}\n{failure}\n", flush=True)
    finally:
        counted = ", ".join(f"{count} {name}" for name, count in tally.items())
        print(f"{what}: {played} histories, {failed} failed, {time.monotonic() - began:.0f} s: {counted}", flush=True)
    return failed


def _play_piece(piece: tuple[str, list[Case], Path]) -> tuple[Counter[str], list[str]]:
    what, cases, keep = piece
    parent = MEMORY if os.access(MEMORY, os.W_OK) else None
    scratch = Path(tempfile.mkdtemp(prefix="reconciler-torture-", dir=parent))
    tally, failures = Counter[str](), list[str]()
    (scratch / "servers").mkdir()
    try:
        with Nursery() as nursery, servers(scratch / "servers", {case.store for case in cases}) as behind:
            means = Means(nursery=nursery, scratch=scratch, behind=behind)
            for number, case in enumerate(cases):
                kept = keep / f"{os.getpid()}-{time.monotonic_ns()}"
                try:
                    with folder_for(scratch, str(number), kept, case.repeat) as folder:
                        tally += PLAYS[what](means, folder, case)
                except AssertionError as error:
                    failures.append(str(error))
    finally:
        shutil.rmtree(scratch)
    return tally, failures


# What is played


def _campaigns(options: argparse.Namespace) -> list[Case]:
    seeds = range(options.seed, options.seed + options.runs)
    where = "" if options.store == FOLDER else f" --store {options.store}"
    return [Case(repeat=f"campaign --seed {seed} --runs 1{where}", seed=seed, store=options.store) for seed in seeds]


def _sweeps(options: argparse.Namespace) -> list[Case]:
    """Every failpoint of a run in peace, and a few more: the next run may take some more calls."""
    numbers = [options.at] if options.at else range(1, len(_in_peace(sweep.TWENTY, sweep.calls_of)) + 6)
    ways = [options.how] if options.how else sweep.KINDS
    return [
        Case(
            repeat=f"sweep --at {at} --how {how} --seed {options.seed} --slow {slow}",
            fault=Fault(at=at, how=how, seed=options.seed, slow=slow),
        )
        for at in numbers
        for how in ways
        for slow in ([0.0, SLOW] if options.slow is None else [options.slow])
    ]


def _disks(options: argparse.Namespace) -> list[Case]:
    numbers = [options.at] if options.at else _in_peace(disk.THREE, disk.file_calls)
    errors = [getattr(errno, options.errno)] if options.errno else disk.ERRORS
    return [
        Case(
            repeat=f"disk --at {at} --how {how} --errno {errno.errorcode[error]}",
            fault=Fault(at=at, how=how, errno=error),
        )
        for at in numbers
        for how in ([options.how] if options.how else ("error", "errors"))
        for error in errors
    ]


def _contentions(options: argparse.Namespace) -> list[Case]:
    """Both cases of the suite, longer."""
    counts = [options.processes] if options.processes else [2, 16]
    return [
        Case(repeat=f"contention --processes {count} --rounds {options.rounds}", processes=count, rounds=options.rounds)
        for count in counts
    ]


def _traced(options: argparse.Namespace) -> list[Case]:
    """Each call killed, and refused with each error where it changes a file."""
    if not traced.can_trace():
        print("traced: needs strace, and leave to trace", file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory() as folder:
        named = [traced.Point.named(options.point)] if options.point else None
        found = named or [point for scene in traced.SCENES for point in traced.points(Path(folder), scene)]
    return [
        Case(repeat=f"traced --point {point}" + (f" --errno {error}" if error else ""), point=point, error=error)
        for point in found
        for error in ([options.errno] if options.errno else (None, *traced.ERRORS))
        if error is None or point.refusable
    ]


def _in_peace(wanted: tuple[Wanted, ...], count: Callable[[Nursery, Path, Path], list[T]]) -> list[T]:
    with Nursery() as nursery, tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "peace").mkdir()
        return count(nursery, Path(folder) / "peace", write_project(Path(folder) / "project", wanted))


CASES: dict[str, Callable[[argparse.Namespace], list[Case]]] = {
    "campaign": _campaigns,
    "sweep": _sweeps,
    "disk": _disks,
    "contention": _contentions,
    "traced": _traced,
}


# How it is played; each gives what is worth counting


def _campaign(means: Means, folder: Path, case: Case) -> Counter[str]:
    looks = case.seed % LOOKS_EVERY == 0
    if case.store == FOLDER:
        tally = campaign.play(means.nursery, folder, case.seed, looks=looks)
    else:
        (folder / "place").mkdir()
        with place(case.store, means.behind, folder / "place") as where:
            tally = campaign.play(means.nursery, folder, case.seed, looks=looks, place=where)
    return Counter({name: getattr(tally, name) for name in TALLIED})


TALLIED = ("runs", "deaths", "calls", "jobs", "resolved", "steps", "files", "kilobytes")


def _sweep(means: Means, folder: Path, case: Case) -> Counter[str]:
    struck = sweep.strike(means.nursery, folder, _shared(means.scratch, sweep.TWENTY), _fault(case))
    return Counter(runs=struck.runs, deaths=struck.died, unknown=struck.unknown)


def _disk(means: Means, folder: Path, case: Case) -> Counter[str]:
    code = disk.refuse(means.nursery, folder, _shared(means.scratch, disk.THREE), _fault(case))
    return Counter({f"exit {code}": 1})


def _contention(means: Means, folder: Path, case: Case) -> Counter[str]:
    contention.contend(means.nursery, folder, processes=case.processes, rounds=case.rounds)
    return Counter(runs=case.processes * case.rounds, rounds=case.rounds)


def _strike(means: Means, _: Path, case: Case) -> Counter[str]:
    assert case.point is not None
    code = traced.strike(means.scratch, case.point, case.error)
    return Counter({"killed" if code < 0 else f"exit {code}": 1})


def _shared(scratch: Path, wanted: tuple[Wanted, ...]) -> Path:
    project = scratch / "project"
    return project if project.exists() else write_project(project, wanted)


def _fault(case: Case) -> Fault:
    assert case.fault is not None
    return case.fault


PLAYS: dict[str, Callable[[Means, Path, Case], Counter[str]]] = {
    "campaign": _campaign,
    "sweep": _sweep,
    "disk": _disk,
    "contention": _contention,
    "traced": _strike,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="all", choices=["all", *CASES])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=10_000, help="random histories")
    parser.add_argument("--store", choices=[FOLDER, *LONG_PLACES], default=FOLDER, help="of the random histories")
    parser.add_argument("--at", type=int, help="one failpoint only")
    parser.add_argument("--how", choices=[*sweep.KINDS, "error", "errors"])
    parser.add_argument("--slow", type=float, metavar="SECONDS", help="what a sync takes")
    parser.add_argument("--errno", choices=[errno.errorcode[number] for number in disk.ERRORS])
    parser.add_argument("--point", metavar="SCENE:CALL:N", help="one system call only")
    parser.add_argument("--processes", type=int)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument(
        "--keep",
        type=Path,
        default=Path(tempfile.gettempdir()) / "reconciler-torture",
        help="where evidence of failures goes",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
