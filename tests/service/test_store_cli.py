"""The whole path from the command line, with the state kept elsewhere; moving it; and its lock."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.state.lease import Leased
from reconciler.state.store import Store
from tests.service.conftest import SimulatedPlatform
from tests.support.fake_gcs import GcsFake
from tests.support.project import KEY, ProjectFolder
from tests.support.records import HOLDER
from tests.support.repositories import GIT_VARIABLES, git, new_origin
from tests.support.servers_state import PostgresServer, S3Server

STORES = ("git", "s3", "gs", "postgres")
PASSWORD = "s3cret-of-a-store"


@dataclass
class Elsewhere:
    """What `state` may name, for a project in a git checkout."""

    project: ProjectFolder
    states: dict[str, str]

    def use(self, name: str) -> None:
        self.project.environ["RECONCILER_STATE"] = self.states[name]

    def store(self, name: str) -> Store:
        """A handle of the test's own."""
        from reconciler import wiring
        from reconciler.settings import Flags, settle

        settings = settle(Flags(directory=str(self.project.root), state=self.states[name]), self.project.variables)
        return wiring.state_place(wiring.open_project(settings)).store("production")


@pytest.fixture
def elsewhere(
    project: ProjectFolder, s3: S3Server, gcs: GcsFake, postgres: PostgresServer, tmp_path: Path
) -> Elsewhere:
    origin = new_origin(tmp_path / "remote")
    git(project.root, "init", "--quiet", "--initial-branch=main")
    git(project.root, "remote", "add", "origin", str(origin))
    project.environ |= {**s3.variables, **gcs.variables}
    project.environ |= {key: value for key, value in GIT_VARIABLES.items() if key.startswith("GIT_CONFIG")}
    database = postgres.new_schema().replace("postgres@", f"postgres:{PASSWORD}@")
    states = {
        "folder": ".reconciler",
        "git": "git:",
        "s3": f"{s3.new_bucket()}/states",
        "gs": f"gs://bucket-{tmp_path.parent.name}-{tmp_path.name.lower()[:30]}",
        "postgres": database,
    }
    return Elsewhere(project=project, states=states)


@pytest.mark.parametrize("name", STORES)
def test_the_whole_path(elsewhere: Elsewhere, platform: SimulatedPlatform, name: str) -> None:
    """Init, plan, apply, status, nothing to do: as with a folder, and in CI without a flag."""
    project = elsewhere.project
    elsewhere.use(name)
    project.environ["CI"] = "true"
    said = project.init("alpha", "beta").run("doctor")
    assert "production: state" in said.out
    applied = project.apply("-e", "production").ended(0)
    assert "2 succeeded" in applied.out
    assert sorted(platform.posts) == [("deploy", "cm-alpha"), ("deploy", "cm-beta")]
    assert project.entry("alpha")["live"]["dockStatusId"].startswith("ds-")
    assert "nothing to do" in project.run("plan").ended(0).out
    project.apply().ended(0)
    assert len(platform.posts) == 2
    assert not (project.root / ".reconciler").exists()
    shown = said.out + said.err + applied.out + applied.err + project.run("state", "show").ended(0).out
    assert PASSWORD not in shown
    assert KEY not in shown


def test_a_state_goes_from_place_to_place(elsewhere: Elsewhere, platform: SimulatedPlatform) -> None:
    """Everything is still known after four moves, nothing is deployed again, and the places left behind say where it went."""
    project = elsewhere.project
    elsewhere.use("folder")
    project.init("alpha").apply().ended(0)
    before = project.state
    for old, new in (("folder", "git"), ("git", "postgres"), ("postgres", "s3"), ("s3", "gs")):
        elsewhere.use(old)
        moved = project.run("state", "migrate", "--to", elsewhere.states[new], "--yes").ended(0)
        assert "moved  production: 1 entry" in moved.err
        assert PASSWORD not in moved.err
        again = project.run("state", "migrate", "--to", elsewhere.states[new], "--yes").ended(6)
        assert "was moved to" in again.err
        assert PASSWORD not in again.err
        stale = project.run("doctor")
        assert "moved to" in stale.out + stale.err
        elsewhere.use(new)
        assert "nothing to do" in project.run("plan").ended(0).out
    after = project.state
    assert (after["lineage"], after["seq"]) == (before["lineage"], before["seq"])
    assert after["entries"] == before["entries"]
    assert platform.posts == [("deploy", "cm-alpha")]


