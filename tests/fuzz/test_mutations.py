"""The mutations are what they are said to be: a mutation that never occurs would find nothing, and nobody would notice."""

from __future__ import annotations

from itertools import takewhile
from random import Random

from tests.fuzz.mutations import ORIGINALS, in_bytes


def test_a_piece_is_lost_from_the_middle() -> None:
    """Among changes of bytes are texts that lack a piece and are the same after it, and texts that lack all of their end."""
    original = ORIGINALS[0]
    mutations = [in_bytes(Random(number), original) for number in range(500)]
    assert sum(map(_lacks_a_piece, mutations)) > 10
    assert sum(original.startswith(data) and data != original for data in mutations) > 10


def _lacks_a_piece(data: bytes) -> bool:
    original = ORIGINALS[0]
    start = sum(1 for _ in takewhile(bool, map(int.__eq__, original, data)))
    missing = len(original) - len(data)
    return missing > 0 and start < len(data) and data[start:] == original[start + missing :]
