"""Pipelines that race and pipelines that are killed, at states elsewhere; the long form is `make race`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.crash.campaign import play
from tests.crash.nursery import Nursery
from tests.remote.contention import race
from tests.remote.order import When, overtaken, two_in_order
from tests.remote.pipelines import APPLY, CODES, How, pipelines
from tests.remote.places import PLACES, Servers, place

pytestmark = pytest.mark.crash


@pytest.mark.parametrize("name", PLACES)
def test_one_post_a_round(name: str, nursery: Nursery, behind: Servers, folder: Path) -> None:
    """However many pipelines apply one change at once, the platform sees one POST."""
    with place(name, behind, folder / "place") as where, pipelines(nursery, where, folder / "runs", 2) as estate:
        race(estate, workers=16, rounds=1)


# At which piece of its traffic; an apply of two models has 94 with git, 61 with S3, 52 with PostgreSQL.
PLANNED = 9  # pieces of its traffic after which a pipeline has planned and has no run lock yet, with git
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


@pytest.mark.parametrize(("name", "seed"), [("git", 2), ("s3", 54), ("postgres", 2)])
def test_random_histories(name: str, seed: int, nursery: Nursery, behind: Servers, folder: Path) -> None:
    """What tests/crash plays with a state in a folder holds for one elsewhere; `make torture` has --store."""
    with place(name, behind, folder / "place") as where:
        play(nursery, folder, seed, looks=False, place=where)


def test_two_pipelines_on_one_commit(nursery: Nursery, behind: Servers, folder: Path) -> None:
    """Over HTTP, two checkouts of one commit race: each model is deployed once."""
    with place("git", behind, folder / "place") as where, pipelines(nursery, where, folder / "runs", 2) as estate:
        commit = estate.commit({"m0": 0.25, "m1": 1.0})
        checkouts = [where.checkout_of(commit, folder / name, 1) for name in ("one", "other")]
        ends = estate.at_once([APPLY, APPLY], checkouts=checkouts)
        assert {end.code for end in ends} <= CODES
        estate.converge()
        assert Counter(line["modelId"] for line in estate.posts) == {"cm-m0": 1, "cm-m1": 1}


@pytest.mark.parametrize(("when", "depth"), [("at once", 1), ("newer first", None)])
def test_two_pipelines_on_two_commits(
    when: When, depth: int | None, nursery: Nursery, behind: Servers, folder: Path
) -> None:
    """Whichever of two commits comes first, each generation is deployed once, in order, and the newest commit's stays."""
    with place("git", behind, folder / "place") as where, pipelines(nursery, where, folder / "runs", 2) as estate:
        estate.converge()
        two_in_order(estate, 1, when, depth)


def test_a_pipeline_is_overtaken(nursery: Nursery, behind: Servers, folder: Path) -> None:
    """An older commit's pipeline that sleeps between its plan and the run lock undoes nothing when it wakes."""
    with place("git", behind, folder / "place") as where, pipelines(nursery, where, folder / "runs", 2) as estate:
        estate.converge()
        assert overtaken(estate, 1, PLANNED, depth=1)


@pytest.mark.parametrize("name", PLACES)
def test_a_holder_sleeps_past_its_lease(name: str, nursery: Nursery, behind: Servers, folder: Path) -> None:
    """Suspended over its lease, which somebody has broken since, a runner sends nothing more when it wakes, and says why."""
    with place(name, behind, folder / "place") as where, pipelines(nursery, where, folder / "runs", 2) as estate:
        woken, other = estate.outslept()
        assert other.code == 0, other.text
        assert woken.code in {6, 7}, woken.text
        assert Counter(line["modelId"] for line in estate.posts) == {"cm-m0": 1, "cm-m1": 1}
        estate.converge()
