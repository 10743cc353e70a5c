"""Fixtures of the tests that run the command line: one simulated platform, and a project folder that names it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.project import KEY, ProjectFolder
from tests.support.simulator import RunningSimulator, running_simulator, scenario


class SimulatedPlatform:
    """A running simulator that begins anew with every test. Jobs are over at once, unless `plays` says otherwise."""

    def __init__(self, server: RunningSimulator) -> None:
        self._server = server
        self.origin = server.origin
        self.plays()

    def plays(self, *rules: dict[str, Any], **behaviour: Any) -> None:
        """Forget everything and play this scenario."""
        usual: dict[str, Any] = {"job_seconds": 0, "keys": {KEY: None}}
        self._server.world.become(scenario(*rules, **{**usual, **behaviour}))
        self._server.journal.lines.clear()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Every request, as the platform saw it."""
        return self._server.journal.lines

    @property
    def posts(self) -> list[tuple[str, str]]:
        """The calls that started a job: what was asked, and of which model."""
        return [(line["call"], line["modelId"]) for line in self.lines if line["accepted"]]


@pytest.fixture(scope="session")
def _server() -> Iterator[RunningSimulator]:
    with running_simulator() as server:
        yield server


@pytest.fixture
def platform(_server: RunningSimulator) -> SimulatedPlatform:
    return SimulatedPlatform(_server)


@pytest.fixture
def project(tmp_path: Path, platform: SimulatedPlatform, capsys: pytest.CaptureFixture[str]) -> Iterator[ProjectFolder]:
    """An empty project folder; `init` fills it."""
    root = tmp_path / "project"
    root.mkdir()

    def capture() -> tuple[str, str]:
        out, err = capsys.readouterr()
        return out, err

    folder = ProjectFolder(root=root, host=platform.origin, capture=capture)
    yield folder
    folder.close()


# A platform that takes its time: the reply says that the job runs, the first question finds it over.
SLOW_JOB = {"reply": {"status": "IN_PROGRESS"}, "job": {"statuses": ["SUCCESS"]}, "match": {"operation": "deploy"}}
