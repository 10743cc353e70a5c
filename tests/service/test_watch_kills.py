"""`watch`, killed and terminated at random while manifests change: RELIABILITY.md's promises hold, and it gets there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.crash.conftest import nursery, scratch  # noqa: F401 - fixtures
from tests.crash.nursery import Nursery
from tests.crash.watching import Tally, play

LONG = bool(os.environ.get("SOAK"))
HISTORIES, PASSES = (12, 30) if LONG else (1, 12)


@pytest.mark.crash
def test_killed_at_random(nursery: Nursery, scratch: Path) -> None:  # noqa: F811 - fixtures
    """However often it dies: nothing is sent twice, nothing is lost, and in the end everything is as it should be."""
    tally = Tally()
    for seed in range(HISTORIES):
        folder = scratch / str(seed)
        folder.mkdir()
        tally.add(play(nursery, folder, seed, PASSES))
    print(f"\n{tally}")
    assert tally.passes >= HISTORIES * PASSES // 2
    assert tally.killed
    assert tally.terminated
    assert tally.messages
    assert tally.quoted, "nobody was shown what the platform says"
