"""The command line with its state on a branch: how often it asks, where the remote may lie, and a server that never answers."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.state.git import GitStore
from reconciler.state.gitremote import GitRemote
from reconciler.state.store import DurabilityLost
from tests.service.conftest import SLOW_JOB, SimulatedPlatform
from tests.support.project import ProjectFolder
from tests.support.records import empty, note
from tests.support.repositories import GIT_VARIABLES, clean_environment, git, new_origin
from tests.support.servers_git import GitServer, git_server

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

HOPELESS = 60.0  # seconds until a test is called hung


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    new_origin(tmp_path / "remote")
    with git_server(tmp_path / "remote") as server:
        yield server


@pytest.fixture
def beside(project: ProjectFolder, server: GitServer) -> ProjectFolder:
    """A project whose state lies on the server."""
    git(project.root, "init", "--quiet", "--initial-branch=main")
    git(project.root, "remote", "add", "origin", server.url)
    project.environ |= {key: value for key, value in GIT_VARIABLES.items() if key.startswith("GIT_CONFIG")}
    project.environ["RECONCILER_STATE"] = "git:"
    return project


def test_a_plan_fetches_once(beside: ProjectFolder, server: GitServer) -> None:
    """However many environments a project has, a plan asks the remote once, and sees all of them at one moment."""
    beside.configure({"staging": {}, "test": {}})
    beside.deploy("a", more="environments: {production: {}, staging: {modelId: cm-s}, test: {modelId: cm-t}}")
    beside.run("init").ended(0)
    server.asked.clear()
    shown = beside.run("plan").ended(0).out
    assert server.asked == ["fetch"]
    for name in ("production", "staging", "test"):
        assert f"Plan: {name}: 1 to deploy" in shown


def test_what_was_fetched_is_looked_at_once(beside: ProjectFolder, server: GitServer) -> None:
    """A handle begins with what was fetched for another one, and then looks for itself."""
    beside.init("a")
    remote = GitRemote(beside.root, "reconciler-state", None, clean_environment())
    remote.fetch()
    other = GitStore(GitRemote(beside.root, "reconciler-state", None, clean_environment()), "production")
    other.append(other.read().seq, [note(1)])
    store = GitStore(remote, "production")
    assert store.read().records == ()
    assert store.read().records == (note(1),)


@pytest.mark.parametrize("url", ["../remote/origin.git", "./../remote/origin.git"])
@pytest.mark.parametrize("below", [".", "deep/er"])
def test_a_relative_path(project: ProjectFolder, server: GitServer, url: str, below: str) -> None:
    """The remote may be a path that means something in the checkout, wherever in it the project lies."""
    root = project.root
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "remote", "add", "origin", url)
    folder = root / below
    folder.mkdir(parents=True, exist_ok=True)
    store = GitStore(GitRemote(folder, "reconciler-state", None, clean_environment()), "production")
    store.create(empty())
    assert store.append(0, [note(1)]) == 1
    assert "reconciler-state" in git(server.folder / "origin.git", "branch")


def test_what_is_in_the_way_is_given_up(beside: ProjectFolder, server: GitServer) -> None:
    """An append that gets no answer is in doubt as soon as patience ends, and nothing is asked any more."""
    remote = GitRemote(beside.root, "reconciler-state", None, clean_environment())
    store = GitStore(remote, "production")
    store.create(empty())
    server.hangs_at = 0
    failed: list[BaseException] = []

    def append() -> None:
        try:
            store.append(0, [note(1)])
        except DurabilityLost as error:
            failed.append(error)

    thread = threading.Thread(target=append)
    thread.start()
    assert server.hanging.wait(HOPELESS)
    asked = len(server.asked)
    store.hurry(0)
    thread.join(HOPELESS)
    assert "cannot be told" in str(failed[0])
    assert len(server.asked) == asked


def test_a_stopped_run_does_not_wait_for_it(
    beside: ProjectFolder, server: GitServer, platform: SimulatedPlatform
) -> None:
    """SIGTERM while the server of the state hangs: out all the same, unfinished, with what must be kept on stderr."""
    beside.init("a")
    platform.plays(SLOW_JOB)
    server.asked.clear()
    server.hangs_at = 4  # the lock, LOCK and ATTEMPT are written; the reply is not
    place = beside.root.parent / "temporary"
    place.mkdir()
    running = beside.start("apply", "--yes", CI="true", TMPDIR=str(place))
    assert server.hanging.wait(HOPELESS)
    running.signal(signal.SIGTERM)
    shown = running.end().ended(9)
    assert "RECOVERY" in shown.err
    assert len(platform.posts) == 1
    assert not list(place.glob("reconciler-git-*")), "what git worked in is left behind"
