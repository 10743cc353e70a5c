"""`make compare`: the crash judge over programs that do the same job, side by side. A table, in Markdown.

    tools/compare.py [--only NAME] [--what kills] [--rounds 20]

Programs that are not there are left out with a word (Ansible: `pip install ansible-core`). docs/reliability.md has the figures.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a file, it finds the tests all the same

from tests.peers.contender import CONTENDERS, Contender  # noqa: E402 - after the path
from tests.peers.trial import Verdict, kills, misfortunes, races  # noqa: E402

COUNTED = ("histories", "runs", "duplicates", "lost", "untrue", "stuck", "asked")
WHAT = ("kills", "misfortunes", "races")


def main() -> int:
    """Plays; exit code 1 when this project's own program broke a promise."""
    options = _options()
    print("| what | program | " + " | ".join(COUNTED) + " | seconds |\n|" + " --- |" * (len(COUNTED) + 3))
    broken = 0
    with tempfile.TemporaryDirectory(prefix="reconciler-compare-") as scratch:
        for what, contender in ((w, c) for w in options.what or WHAT for c in CONTENDERS):
            if contender.missing:
                print(f"{contender.name}: left out, {', '.join(contender.missing)} is not here", file=sys.stderr)
            elif not options.only or contender.name in options.only:
                found = _play(what, contender, _parts(contender, Path(scratch), options.rounds)[what])
                broken += contender.asks and found.duplicates + found.lost + found.untrue + found.stuck
    return 1 if broken else 0


def _parts(contender: Contender, scratch: Path, rounds: int) -> dict[str, Callable[[], Iterator[Verdict]]]:
    return {
        "kills": lambda: kills(contender, scratch),
        "misfortunes": lambda: misfortunes(contender, scratch),
        "races": lambda: races(contender, scratch, processes=2, rounds=rounds),
    }


def _play(what: str, contender: Contender, histories: Callable[[], Iterator[Verdict]]) -> Verdict:
    total, began = Verdict(), time.monotonic()
    for verdict in histories():
        total.add(verdict)
    counts = " | ".join(str(getattr(total, name)) for name in COUNTED)
    print(f"| {what} | {contender.name} | {counts} | {time.monotonic() - began:.0f} |", flush=True)
    return total


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=[c.name for c in CONTENDERS], help="a program")
    parser.add_argument("--what", action="append", choices=WHAT)
    parser.add_argument("--rounds", type=int, default=20, help="races of two processes")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
