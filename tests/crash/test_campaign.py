"""Random histories of crashes on an unkind platform."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.campaign import Tally, play
from tests.crash.evidence import folder_for
from tests.crash.nursery import Nursery

PARTS = 4
HISTORIES = 12  # a part; `make torture` plays thousands
RUNS = 75  # of a part at least: 300 in all

pytestmark = pytest.mark.crash


@pytest.mark.parametrize("part", range(PARTS))
def test_random_histories(part: int, nursery: Nursery, scratch: Path, tmp_path: Path) -> None:
    """Whatever changes, fails and dies, the platform ends up as the manifests say, nothing is done without a reason, and the
    API key stands nowhere in any of twelve spellings, though the platform quotes it in its replies.
    """
    tally = Tally()
    for seed in range(part * HISTORIES, (part + 1) * HISTORIES):
        with folder_for(scratch, f"seed{seed}", tmp_path, f"campaign --seed {seed} --runs 1") as folder:
            tally.add(play(nursery, folder, seed, looks=seed % HISTORIES == 0))
    assert tally.runs >= RUNS
    assert tally.deaths >= HISTORIES, "the faults did not strike"
