"""Pipelines that race and pipelines that are killed, at states elsewhere; the long form is `make race`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.crash.nursery import Nursery
from tests.remote.contention import race
from tests.remote.pipelines import APPLY, CODES, How, pipelines
from tests.remote.places import PLACES, Servers, place

pytestmark = pytest.mark.crash


@pytest.mark.parametrize(("name", "rounds"), [("git", 1), ("s3", 2), ("postgres", 2)])
def test_one_post_a_round(name: str, rounds: int, nursery: Nursery, behind: Servers, folder: Path) -> None:
    """However many pipelines apply one change at once, the platform sees one POST."""
    with place(name, behind, folder / "place") as where, pipelines(nursery, where, folder / "runs") as estate:
        race(estate, workers=16, rounds=rounds)


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize(("share", "how"), [(0.35, "machine"), (0.6, "process"), (0.85, "machine"), (0.5, "signals")])
def test_a_runner_dies(  # noqa: PLR0917 - fixtures
    name: str, share: float, how: How, nursery: Nursery, behind: Servers, folder: Path, pieces: dict[str, int]
) -> None:
    """Killed or cancelled in the middle, and the next pipeline on a fresh clone makes it whole: once each, no id lost."""
    with place(name, behind, folder / "place") as where, pipelines(nursery, where, folder / "runs") as estate:
        at = round(share * pieces[name])
        estate.struck(at, how, APPLY)
        estate.converge()


@pytest.fixture(scope="module")
def pieces(nursery: Nursery, behind: Servers, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """How often an apply could be struck, by place."""
    counts = {}
    for name in PLACES:
        folder = tmp_path_factory.mktemp(name)
        (folder / "place").mkdir()
        with place(name, behind, folder / "place") as where, pipelines(nursery, where, folder / "runs") as estate:
            counts[name] = estate.pieces(APPLY)
    return counts


def test_two_pipelines_on_two_commits(nursery: Nursery, behind: Servers, folder: Path) -> None:
    """Over real HTTP, two clones race: on one commit one of them deploys; on two, every generation is deployed once, in order."""
    with place("git", behind, folder / "place") as where, pipelines(nursery, where, folder / "runs", 2) as estate:
        one, other = (where.checkout(folder / name) for name in ("one", "other"))
        ends = estate.at_once([APPLY, APPLY], checkouts=[one, other])
        assert {end.code for end in ends} <= CODES
        estate.converge()
        assert Counter(line["modelId"] for line in estate.posts) == {"cm-m0": 1, "cm-m1": 1}

        older = where.checkout(folder / "older")
        estate.commit({"m0": 0.25, "m1": 1.0})
        newer = where.checkout(folder / "newer")
        estate.at_once([APPLY, APPLY], checkouts=[older, newer])
        estate.converge()
        applied = estate.applied
        assert applied is not None
        entry = applied.entries["cm-m0"]
        assert [attempt.generation for attempt in entry.attempts] == sorted(
            attempt.generation for attempt in entry.attempts
        )
        bodies = [line["body"] for line in estate.posts if line["modelId"] == "cm-m0"]
        assert bodies == [attempt.body for attempt in entry.attempts]
