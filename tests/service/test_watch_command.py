"""`reconciler watch` as a process: a folder and a branch, signals and kills, once and dry."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.service.conftest import SimulatedPlatform
from tests.support.project import ProjectFolder, Running

QUICK = ("--settle", "0.1", "--log-format", "json")
FEW = 5  # deployments: changing one of them is no mass change


def _began(project: ProjectFolder, *arguments: str) -> Running:
    """A watch whose first pass is over."""
    process = project.start("watch", *QUICK, *_quiet(), *arguments)
    process.wait_for('"event": "pass"')
    return process


def _quiet() -> tuple[str, ...]:
    """No page: the tests of the page have one."""
    return ("--listen", "none")


def _end(process: Running) -> None:
    process.signal(signal.SIGTERM)
    process.end().ended(0)


def test_saves_become_deployments(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """What is there is deployed, what is saved is redeployed, and SIGTERM ends it well."""
    names = [f"m{number}" for number in range(FEW)]
    project.init(*names)
    process = _began(project)
    assert sorted(platform.posts) == [("deploy", f"cm-{name}") for name in names]
    project.deploy("m1", temperature=0)
    process.wait_for('"ended": "succeeded"')
    process.wait_for('"event": "pass"')
    assert platform.posts[FEW:] == [("deploy", "cm-m1")]
    _end(process)
    assert project.entry("m1")["live"]["how"] == "deployed"


def test_once(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """One pass, with apply's exit codes."""
    project.init("a", "b")
    platform.plays({"job": {"fails": True}, "match": {"model": "cm-c"}})
    project.process("watch", "--once", *QUICK).ended(0)
    assert len(platform.posts) == 2
    project.deploy("c")
    project.process("watch", "--once", *QUICK).ended(8)
    project.write("manifests/c.yaml", "kind: [")
    project.process("watch", "--once", *QUICK).ended(3)


