"""What comes out: exit codes row by row, JSON against its schemas, the log, provenance."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.service.conftest import SLOW_JOB, SimulatedPlatform
from tests.support.project import ProjectFolder, Shown

SCHEMAS = Path(__file__).parents[2] / "schemas"


# Exit codes: DESIGN's rule 9, a row each; 130 and 143 are in test_cli_processes.py


def nothing_to_do(project: ProjectFolder, _: SimulatedPlatform) -> Shown:
    project.apply()
    return project.run("plan", "--detailed-exitcode")


def something_to_do(project: ProjectFolder, _: SimulatedPlatform) -> Shown:
    return project.run("plan", "--detailed-exitcode")


def something_to_do_unasked(project: ProjectFolder, _: SimulatedPlatform) -> Shown:
    return project.run("plan")


def invalid(project: ProjectFolder, _: SimulatedPlatform) -> Shown:
    project.deploy("alpha", temperature=7)
    return project.run("plan", "--detailed-exitcode")


def no_source(project: ProjectFolder, _: SimulatedPlatform) -> Shown:
    (project.root / "manifests/alpha.yaml").unlink()
    return project.apply()


def refused_key(project: ProjectFolder, _: SimulatedPlatform) -> Shown:
    project.environ["PRODUCTION_API_KEY"] = "kg-another-one-altogether"
    return project.apply()


def guarded(project: ProjectFolder, _: SimulatedPlatform) -> Shown:
    project.apply()
    project.deploy("alpha", temperature=0.5)
    return project.apply()


def foreign_state(project: ProjectFolder, _: SimulatedPlatform) -> Shown:
    project.apply()
    return project.run("plan", "--host", "https://other.example.com")


def stale(project: ProjectFolder, _: SimulatedPlatform) -> Shown:
    path = str(project.root / "plan.json")
    project.run("plan", "--out", path)
    project.deploy("alpha", temperature=0.5)
    return project.apply("--plan", path)


def refused(project: ProjectFolder, platform: SimulatedPlatform) -> Shown:
    platform.plays({"match": {"operation": "deploy"}, "answer": {"status": 400, "message": "no"}})
    return project.apply()


def failed(project: ProjectFolder, platform: SimulatedPlatform) -> Shown:
    platform.plays({"job": {"fails": True}})
    return project.apply()


def unknown(project: ProjectFolder, platform: SimulatedPlatform) -> Shown:
    platform.plays({"match": {"operation": "deploy"}, "lost": "after"})
    return project.apply()


def unknown_and_failed(project: ProjectFolder, platform: SimulatedPlatform) -> Shown:
    platform.plays(
        {"match": {"operation": "deploy", "model": "cm-alpha"}, "lost": "after"},
        {"match": {"operation": "deploy", "model": "cm-beta"}, "job": {"fails": True}},
    )
    project.deploy("beta")
    return project.apply()


def sent_without_waiting(project: ProjectFolder, platform: SimulatedPlatform) -> Shown:
    platform.plays(SLOW_JOB)
    return project.apply("--no-wait")


def usage(project: ProjectFolder, _: SimulatedPlatform) -> Shown:
    return project.run("plan", "--nonsense")


def misspelled_command(project: ProjectFolder, _: SimulatedPlatform) -> Shown:
    return project.run("applyy")


ROWS: tuple[tuple[Callable[[ProjectFolder, SimulatedPlatform], Shown], int], ...] = (
    (nothing_to_do, 0),
    (something_to_do_unasked, 0),
    (sent_without_waiting, 0),
    (something_to_do, 2),
    (invalid, 3),
    (no_source, 3),
    (refused_key, 4),
    (guarded, 5),
    (foreign_state, 6),
    (stale, 7),
    (refused, 8),
    (failed, 8),
    (unknown, 9),
    (unknown_and_failed, 9),
    (usage, 64),
    (misspelled_command, 64),
)


@pytest.mark.parametrize(("happens", "code"), ROWS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_exit_code(
    happens: Callable[[ProjectFolder, SimulatedPlatform], Shown],
    code: int,
    project: ProjectFolder,
    platform: SimulatedPlatform,
) -> None:
    """Each ending has its code, and several at once the worst of them."""
    project.init("alpha")
    happens(project, platform).ended(code)


# JSON


def valid(value: Any, name: str) -> None:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)


@pytest.fixture
def lively(project: ProjectFolder, platform: SimulatedPlatform) -> ProjectFolder:
    """A project with one of everything: live, failed, unknown, orphaned, adopted, running and new."""
    platform.plays(
        {"match": {"model": "cm-bad"}, "job": {"fails": True}},
        {"match": {"model": "cm-lost"}, "lost": "after"},
        {"match": {"model": "cm-busy"}, "job": {"stuck": True}},
    )
    project.init("alpha", "bad", "lost", "gone", "busy")
    project.deploy("taken", more="rollout: {adopt: true}")
    project.apply("--no-wait").ended(9)
    (project.root / "manifests/gone.yaml").unlink()
    project.deploy("alpha", temperature=0.25)
    project.deploy("needy", more="rollout: {dependsOn: [alpha]}")
    return project


def test_json_of_plans(lively: ProjectFolder) -> None:
    """`plan -o json` and the plan file follow schemas/plan.json; YAML says the same."""
    shown = lively.run("plan", "-o", "json").ended(0).json
    valid(shown, "plan")
    assert yaml.safe_load(lively.run("plan", "-o", "yaml").ended(0).out) == shown
    lively.run("plan", "--out", str(lively.root / "plan.json")).ended(0)
    valid(json.loads((lively.root / "plan.json").read_bytes()), "plan")


def test_json_of_status(lively: ProjectFolder) -> None:
    """`status -o json` follows schemas/status.json; YAML says the same."""
    shown = lively.run("status", "-o", "json").ended(0).json
    valid(shown, "status")
    assert {row["name"] for row in shown["deployments"]} >= {"alpha", "bad", "lost", "gone", "busy", "taken", "needy"}
    assert yaml.safe_load(lively.run("status", "-o", "yaml").ended(0).out) == shown


def test_json_of_the_state(lively: ProjectFolder) -> None:
    """`state show` and the state file follow schemas/state.json."""
    valid(lively.run("state", "show").ended(0).json, "state")
    valid(json.loads((lively.root / ".reconciler/production/state.json").read_bytes()), "state")


def test_json_of_the_rest(lively: ProjectFolder) -> None:
    """History, explain and validate name their format, and are one JSON document on stdout."""
    assert lively.run("history", "-o", "json").ended(0).json["format"] == "reconciler/history/v1"
    assert lively.run("explain", "production/bad", "-o", "json").ended(0).json["format"] == "reconciler/explain/v1"
    assert lively.run("validate", "-o", "json").ended(0).json["errors"] == 0
    lively.write("manifests/broken.yaml", "kind: [")
    broken = lively.run("validate", "-o", "json").ended(3)
    assert broken.json["errors"] == 1
    assert broken.err == ""
    lively.write("reconciler.yaml", "kind: [")
    assert lively.run("validate", "-o", "json").ended(3).json["errors"] == 1


def test_explain_each(lively: ProjectFolder) -> None:
    """Every deployment can be explained: gates, a next step, and a command where one helps."""
    for name in ("alpha", "bad", "lost", "gone", "busy", "taken", "needy"):
        shown = lively.run("explain", f"production/{name}").ended(0)
        assert "Gates:" in shown.out
        assert "Next: " in shown.out


def test_looking_goes_on_while_manifests_are_broken(lively: ProjectFolder) -> None:
    """Status and explain say what they can, and what cannot be read, while plan and apply refuse."""
    lively.write("manifests/broken.yaml", "kind: [")
    shown = lively.run("status").ended(0)
    assert "manifests/broken.yaml" in shown.err
    assert "production/alpha" in shown.out
    lively.run("explain", "production/alpha").ended(0)
    lively.run("plan").ended(3)


# The log


def test_json_log(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """Every line of the log is one JSON object with the run's id, the level and the time; nothing else is on stderr."""
    platform.plays(SLOW_JOB)
    project.init("alpha")
    shown = project.apply("--log-format", "json", "--log-level", "debug").ended(0)
    lines = [json.loads(line) for line in shown.err.splitlines()]
    assert [line["event"] for line in lines] == ["started", "sending", "accepted", "ended"]
    assert len({line["run"] for line in lines}) == 1
    assert all({"event", "level", "timestamp", "address"} <= set(line) for line in lines)
    assert lines[-1]["dockStatusId"] == project.entry("alpha")["live"]["dockStatusId"]
    assert project.entry("alpha")["attempts"][0]["id"].startswith(lines[0]["run"])


