"""Which commit is older: by the history that is here, and by the committers' times where it is not."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.model.snapshot import NO_PROVENANCE, Provenance
from reconciler.source.git import find_commit
from reconciler.source.order import is_older
from tests.support.checkout import GIT_VARIABLES, git, new_checkout

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

Commit = Callable[[int], str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return new_checkout(tmp_path / "repository")


@pytest.fixture
def commit(root: Path) -> Commit:
    """Makes a commit at a minute; gives its name."""

    def made(minute: int) -> str:
        when = {"GIT_COMMITTER_DATE": f"2030-01-01T12:{minute:02d}:00Z", "GIT_AUTHOR_DATE": "2030-01-01T00:00:00Z"}
        command = ["git", "-C", str(root), "commit", "--quiet", "--allow-empty", "--message", f"at {minute}"]
        subprocess.run(command, env={**os.environ, **GIT_VARIABLES, **when}, check=True)
        return git(root, "rev-parse", "HEAD").strip()

    return made


def older(root: Path, one: Provenance, other: Provenance) -> bool:
    assert other.commit is not None
    return is_older(root, one, other.commit, other.committed_at)


def test_by_history(root: Path, commit: Commit) -> None:
    """What another commit has in its history is older, whatever the clocks of their committers said."""
    first, second, third = (find_commit(root, commit(minute)) for minute in (30, 10, 20))
    assert older(root, first, second)
    assert older(root, first, third)
    assert not older(root, third, first)
    assert not older(root, second, first)
    assert not older(root, first, first)


def test_branches_that_went_apart(root: Path, commit: Commit) -> None:
    """Of two branches neither is older, however long ago one was left."""
    commit(0)
    git(root, "branch", "other")
    one = find_commit(root, commit(1))
    git(root, "checkout", "--quiet", "other")
    other = find_commit(root, commit(2))
    assert not older(root, one, other)
    assert not older(root, other, one)


def test_histories_of_their_own(root: Path, commit: Commit) -> None:
    """Two commits without a common one are not put in order where the whole history is here."""
    one = find_commit(root, commit(0))
    git(root, "checkout", "--quiet", "--orphan", "other")
    assert not older(root, one, find_commit(root, commit(1)))


def test_in_a_clone_of_one_commit(root: Path, commit: Commit, tmp_path: Path) -> None:
    """A commit that the clone has not got is newer when its committer's time is later; equal times tell nothing."""
    commit(1)
    git(root, "branch", "first")
    second = find_commit(root, commit(2))
    for name in ("first", "main"):
        git(tmp_path, "clone", "--quiet", "--depth=1", "--branch", name, f"file://{root}", str(tmp_path / name))
    late = find_commit(tmp_path / "first", "HEAD")
    assert older(tmp_path / "first", late, second)
    assert not older(tmp_path / "main", second, late)
    assert not is_older(tmp_path / "first", late, "f" * 40, late.committed_at)
    assert not is_older(tmp_path / "first", late, "f" * 40, None)


def test_two_commits_fetched_one_by_one(root: Path, commit: Commit, tmp_path: Path) -> None:
    """Both are here and nothing between them is: the history does not tell, the times do."""
    commit(1)
    git(root, "branch", "first")
    commit(2)
    second = find_commit(root, commit(3))
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth=1", "--branch", "first", f"file://{root}", str(clone))
    git(clone, "fetch", "--quiet", "--depth=1", "origin", "main")
    first = find_commit(clone, "HEAD")
    assert older(clone, first, second)
    assert not older(clone, second, first)


def test_in_a_clone_of_a_few_commits(root: Path, commit: Commit, tmp_path: Path) -> None:
    """What history there is decides, also where it is not the whole one and the clocks say otherwise."""
    commit(0)
    commit(20)
    commit(10)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth=2", f"file://{root}", str(clone))
    first, second = (find_commit(clone, name) for name in ("HEAD~1", "HEAD"))
    assert older(clone, first, second)
    assert not older(clone, second, first)


def test_between_them_only_a_detour_is_here(root: Path, commit: Commit, tmp_path: Path) -> None:
    """Where the way from one to the other is cut off, a commit that both have by another way does not part them."""
    commit(0)
    git(root, "branch", "side")
    commit(1)
    git(root, "branch", "first")
    commit(2)
    commit(3)
    git(root, "checkout", "--quiet", "side")
    commit(4)
    git(root, "checkout", "--quiet", "main")
    git(root, "merge", "--quiet", "--no-ff", "--no-edit", "side")
    newest = find_commit(root, commit(5))
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth=2", "--branch", "first", f"file://{root}", str(clone))
    git(clone, "fetch", "--quiet", "--depth=4", "origin", "main")
    first = find_commit(clone, "HEAD")
    assert git(clone, "merge-base", "HEAD", "FETCH_HEAD").strip() == git(root, "rev-parse", "first^").strip()
    assert older(clone, first, newest)
    assert not older(clone, newest, first)


@pytest.mark.parametrize("name", ["--all", "HEAD", "", "no such commit", "f" * 40])
def test_a_name_that_is_none(root: Path, commit: Commit, name: str) -> None:
    """A state's word that names no commit by its digits is no commit of this clone, and no option of git's."""
    commit(1)
    assert not is_older(root, find_commit(root, "HEAD"), name, None)


def test_without_a_commit(root: Path) -> None:
    """Manifests without a commit are older than nothing."""
    assert not is_older(root, NO_PROVENANCE, "f" * 40, None)
