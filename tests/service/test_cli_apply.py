"""`plan`, `apply` and `status` over the real command line and a simulated platform."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.service.conftest import SLOW_JOB, SimulatedPlatform
from tests.support.project import ProjectFolder

FAILING: dict[str, Any] = {
    "match": {"model": "cm-bad", "operation": "deploy"},
    "reply": {"status": "IN_PROGRESS"},
    "job": {"statuses": ["FAILED"], "response": {"message": "out of memory"}},
}
TWO_ENVIRONMENTS = "environments: {production: {}, staging: {modelId: cm-staged}}"


def test_first_apply_records_the_dock_status_id(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """Init, plan, apply, status: the deployment is sent once, and its dock status id is in state and status."""
    project.init("alpha")
    planned = project.run("plan", "--detailed-exitcode").ended(2)
    assert "Plan: production: 1 to deploy, 0 unchanged." in planned.out
    applied = project.apply().ended(0)
    assert "Run: production: 1 succeeded." in applied.out
    assert platform.posts == [("deploy", "cm-alpha")]
    dock_status_id = project.entry("alpha")["live"]["dockStatusId"]
    assert dock_status_id.startswith("ds-")
    assert dock_status_id in applied.out
    assert dock_status_id in project.run("status").ended(0).out
    assert dock_status_id in project.run("history").ended(0).out
    assert "nothing to do, 1 unchanged" in project.run("plan", "--detailed-exitcode").ended(0).out
    assert "Run:" not in project.apply().ended(0).out
    assert len(platform.posts) == 1


def test_planning_needs_neither_key_nor_network(project: ProjectFolder) -> None:
    """With a dead host and no key, validate, plan, status and history say what there is to say."""
    project.init("alpha")
    project.host = "http://127.0.0.1:9"
    project.configure()
    project.environ["PRODUCTION_API_KEY"] = ""
    project.run("validate").ended(0)
    project.run("plan").ended(0)
    project.run("status").ended(0)
    project.run("history").ended(0)


def test_without_a_project_file_there_is_one_environment(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """RECONCILER_HOST and RECONCILER_API_KEY make the environment `default`."""
    project.deploy("alpha")
    variables = project.variables
    project.environ |= {
        "RECONCILER_HOST": platform.origin,
        "RECONCILER_API_KEY": variables["PRODUCTION_API_KEY"],
        "PRODUCTION_API_KEY": "",
    }
    applied = project.apply("--init-state").ended(0)
    assert "Run: default: 1 succeeded." in applied.out


# Only a part, or not to the end


def test_selection_applies_only_what_is_named(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """Names, globs and labels narrow a plan down and never add to it."""
    project.init("alpha", "beta", "gamma")
    project.apply("al*").ended(0)
    project.apply("production/beta").ended(0)
    assert platform.posts == [("deploy", "cm-alpha"), ("deploy", "cm-beta")]
    assert "gamma" in project.run("plan").ended(0).out
    nothing = project.run("plan", "-l", "team=nobody").ended(64)
    assert "Error:" in nothing.err


def test_a_failed_job_holds_back_only_its_dependants(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """What does not depend on the failed one is deployed; the end lists done, failed and not tried, and the exit code is 8."""
    platform.plays(FAILING)
    project.init("bad", "fine")
    project.deploy("needy", more="rollout: {dependsOn: [bad]}")
    shown = project.apply().ended(8)
    assert "Run: production: 1 succeeded, 1 failed, 1 not tried." in shown.out
    assert "out of memory" in shown.out
    assert sorted(platform.posts) == [("deploy", "cm-bad"), ("deploy", "cm-fine")]
    assert "reconciler explain production/bad" in shown.out


def test_no_wait_then_status_wait(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """--no-wait sends what is ready and ends with 0; `status --wait` follows, sends nothing and says what remains."""
    platform.plays(SLOW_JOB)
    project.init("alpha")
    project.deploy("needy", more="rollout: {dependsOn: [alpha]}")
    sent = project.apply("--no-wait").ended(0)
    assert "Run: production: 1 running, 1 waiting." in sent.out
    assert "reconciler status -e production --wait" in sent.out
    followed = project.run("status", "--wait").ended(0)
    assert followed.err.endswith("1 change remains: run apply.\n")
    assert platform.posts == [("deploy", "cm-alpha")]
    project.apply("--no-wait").ended(0)
    assert project.run("status", "--wait").ended(0).err.endswith("Nothing remains.\n")
    assert platform.posts == [("deploy", "cm-alpha"), ("deploy", "cm-needy")]


# A plan file


def planned_to_file(project: ProjectFolder) -> str:
    path = str(project.root / "plan.json")
    project.run("plan", "-e", "production", "--out", path).ended(0)
    return path


def test_plan_file_is_applied_as_it_was_approved(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """`plan --out` then `apply --plan` applies that, and refuses it when it is given a second time."""
    project.init("alpha")
    path = planned_to_file(project)
    project.apply("--plan", path).ended(0)
    assert platform.posts == [("deploy", "cm-alpha")]
    again = project.apply("--plan", path).ended(7)
    assert "production/alpha" in again.err
    assert len(platform.posts) == 1


def test_plan_file_remembers_its_selection(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """A plan of some deployments is planned again for the same ones."""
    project.init("alpha", "beta")
    path = str(project.root / "plan.json")
    project.run("plan", "alpha", "--out", path).ended(0)
    project.apply("--plan", path).ended(0)
    assert platform.posts == [("deploy", "cm-alpha")]
    assert "already says" in project.apply("--plan", path, "beta").ended(64).err


def edited(project: ProjectFolder) -> None:
    project.deploy("alpha", temperature=0.5)


def moved(project: ProjectFolder) -> None:
    project.apply("alpha").ended(0)


def removed(project: ProjectFolder) -> None:
    (project.root / "manifests/alpha.yaml").unlink()
    project.deploy("beta")


def made_anew(project: ProjectFolder) -> None:
    project.run("init", "--state", "elsewhere").ended(0)
    project.environ["RECONCILER_STATE"] = "elsewhere"


@pytest.mark.parametrize("change", [edited, moved, removed, made_anew], ids=lambda change: change.__name__)
def test_stale_plan_file_changes_nothing(change: Any, project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """Manifest edited, state moved, manifest gone, another lineage: exit code 7, what differs is said, nothing is sent."""
    project.init("alpha")
    path = planned_to_file(project)
    change(project)
    before = len(platform.posts)
    stale = project.apply("--plan", path).ended(7)
    assert "The plan file and today's plan differ:\n  - " in stale.err
    assert len(platform.posts) == before


def test_plan_file_of_an_environment_that_is_gone(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """A plan for an environment that the project no longer has is refused by name."""
    project.init("alpha")
    path = planned_to_file(project)
    text = (project.root / "plan.json").read_text(encoding="utf-8")
    project.write("plan.json", text.replace("production", "elsewhere"))
    refused = project.apply("--plan", path)
    assert refused.code in {3, 64}
    assert "elsewhere" in refused.err or "plan.json" in refused.err
    assert platform.posts == []


def test_plan_file_must_be_approved_too(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """Without a terminal and without --yes a plan file is not applied."""
    project.init("alpha")
    path = planned_to_file(project)
    assert "--yes" in project.run("apply", "--plan", path).ended(64).err
    assert platform.posts == []


def test_out_is_about_one_environment(project: ProjectFolder) -> None:
    """--out with several environments asks which."""
    project.configure({"staging": {}})
    project.deploy("alpha", more=TWO_ENVIRONMENTS)
    project.run("init").ended(0)
    assert "-e ENV" in project.run("plan", "--out", str(project.root / "p.json")).ended(64).err
    assert not (project.root / "p.json").exists()


# Several environments


def test_apply_to_several_environments_must_be_said(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """With two environments apply wants -e or --all-environments; each has a run and a state of its own."""
    project.configure({"staging": {}})
    project.deploy("alpha", more=TWO_ENVIRONMENTS)
    project.run("init").ended(0)
    assert "--all-environments" in project.apply().ended(64).err
    assert platform.posts == []
    project.apply("-e", "staging").ended(0)
    assert platform.posts == [("deploy", "cm-staged")]
    both = project.apply("--all-environments").ended(0)
    assert "Run: production: 1 succeeded." in both.out
    assert platform.posts == [("deploy", "cm-staged"), ("deploy", "cm-alpha")]
    assert "2 deployments" in project.run("status").ended(0).out
    assert "1 deployment:" in project.run("status", "-e", "staging").ended(0).out


def test_unknown_environment_is_a_typo(project: ProjectFolder) -> None:
    """-e with a name that is not there offers the nearest."""
    project.init("alpha")
    assert "Did you mean production?" in project.run("plan", "-e", "productio").ended(64).err


def test_removed_environment_is_refused_while_its_state_has_entries(
    project: ProjectFolder, platform: SimulatedPlatform
) -> None:
    """Taking an environment out of the project file does not make its deployments disappear in silence."""
    project.configure({"staging": {}})
    project.deploy("alpha", more=TWO_ENVIRONMENTS)
    project.run("init").ended(0)
    project.apply("--all-environments").ended(0)
    project.configure()
    project.deploy("alpha")
    refused = project.run("plan").ended(6)
    assert "staging" in refused.err
    project.apply().ended(6)
    assert len(platform.posts) == 2


def test_host_flag_stands_for_one_environment(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """--host replaces the project file's host, for the environment that is meant."""
    project.init("alpha")
    project.host = "https://elsewhere.example.com"
    project.configure({"staging": {}})
    project.deploy("alpha", more=TWO_ENVIRONMENTS)
    project.run("init").ended(0)
    assert "-e ENV" in project.run("plan", "--host", platform.origin).ended(64).err
    project.apply("-e", "production", "--host", platform.origin).ended(0)
    assert platform.posts == [("deploy", "cm-alpha")]


