"""Bit rot in the state folder is found wherever it strikes; tests/service/test_cli_bit_rot.py has the same for commands."""

from __future__ import annotations

from tests.fuzz.rot import everywhere


def test_a_flipped_byte_and_a_lost_end_are_found_and_repaired() -> None:
    """Damage is refused where it matters, and never taken for a torn write; a repair gives back what is left, or suspends."""
    tally, failures = everywhere(step=61)
    assert not failures, failures[:5]
    assert tally["whole"] > 20
    assert tally["suspended"] > 20
    assert tally["spare"] > 20
