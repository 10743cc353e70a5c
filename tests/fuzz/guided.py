"""One target under atheris, in a process of its own: a script that `tools/fuzz.py` starts.

    python -m tests.fuzz.guided TARGET [what libFuzzer takes: folders, -max_total_time=…]

atheris is in a dependency group of its own (`fuzz`): 35 MB that nothing else needs. It ends the process when it has ended.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def main() -> None:
    atheris: Any = import_module("atheris")
    name, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["reconciler", "starlette"]):
        from tests.fuzz.seeds import SEEDS
        from tests.fuzz.targets import TARGETS

        target = TARGETS[name]
        for seed in SEEDS[name]:  # so that what is imported late is imported here
            target(seed)
            target(seed[: len(seed) // 2])
    atheris.Setup([f"fuzz-{name}", *arguments], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