def test_log_level(project: ProjectFolder) -> None:
    """The flag, or its variable, turns the progress lines into a log; by default there are plain lines."""
    project.init("alpha")
    project.environ["RECONCILER_LOG_LEVEL"] = "info"
    assert '"event":' in project.apply().ended(0).err
    project.environ["RECONCILER_LOG_LEVEL"] = ""
    project.deploy("beta")
    assert "+ production/beta: sending deploy" in project.apply().ended(0).err


# Provenance


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Ada Lovelace", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_attempts_know_their_commit(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """In a git checkout each attempt carries commit, author, whether something was uncommitted, and its manifest's file."""
    project.init("alpha", "beta")
    git(project.root, "init", "--quiet", "--initial-branch=main")
    git(project.root, "add", "reconciler.yaml", "manifests", "schemas")
    git(project.root, "commit", "--quiet", "--message", "first")
    commit = git(project.root, "rev-parse", "HEAD")
    project.apply("alpha").ended(0)
    (attempt,) = project.entry("alpha")["attempts"]
    assert attempt["provenance"]["commit"] == commit
    assert attempt["provenance"]["author"] == "Ada Lovelace <ada@example.com>"
    assert attempt["provenance"]["branch"] == "main"
    assert attempt["provenance"]["dirty"] is False
    assert attempt["manifest"] == "manifests/alpha.yaml"
    assert commit[:12] in project.run("status").ended(0).out
    assert "Ada Lovelace  manifests/alpha.yaml" in project.run("status", "-o", "wide").ended(0).out
    project.deploy("beta", temperature=0.5)
    assert f"commit {commit[:12]} with uncommitted changes" in project.run("plan").ended(0).out
    project.apply("beta").ended(0)
    assert project.entry("beta")["attempts"][0]["provenance"]["dirty"] is True