def test_a_project_file_that_is_gone(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """That it is not there is said first, by the loop and by every command; nothing changes, and once it is back all goes on."""
    project.init(*"abcde")
    process = _began(project)
    (project.root / "reconciler.yaml").rename(project.root / "x")
    said = process.wait_for('"event": "pass"')
    assert "reconciler.yaml is not there, and the state in" in said
    assert "has 5 entries of the environment production. Put it back" in said
    assert "The project file" in project.run("plan").ended(6).err
    (project.root / "x").rename(project.root / "reconciler.yaml")
    project.deploy("a", temperature=0)
    process.wait_for('"ended": "succeeded"')
    _end(process)
    assert len(platform.posts) == 6


def test_a_spoilt_project_file(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """It changes nothing, the pass says where the mistake is, and once it is mended everything goes on."""
    project.init(*"abcde")
    process = _began(project)
    whole = (project.root / "reconciler.yaml").read_text()
    project.write("reconciler.yaml", whole.replace('"kind"', '"kin"'))
    said = process.wait_for('"event": "pass"')
    assert "Nothing was changed; the first: reconciler.yaml:" in said
    project.write("reconciler.yaml", whole)
    project.deploy("a", temperature=0)
    process.wait_for('"ended": "succeeded"')
    _end(process)
    assert len(platform.posts) == 6


def test_dry_run(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """It says what it would do, on stdout; nothing is sent and nothing written."""
    project.init("a", "b")
    before = project.everything_written()
    shown = project.process("watch", "--once", "--dry-run", *QUICK).ended(0)
    assert "2 to deploy" in shown.out
    assert not platform.lines
    assert project.everything_written() == before


def test_hangup_asks_for_a_look(project: ProjectFolder) -> None:
    """SIGHUP means look now."""
    project.init(*"abcde")
    process = _began(project)
    process.signal(signal.SIGHUP)
    assert "SIGHUP" in process.wait_for('"event": "pass"')
    _end(process)


def test_the_clock_asks_for_a_look(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """What nothing told is found by the clock."""
    project.init(*"abcde")
    process = _began(project, "--resync", "0.2", "--poll", "1h")
    project.deploy("a", temperature=0)
    process.wait_for('"ended": "succeeded"', within=30)
    assert "the clock" in process.wait_for('"event": "pass"', within=30)
    _end(process)
    assert platform.posts[FEW:] == [("deploy", "cm-a")]


def test_suspension_holds_for_watch_and_apply(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """Who, why and until when are shown; neither watch nor apply changes anything; resume ends it."""
    project.init(*"abcde")
    project.apply().ended(0)
    project.run("suspend", "production/a", "--reason", "being debugged", "--for", "4h").ended(0)
    for command in (("plan",), ("plan", "-o", "markdown"), ("apply", "--yes"), ("history",)):
        assert re.search(
            r"production/a is suspended by \S+ until .* UTC: being debugged", project.run(*command).ended(0).out
        )
    assert project.run("plan", "-o", "json").json["plans"][0]["suspensions"][0]["why"] == "being debugged"
    assert project.run("history", "-o", "json").json["suspensions"][0]["address"] == "production/a"
    project.deploy("a", temperature=0)
    project.process("watch", "--once", *QUICK).ended(0)
    project.apply()
    assert len(platform.posts) == 5
    explained = project.run("explain", "production/a").out
    assert "being debugged" in explained
    assert "ada" in explained
    project.run("resume", "production/a", "--reason", "done").ended(0)
    project.process("watch", "--once", *QUICK).ended(0)
    assert len(platform.posts) == 6
    project.run("suspend", "production", "--reason", "night").ended(0)
    project.deploy("b", temperature=0)
    project.process("watch", "--once", *QUICK).ended(0)
    assert len(platform.posts) == 6


def test_suspend_says_what_is_wrong(project: ProjectFolder) -> None:
    """A duration that is none and a deployment that is not there are usage errors."""
    project.init("a")
    project.run("suspend", "production", "--reason", "x", "--for", "a while").ended(64)
    project.run("suspend", "production/a", "--reason", "x").ended(64)  # not in the state yet
    project.run("suspend", "production").ended(64)  # why?
    project.run("resume", "production/a", "--allow-mass-change").ended(64)


def test_mass_change_is_allowed_once(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """A pass waits and exits with 5 until `resume --allow-mass-change`, which counts for one run."""
    project.init(*"abcde")
    project.apply().ended(0)
    for name in "abcde":
        project.deploy(name, temperature=0)
    project.process("watch", "--once", *QUICK).ended(5)
    project.run("resume", "production", "--allow-mass-change").ended(0)
    project.run("resume", "production", "--allow-mass-change").ended(64)
    project.process("watch", "--once", *QUICK).ended(0)
    assert len(platform.posts) == 10
    for name in "abcde":
        project.deploy(name, temperature=0.5)
    project.process("watch", "--once", *QUICK).ended(5)


@pytest.mark.parametrize("option", ["--interval", "--resync", "--poll"])
def test_an_interval_of_nothing(project: ProjectFolder, option: str) -> None:
    """What would leave the loop no time for anything else is refused, with the least that may be asked for."""
    project.init("a")
    assert "write 0.1s or more" in project.process("watch", "--once", option, "0", *QUICK).ended(64).err


def _git(folder: Path) -> Callable[..., None]:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)

    return git


def test_branch(project: ProjectFolder, platform: SimulatedPlatform, tmp_path: Path) -> None:
    """A branch of a bare repository is watched: a push is deployed, the commit is recorded, links lead nowhere."""
    bare, work = tmp_path / "bare.git", tmp_path / "work"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare)], check=True)
    subprocess.run(["git", "init", "-q", "-b", "main", str(work)], check=True)
    git = _git(work)
    project.init(*"abcde")
    (project.root / "manifests").rename(work / "manifests")
    git("add", ".")
    git("commit", "-qm", "first")
    git("push", "-q", str(bare), "main")
    environ = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    file = str(project.root / "reconciler.yaml")
    options = ("--git", str(bare), "--ref", "main", "--project", file, "--interval", "0.2", *QUICK, *_quiet())
    process = project.start("watch", *options, **environ)
    process.wait_for('"event": "pass"')
    assert len(platform.posts) == 5
    text = (work / "manifests/a.yaml").read_text()
    (work / "manifests/a.yaml").write_text(text.replace("temperature: 1", "temperature: 0"))
    git("commit", "-qam", "second")
    git("push", "-q", str(bare), "main")
    process.wait_for('"ended": "succeeded"')
    process.wait_for('"event": "pass"')
    assert platform.posts[5:] == [("deploy", "cm-a")]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=work, check=True, capture_output=True, text=True).stdout
    (work / "manifests/b.yaml").unlink()
    (work / "manifests/b.yaml").symlink_to("/etc/passwd")
    git("add", ".")
    git("commit", "-qm", "a link")
    git("push", "-q", str(bare), "main")
    assert "links are not followed" in process.wait_for('"event": "pass"')
    _end(process)
    assert project.entry("a")["live"]["commit"] == head.strip()


def test_branch_that_cannot_be_fetched(project: ProjectFolder, platform: SimulatedPlatform, tmp_path: Path) -> None:
    """A failed fetch changes nothing and says why; an address that would run a command is refused."""
    project.init("a")
    file = str(project.root / "reconciler.yaml")
    environ = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    shown = project.process(
        "watch", "--once", "--git", str(tmp_path / "nowhere"), "--project", file, *QUICK, **environ
    ).ended(3)
    assert "cannot be fetched" in shown.err
    assert not platform.lines
    (tmp_path / "temporary").mkdir()
    environ = {"HOME": "", "TMPDIR": str(tmp_path / "temporary")}
    project.process("watch", "--once", "--git", str(tmp_path / "nowhere"), "--project", file, *QUICK, **environ).ended(
        3
    )
    assert not list((tmp_path / "temporary").iterdir()), "the clone is left behind where there is no place to keep it"
    project.process("watch", "--once", "--git", "ext::sh -c true", "--project", file).ended(64)
    project.process("watch", "--once", "--git", str(tmp_path)).ended(64)  # without the operator's project file
