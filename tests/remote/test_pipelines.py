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


@pytest.mark.parametrize("name", PLACES)
def test_one_post_a_round(name: str, nursery: Nursery, behind: Servers, folder: Path) -> None:
    """However many pipelines apply one change at once, the platform sees one POST."""
    with place(name, behind, folder / "place") as where, pipelines(nursery, where, folder / "runs", 2) as estate:
        race(estate, workers=16, rounds=1)


# At which piece of its traffic; an apply of two models has 94 with git, 61 with S3, 52 with PostgreSQL.
DEATHS: tuple[tuple[str, int, How], ...] = (
    ("git", 40, "machine"),
    ("git", 50, "signals"),
    ("s3", 30, "machine"),
    ("postgres", 25, "signals"),
)


@pytest.mark.parametrize(("name", "at", "how"), DEATHS)
def test_a_runner_dies(name: str, at: int, how: How, nursery: Nursery, behind: Servers, folder: Path) -> None:  # noqa: PLR0917 - fixtures
    """Killed or cancelled in the middle, and the next pipeline on a fresh clone makes it whole: once each, no id lost."""
    with place(name, behind, folder / "place") as where, pipelines(nursery, where, folder / "runs", 2) as estate:
        assert estate.struck(at, how, APPLY)
        estate.converge()


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
