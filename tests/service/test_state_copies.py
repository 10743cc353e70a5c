"""States that were copied and backups that were brought back: what can be known of it is refused, and nothing is sent."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from reconciler.errors import ReconcilerError
from reconciler.state.file import FileStore
from reconciler.state.store import Conflict
from tests.service.conftest import SimulatedPlatform
from tests.support.project import PRODUCTION, ProjectFolder
from tests.support.records import note

STATE = ".reconciler"


def state_of(project: ProjectFolder) -> Path:
    return project.root / STATE / PRODUCTION


def backup(project: ProjectFolder, name: str = "backup") -> Path:
    return shutil.copytree(state_of(project), project.root / name)


def bring_back(project: ProjectFolder, kept: Path, *parts: str) -> None:
    """The whole state, or only these parts of it."""
    for part in parts or [path.name for path in state_of(project).iterdir()]:
        old, new = kept / part, state_of(project) / part
        shutil.rmtree(new) if new.is_dir() else new.unlink(missing_ok=True)
        if old.exists():
            shutil.copytree(old, new) if old.is_dir() else shutil.copy2(old, new)


@pytest.fixture
def kept(project: ProjectFolder) -> Path:
    """The state of a project with one deployment, before that was changed twice more."""
    project.init("alpha")
    project.apply().ended(0)
    found = backup(project)
    for temperature in (0.5, 0.25):
        project.deploy("alpha", temperature=temperature)
        project.apply("--allow-mass-change").ended(0)
    return found


def test_a_plan_made_since_is_refused(project: ProjectFolder, platform: SimulatedPlatform, kept: Path) -> None:
    """A plan file knows the state that it was made for: on an older one brought back it is stale."""
    project.deploy("alpha", temperature=0.75)
    project.run("plan", "--allow-mass-change", "--out", str(project.root / "plan.json")).ended(0)
    bring_back(project, kept)
    posts = len(platform.posts)
    project.apply("--allow-mass-change", "--plan", str(project.root / "plan.json")).ended(7)
    assert len(platform.posts) == posts


@pytest.mark.parametrize("part", ["log", "snapshot"])
def test_half_a_backup_is_refused(project: ProjectFolder, platform: SimulatedPlatform, kept: Path, part: str) -> None:
    """A snapshot without its log, or a log without its snapshot, is damage: exit code 6, and nothing is sent."""
    log, snapshots = ["log"], [path.name for path in state_of(project).iterdir() if path.name != "log"]
    bring_back(project, kept, *(log if part == "log" else snapshots))
    posts = len(platform.posts)
    for command in (["plan"], ["apply", "--yes", "--allow-mass-change"]):
        refused = project.run(*command).ended(6)
        assert "state" in refused.err
    assert len(platform.posts) == posts


def test_an_older_state_under_a_running_process(project: ProjectFolder, kept: Path) -> None:
    """A process that has seen a higher number writes nothing into a state that went back."""
    store = FileStore(project.root / STATE, PRODUCTION)
    seq = store.append(store.read().seq, [note(1)])
    bring_back(project, kept)
    before = FileStore(project.root / STATE, PRODUCTION).read().seq
    assert before < seq
    with pytest.raises((ReconcilerError, Conflict)):
        store.append(seq, [note(2)])
    assert FileStore(project.root / STATE, PRODUCTION).read().seq == before


def test_a_whole_backup_shows_what_it_would_send(
    project: ProjectFolder, platform: SimulatedPlatform, kept: Path
) -> None:
    """A state that is old as a whole cannot be told from a current one; the plan lists what would be done again."""
    bring_back(project, kept)
    posts = len(platform.posts)
    shown = project.run("plan", "--detailed-exitcode").ended(2)
    assert "production/alpha" in shown.out
    refused = project.apply().ended(5)
    assert "--allow-mass-change" in refused.err, "and every model of an environment at once needs a person"
    assert len(platform.posts) == posts


def test_a_copy_for_another_host(project: ProjectFolder, platform: SimulatedPlatform, kept: Path) -> None:
    """A copy of the folder serves no other host: it is bound to the one that it was made for."""
    project.configure(host="https://agent-platform.example.com/")
    project.deploy("alpha", temperature=0.1)
    posts = len(platform.posts)
    assert "--rebind" in project.apply("--allow-mass-change").ended(6).err
    assert len(platform.posts) == posts


def test_a_copy_for_another_environment(project: ProjectFolder, platform: SimulatedPlatform, kept: Path) -> None:
    """A copy under another environment's name is foreign there."""
    shutil.copytree(state_of(project), project.root / STATE / "staging")
    project.configure({"staging": {}})
    project.deploy("alpha", more="environments: {production: {}, staging: {modelId: cm-staging}}")
    posts = len(platform.posts)
    assert PRODUCTION in project.run("apply", "--yes", "-e", "staging").ended(6).err
    assert len(platform.posts) == posts


def test_two_copies_that_went_apart(project: ProjectFolder, platform: SimulatedPlatform, kept: Path) -> None:
    """Two places with one lineage: what was planned in one is refused in the other, once either has gone on."""
    shutil.copytree(project.root / STATE, project.root / "second")
    project.deploy("alpha", temperature=0.9)
    project.run("plan", "--allow-mass-change", "--out", str(project.root / "plan.json")).ended(0)
    project.environ["RECONCILER_STATE"] = "second"
    project.deploy("alpha", temperature=0.8)
    project.apply("--allow-mass-change").ended(0)
    project.deploy("alpha", temperature=0.9)
    posts = len(platform.posts)
    project.apply("--allow-mass-change", "--plan", str(project.root / "plan.json")).ended(7)
    assert len(platform.posts) == posts
