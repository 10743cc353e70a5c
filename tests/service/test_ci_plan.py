"""What a job sees of `plan` and `validate`: another commit, a base, signatures, files beside the output, every format."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.service.conftest import SimulatedPlatform
from tests.support.checkout import commit, git, new_checkout
from tests.support.formats import check_code_quality, check_junit, commands_in
from tests.support.project import PRODUCTION, ProjectFolder

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def repository(project: ProjectFolder) -> ProjectFolder:
    """A project in git with `a` and `b` live, and a branch `change` checked out."""
    new_checkout(project.root)
    project.init("a", "b")
    project.apply().ended(0)
    commit(project.root)
    git(project.root, "checkout", "--quiet", "-b", "change")
    return project


def test_another_commit(repository: ProjectFolder) -> None:
    """--ref plans a commit as its checkout would be planned, and leaves the checkout alone."""
    repository.deploy("a", temperature=0.5)
    changed = commit(repository.root)
    here = repository.run("plan", "-o", "json").ended(0).json
    git(repository.root, "checkout", "--quiet", "main")
    repository.deploy("c")
    there = repository.run("plan", "--ref", "change", "-o", "json").ended(0).json
    assert there == here
    assert there["plans"][0]["commit"] == changed
    assert git(repository.root, "status", "--porcelain") == "?? manifests/c.yaml\n"
    assert "c" not in [change["name"] for change in there["plans"][0]["changes"]]


def test_plan_file_of_another_commit(repository: ProjectFolder, platform: SimulatedPlatform) -> None:
    """What was planned from a commit can be applied once it is checked out."""
    repository.deploy("a", temperature=0.5)
    commit(repository.root)
    git(repository.root, "checkout", "--quiet", "main")
    out = str(repository.root / "plan.json")
    repository.run("plan", "--ref", "change", "-e", PRODUCTION, "--out", out).ended(0)
    repository.apply("--plan", out).ended(7)
    git(repository.root, "checkout", "--quiet", "change")
    repository.apply("--plan", out).ended(0)
    assert platform.posts[-1][1] == "cm-a"


@pytest.mark.parametrize("option", ["--ref", "--base"])
def test_no_such_commit(repository: ProjectFolder, option: str) -> None:
    """A commit that is not there ends with 3 and says how to fetch it."""
    shown = repository.run("plan", option, "origin/nowhere").ended(3)
    assert "There is no commit 'origin/nowhere'" in shown.err
    assert "fetch" in shown.err


def test_outside_of_git(project: ProjectFolder) -> None:
    """Without a repository there is nothing to compare with."""
    project.init("a")
    assert "not in a git repository" in project.run("plan", "--base", "main").ended(3).err


def test_broken_commit(repository: ProjectFolder) -> None:
    """Mistakes in another commit are told with the commit; the checkout's lines are not quoted for it."""
    repository.write(
        "manifests/a.yaml", (repository.root / "manifests/a.yaml").read_text().replace("topK: 50", "topK: 0")
    )
    name = commit(repository.root)
    git(repository.root, "checkout", "--quiet", "main")
    shown = repository.run("plan", "--ref", "change").ended(3)
    assert f"{name[:12]}:manifests/a.yaml:8:" in shown.err
    assert "topK: 50" not in shown.err


def test_cause_and_passenger(repository: ProjectFolder) -> None:
    """What this branch changes is told from what was pending on its base, in every format."""
    git(repository.root, "checkout", "--quiet", "main")
    repository.deploy("b", temperature=0.1)  # merged, and not applied yet
    commit(repository.root)
    git(repository.root, "checkout", "--quiet", "-B", "change")
    repository.deploy("a", temperature=0.5)
    commit(repository.root)
    arguments = ("plan", "--base", "main", "-o")
    (causes,) = repository.run(*arguments, "json").ended(0).json["causes"]
    assert (causes["caused"], causes["ridesAlong"]) == (["production/a"], ["production/b"])
    text = repository.run(*arguments, "text").ended(0).out
    assert "1 change caused here, 1 riding along" in text
    assert "**1 of it rides along**" in repository.run(*arguments, "markdown").ended(0).out
    codes = [one["check_name"] for one in repository.run(*arguments, "gitlab").ended(0).json]
    assert codes == ["plan/guard", "plan/redeploy", "plan/ride-along"]
    shown = repository.run(*arguments, "text", "--fail-on", "ride-along").ended(5)
    assert "production/b" in shown.err
    assert text == shown.out


