"""Output that cannot be written: what is shown before a call is shown whole or nothing is sent, and what a run ended with counts
more than that it could not be told.

`tests/crash` does not count writes to stdout and stderr as calls that may fail; here they do. The process's limit on the
size of files is above every file of the state; the sink of its output is a file with holes that lies just below it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.service.conftest import SLOW_JOB, SimulatedPlatform
from tests.support.project import PATIENCE, PRODUCTION, ProjectFolder, Shown

LIMIT = 64 * 1024 * 1024  # bytes of a file
LITTLE = 20  # bytes that are left behind the plan
LIMITED = "import os, resource, sys\nresource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))\nos.execv(sys.argv[1], sys.argv[1:])"
UNBUFFERED = pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])


@contextmanager
def sink(project: ProjectFolder, left: int) -> Iterator[IO[bytes]]:
    """A file that takes so many bytes more."""
    path = project.root.parent / "sink"
    path.touch()
    os.truncate(path, LIMIT - left)
    with path.open("r+b") as stream:
        stream.seek(LIMIT - left)
        yield stream


def ended(project: ProjectFolder, *arguments: str, left: int, both: bool = False, unbuffered: str = "") -> Shown:
    """A process whose stdout takes so many bytes; `both`: and stderr, which is the same file then."""
    command = [sys.executable, "-c", LIMITED.format(LIMIT), sys.executable, "-m", "reconciler", "-C", str(project.root)]
    with sink(project, left) as stream:
        done = subprocess.run(
            [*command, *arguments],
            check=False,
            env={**project.variables, "PYTHONUNBUFFERED": unbuffered},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT if both else subprocess.PIPE,
            timeout=PATIENCE,
        )
        stream.seek(LIMIT - left)
        return Shown(code=done.returncode, out=stream.read().decode(), err=(done.stderr or b"").decode())


def full(project: ProjectFolder, *arguments: str, stream: str, **environ: str) -> Shown:
    """A process whose stdout or stderr is a full device, which the test has opened."""
    with Path("/dev/full").open("wb") as device:
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", "-C", str(project.root), *arguments],
            check=False,
            env={**project.variables, **environ},
            stdin=subprocess.DEVNULL,
            stdout=device if stream == "stdout" else subprocess.PIPE,
            stderr=device if stream == "stderr" else subprocess.PIPE,
            timeout=PATIENCE,
        )
    return Shown(code=done.returncode, out=(done.stdout or b"").decode(), err=(done.stderr or b"").decode())


# The commands that send. Each comes to where it has only to be approved.


def applying(project: ProjectFolder) -> tuple[str, ...]:
    project.init("alpha")
    return ("apply",)


def rolling_back(project: ProjectFolder) -> tuple[str, ...]:
    project.init("alpha")
    project.apply().ended(0)
    project.deploy("alpha", temperature=0.5)
    project.apply("--allow-mass-change").ended(0)
    return ("rollback", "production/alpha", "--allow-mass-change")


def undeploying(project: ProjectFolder) -> tuple[str, ...]:
    project.init("alpha", "beta")
    project.apply().ended(0)
    (project.root / "manifests/alpha.yaml").unlink()
    return ("undeploy", "production/alpha")


SENDING = pytest.mark.parametrize("coming_to", [applying, rolling_back, undeploying])
Coming = Callable[[ProjectFolder], tuple[str, ...]]


def plan_of(project: ProjectFolder, command: tuple[str, ...]) -> int:
    """Bytes of the plan that the command shows before it asks."""
    return len(project.run(*command).ended(64).out.encode())


@UNBUFFERED
@SENDING
def test_what_is_shown_first_is_shown_whole(
    coming_to: Coming, unbuffered: str, project: ProjectFolder, platform: SimulatedPlatform
) -> None:
    """Where the plan cannot be written to its end, nothing is sent and nothing decided."""
    command = coming_to(project)
    before, state = platform.posts, project.state
    room = plan_of(project, command) - LITTLE
    shown = ended(project, *command, "--yes", left=room, unbuffered=unbuffered).ended(1)
    assert "The output cannot be written: File too large." in shown.err
    assert len(shown.out.encode()) == room
    assert platform.posts == before
    assert project.state == state


@UNBUFFERED
@SENDING
def test_lost_reply_that_cannot_be_told(
    coming_to: Coming, unbuffered: str, project: ProjectFolder, platform: SimulatedPlatform
) -> None:
    """An unknown outcome ends with 9, also where the report of it cannot be written."""
    command = coming_to(project)
    platform.plays({"match": {"operation": "undeploy" if command[0] == "undeploy" else "deploy"}, "lost": "after"})
    room = plan_of(project, command) + LITTLE
    shown = ended(project, *command, "--yes", left=room, unbuffered=unbuffered).ended(9)
    assert shown.err.count("The output cannot be written: File too large.") == 1
    assert len(platform.posts) == 1
    assert "Unknown" in project.run("status", "alpha").ended(0).out


def test_lost_reply_and_a_full_log(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """The same where stdout and stderr are one file: nothing can be said, and the exit code says it."""
    command = applying(project)
    platform.plays({"match": {"operation": "deploy"}, "lost": "after"})
    ended(project, *command, "--yes", left=plan_of(project, command) + LITTLE, both=True).ended(9)
    assert len(platform.posts) == 1


@pytest.mark.parametrize("level", ["", "info"], ids=["lines", "log"])
def test_lost_reply_and_full_stderr(level: str, project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """Progress and log that cannot be written disturb no run, and change no exit code that says more."""
    applying(project)
    platform.plays({"match": {"operation": "deploy"}, "lost": "after"})
    shown = full(project, "apply", "--yes", stream="stderr", RECONCILER_LOG_LEVEL=level).ended(9)
    assert "unknown" in shown.out
    assert len(platform.posts) == 1


def test_success_that_cannot_be_told(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """What was done ends with 1 where it could not be told, and is recorded."""
    command = applying(project)
    shown = ended(project, *command, "--yes", left=plan_of(project, command) + LITTLE).ended(1)
    assert "`reconciler status` shows it" in shown.err
    assert platform.posts == [("deploy", "cm-alpha")]
    project.run("plan", "--detailed-exitcode").ended(0)


def test_every_environment_that_was_shown(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """The second environment is applied although the report of the first could not be written: its plan was shown whole."""
    project.configure(more={"staging": {}})
    environments = {PRODUCTION: {}, "staging": {"modelId": "cm-beta"}}
    project.deploy("alpha", more=f"environments: {environments}")
    project.run("init").ended(0)
    command = ("apply", "--all-environments")
    ended(project, *command, "--yes", left=plan_of(project, command) + LITTLE).ended(1)
    assert platform.posts == [("deploy", "cm-alpha"), ("deploy", "cm-beta")]


def test_followed_job_that_cannot_be_told(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """`status --wait` ends with 8 for a job that failed, also where nothing can be written."""
    platform.plays({**SLOW_JOB, "job": {"statuses": ["FAILED"]}})
    project.init("alpha")
    project.apply("--no-wait").ended(0)
    shown = ended(project, "status", "--wait", left=LITTLE).ended(8)
    assert "The output cannot be written" in shown.err
    assert "Failed" in project.run("status").ended(0).out


def changes(project: ProjectFolder) -> tuple[str, ...]:
    return ("plan", "--detailed-exitcode")


def mistakes(project: ProjectFolder) -> tuple[str, ...]:
    project.deploy("alpha", temperature=7)
    return ("validate", "-o", "json")


def help_text(_: ProjectFolder) -> tuple[str, ...]:
    return ("--help",)


def wrong_usage(_: ProjectFolder) -> tuple[str, ...]:
    return ("plan", "--nonsense")


@pytest.mark.parametrize(
    ("stream", "asking", "code"),
    [
        ("stdout", changes, 1),
        ("stdout", mistakes, 3),
        ("stdout", help_text, 1),
        ("stderr", mistakes, 3),
        ("stderr", wrong_usage, 64),
    ],
)
@UNBUFFERED
def test_exit_codes(stream: str, asking: Coming, code: int, unbuffered: str, project: ProjectFolder) -> None:
    """What could be found out counts; what has only to be told ends with 1, in words."""
    project.init("alpha")
    shown = full(project, *asking(project), stream=stream, PYTHONUNBUFFERED=unbuffered).ended(code)
    assert stream == "stderr" or "The output cannot be written: No space left on device." in shown.err


@pytest.mark.parametrize("arguments", [("--version",), ("fmt", "-")])
def test_without_a_project(arguments: tuple[str, ...], project: ProjectFolder) -> None:
    """The same where nothing is read but the arguments."""
    with Path("/dev/full").open("wb") as device:
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", *arguments],
            check=False,
            env=project.variables,
            input=b"a:   1\n",
            stdout=device,
            stderr=subprocess.PIPE,
            timeout=PATIENCE,
        )
    Shown(code=done.returncode, out="", err=done.stderr.decode()).ended(1)
    assert b"The output cannot be written: No space left on device." in done.stderr


# Files that the user names


def received(project: ProjectFolder, *arguments: str) -> bytes:
    """What a reader gets from the named pipe that stands for a file at the end of the arguments."""
    pipe = project.root / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    project.run(*arguments, str(pipe)).ended(0)
    data = os.read(reader, 65536)
    os.close(reader)
    assert pipe.is_fifo()
    pipe.unlink()
    return data


def test_pipes_are_written_to(project: ProjectFolder) -> None:
    """A pipe that is named as a file, as a shell's `>(…)` is, gets the text and stays a pipe."""
    project.init("alpha")
    project.run("plan", "--out", str(project.root / "plan.json")).ended(0)
    assert received(project, "plan", "--out") == (project.root / "plan.json").read_bytes()
    assert received(project, "plan", "--json-into").decode() == project.run("plan", "-o", "json").out
    assert received(project, "plan", "--markdown-into").decode() == project.run("plan", "-o", "markdown").out
    assert received(project, "validate", "--json-into").decode() == project.run("validate", "-o", "json").out


