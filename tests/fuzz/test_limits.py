"""What the guided fuzzer takes for a finding beside an exception."""

from __future__ import annotations

import sys

import pytest

from tests.fuzz.limits import MEMORY, TooDear, held, within

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked for the peak in Linux's way")


def test_an_input_that_takes_too_much_memory_is_a_finding() -> None:
    """Memory that was given back before the input was done counts too, and a later input is not blamed for it."""

    def target(data: bytes) -> None:
        data.ljust(len(data) * (MEMORY + 16) * 1024**2)

    limited = within(target, held("VmRSS"))
    limited(b"")
    with pytest.raises(TooDear):
        limited(b"x")
    limited(b"")
