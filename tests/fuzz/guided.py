"""One target under atheris, in a process of its own: a script that `tools/fuzz.py` starts.

    python -m tests.fuzz.guided TARGET [what libFuzzer takes: folders, -max_total_time=…]

atheris is in a dependency group of its own (`fuzz`): 35 MB that nothing else needs. It ends the process when it has ended.

An input that is too dear (`limits`) is a finding as an exception is. libFuzzer has limits too, for what comes to no end: they
are of the whole process and by the wall clock, so its time is ten times as long, for a busy machine makes no finding.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def main() -> None:
    atheris: Any = import_module("atheris")
    name, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["reconciler", "starlette"]):
        from tests.fuzz.limits import MEMORY, SECONDS, held, within
        from tests.fuzz.seeds import SEEDS
        from tests.fuzz.targets import TARGETS

        target = TARGETS[name]
        for seed in SEEDS[name]:  # so that what is imported late is imported here
            target(seed)
            target(seed[: len(seed) // 2])
    base = held("VmRSS")
    ends = [f"-timeout={10 * SECONDS:.0f}", f"-rss_limit_mb={base + MEMORY:.0f}"]
    atheris.Setup([f"fuzz-{name}", *ends, *arguments], within(target, base))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
