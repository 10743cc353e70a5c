"""`make defects`: every seeded defect of tests/defects, tried on the tests that must notice it.

    tools/defects.py                         all of them, two at a time
    tools/defects.py --only redirect --jobs 1   those whose name or area holds the word
    tools/defects.py --list                  what there is

First the tests run on the undamaged copy: a test that fails there notices nothing. Prints a line a defect and a table in
Markdown in the end; exit code 1 when any was not caught.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a file, it finds the tests all the same

from tests.defects.listed import Defect, defects  # noqa: E402 - after the path
from tests.defects.trial import LIMIT, Outcome, Verdict, copy_of, run_tests, template, try_out  # noqa: E402

SOUND_LIMIT = 1800.0  # seconds for all their tests on the undamaged copy


def main() -> int:
    """Tries; gives the exit code."""
    options = _options()
    chosen = [d for d in defects() if not options.only or any(w in f"{d.area}/{d.name}" for w in options.only)]
    if options.list:
        for defect in chosen:
            print(f"{defect.area:10} {defect.name:45} {defect.breaks}")
        return 0
    began = time.monotonic()
    with template() as sound:
        if not options.trust and not _is_sound(sound, chosen, options.jobs):
            return 1
        with ThreadPoolExecutor(options.jobs) as pool:
            outcomes = list(pool.map(lambda defect: _tried(sound, defect, options), chosen))
    _tell(chosen, outcomes, time.monotonic() - began)
    return 0 if all(outcome.verdict is Verdict.CAUGHT for outcome in outcomes) else 1


def _is_sound(sound: Path, chosen: list[Defect], jobs: int) -> bool:
    tests = list(dict.fromkeys(test for defect in chosen for test in defect.tests))
    more = ("-n", str(jobs)) if jobs > 1 else ()
    with copy_of(sound) as root:
        outcome = run_tests(root, tests, limit=SOUND_LIMIT, more=more)
    if outcome.verdict is not Verdict.SURVIVED:
        print(f"{outcome.said}\nWithout any defect the tests do not pass; so they would tell nothing.")
        return False
    print(f"without a defect: {len(tests)} tests or groups of tests pass, {outcome.seconds:.0f} s", flush=True)
    return True


def _tried(sound: Path, defect: Defect, options: argparse.Namespace) -> Outcome:
    outcome = try_out(sound, defect, limit=options.limit)
    print(f"{outcome.verdict.value:9} {defect.name:45} {outcome.seconds:5.1f} s  {outcome.by}", flush=True)
    if outcome.verdict is not Verdict.CAUGHT:
        print("\n".join(f"    {line}" for line in outcome.said.splitlines()[-12:]), flush=True)
    elif options.why:
        print(f"    {outcome.why}", flush=True)
    return outcome


def _tell(chosen: list[Defect], outcomes: list[Outcome], seconds: float) -> None:
    print("\n| defect | what it breaks | |\n| --- | --- | --- |")
    for defect, outcome in zip(chosen, outcomes, strict=True):
        seen = f"`{outcome.by.rpartition('::')[2]}`" if outcome.verdict is Verdict.CAUGHT else outcome.verdict.value
        print(f"| {defect.name} | {defect.breaks} | {seen} |")
    counted = Counter(outcome.verdict for outcome in outcomes)
    words = ", ".join(f"{counted[verdict]} {verdict.value}" for verdict in Verdict if counted[verdict])
    print(f"\n{len(chosen)} defects: {words}; {seconds:.0f} s.", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="words in the names or areas of defects")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for the tests of one defect")
    parser.add_argument("--list", action="store_true", help="name them and try none")
    parser.add_argument("--why", action="store_true", help="also how each test failed")
    parser.add_argument("--trust", action="store_true", help="do not run the tests without a defect first")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
