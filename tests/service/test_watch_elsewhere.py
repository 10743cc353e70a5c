"""`watch` with a state elsewhere, in git, a bucket and PostgreSQL; and its end while a state or a fetch hangs."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.remote.places import PLACES, Place, Servers, place
from tests.service.conftest import SimulatedPlatform
from tests.service.test_watch_command import QUICK
from tests.support.project import ProjectFolder, Running
from tests.support.repositories import git
from tests.support.servers_state import PostgresServer, S3Server

LEFT_BEHIND = "left behind"  # what is said when something did not end by itself


@pytest.fixture
def behind(s3: S3Server, postgres: PostgresServer) -> Servers:
    return Servers(s3=s3, postgres=postgres)


@pytest.fixture(params=PLACES)
def elsewhere(request: pytest.FixtureRequest, behind: Servers, tmp_path: Path) -> Iterator[Place]:
    folder = tmp_path / "place"
    folder.mkdir()
    with place(request.param, behind, folder) as found:
        yield found


def _watching(project: ProjectFolder, where: Place) -> Running:
    """A watch of five deployments with its state in that place, whose first pass is over."""
    project.environ.update(where.variables)
    project.write_project(
        {
            "state": where.state,
            "environments": {
                "production": {
                    "host": project.host,
                    "apiKey": {"env": "PRODUCTION_API_KEY"},
                    "rateLimit": {"perMinute": 0, "perHour": 0},
                }
            },
        }
    )
    for name in "abcde":
        project.deploy(name)
    if where.name == "git":  # the state lies in the checkout's own remote
        git(project.root, "init", "-q", "-b", "main")
        git(project.root, "remote", "add", "origin", where.remote)
    process = project.start("watch", "--init-state", *QUICK, "--listen", "none")
    assert _pass(process)["end"] == "succeeded"
    return process


def _pass(process: Running) -> dict[str, str]:
    said: dict[str, str] = json.loads(process.wait_for('"event": "pass"'))
    return said


def test_a_state_elsewhere(project: ProjectFolder, platform: SimulatedPlatform, elsewhere: Place) -> None:
    """Everything is deployed, a save is redeployed, a restart repeats nothing, and decisions of others are heeded."""
    process = _watching(project, elsewhere)
    assert len(platform.posts) == 5
    project.deploy("a", temperature=0)
    process.wait_for('"ended": "succeeded"')
    assert _pass(process)["end"] == "succeeded"
    process.signal(signal.SIGTERM)
    assert LEFT_BEHIND not in process.end().ended(0).err
    again = project.start("watch", *QUICK, "--listen", "none")
    assert _pass(again)["end"] == "succeeded"
    assert len(platform.posts) == 6
    project.run("suspend", "production/b", "--reason", "being debugged").ended(0)
    project.deploy("b", temperature=0)
    suspended = _pass(again)
    assert (suspended["end"], suspended["detail"]) == ("succeeded", "1 suspended")
    again.signal(signal.SIGTERM)
    assert LEFT_BEHIND not in again.end().ended(0).err
    assert len(platform.posts) == 6


@pytest.mark.parametrize("elsewhere", ["s3"], indirect=True)
def test_a_state_that_hangs(project: ProjectFolder, elsewhere: Place) -> None:
    """While the place of the state says nothing, a signal is heard, and what waits for it is left behind in time."""
    process = _watching(project, elsewhere)
    asked, goes_on = threading.Event(), threading.Event()

    def hang(*_: object) -> bool:
        asked.set()
        return goes_on.wait(60)

    elsewhere.proxy.begin(hang)
    try:
        project.deploy("a", temperature=0)
        assert asked.wait(60)
        process.signal(signal.SIGTERM)
        assert LEFT_BEHIND in process.end().ended(0).err
    finally:
        goes_on.set()


@contextmanager
def _silence() -> Iterator[tuple[str, threading.Event]]:
    """A git server that accepts and says nothing; the event tells that somebody is waiting for it."""
    reached = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []

        def accept() -> None:
            held.append(listener.accept()[0])
            reached.set()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/models.git", reached
        for one in held:
            one.close()
        thread.join(60)


def test_a_state_that_hangs_from_the_start(project: ProjectFolder, s3: S3Server) -> None:
    """Also the place where the state is to be created can be silent; a signal is heard from the first moment on."""
    with _silence() as (url, reached):
        project.write_project(
            {
                "state": f"{s3.new_bucket()}/states",
                "environments": {"production": {"host": project.host, "apiKey": {"env": "PRODUCTION_API_KEY"}}},
            }
        )
        environ = {**s3.variables, "AWS_ENDPOINT_URL": url.removesuffix("/models.git")}
        project.deploy("a")
        process = project.start("watch", "--init-state", *QUICK, "--listen", "none", **environ)
        assert reached.wait(60)
        process.signal(signal.SIGTERM)
        assert LEFT_BEHIND in process.end().ended(0).err


def test_a_fetch_that_hangs(project: ProjectFolder, platform: SimulatedPlatform, tmp_path: Path) -> None:
    """SIGTERM ends the fetch too: nothing is left behind, and the exit code is that of a watch that ends well."""
    project.init("a")
    with _silence() as (url, reached):
        options = ("--git", url, "--project", str(project.root / "reconciler.yaml"), "--listen", "none")
        process = project.start("watch", *options, *QUICK, XDG_CACHE_HOME=str(tmp_path / "cache"))
        assert reached.wait(60)
        process.signal(signal.SIGTERM)
        assert LEFT_BEHIND not in process.end().ended(0).err
    assert not platform.lines
