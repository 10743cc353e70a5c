"""Killed and refused from outside, by strace; `make torture TORTURE=traced` does every call with everything."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.crash.traced import ERRORS, SCENES, can_trace, points, strike

pytestmark = pytest.mark.crash
EVERY = 14  # of the points; by turns killed and refused with each error


@pytest.mark.parametrize("scene", SCENES)
def test_struck_from_outside(scene: str, scratch: Path) -> None:
    """Whichever call is its last, or fails, the next runs finish what it began, once, and lose no id."""
    if not can_trace():
        pytest.skip("needs strace, and leave to trace")
    found = points(scratch, scene)
    assert {point.syscall for point in found} >= {"openat", "pwrite64", "fdatasync", "fsync", "rename", "sendto"}
    codes = set()
    for number, point in enumerate(found[::EVERY]):
        error = ERRORS[number % len(ERRORS)] if number % 2 and point.refusable else None
        codes.add(strike(scratch, point, error))
    assert -signal.SIGKILL in codes
    assert codes - {-signal.SIGKILL, 0}, "no refusal was noticed"
