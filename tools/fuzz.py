"""`make fuzz`: hostile bytes in the long form, and single inputs again.

    tools/fuzz.py                                        all of what follows, for half an hour or so
    tools/fuzz.py mutations [--first 0] [--count 200000] changed manifests; each is repeated by its number
    tools/fuzz.py rot                                    every byte of a state flipped, every length cut
    tools/fuzz.py target NAME [--seconds 300]            one reader under atheris (the dependency group `fuzz`)
    tools/fuzz.py again NAME FILE                        one input that was found, and what it costs without atheris

What atheris finds lies in build/fuzz/NAME/found; mended, it becomes a file in tests/fuzz/corpus/NAME. Exit code 1 when
anything was found.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a file, it finds the tests all the same

from tests.fuzz import rot  # noqa: E402 - after the path
from tests.fuzz.limits import MEMORY, SECONDS, held  # noqa: E402
from tests.fuzz.measured import measure  # noqa: E402
from tests.fuzz.seeds import SEEDS, WORDS  # noqa: E402
from tests.fuzz.targets import TARGETS  # noqa: E402

WORK = ROOT / "build" / "fuzz"
PIECE = 10_000  # mutations that one process takes
MAX_FOUND = 20  # of one target, until the run is given up: the first ones tell enough
_EXECUTED = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.MULTILINE)


def main() -> int:
    """Gives the exit code."""
    options = _options()
    if options.what == "again":
        return _again(options.name, Path(options.file).read_bytes())
    failed = 0
    if options.what in {"all", "mutations"}:
        failed += _mutations(range(options.first, options.first + options.count))
    if options.what in {"all", "rot"}:
        failed += _rot()
    if options.what in {"all", "target"}:
        failed += _targets([options.name] if options.name else list(TARGETS), options.seconds)
    return 1 if failed else 0


def _again(name: str, data: bytes) -> int:
    """Read twice: the first time pays for what is imported late."""
    for _ in range(2):
        base, began = held("VmRSS"), time.process_time()
        TARGETS[name](data)
        seconds, memory = time.process_time() - began, held("VmHWM") - base
    print(f"{seconds:.2f} s, {memory:.0f} MiB")
    return 1 if seconds > SECONDS or memory > MEMORY else 0


def _mutations(numbers: range) -> int:
    tally, failed, slowest, peak = Counter[str](), 0, (0.0, 0), 0.0
    for first in range(numbers.start, numbers.stop, PIECE):
        measured = measure("mutation", range(first, min(first + PIECE, numbers.stop)))
        tally += measured.tally
        failed += len(measured.failures)
        slowest, peak = max(slowest, measured.slowest), max(peak, measured.peak)
        for failure in measured.failures:
            print(f"FAILED {failure}", flush=True)
    counted = ", ".join(f"{count} {word}" for word, count in sorted(tally.items()))
    print(f"mutations: {counted}, {failed} failed; slowest {slowest[0]:.2f} s ({slowest[1]}), peak {peak:.0f} MiB")
    return failed


def _rot() -> int:
    tally, failures = rot.everywhere(step=1)
    for failure in failures:
        print(f"FAILED {failure}", flush=True)
    print(f"rot: {', '.join(f'{count} {word}' for word, count in sorted(tally.items()))}, {len(failures)} failed")
    return len(failures)


def _targets(names: list[str], seconds: int) -> int:
    if find_spec("atheris") is None:
        print("atheris is not installed: `make fuzz` installs requirements/fuzz.lock", file=sys.stderr)
        return 1
    return sum(_target(name, seconds) for name in names)


def _target(name: str, seconds: int) -> int:
    """Begun anew after each finding, until the time is over."""
    corpus, found = WORK / name / "corpus", WORK / name / "found"
    words = _prepare(name, corpus, found)
    end, executed, before, new = time.monotonic() + seconds, 0, len(list(found.iterdir())), 0
    while (left := int(end - time.monotonic())) > 0 and new < MAX_FOUND:
        command = [sys.executable, "-m", "tests.fuzz.guided", name, str(corpus), f"-dict={words}", "-max_len=4096"]
        command += [f"-artifact_prefix={found}/", f"-max_total_time={left}", "-print_final_stats=1"]
        done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
        executed += sum(map(int, _EXECUTED.findall(done.stderr)))
        if done.returncode == 0:
            break
        print(done.stderr[-3000:], flush=True)
        new, earlier = len(list(found.iterdir())) - before, new
        if new == earlier:  # it ended otherwise than by an input: it could not begin, or was killed
            print(f"{name}: given up after {executed} executions, exit code {done.returncode}", flush=True)
            return new + 1
    print(f"{name}: {executed} executions, {new} found", flush=True)
    return new


def _prepare(name: str, corpus: Path, found: Path) -> Path:
    """What was found is kept from run to run; so is what reached something new."""
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(exist_ok=True)
    for number, seed in enumerate(SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    for path in (ROOT / "tests" / "fuzz" / "corpus" / name).glob("*"):
        (corpus / path.name).write_bytes(path.read_bytes())
    words = corpus.parent / "words"
    words.write_text("".join('"{}"\n'.format("".join(f"\\x{byte:02x}" for byte in word)) for word in WORDS[name]))
    return words


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="all", choices=["all", "mutations", "rot", "target", "again"])
    parser.add_argument("name", nargs="?", choices=list(TARGETS))
    parser.add_argument("file", nargs="?")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--seconds", type=int, default=300)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
