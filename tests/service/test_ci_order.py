"""Two commits and the pipelines that apply them, as the command line shows it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

import pytest

from tests.service.conftest import SimulatedPlatform
from tests.support.checkout import GIT_VARIABLES, git, new_checkout
from tests.support.project import PRODUCTION, ProjectFolder

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def commit(project: ProjectFolder, minute: int) -> str:
    """Everything in the folder as a commit of that minute; gives its name."""
    when = {"GIT_COMMITTER_DATE": f"2030-01-01T12:{minute:02d}:00Z"}
    git(project.root, "add", "--all")
    command = ["git", "-C", str(project.root), "commit", "--quiet", "--allow-empty", "--message", f"at {minute}"]
    subprocess.run(command, env={**os.environ, **GIT_VARIABLES, **when}, check=True)
    return git(project.root, "rev-parse", "HEAD").strip()


def at(project: ProjectFolder, name: str) -> None:
    """As a pipeline of that commit has it."""
    git(project.root, "checkout", "--quiet", "--detach", name)


@pytest.fixture
def commits(project: ProjectFolder) -> Sequence[str]:
    """Two commits that differ in `a`; the newer one is applied, and the older one is checked out."""
    new_checkout(project.root)
    project.init("a", "b")
    older = commit(project, 1)
    project.deploy("a", temperature=0.5)
    newer = commit(project, 2)
    project.apply().ended(0)
    at(project, older)
    return older, newer


def test_an_older_commit_is_refused(
    project: ProjectFolder, commits: Sequence[str], platform: SimulatedPlatform
) -> None:
    """A pipeline that comes late sends nothing, ends with 5, and says which commit came before it, by whom and what to do."""
    older, newer = commits
    before = len(platform.posts)
    shown = project.apply().ended(5)
    for part in (older[:12], newer[:12], "ada applied on", "git revert", "rollback", "--allow-older-commit"):
        assert part in shown.err
    assert len(platform.posts) == before
    assert "(olderCommit)" in project.run("plan").ended(0).out
    assert "--allow-older-commit" in project.run("explain", "production/a").ended(0).out
    (plan,) = project.run("plan", "-o", "json").ended(0).json["plans"]
    assert "olderCommit" in [guard["code"] for guard in plan["guards"]]


def test_allowing_it(project: ProjectFolder, commits: Sequence[str], platform: SimulatedPlatform) -> None:
    """Who allows it goes back, and the state names the older commit from then on: the newer one may be applied again."""
    older, newer = commits
    project.apply("--allow-older-commit").ended(0)
    assert project.state["commit"]["commit"] == older
    before = len(platform.posts)
    at(project, newer)
    project.apply().ended(0)
    assert [model for _, model in platform.posts[before:]] == ["cm-a"]
    assert project.state["commit"]["commit"] == newer


def test_a_plan_file_that_comes_late(project: ProjectFolder, commits: Sequence[str]) -> None:
    """What was approved before the newer commit came is stale; what was approved although it is late is refused all the same."""
    _, newer = commits
    plan = str(project.root.parent / "plan.json")
    project.run("plan", "-e", PRODUCTION, "--out", plan).ended(0)
    project.apply("--plan", plan).ended(5)
    project.apply("--plan", plan, "--allow-older-commit").ended(0)
    at(project, newer)
    project.run("plan", "-e", PRODUCTION, "--out", plan).ended(0)
    project.deploy("b", temperature=0.25)
    newest = commit(project, 3)
    project.apply("b").ended(0)
    assert project.state["commit"]["commit"] == newest
    at(project, newer)
    assert "is older than" in project.apply("--plan", plan).ended(7).err


def test_coming_late_with_too_much(project: ProjectFolder, commits: Sequence[str], platform: SimulatedPlatform) -> None:
    """What a late pipeline is told first is that nothing is to be done; who allows it allows nothing else by that."""
    older, newer = commits
    at(project, newer)
    project.deploy("b", temperature=0.25)
    commit(project, 3)
    project.apply().ended(0)
    at(project, older)
    before = len(platform.posts)
    shown = project.apply().ended(5)
    for part in ("is older than", "2 of the 2 deployments", "came late", "git revert", "takes --allow-mass-change."):
        assert part in shown.err
    assert "-e production --allow-older-commit --allow-mass-change" in project.run("explain", "a").ended(0).out
    assert "came late" not in project.apply("--allow-older-commit").ended(5).err
    plan = str(project.root.parent / "plan.json")
    project.run("plan", "-e", PRODUCTION, "--allow-mass-change", "--out", plan).ended(0)
    project.apply("--plan", plan).ended(5)
    assert len(platform.posts) == before
    project.apply("--plan", plan, "--allow-older-commit").ended(0)
    assert len(platform.posts) == before + 2


def test_nothing_to_do_is_recorded_and_not_refused(
    project: ProjectFolder, commits: Sequence[str], platform: SimulatedPlatform
) -> None:
    """A commit that changes no deployment is the one that is applied, too; an older one with nothing to undo ends well."""
    _, newer = commits
    at(project, newer)
    project.write("README", "more")
    newest = commit(project, 3)
    before = len(platform.posts)
    project.apply().ended(0)
    assert project.state["commit"]["commit"] == newest
    seq = project.state["seq"]
    at(project, newer)
    project.apply().ended(0)
    assert (project.state["commit"]["commit"], project.state["seq"]) == (newest, seq)
    assert len(platform.posts) == before


def test_going_back_otherwise(project: ProjectFolder, commits: Sequence[str], platform: SimulatedPlatform) -> None:
    """`rollback` is not in its way and records no commit; a revert is a newer commit."""
    older, newer = commits
    at(project, newer)
    project.run("rollback", "production/a", "--to", older, "--yes", "--reason", "worse").ended(64)
    git(project.root, "-c", "user.name=Ada", "revert", "--no-edit", newer)
    project.apply().ended(0)
    reverted = git(project.root, "rev-parse", "HEAD").strip()
    assert project.state["commit"]["commit"] == reverted
    before = len(platform.posts)
    at(project, older)
    project.run("rollback", "production/a", "--to", newer, "--yes", "--reason", "better").ended(0)
    assert len(platform.posts) == before + 1
    assert project.state["commit"]["commit"] == reverted


def test_what_is_not_committed(project: ProjectFolder, commits: Sequence[str]) -> None:
    """Changes in the checkout of the commit that was applied are nobody's past."""
    _, newer = commits
    at(project, newer)
    project.deploy("a", temperature=0.75)
    project.apply().ended(0)
    assert project.state["commit"]["commit"] == newer


def test_watch_follows_its_folder_back(project: ProjectFolder, commits: Sequence[str]) -> None:
    """A loop does what its source says, and the state names what it did."""
    older, newer = commits
    project.run("watch", "--once").ended(0)
    assert project.state["commit"]["commit"] == older
    at(project, newer)
    project.write("README", "more")
    newest = commit(project, 3)
    git(project.root, "checkout", "--quiet", "--detach", older)
    git(project.root, "commit", "--allow-empty", "--quiet", "--message", "nothing")
    project.run("watch", "--once").ended(0)
    assert project.state["commit"]["commit"] == git(project.root, "rev-parse", "HEAD").strip()
    at(project, newest)
    project.apply().ended(0)
