"""What only a person can decide, over the real command line: adopt, resolve, retry, resume, undeploy, forget, unlock, repair."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import SimulatedPlatform
from tests.support.project import KEY, ProjectFolder

# The platform takes the first deploy, and its reply is lost on the way.
LOST: dict[str, Any] = {"match": {"model": "cm-alpha", "operation": "deploy", "nth": 1}, "lost": "after"}
LOST_BEFORE: dict[str, Any] = {**LOST, "lost": "before"}
REFUSED: dict[str, Any] = {
    "match": {"model": "cm-alpha", "operation": "deploy", "nth": 1},
    "answer": {"status": 422, "message": "the device is not available"},
}


@pytest.fixture
def doubtful(project: ProjectFolder, platform: SimulatedPlatform) -> ProjectFolder:
    """A project whose one deployment was sent and never answered."""
    platform.plays(LOST)
    project.init("alpha")
    project.apply().ended(9)
    return project


# Adopt


def test_adopt_records_without_a_call(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """Adopting records the manifest as live; nothing is sent, and nothing is left to do."""
    project.init("alpha")
    assert "nothing was sent" in project.run("adopt", "production/alpha", "--reason", "runs since May").ended(0).err
    assert platform.lines == []
    assert project.entry("alpha")["live"]["how"] == "adopted"
    assert "Unknown" in project.run("status").ended(0).out
    assert "nothing to do" in project.run("plan").ended(0).out
    assert "already" in project.run("adopt", "alpha").ended(64).err


def test_adopt_write_marks_the_manifest(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """With --write only the manifest changes, its comments stay, and the next apply records it without a call."""
    project.init()
    path = project.deploy("alpha", more="# chosen by ada\nrollout: {wave: 2}   # after the router")
    (project.root / "manifests/example.yaml").unlink()
    before = path.read_text(encoding="utf-8")
    project.run("adopt", "production/alpha", "--write").ended(0)
    assert path.read_text(encoding="utf-8") == before.replace("{wave: 2}", "{wave: 2, adopt: true}")
    assert project.state["entries"] == {}
    assert "1 to adopt" in project.run("plan").ended(0).out
    project.apply().ended(0)
    assert platform.posts == []
    assert project.entry("alpha")["live"]["how"] == "adopted"


def test_adopt_wants_a_manifest(project: ProjectFolder) -> None:
    """What has no manifest cannot be adopted; a misspelled name is offered the nearest."""
    project.init("alpha")
    assert "Did you mean production/alpha?" in project.run("adopt", "production/alphaa").ended(64).err


# Resolve: what became of a call without a reply


def test_unknown_outcome_is_held(doubtful: ProjectFolder, platform: SimulatedPlatform) -> None:
    """After a lost reply nothing is sent again; plan, status and explain say so, and explain names the way out."""
    again = doubtful.apply().ended(9)
    assert "1 unknown" in again.out
    assert platform.posts == [("deploy", "cm-alpha")]
    assert "1 on hold" in doubtful.run("plan", "--detailed-exitcode").ended(2).out
    assert "reconciler resolve production/alpha" in doubtful.run("explain", "production/alpha").ended(0).out


def test_resolve_with_the_id(doubtful: ProjectFolder, platform: SimulatedPlatform) -> None:
    """--dock-status-id is asked about and recorded; the deployment is live, and nothing is sent."""
    (line,) = [line for line in platform.lines if line["accepted"]]
    shown = doubtful.run("resolve", "production/alpha", "--dock-status-id", line["dockStatusId"]).ended(0)
    assert "SUCCESS" in shown.err
    assert doubtful.entry("alpha")["live"]["dockStatusId"] == line["dockStatusId"]
    doubtful.apply().ended(0)
    assert len(platform.posts) == 1


def test_resolve_asks_about_the_id(doubtful: ProjectFolder, platform: SimulatedPlatform) -> None:
    """An id that the platform does not know, that is no id, or that cannot be asked about resolves nothing."""
    assert "does not know" in doubtful.run("resolve", "alpha", "--dock-status-id", "ds-other").ended(64).err
    assert "not a dock status id" in doubtful.run("resolve", "alpha", "--dock-status-id", "../x").ended(64).err
    doubtful.environ["PRODUCTION_API_KEY"] = "kg-wrong-wrong-wrong"
    doubtful.run("resolve", "alpha", "--dock-status-id", "ds-other").ended(4)
    assert "1 on hold" in doubtful.run("plan").ended(0).out


def test_resolve_does_not_take_the_job_of_another_model(doubtful: ProjectFolder, platform: SimulatedPlatform) -> None:
    """A dock status that belongs to another model is refused by name."""
    doubtful.deploy("beta")
    doubtful.apply("beta").ended(0)
    other = doubtful.entry("beta")["live"]["dockStatusId"]
    assert "cm-beta" in doubtful.run("resolve", "alpha", "--dock-status-id", other).ended(64).err


def test_resolve_it_happened(doubtful: ProjectFolder, platform: SimulatedPlatform) -> None:
    """--it-happened makes it live without an id."""
    doubtful.run("resolve", "production/alpha", "--it-happened", "--reason", "seen in the console").ended(0)
    assert doubtful.entry("alpha")["live"]["dockStatusId"] is None
    assert "nothing to do" in doubtful.run("plan").ended(0).out
    assert len(platform.posts) == 1


def test_resolve_it_did_not(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """--it-did-not lets the next apply send it; the sender is dead, so nobody has to wait."""
    platform.plays(LOST_BEFORE)
    project.init("alpha")
    project.apply().ended(9)
    project.run("resolve", "production/alpha", "--it-did-not").ended(0)
    project.apply().ended(0)
    assert platform.posts == [("deploy", "cm-alpha")]


def test_resolve_send_again(doubtful: ProjectFolder, platform: SimulatedPlatform) -> None:
    """--send-again accepts a duplicate."""
    doubtful.run("resolve", "production/alpha", "--send-again").ended(0)
    doubtful.apply().ended(0)
    assert platform.posts == [("deploy", "cm-alpha"), ("deploy", "cm-alpha")]


def test_resolve_says_exactly_one_thing(doubtful: ProjectFolder) -> None:
    """None or two of the four is wrong usage, and so is resolving what is not in doubt."""
    assert "exactly one" in doubtful.run("resolve", "alpha").ended(64).err
    assert "exactly one" in doubtful.run("resolve", "alpha", "--it-happened", "--send-again").ended(64).err
    doubtful.run("resolve", "alpha", "--it-happened").ended(0)
    assert "nothing to resolve" in doubtful.run("resolve", "alpha", "--it-happened").ended(64).err


# Retry


def test_retry_sends_again_what_was_refused(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """A refusal ends with 8 and the platform's reason; the next apply tries again by itself, as retry says it would."""
    platform.plays(REFUSED)
    project.init("alpha")
    refused = project.apply().ended(8)
    assert "the device is not available" in refused.out
    assert "the device is not available" in project.run("status").ended(0).out
    project.run("retry", "production/alpha").ended(0)
    project.apply().ended(0)
    assert platform.posts == [("deploy", "cm-alpha")]


