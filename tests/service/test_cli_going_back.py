"""Going back: an earlier spec is deployed again and stays, and each live value knows its line and its author."""

from __future__ import annotations

import subprocess

import pytest

from tests.service.conftest import SimulatedPlatform
from tests.support.project import ProjectFolder

DATE = "2030-01-02T03:04:05Z"


def git(project: ProjectFolder, *arguments: str, author: str = "Ada") -> str:
    """Git in the project's folder, as somebody."""
    facts = {"NAME": author, "EMAIL": "a@example.com", "DATE": DATE}
    who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in facts.items()}
    environ = {**project.variables, **who, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-C", str(project.root), *arguments]
    return subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout.strip()


def commit(project: ProjectFolder, message: str, author: str = "Ada") -> str:
    git(project, "add", "-A", author=author)
    git(project, "commit", "--quiet", "-m", message, author=author)
    return git(project, "rev-parse", "HEAD")


@pytest.fixture
def committed(project: ProjectFolder) -> tuple[ProjectFolder, str, str]:
    """Two commits, both applied: temperature 1 by Ada, then 0.5 by Bob."""
    project.init("alpha")
    git(project, "init", "--quiet", "-b", "main")
    first = commit(project, "alpha")
    project.apply("--allow-mass-change").ended(0)
    project.deploy("alpha", temperature=0.5)
    second = commit(project, "cooler", author="Bob")
    project.apply("--allow-mass-change").ended(0)
    return project, first, second


def temperatures(platform: SimulatedPlatform) -> list[float]:
    """What was deployed, in order."""
    import json

    lines = (line for line in platform.lines if line.get("accepted"))
    return [json.loads(line["body"])["hyperParameters"]["temperature"] for line in lines]


def test_rollback_deploys_the_earlier_spec_and_keeps_it(
    committed: tuple[ProjectFolder, str, str], platform: SimulatedPlatform
) -> None:
    """The earlier spec is sent; apply then leaves it alone, and another manifest lifts the pin."""
    project, _, second = committed
    shown = project.run("rollback", "alpha", "--yes", "--allow-mass-change", "--reason", "worse answers").ended(0)
    assert f"git revert {second}" in shown.err
    assert temperatures(platform) == [1, 0.5, 1]
    again = project.run("plan").ended(0)
    assert "rolled back by" in again.out
    assert "worse answers" in again.out
    project.apply().ended(0)
    assert temperatures(platform) == [1, 0.5, 1]
    explained = project.run("explain", "alpha").ended(0)
    assert "reconciler retry production/alpha" in explained.out
    project.deploy("alpha", temperature=0.7)
    project.apply("--allow-mass-change").ended(0)
    assert temperatures(platform) == [1, 0.5, 1, 0.7]
    assert project.entry("alpha")["pin"] is None
    assert project.entry("alpha")["quarantine"] is None


def test_every_commit_since_is_named(committed: tuple[ProjectFolder, str, str], platform: SimulatedPlatform) -> None:
    """The `git revert` takes back everything that came since the earlier spec, so that the manifest says it again."""
    project, first, second = committed
    project.deploy("alpha", temperature=0.7)
    third = commit(project, "warmer")
    project.deploy("beta")
    commit(project, "another")
    shown = project.run("rollback", "alpha", "--to", "HEAD~3", "--yes", "--allow-mass-change").ended(0)
    assert (
        f"2 commits since {first[:12]} changed what it says. To make it last:\n  git revert {third} {second}\n"
        in shown.err
    )
    git(project, "revert", "--no-edit", third, second)
    changes = project.run("plan", "-o", "json").ended(0).json["plans"][0]["changes"]
    assert {one["name"]: (one["action"], one["reason"]) for one in changes} == {
        "alpha": ("none", "unchanged"),
        "beta": ("deploy", "new"),
    }
    assert temperatures(platform) == [1, 0.5, 1]


def test_a_rollback_knows_whose_commit_it_is(committed: tuple[ProjectFolder, str, str]) -> None:
    """The attempt that puts a spec back tells of that spec's commit what its own attempt told."""
    project, first, _ = committed
    project.run("rollback", "alpha", "--yes", "--allow-mass-change").ended(0)
    before, _, back = project.run("history", "alpha", "-o", "json").ended(0).json["attempts"]
    for fact in ("commit", "author", "committedAt", "branch", "dirty"):
        assert back[fact] == before[fact], fact
    assert (back["commit"], back["author"], back["branch"]) == (first, "Ada <a@example.com>", "main")
    assert back["actor"]


def test_retry_lifts_the_pin(committed: tuple[ProjectFolder, str, str], platform: SimulatedPlatform) -> None:
    """A person may send the manifest's spec after all."""
    project, _, _ = committed
    project.run("rollback", "alpha", "--yes", "--allow-mass-change").ended(0)
    project.run("retry", "alpha").ended(0)
    project.apply("--allow-mass-change").ended(0)
    assert temperatures(platform) == [1, 0.5, 1, 0.5]


def test_rollback_to_a_commit_or_attempt(
    committed: tuple[ProjectFolder, str, str], platform: SimulatedPlatform
) -> None:
    """What to go back to can be named; what was never live cannot."""
    project, first, second = committed
    for wrong in ("0000000", second, "nothing"):
        assert "remembers no other spec" in project.run("rollback", "alpha", "--to", wrong, "--yes").ended(64).err
    project.run("rollback", "alpha", "--to", first[:12], "--yes", "--allow-mass-change").ended(0)
    assert temperatures(platform) == [1, 0.5, 1]
    assert project.entry("alpha")["pin"]["commit"] == first


def test_rollback_that_is_not_approved_changes_nothing(
    committed: tuple[ProjectFolder, str, str], platform: SimulatedPlatform
) -> None:
    """Without a terminal and without --yes nothing is recorded; a guard refuses before that."""
    project, _, _ = committed
    project.run("rollback", "alpha", "--allow-mass-change").ended(64)
    project.run("rollback", "alpha", "--yes").ended(5)
    assert project.entry("alpha")["pin"] is None
    assert temperatures(platform) == [1, 0.5]


def test_first_spec_has_nothing_before_it(project: ProjectFolder) -> None:
    """There must be something to go back to."""
    project.init("alpha")
    project.apply().ended(0)
    project.run("rollback", "alpha", "--yes").ended(64)


def test_each_value_knows_its_line_and_author(committed: tuple[ProjectFolder, str, str]) -> None:
    """Bob wrote the temperature, Ada the rest; what is built in stands nowhere."""
    project, first, second = committed
    shown = project.run("history", "alpha", "--values", "-o", "json").ended(0).json
    values = {one["path"]: one for one in shown["values"]}
    assert values["hyperParameters.temperature"]["author"] == "Bob"
    assert values["hyperParameters.temperature"]["commit"] == second
    assert values["deviceType"]["author"] == "Ada"
    assert values["deviceType"]["commit"] == first
    assert values["deviceType"]["at"] == DATE
    line = (
        (project.root / values["deviceType"]["file"])
        .read_text(encoding="utf-8")
        .splitlines()[values["deviceType"]["line"] - 1]
    )
    assert "deviceType" in line
    assert values["isDeployedPreviously"]["layer"] == "built in"
    assert values["isDeployedPreviously"]["file"] is None
    text = project.run("history", "alpha", "--values").ended(0).out
    assert "production/alpha: deployed by commit" in text


def test_values_after_a_rollback_are_those_of_the_earlier_commit(committed: tuple[ProjectFolder, str, str]) -> None:
    """What is live is looked up where it was written, not where the checkout stands."""
    project, first, _ = committed
    project.run("rollback", "alpha", "--yes", "--allow-mass-change").ended(0)
    shown = project.run("history", "alpha", "--values", "-o", "json").ended(0).json
    values = {one["path"]: one for one in shown["values"]}
    temperature = values["hyperParameters.temperature"]
    assert (temperature["value"], temperature["author"], temperature["commit"]) == (1, "Ada", first)


def test_attempts_say_who_and_where(project: ProjectFolder) -> None:
    """Actor and CI run are part of an attempt's provenance."""
    project.init("alpha")
    project.environ |= {"GITHUB_ACTOR": "carol", "CI_JOB_URL": "https://ci.example.com/1"}
    project.apply().ended(0)
    provenance = project.entry("alpha")["attempts"][0]["provenance"]
    assert (provenance["actor"], provenance["ciUrl"]) == ("carol", "https://ci.example.com/1")
