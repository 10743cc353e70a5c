"""Many pipelines and one change: exactly one POST, every time."""

from __future__ import annotations

from reconciler.state.fold import fold
from tests.remote.pipelines import APPLY, CODES, Pipelines


def race(estate: Pipelines, *, workers: int, rounds: int) -> None:
    """In every round one manifest changes and all pipelines apply it at once. Raises AssertionError."""
    estate.converge()
    wanted = dict.fromkeys(estate.wanted, 1.0)
    first = next(iter(wanted))
    for number in range(1, rounds + 1):
        before = len(estate.posts)
        wanted[first] = number / 1000
        estate.commit(wanted)
        ends = estate.at_once([APPLY] * workers)
        codes = [end.code for end in ends]
        assert set(codes) <= CODES, next(end.text for end in ends if end.code not in CODES)
        assert 0 in codes, codes
        for end in ends:
            assert end.code != 6 or "run lock" in end.text, end.text
        assert len(estate.posts) == before + 1, f"round {number}: {len(estate.posts) - before} POSTs, not one"
        estate.judge()
    estate.converge()
    stored = estate.place.store().read()
    assert fold(stored.snapshot, stored.records).entries[f"cm-{first}"].generation == rounds + 1