def test_links_stay_links(project: ProjectFolder) -> None:
    """A plan goes where the link leads, and so does what is written into a manifest."""
    project.init("alpha")
    plan, manifest = project.root / "latest.json", project.root / "manifests/linked.yaml"
    plan.symlink_to("plans.json")
    real = project.write("elsewhere/beta.yaml", project.deploy("beta").read_bytes())
    (project.root / "manifests/beta.yaml").unlink()
    manifest.symlink_to("../elsewhere/beta.yaml")
    project.run("plan", "--out", str(plan)).ended(0)
    project.run("adopt", "production/beta", "--write").ended(0)
    assert (plan.is_symlink(), manifest.is_symlink()) == (True, True)
    assert (project.root / "plans.json").read_bytes().startswith(b"{")
    assert "adopt: true" in real.read_text()


def test_where_the_output_goes(project: ProjectFolder) -> None:
    """The file that takes the output is not replaced under it."""
    project.init("alpha")
    path = project.root / "plan.json"
    with path.open("wb") as stream:
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", "-C", str(project.root), "plan", "--out", str(path)],
            check=False,
            env=project.variables,
            stdout=stream,
            stderr=subprocess.PIPE,
            timeout=PATIENCE,
        )
    Shown(code=done.returncode, out="", err=done.stderr.decode()).ended(64)
    assert b"is where the output goes already" in done.stderr