def test_nobody_is_moved_over(elsewhere: Elsewhere) -> None:
    """A place that holds another state, or is the same one, is refused."""
    project = elsewhere.project
    elsewhere.use("s3")
    project.init("alpha")
    elsewhere.use("folder")
    project.run("init").ended(0)
    refused = project.run("state", "migrate", "--to", elsewhere.states["s3"], "--yes").ended(6)
    assert "holds a state already" in refused.err
    assert "already" in project.run("state", "migrate", "--to", ".reconciler", "--yes").ended(64).err
    assert "--yes" in project.run("state", "migrate", "--to", "git:").ended(64).err


@pytest.mark.parametrize("name", ["git", "gs", "postgres"])
def test_a_lock_is_broken_by_its_id(elsewhere: Elsewhere, platform: SimulatedPlatform, name: str) -> None:
    """Apply names the holder and the id; the id, and nothing else, breaks the lock."""
    project = elsewhere.project
    elsewhere.use(name)
    project.init("alpha")
    assert "nothing to unlock" in project.run("state", "unlock", "--id", "none").ended(0).err
    store = elsewhere.store(name)
    store.lock_run(HOLDER)
    assert isinstance(store, Leased)
    lease = store.lease()
    assert lease is not None
    held = project.apply().ended(6)
    assert "ada@laptop" in held.err
    assert f"--id {lease.id}" in held.err
    assert project.run("plan").ended(0)
    assert lease.id in project.run("state", "unlock", "--id", "another").ended(64).err
    assert "--id" in project.run("state", "unlock", "--epoch", "1").ended(64).err
    assert "is broken" in project.run("state", "unlock", "--id", lease.id).ended(0).err
    project.apply().ended(0)
    assert platform.posts == [("deploy", "cm-alpha")]


@pytest.mark.parametrize(
    ("state", "code", "said"),
    [
        ("ftp://host/path", 64, "no store for ftp://"),
        ("s3://user:hidden@bucket", 64, "no address of a bucket"),
        ("git:ext::sh -c id", 64, "no address of a git repository"),
        ("git:-x", 64, "no name for a branch"),
        ("git:https://user:hidden@127.0.0.1:9/x.git#state", 6, "git:https://127.0.0.1:9/x.git#state cannot be read"),
        ("postgresql://user:hidden@127.0.0.1:9/db", 6, "postgresql://127.0.0.1:9/db cannot be reached"),
        ("postgresql://h/db?password=hidden&colour=red", 64, "colour"),
    ],
)
def test_places_that_are_none(elsewhere: Elsewhere, state: str, code: int, said: str) -> None:
    """Each is told in words, with its exit code, and without what should be hidden."""
    project = elsewhere.project
    project.configure()
    project.deploy("alpha")
    project.environ["RECONCILER_STATE"] = state
    for command in (["plan"], ["apply", "--yes"], ["status"], ["state", "show"], ["history"]):
        shown = project.run(*command).ended(code)
        assert said in shown.err
        assert "hidden" not in shown.err + shown.out
    assert "hidden" not in project.run("doctor").out


def test_mending_is_for_folders(elsewhere: Elsewhere) -> None:
    """`state repair` says that each store has its own ways."""
    elsewhere.use("git")
    elsewhere.project.init("alpha")
    assert "only one in a folder" in elsewhere.project.run("state", "repair").ended(64).err
