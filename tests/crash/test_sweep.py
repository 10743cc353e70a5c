"""The process dies at every failpoint of one apply of 20 deployments, and again while it recovers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.evidence import folder_for
from tests.crash.history import write_project
from tests.crash.injector import SLOW, Fault
from tests.crash.nursery import Nursery
from tests.crash.sweep import TWENTY, calls_of, strike

PARTS = 8  # for as many processors
BEYOND = 3  # another order of replies may mean a few calls more

pytestmark = pytest.mark.crash


@pytest.mark.parametrize("part", range(PARTS))
def test_death_at_every_failpoint(part: int, nursery: Nursery, scratch: Path, tmp_path: Path) -> None:
    """Wherever the process dies, and the next one too, every deployment is made exactly once or held as unknown."""
    project = write_project(scratch / "project", TWENTY)
    (scratch / "peace").mkdir()
    calls = calls_of(nursery, scratch / "peace", project)
    died = 0
    for at in range(1 + part, len(calls) + 1 + BEYOND, PARTS):
        # Half of a write or a request and then death; without its unsynced rest every other time, and on a slow disk too.
        turn = at // PARTS
        fault = Fault(at=at, how=("torn", "power")[turn % 2], slow=(0.0, SLOW)[turn // 2 % 2])
        repeat = f"sweep --at {at} --how {fault.how} --slow {fault.slow}"
        with folder_for(scratch, f"at{at}", tmp_path, repeat) as folder:
            died += strike(nursery, folder, project, fault, patient=at % 4 == 0).died
    assert died >= len(calls) // PARTS, "the faults did not strike"
