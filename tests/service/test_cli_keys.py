"""API keys: where they are found, what happens where they are not, and that none ever stands where it does not belong."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.service.conftest import SLOW_JOB, SimulatedPlatform
from tests.support.project import KEY, ProjectFolder

OTHER = "kg-0b5c0000-1111-5222-8333-444455556666-0b5c0001-1111-5222-8333-444455556666"


def test_key_from_a_file(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """A mounted secret is read anew, with the line end that editors leave."""
    project.write("../secret", f"{KEY}\n")
    project.init("alpha")
    project.configure(apiKey={"file": "../secret"})
    project.apply().ended(0)
    assert platform.posts == [("deploy", "cm-alpha")]


def gone(project: ProjectFolder) -> None: ...


def empty(project: ProjectFolder) -> None:
    project.write("../secret", " \n")


def folder(project: ProjectFolder) -> None:
    (project.root.parent / "secret").mkdir()


def fifo(project: ProjectFolder) -> None:
    os.mkfifo(project.root.parent / "secret")


def huge(project: ProjectFolder) -> None:
    project.write("../secret", "k" * 100_000)


def two_lines(project: ProjectFolder) -> None:
    project.write("../secret", f"{KEY}\nx-other: 1")


def not_text(project: ProjectFolder) -> None:
    project.write("../secret", b"\xff\xfe\x00")


@pytest.mark.parametrize("make", [gone, empty, folder, fifo, huge, two_lines, not_text], ids=lambda make: make.__name__)
def test_key_file_that_cannot_be_used(
    make: Callable[[ProjectFolder], None], project: ProjectFolder, platform: SimulatedPlatform
) -> None:
    """Whatever is wrong with the file: exit code 4, the file is named, nothing was sent, and its content is not shown."""
    project.init("alpha")
    make(project)
    project.configure(apiKey={"file": "../secret"})
    refused = project.apply().ended(4)
    assert "secret" in refused.err or "API key" in refused.err
    assert KEY not in refused.err + refused.out
    assert platform.lines == []


@pytest.mark.parametrize("value", ["", "  ", None])
def test_key_variable_that_is_not_set(value: str | None, project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """Missing and empty are the same: exit code 4 with the variable's name."""
    project.init("alpha")
    if value is None:
        project.configure(apiKey={"env": "NOWHERE_SET"})
    else:
        project.environ["PRODUCTION_API_KEY"] = value
    refused = project.apply().ended(4)
    assert ("NOWHERE_SET" if value is None else "PRODUCTION_API_KEY") in refused.err
    assert platform.lines == []


def test_wrong_key_is_found_before_anything_is_sent(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """401 on the question that comes first: exit code 4, no deploy, no attempt recorded."""
    project.init("alpha")
    project.environ["PRODUCTION_API_KEY"] = OTHER
    refused = project.apply().ended(4)
    assert "refuses the API key" in refused.err
    assert platform.posts == []
    assert project.state["entries"] == {}
    project.environ["PRODUCTION_API_KEY"] = KEY
    project.apply().ended(0)


def test_key_without_the_scope(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """A key that may ask but not deploy: 403 ends the run with 4 and the platform's reason."""
    platform.plays(keys={KEY: ["status"]})
    project.init("alpha", "beta")
    refused = project.apply().ended(4)
    assert "lacks the scope" in refused.out + refused.err
    assert platform.posts == []
    platform.plays()
    project.apply().ended(0)


@pytest.mark.parametrize("field", ["apiKey", "apikey", "x-api-key", "key"])
def test_literal_key_in_the_project_file_is_refused(field: str, project: ProjectFolder) -> None:
    """A key in plain sight is a diagnostic with its place, and is not repeated."""
    project.write_project({"environments": {"production": {"host": "h.example.com", field: OTHER}}})
    project.deploy("alpha")
    for command in ("validate", "plan", "init"):
        refused = project.run(command).ended(3)
        assert "reconciler.yaml:" in refused.out + refused.err
        assert OTHER not in refused.out + refused.err


def test_key_is_shown_and_written_nowhere(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """The canary stands in no output of any command, at any log level, and in no file, even where the platform echoes it."""
    echo: dict[str, Any] = {
        "match": {"model": "cm-beta", "operation": "deploy"},
        "answer": {"status": 422, "body": f'{{"message": "key {KEY} may not deploy cm-beta"}}'},
    }
    garbled: dict[str, Any] = {
        "match": {"model": "cm-gamma", "operation": "deploy"},
        "answer": {"status": 200, "body": f"<html>{KEY}</html>", "accepted": True, "headers": {"x-echo": KEY}},
    }
    platform.plays(echo, garbled, SLOW_JOB)
    project.init("alpha", "beta", "gamma")
    said = []
    for arguments in (
        ("apply", "--yes", "--no-wait", "--log-level", "debug", "--log-format", "json"),
        ("status", "--wait", "--log-level", "debug", "--log-format", "text"),
        ("status", "-o", "json"),
        ("plan", "-v"),
        ("history", "-o", "json"),
        ("explain", "production/beta", "-o", "json"),
        ("state", "show"),
        ("doctor",),
    ):
        shown = project.run(*arguments)
        said.append(shown.out + shown.err)
    assert "may not deploy cm-beta" in said[0]
    assert KEY not in "".join(said)
    written = project.everything_written()
    assert b"may not deploy cm-beta" in written
    assert KEY.encode() not in written