def test_retry_restarts_what_is_unchanged(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """A person may have a healthy deployment sent again; what was never deployed cannot be."""
    project.init("alpha")
    assert "not in the state" in project.run("retry", "alpha").ended(64).err
    project.apply().ended(0)
    project.run("retry", "alpha", "--reason", "weights were replaced").ended(0)
    assert "1 to retry" in project.run("plan").ended(0).out
    project.apply("--allow-mass-change").ended(0)
    assert len(platform.posts) == 2


# Orphans


@pytest.fixture
def orphaned(project: ProjectFolder) -> ProjectFolder:
    """A project in which the manifest of what is deployed is gone."""
    project.init("alpha", "beta")
    project.apply().ended(0)
    (project.root / "manifests/alpha.yaml").unlink()
    return project


def test_orphan_stays_until_somebody_decides(orphaned: ProjectFolder, platform: SimulatedPlatform) -> None:
    """Without prune a deployment without a manifest stays in plan and status as a warning, and apply leaves it alone."""
    assert "1 orphaned" in orphaned.run("plan").ended(0).out
    orphaned.apply().ended(0)
    assert "production/alpha" in orphaned.run("status").ended(0).out
    assert ("undeploy", "cm-alpha") not in platform.posts


def test_undeploy_removes_an_orphan(orphaned: ProjectFolder, platform: SimulatedPlatform) -> None:
    """Undeploying asks or wants --yes, sends one call, and refuses what has a manifest."""
    assert "--yes" in orphaned.process("undeploy", "production/alpha").ended(64).err
    assert "not an orphan" in orphaned.run("undeploy", "production/beta", "--yes").ended(5).err
    shown = orphaned.run("undeploy", "production/alpha", "--yes").ended(0).out
    assert "starts failing" in shown
    assert "restarts" not in shown
    assert platform.posts[2:] == [("undeploy", "cm-alpha")]
    assert "nothing to do" in orphaned.run("plan").ended(0).out


def test_undeploy_refuses_while_a_manifest_cannot_be_read(orphaned: ProjectFolder, platform: SimulatedPlatform) -> None:
    """A missing manifest proves nothing while another one has errors."""
    orphaned.write("manifests/broken.yaml", "apiVersion: [")
    orphaned.run("undeploy", "production/alpha", "--yes").ended(3)
    assert len(platform.posts) == 2


def test_forget_drops_the_entry_only(orphaned: ProjectFolder, platform: SimulatedPlatform) -> None:
    """Forgetting calls nobody, and refuses what has a manifest."""
    assert "has a manifest" in orphaned.run("forget", "production/beta", "--yes").ended(5).err
    assert "--yes" in orphaned.process("forget", "production/alpha").ended(64).err
    before = len(platform.lines)
    orphaned.run("forget", "production/alpha", "--yes").ended(0)
    assert len(platform.lines) == before
    assert "cm-alpha" not in orphaned.state["entries"]


def test_history_keeps_who_decided(doubtful: ProjectFolder) -> None:
    """The attempt names the person who resolved it."""
    doubtful.run("resolve", "alpha", "--it-happened").ended(0)
    (attempt,) = doubtful.run("history", "production/alpha", "-o", "json").ended(0).json["attempts"]
    assert attempt["decidedBy"] == "ada"
    assert "knows no omega" in doubtful.run("history", "production/omega").ended(64).err


# The state itself


def test_state_show_is_the_state(project: ProjectFolder) -> None:
    """`state show` prints a whole document, and asks which environment where there are several."""
    project.init("alpha")
    project.apply().ended(0)
    shown = project.run("state", "show").ended(0).json
    assert shown["format"] == "reconciler/state/v2"
    project.configure({"staging": {}})
    project.deploy("alpha", more="environments: {production: {}, staging: {modelId: cm-s}}")
    assert "-e ENV" in project.run("state", "show").ended(64).err
    assert "init" in project.run("state", "show", "-e", "staging").ended(6).err


def test_unlock_has_nothing_to_do_when_nobody_holds_it(project: ProjectFolder) -> None:
    """A free run lock is said to be free."""
    project.init("alpha")
    assert "nothing to unlock" in project.run("state", "unlock", "--epoch", "1").ended(0).err


def damaged(project: ProjectFolder) -> Path:
    """The newest log of production with a byte turned inside its first record."""
    folder = project.root / ".reconciler/production"
    path = folder / "state.json"
    path.write_bytes(path.read_bytes().replace(b'"cm-alpha"', b'"cm-alphq"', 1))
    return path


def test_repair_goes_on_from_what_can_be_read(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """A damaged state stops everything with 6; repair shows it, keeps the file, suspends, and resume lets apply go on."""
    project.init("alpha")
    project.apply().ended(0)
    path = damaged(project)
    refused = project.run("plan").ended(6)
    assert "state repair" in refused.err
    assert "--yes" in project.process("state", "repair").ended(64).err
    shown = project.run("state", "repair", "--yes").ended(0)
    assert "state.json" in shown.out
    assert "kept the damaged" in shown.err
    assert list(path.parent.glob("state.json.damaged-*"))
    project.run("state", "repair").ended(0)
    project.run("status").ended(0)
    assert len(platform.posts) == 1


def test_resume_ends_the_suspension_of_a_repair(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """Where records are lost nothing is sent until a person has looked and says so."""
    project.init("alpha")
    project.apply().ended(0)
    folder = project.root / ".reconciler/production"
    for path in (folder / "log").glob("*.log"):
        path.write_bytes(b"\xff" * 64)
    project.run("plan").ended(6)
    repaired = project.run("state", "repair", "--yes").ended(0)
    assert "reconciler resume production" in repaired.err
    project.deploy("alpha", temperature=0.5)
    assert "suspended" in project.run("plan").ended(0).out
    project.apply("--allow-mass-change")
    assert len(platform.posts) == 1
    assert "reconciler resume production" in project.run("explain", "production/alpha").ended(0).out
    assert "suspended" in project.run("doctor").ended(0).out
    project.run("resume", "production", "--reason", "compared").ended(0)
    project.apply("--allow-mass-change").ended(0)
    assert len(platform.posts) == 2
    assert "is not suspended" in project.run("resume", "production").ended(64).err
    assert "is not suspended" in project.run("resume", "production/alpha").ended(64).err


def test_doctor_says_what_is_wrong(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """Everything in place is 0; each thing that is not has a line, a fix and the exit code of its kind."""
    project.init("alpha")
    healthy = project.run("doctor").ended(0)
    assert healthy.out.count("✓") >= 5
    assert "✗" not in healthy.out
    assert platform.posts == []
    project.environ["PRODUCTION_API_KEY"] = "kg-wrong-wrong-wrong"
    assert "refuses the API key" in project.run("doctor").ended(4).out
    project.environ["PRODUCTION_API_KEY"] = ""
    assert "Set PRODUCTION_API_KEY" in project.run("doctor").ended(4).out
    project.environ["PRODUCTION_API_KEY"] = KEY
    assert "cannot be reached" in project.run("doctor", "--host", "http://127.0.0.1:9").ended(8).out
    assert "reconciler init" in project.run("doctor", "--state", "nowhere").ended(6).out
    project.write("manifests/broken.yaml", "kind: [")
    assert "reconciler validate" in project.run("doctor").ended(3).out
    project.write("reconciler.yaml", "kind: [")
    assert "project file" in project.run("doctor").ended(3).out
    project.run("doctor", "-e", "staging").ended(3)


@pytest.mark.parametrize(
    "address", ["production/", "/alpha", "production//alpha", "production/A b", "a/b/c", "nowhere/a", ""]
)
def test_misspelled_addresses_are_told_without_a_state(project: ProjectFolder, address: str) -> None:
    """An address that cannot be one is told as such, also where there is no state to look it up in."""
    project.configure()
    project.deploy("alpha")
    commands = (("explain",), ("retry",), ("history", "--values"), *((("history",),) if address else ()))
    for command in commands:
        shown = project.run(*command, address).ended(64)
        assert re.search(r"is no address|names no deployment|There is no environment", shown.err), shown.err
    project.run("explain", "production/alpha").ended(6)
    assert "There is no state in" in project.run("history", "production/cm-alpha").ended(6).err


def test_an_environment_is_no_deployment(project: ProjectFolder) -> None:
    """The name of an environment alone is told as that, where there are several."""
    project.configure({"staging": {}})
    project.deploy("alpha", more="environments: {production: {}}")
    assert "staging is an environment, not a deployment" in project.run("rollback", "staging", "--yes").ended(64).err
    assert "Write it as production/alpha" in project.run("explain", "alpha").ended(64).err
