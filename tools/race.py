"""`make race`: pipelines at states elsewhere, in the long form.

    tools/race.py                        all of what follows
    tools/race.py race  [--store git] [--workers 16] [--rounds 50]    one change, many pipelines: exactly one POST
    tools/race.py order [--store git] [--rounds 50] [--every 1]       two commits: each generation once, in order
    tools/race.py kills [--store git] [--every 1] [--at N] [--how machine]   a runner dies at any piece of its traffic

Prints a line a round or a kill that fails, with the command that repeats it, and a table in the end; exit code 1 when any did.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a file, it finds the tests all the same

from tests.crash.nursery import Nursery  # noqa: E402 - after the path
from tests.remote.contention import race  # noqa: E402
from tests.remote.order import WHENS, overtaken, two_in_order  # noqa: E402
from tests.remote.pipelines import APPLY, HOWS, Pipelines, pipelines  # noqa: E402
from tests.remote.places import LONG_PLACES, Servers, place, servers  # noqa: E402

ROUNDS = {"git": 20}  # elsewhere 50


class Long:
    """What is shared by all that is played."""

    def __init__(self, nursery: Nursery, behind: Servers, folder: Path) -> None:
        self._nursery = nursery
        self._behind = behind
        self._folder = folder
        self._number = 0

    @contextlib.contextmanager
    def estate(self, name: str, models: int = 3) -> Iterator[Pipelines]:
        """A new one, whose folder goes when it is done with."""
        self._number += 1
        folder = self._folder / str(self._number)
        (folder / "place").mkdir(parents=True)
        try:
            with (
                place(name, self._behind, folder / "place") as where,
                pipelines(self._nursery, where, folder / "runs", models) as estate,
            ):
                yield estate
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Plays; gives the exit code."""
    options = _options()
    stores = [options.store] if options.store else list(LONG_PLACES)
    with (
        tempfile.TemporaryDirectory(prefix="reconciler-race-") as text,
        Nursery() as nursery,
        servers(Path(text)) as behind,
    ):
        long = Long(nursery, behind, Path(text))
        failed = 0
        for name in stores:
            if options.what in {"all", "race"}:
                failed += _race(long, name, options.workers, options.rounds or ROUNDS.get(name, 50))
            if options.what in {"all", "order"}:
                failed += _order(long, name, options)
            if options.what in {"all", "kills"}:
                failed += _kills(long, name, options)
    return 1 if failed else 0


def _race(long: Long, name: str, workers: int, rounds: int) -> int:
    began = time.monotonic()
    try:
        with long.estate(name) as estate:
            race(estate, workers=workers, rounds=rounds)
    except AssertionError as error:
        print(f"FAILED race {name}: {error}\n  again: tools/race.py race --store {name}", flush=True)
        return 1
    took = time.monotonic() - began
    print(f"race   {name:9} {workers} workers, {rounds} rounds: one POST each round, {took:.0f} s", flush=True)
    return 0


def _order(long: Long, name: str, options: argparse.Namespace) -> int:
    """Rounds of two pipelines at once and one after the other; then one that is overtaken at every piece of its traffic."""
    failed, began, rounds = 0, time.monotonic(), options.rounds or ROUNDS.get(name, 50)
    plays = itertools.islice(itertools.cycle(itertools.product(WHENS, (1, None))), rounds)
    with long.estate(name) as estate:
        estate.converge()
        for number, (when, depth) in enumerate(plays, 1):
            play = functools.partial(two_in_order, estate, number, when, depth)
            failed += _played(play, f"{when}, depth {depth}") is None
    print(f"order  {name:9} {rounds} rounds, {failed} failed, {time.monotonic() - began:.0f} s", flush=True)
    return failed + _overtakings(long, name, options.every)


def _overtakings(long: Long, name: str, every: int) -> int:
    failed, began, number = 0, time.monotonic(), 0
    with long.estate(name) as estate:
        estate.converge()
        for number in itertools.count(1):
            at = 1 + (number - 1) * every
            slept = _played(functools.partial(overtaken, estate, number, at, 1), f"overtaken at {at}")
            failed += slept is None
            if slept is False:
                break
    took = time.monotonic() - began
    print(f"order  {name:9} overtaken at {number - 1} pieces, {failed} failed, {took:.0f} s", flush=True)
    return failed


def _played(play: Callable[[], bool], what: str) -> bool | None:
    """What it gives; None when it failed, which is told."""
    try:
        return play()
    except Exception:  # noqa: BLE001 - whatever it is, it is to be seen, and the others played
        print(f"FAILED {what}", flush=True)
        traceback.print_exc()
        return None


def _kills(long: Long, name: str, options: argparse.Namespace) -> int:
    with long.estate(name) as estate:
        pieces = estate.pieces(APPLY)
    hows = [options.how] if options.how else list(HOWS)
    failed = struck = 0
    began = time.monotonic()
    for at in [options.at] if options.at else range(1, pieces + 1, options.every):
        for how in hows:
            if how == "process" and name != "git":
                continue  # it starts no other
            try:
                with long.estate(name) as estate:
                    struck += estate.struck(at, how, APPLY)
                    estate.converge()
            except Exception:  # noqa: BLE001 - whatever it is, it is to be seen, and the others played
                failed += 1
                again = f"tools/race.py kills --store {name} --at {at} --how {how}"
                print(f"FAILED kill {name} at {at} of {pieces} ({how})\n  again: {again}", flush=True)
                traceback.print_exc()
    took = time.monotonic() - began
    print(f"kills  {name:9} {pieces} pieces, {struck} struck, {failed} failed, {took:.0f} s", flush=True)
    return failed


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="all", choices=["all", "race", "order", "kills"])
    parser.add_argument("--store", choices=LONG_PLACES)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--at", type=int)
    parser.add_argument("--how", choices=HOWS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
