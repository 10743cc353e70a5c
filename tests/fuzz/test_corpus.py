"""What was found once is not found again: inputs that coverage-guided fuzzing brought up, and the valid ones it began with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS
from tests.fuzz.webhook import deliver

CORPUS = Path(__file__).parent / "corpus"
FOUND = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_found_inputs(path: Path) -> None:
    """Whatever broke a promise once, or reached where nothing else does, breaks none."""
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_every_beginning_of_a_valid_input(name: str) -> None:
    """Valid input keeps every promise, and so does what is left of it after a cut."""
    for seed in SEEDS[name]:
        TARGETS[name](seed)
        for length in range(0, len(seed), 13):
            TARGETS[name](seed[:length])


def test_deliveries_are_told_apart() -> None:
    """The three proofs are listened to, once each where they can be told apart, and a forged one is not."""
    statuses = [[deliver(seed) for seed in SEEDS["webhook"]] for _ in range(2)]
    assert statuses[1] == [200, 202, 200, 401]
    assert all(status in {200, 202} for status in statuses[0][:3])