def test_nothing_rides_along(repository: ProjectFolder) -> None:
    """--fail-on ride-along passes when everything is this branch's own doing."""
    repository.deploy("a", temperature=0.5)
    commit(repository.root)
    repository.run("plan", "--base", "main", "--fail-on", "ride-along").ended(0)
    assert "needs to know since when" in repository.run("plan", "--fail-on", "ride-along").ended(64).err


def test_base_that_went_on(repository: ProjectFolder) -> None:
    """What the base did since the branch left is neither caused nor undone by it, but it is said."""
    git(repository.root, "checkout", "--quiet", "main")
    repository.deploy("b", temperature=0.1)
    commit(repository.root)
    git(repository.root, "checkout", "--quiet", "change")
    repository.deploy("a", temperature=0.5)
    shown = repository.run("plan", "--base", "main", "-o", "json").ended(0)
    (causes,) = shown.json["causes"]
    assert (causes["caused"], causes["ridesAlong"], causes["undone"]) == (["production/a"], [], [])
    assert "main has a commit that is not planned here" in shown.err
    assert causes["baseAhead"] == 1
    assert (
        "`main` has 1 commit that is not planned here" in repository.run("plan", "--base", "main", "-o", "markdown").out
    )


def test_base_with_errors(repository: ProjectFolder) -> None:
    """A base that cannot be read in full is compared as far as it can, and that is said."""
    git(repository.root, "checkout", "--quiet", "main")
    repository.write("manifests/a.yaml", "apiVersion: reconciler/v1\nkind: {\n")
    commit(repository.root)
    git(repository.root, "checkout", "--quiet", "-B", "change")
    repository.deploy("a", temperature=0.5)
    shown = repository.run("plan", "--base", "main", "-o", "json").ended(0)
    (causes,) = shown.json["causes"]
    assert (causes["caused"], causes["baseHasErrors"]) == (["production/a"], True)


def test_base_without_a_project(repository: ProjectFolder) -> None:
    """A base whose project file cannot be read says nothing of any environment."""
    git(repository.root, "checkout", "--quiet", "main")
    repository.write("reconciler.yaml", "kind: [\n")
    commit(repository.root)
    git(repository.root, "checkout", "--quiet", "-B", "change")
    repository.configure()
    repository.deploy("a", temperature=0.5)
    (causes,) = repository.run("plan", "--base", "main", "-o", "json").ended(0).json["causes"]
    assert (causes["caused"], causes["baseHasErrors"]) == (["production/a"], True)


def test_new_environment(repository: ProjectFolder) -> None:
    """In an environment that the base does not have everything is this branch's doing."""
    repository.configure({"staging": {}})
    for name in ("a", "b"):
        repository.deploy(name, more="environments: {staging: {modelId: cm-s-" + name + "}, production: {}}")
    commit(repository.root)
    shown = repository.run("plan", "-e", "staging", "--init-state", "--base", "main", "-o", "json").ended(0)
    (causes,) = shown.json["causes"]
    assert causes["caused"] == ["staging/a", "staging/b"]


