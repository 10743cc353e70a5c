"""Input that is made to hurt, in a process where time and memory are measured; the short form of `make fuzz`."""

from __future__ import annotations

import pytest

from tests.fuzz.killers import KILLERS
from tests.fuzz.measured import measure
from tests.fuzz.mutations import ORIGINALS

HALF = len(KILLERS) // 2


def test_no_mutation_deploys_something_else_unseen() -> None:
    """Of 2,000 mutations none raises, none costs much, and every difference that would be deployed is in the plan."""
    measured = measure("mutation", range(2_000))
    measured.within_limits()
    assert sum(measured.tally.values()) == 2_000
    assert min(measured.tally[word] for word in ("refused", "same", "shown")) > 50


def test_a_half_written_manifest_undeploys_nothing() -> None:
    """Wherever a file breaks off: what is refused leaves everything that runs alone, and what is accepted is shown."""
    layered = len(ORIGINALS[0])
    measured = measure("cut", range(layered, layered + len(ORIGINALS[1])))
    measured.within_limits()
    assert measured.tally["refused"] > 900


@pytest.mark.parametrize("part", [range(HALF), range(HALF, len(KILLERS))], ids=["first half", "second half"])
def test_known_killers(part: range) -> None:
    """What has felled other readers takes no reader of ours two seconds or 256 MiB, and nothing is raised."""
    measured = measure("killer", part)
    measured.within_limits()
    assert sum(measured.tally.values()) == len(part)