# The state belongs to a host and a key


def test_another_host_needs_rebind(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """A state with entries is bound to its host; another one is refused until --rebind says that it is the same."""
    project.init("alpha")
    project.apply().ended(0)
    project.host = platform.origin.replace("127.0.0.1", "localhost")
    project.configure()
    project.deploy("alpha", temperature=0.5)
    refused = project.apply("--allow-mass-change").ended(6)
    assert platform.origin in refused.err
    assert "localhost" in refused.err
    assert "--rebind" in refused.err
    assert len(platform.posts) == 1
    assert "1 to redeploy" in project.run("plan", "--rebind").ended(0).out
    project.apply("--rebind", "--allow-mass-change").ended(0)
    assert project.state["binding"]["origin"] == project.host
    project.run("plan").ended(0)


def test_another_key_reference_needs_rebind(project: ProjectFolder) -> None:
    """The reference of the key is a part of the binding."""
    project.init("alpha")
    project.apply().ended(0)
    project.environ["OTHER_KEY"] = project.variables["PRODUCTION_API_KEY"]
    project.configure(apiKey={"env": "OTHER_KEY"})
    assert "env:OTHER_KEY" in project.apply().ended(6).err
    project.apply("--rebind").ended(0)
    project.apply().ended(0)


def test_missing_state_is_no_evidence(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """Without a state nothing is planned or sent until --init-state or init says that it is new."""
    project.configure()
    project.deploy("alpha")
    for command in ("plan", "status"):
        assert "reconciler init" in project.run(command).ended(6).err
    assert "adopt" in project.apply().ended(6).err
    assert platform.posts == []
    assert not (project.root / ".reconciler").exists()
    project.run("plan", "--init-state").ended(0)
    assert not (project.root / ".reconciler").exists()
    project.apply("--init-state").ended(0)
    assert platform.posts == [("deploy", "cm-alpha")]


# Guards


def test_mass_change_needs_its_flag(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """Redeploying everything is refused with 5 until --allow-mass-change; a plan file made with it carries it."""
    project.init("alpha", "beta")
    project.apply().ended(0)
    for name in ("alpha", "beta"):
        project.deploy(name, temperature=0.5)
    refused = project.apply().ended(5)
    assert "--allow-mass-change" in refused.err
    assert len(platform.posts) == 2
    path = str(project.root / "plan.json")
    project.run("plan", "--allow-mass-change", "--out", path).ended(0)
    project.apply("--plan", path).ended(0)
    assert len(platform.posts) == 4


def test_prune_undeploys_and_protection_forbids(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """With prune a removed manifest undeploys; a protected one stays although its manifest is gone."""
    project.init("alpha", "beta", "gamma")
    project.configure(prune=True)
    project.deploy("beta", more="rollout: {protect: true}")
    project.apply().ended(0)
    for name in ("alpha", "beta"):
        (project.root / f"manifests/{name}.yaml").unlink()
    shown = project.apply().ended(0)
    assert "production/beta" in shown.out
    assert platform.posts[3:] == [("undeploy", "cm-alpha")]


def test_in_ci_a_folder_may_not_outlive_the_runner(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """CI=true refuses a state in a folder until somebody says that it is kept."""
    project.init("alpha")
    project.environ["CI"] = "true"
    assert "--allow-ephemeral-state" in project.apply().ended(5).err
    assert platform.posts == []
    project.run("plan").ended(0)
    project.apply("--allow-ephemeral-state").ended(0)


def test_nobody_can_be_asked_without_a_terminal(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """Without --yes and without a terminal apply is a usage error, unless there is nothing to approve."""
    project.init("alpha")
    assert "--yes" in project.process("apply").ended(64).err
    assert platform.posts == []
    project.apply().ended(0)
    project.process("apply").ended(0)


def test_rename_and_metadata_are_only_recorded(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """A manifest under another name, with the platform's name kept, is bookkeeping: nothing is sent."""
    project.init("alpha")
    project.apply().ended(0)
    (project.root / "manifests/alpha.yaml").unlink()
    project.deploy("omega", model_id="cm-alpha", more="name: alpha")
    assert "1 to rename" in project.run("plan").ended(0).out
    project.apply().ended(0)
    assert project.entry("omega")["modelId"] == "cm-alpha"
    assert len(platform.posts) == 1


def test_plan_output_is_the_same_twice(project: ProjectFolder) -> None:
    """The same inputs give the same plan file, byte for byte."""
    project.init("alpha", "beta")
    first = project.run("plan", "-o", "json").ended(0).out
    assert project.run("plan", "-o", "json").ended(0).out == first
    assert json.loads(first)["plans"][0]["environment"] == "production"