def test_signed(repository: ProjectFolder, platform: SimulatedPlatform, tmp_path: Path) -> None:
    """--require-signed plans and applies the commit itself, and only when git verifies who signed it."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    assert "cannot be verified" in repository.run("plan", "--require-signed").ended(5).err
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (tmp_path / "signers").write_text(f"ada@example.com {key.with_suffix('.pub').read_text()}")
    for name, value in (
        ("gpg.format", "ssh"),
        ("gpg.ssh.allowedSignersFile", str(tmp_path / "signers")),
        ("user.signingKey", str(key)),
    ):
        git(repository.root, "config", name, value)
    repository.deploy("a", temperature=0.5)
    git(repository.root, "add", "--all")
    git(repository.root, "commit", "--quiet", "-S", "--message", "m")
    repository.deploy("b", temperature=0.5)  # signed by nobody
    changes = repository.run("plan", "--require-signed", "-o", "json").ended(0).json["plans"][0]["changes"]
    assert {one["name"]: one["action"] for one in changes} == {"a": "redeploy", "b": "none"}
    repository.run("plan", "--require-signed", "--ref", "main").ended(5)
    before = len(platform.posts)
    assert "is signed. Only what it holds counts" in repository.apply("--require-signed").ended(0).err
    assert [model for _, model in platform.posts[before:]] == ["cm-a"]
    attempt = repository.entry("a")["attempts"][-1]
    assert attempt["provenance"]["commit"] == git(repository.root, "rev-parse", "HEAD").strip()
    commit(repository.root)
    assert "cannot be verified" in repository.apply("--require-signed").ended(5).err


def test_files_beside_the_output(repository: ProjectFolder) -> None:
    """--json-into and --markdown-into write what -o json and -o markdown print, beside the text."""
    repository.deploy("a", temperature=0.5)
    files = [str(repository.root.parent / name) for name in ("plan.json", "plan.md")]
    shown = repository.run("plan", "--json-into", files[0], "--markdown-into", files[1]).ended(0)
    assert shown.out.endswith("Plan: production: 1 to redeploy, 1 unchanged.\n")
    assert json.loads(Path(files[0]).read_text()) == repository.run("plan", "-o", "json").ended(0).json
    assert Path(files[1]).read_text() == repository.run("plan", "-o", "markdown").ended(0).out


def test_job_page(repository: ProjectFolder) -> None:
    """In GitHub Actions the plan stands on the job's page too; what is there already stays."""
    page = repository.root.parent / "summary.md"
    page.write_text("# before\n")
    repository.environ |= {"GITHUB_STEP_SUMMARY": str(page)}
    repository.deploy("a", temperature=0.5)
    repository.run("plan", "-o", "github").ended(0)
    repository.run("validate", "-o", "github").ended(0)
    text = page.read_text()
    assert text.startswith("# before\n")
    assert "### 1 redeploy, 1 unchanged in `production`" in text
    assert "### Every manifest is valid" in text
    repository.environ |= {"GITHUB_STEP_SUMMARY": str(page.parent / "nowhere" / "x")}
    assert "cannot be written" in repository.run("plan", "-o", "github").ended(1).err


def test_seen_from_the_top(repository: ProjectFolder) -> None:
    """Where the project is a folder of what CI checked out, files are named from its top."""
    repository.deploy("a", temperature=7)
    for variable in ("GITHUB_WORKSPACE", "CI_PROJECT_DIR"):
        repository.environ = {variable: str(repository.root.parent)}
        ((_, properties, _),) = commands_in(repository.run("validate", "-o", "github").ended(3).out)
        assert properties["file"] == "project/manifests/a.yaml"


@pytest.mark.parametrize("command", ["validate", "plan"])
@pytest.mark.parametrize("broken", ["manifests/a.yaml", "reconciler.yaml"])
def test_mistakes_in_every_format(repository: ProjectFolder, command: str, broken: str) -> None:
    """Mistakes end with 3 and are told in the format that was asked for, wherever they are."""
    text = (repository.root / broken).read_text()
    repository.write(broken, text.replace("topK: 50", "topK: 0").replace('"host"', '"hots"'))
    report = repository.run(command, "-o", "gitlab").ended(3).json
    check_code_quality(report)
    assert report[0]["location"]["path"] == broken
    assert report[0]["severity"] == "major"
    root = check_junit(repository.run(command, "-o", "junit").ended(3).out)
    assert root.attrib["failures"] == "1"
    results = repository.run(command, "-o", "sarif").ended(3).json["runs"][0]["results"]
    assert len(results) == len(report)
    commands = list(commands_in(repository.run(command, "-o", "github").ended(3).out))
    assert [properties["file"] for _, properties, _ in commands] == [broken] * len(report)


def test_refused_plan_is_a_comment(repository: ProjectFolder) -> None:
    """Where nothing can be planned the comment says why, and takes the place of an outdated plan."""
    repository.deploy("a", temperature=7)
    path = repository.root.parent / "plan.md"
    shown = repository.run("plan", "-o", "markdown", "--markdown-into", str(path)).ended(3)
    assert shown.out == path.read_text()
    assert shown.out.startswith("<!-- reconciler:plan -->\n\n### Nothing can be planned")
    assert "`manifests/a.yaml:8:" in shown.out
    assert "RC304" in shown.err


