"""What one input may cost a reader in a process that reads many: two seconds of processor time and 256 MiB more than before.

For the guided fuzzer, where the process also holds atheris, its counters and its inputs; they count in favour of nobody. The
most memory held is asked of the kernel, which forgets the earlier peak when it is told to (Linux only).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

SECONDS = 2.0  # of processor time, for one input
MEMORY = 256  # MiB
_PEAK = Path("/proc/self/clear_refs")
_FORGET_THE_PEAK = "5"


class TooDear(Exception):
    """An input took longer, or more memory, than any may."""


def within(target: Callable[[bytes], None], base: float) -> Callable[[bytes], None]:
    """The target, failing for what is too dear. `base` is the memory in MiB that the process held before the first input."""

    def limited(data: bytes) -> None:
        _PEAK.write_text(_FORGET_THE_PEAK)
        began = time.process_time()
        target(data)
        seconds, memory = time.process_time() - began, held("VmHWM") - base
        if seconds > SECONDS or memory > MEMORY:
            raise TooDear(f"{seconds:.1f} s, {memory:.0f} MiB")

    return limited


def held(what: str) -> float:
    """MiB that this process holds (VmRSS), or held at the most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{what}:")).split()[1]) / 1024