def test_no_state_is_told_in_every_format(repository: ProjectFolder) -> None:
    """Where there is no state, or no signature, the comment and every report say so: no outdated one stays."""
    arguments = ("plan", "--state", str(repository.root.parent / "nowhere"), "-o")
    path = repository.root.parent / "plan.md"
    shown = repository.run(*arguments, "markdown", "--markdown-into", str(path)).ended(6)
    assert path.read_text() == shown.out
    assert shown.out.startswith("<!-- reconciler:plan -->\n\n### Nothing can be planned\n\n```text\nThere is no state")
    assert "There is no state for production" in shown.err
    report = repository.run(*arguments, "gitlab").ended(6).json
    check_code_quality(report)
    assert [one["check_name"] for one in report] == ["plan/refused"]
    assert check_junit(repository.run(*arguments, "junit").ended(6).out).attrib["failures"] == "1"
    assert len(repository.run(*arguments, "sarif").ended(6).json["runs"][0]["results"]) == 1
    ((command, _, message),) = commands_in(repository.run(*arguments, "github").ended(6).out)
    assert (command, message.partition(" in ")[0]) == ("error", "There is no state for production")
    signed = repository.run("plan", "--require-signed", "-o", "markdown").ended(5).out
    assert "The signature of commit" in signed


def test_places_are_links_on_a_forge(repository: ProjectFolder) -> None:
    """In a job the comment links each place to the planned commit; a checkout with changes has no such commit."""
    repository.deploy("a", temperature=0.5)
    name = commit(repository.root)
    top = str(repository.root.parent)
    for variables, address in (
        (
            {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "acme/models"},
            "github.com/acme/models/blob",
        ),
        ({"CI_PROJECT_URL": "https://gitlab.com/acme/models"}, "gitlab.com/acme/models/-/blob"),
        (
            {"GITHUB_SERVER_URL": "https://git.io", "GITHUB_REPOSITORY": "a/b", "GITEA_ACTIONS": "true"},
            "git.io/a/b/src/commit",
        ),
    ):
        repository.environ = {"GITHUB_WORKSPACE": top, **variables}
        shown = repository.run("plan", "-o", "markdown").ended(0).out
        assert re.search(
            rf"\| \[`manifests/a.yaml:\d+`\]\(https://{address}/{name}/project/manifests/a.yaml#L\d+\) \|", shown
        )
    repository.environ = {"CI_PROJECT_URL": "javascript:alert(1)"}
    assert "](" not in repository.run("plan", "-o", "markdown").ended(0).out
    repository.environ = {"CI_PROJECT_URL": "https://gitlab.com/acme/models"}
    repository.deploy("a", temperature=0.6)
    assert "](" not in repository.run("plan", "-o", "markdown").ended(0).out


def test_orphan_of_this_branch(repository: ProjectFolder) -> None:
    """Taking a manifest away where nothing is pruned is told as this branch's doing."""
    (repository.root / "manifests/a.yaml").unlink()
    commit(repository.root)
    arguments = ("plan", "--base", "main", "-o")
    (causes,) = repository.run(*arguments, "json").ended(0).json["causes"]
    assert (causes["caused"], causes["orphaned"]) == ([], ["production/a"])
    assert "orphaned     production/a  its manifest is gone" in repository.run(*arguments, "text").ended(0).out
    assert "still running: `production/a`" in repository.run(*arguments, "markdown").ended(0).out


def test_validate_json_beside_text(project: ProjectFolder) -> None:
    """--json-into writes the diagnostics beside the text, none and many alike."""
    project.init("a")
    path = project.root.parent / "found.json"
    project.run("validate", "--json-into", str(path)).ended(0)
    assert json.loads(path.read_text())["errors"] == 0
    project.deploy("a", temperature=7)
    project.run("validate", "--json-into", str(path)).ended(3)
    assert json.loads(path.read_text())["errors"] == 1
    project.write("reconciler.yaml", "kind: Project\n")
    project.run("validate", "--json-into", str(path)).ended(3)
    assert json.loads(path.read_text())["errors"] == 1


def test_a_plan_needs_no_key(repository: ProjectFolder) -> None:
    """Nothing that a pull request's job runs looks at the key."""
    repository.environ |= {"PRODUCTION_API_KEY": ""}
    for arguments in (("validate",), ("plan",), ("plan", "--base", "main", "-o", "markdown"), ("fmt", "--check")):
        assert repository.run(*arguments).code in {0, 3}
