"""The command line as processes: two at once, signals, kills, closed pipes, and terminals."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.conftest import SLOW_JOB, SimulatedPlatform
from tests.support.held import held_platform
from tests.support.project import ProjectFolder, Terminal

# Two at once


def test_two_at_once(project: ProjectFolder) -> None:
    """One sends; the other names the holder and exits 6; who only looks, follows or decides is not blocked."""
    with held_platform("cm-beta", lost=("cm-alpha",), running=("cm-gamma",)) as platform:
        project.host = platform.origin
        project.init("alpha", "gamma")
        project.apply("--no-wait").ended(9)
        project.deploy("beta")
        first = project.start("apply", "--yes", "beta")
        platform.wait_until_held()

        second = project.apply("beta").ended(6)
        assert f"pid {first.pid}" in second.err
        assert "`reconciler apply` of ada@" in second.err
        assert "run lock" in second.err
        project.run("plan").ended(0)
        assert str(first.pid) in project.run("doctor").ended(0).out
        assert "being sent" in project.run("explain", "production/beta").ended(0).out
        project.run("history").ended(0)
        assert "alive" in project.run("state", "unlock", "--epoch", str(project.state["epoch"])).ended(5).err
        assert "sending" in project.run("resolve", "alpha", "--it-did-not").ended(5).err
        project.run("resolve", "alpha", "--it-happened").ended(0)
        assert "being sent" in project.run("resolve", "beta", "--it-happened").ended(5).err
        platform.finish.set()
        followed = project.run("status", "--wait").ended(0)
        assert "production/gamma" in followed.out

        platform.release.set()
        first.end().ended(0)
        assert platform.deployed.count("cm-beta") == 1
        project.apply().ended(0)
        assert len(platform.deployed) == 3


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_sending_reads_the_reply(number: signal.Signals, project: ProjectFolder) -> None:
    """A reply that comes after the signal is recorded; with nothing unfinished the exit code is the signal's own."""
    with held_platform("cm-alpha") as platform:
        project.host = platform.origin
        project.init("alpha")
        running = project.start("apply", "--yes")
        platform.wait_until_held()
        running.signal(number)
        running.wait_for("Stopping")
        platform.release.set()
        running.end().ended(128 + number)
        assert project.entry("alpha")["live"]["dockStatusId"] == "ds-cm-alpha"
        assert "nothing to do" in project.run("plan").ended(0).out


def test_signal_while_sending_does_not_wait_for_ever(project: ProjectFolder) -> None:
    """Without a reply the run is over after its patience: unknown, exit code 9, and never sent again by itself."""
    with held_platform("cm-alpha") as platform:
        project.host = platform.origin
        project.init("alpha")
        running = project.start("apply", "--yes")
        platform.wait_until_held()
        running.signal(signal.SIGTERM)
        assert "reconciler resolve production/alpha" in running.end().ended(9).out
        project.apply().ended(9)
        assert platform.deployed == ["cm-alpha"]


def test_signal_while_following(project: ProjectFolder) -> None:
    """The job goes on: exit code 9, what was not tried is said, and the next apply follows and does the rest."""
    with held_platform(running=("cm-alpha",)) as platform:
        project.host = platform.origin
        project.init("alpha")
        project.deploy("needy", more="rollout: {dependsOn: [alpha]}")
        running = project.start("apply", "--yes")
        running.wait_for("accepted")
        running.signal(signal.SIGTERM)
        shown = running.end().ended(9)
        assert "Run: production: 1 running, 1 not tried." in shown.out
        assert "reconciler status -e production --wait" in shown.out
        platform.finish.set()
        project.apply().ended(0)
        assert platform.deployed == ["cm-alpha", "cm-needy"]


def test_killed_while_following(project: ProjectFolder) -> None:
    """After kill -9 the next apply follows the same job and sends nothing; the dead run's lock stands in nobody's way."""
    with held_platform(running=("cm-alpha",)) as platform:
        project.host = platform.origin
        project.init("alpha")
        running = project.start("apply", "--yes")
        running.wait_for("accepted")
        running.signal(signal.SIGKILL)
        assert running.end().code == -signal.SIGKILL
        assert "ds-cm-alpha" in project.run("status").ended(0).out
        platform.finish.set()
        project.apply().ended(0)
        assert platform.deployed == ["cm-alpha"]


def test_unlock_clears_what_a_dead_run_left(project: ProjectFolder) -> None:
    """The lock of a killed sender is cleared by its epoch; another epoch is refused."""
    with held_platform("cm-alpha") as platform:
        project.host = platform.origin
        project.init("alpha")
        running = project.start("apply", "--yes")
        platform.wait_until_held()
        running.signal(signal.SIGKILL)
        running.end()
        assert "epoch 1" in project.run("state", "unlock", "--epoch", "7").ended(64).err
        assert "cleared" in project.run("state", "unlock", "--epoch", "1").ended(0).err
        assert "1 on hold" in project.run("plan").ended(0).out


# Pipes


def closed_early(project: ProjectFolder, *arguments: str) -> tuple[int, str]:
    """A command whose output nobody reads: exit code and what it said on stderr."""
    command = [sys.executable, "-m", "reconciler", "-C", str(project.root), *arguments]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command,
        check=False,
        env=project.variables,
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=60,
    )
    os.close(writer)
    return done.returncode, done.stderr.decode()


def test_closed_pipe_is_quiet(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """`| head` ends nothing with a complaint, and an apply whose output nobody reads still does what it was asked."""
    project.init("alpha")
    assert closed_early(project, "plan") == (0, "")
    assert closed_early(project, "--help") == (0, "")
    code, said = closed_early(project, "apply", "--yes")
    assert (code, "succeeded" in said) == (0, True)
    assert platform.posts == [("deploy", "cm-alpha")]


def test_full_disk_under_the_output(project: ProjectFolder) -> None:
    """Output that cannot be written is said in words, with exit code 1."""
    project.init("alpha")
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        command = [sys.executable, "-m", "reconciler", "-C", str(project.root), "plan"]
        done = subprocess.run(
            command, check=False, env=project.variables, stdout=full, stderr=subprocess.PIPE, timeout=60
        )
    assert done.returncode == 1
    assert b"cannot be written: No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


def test_locale_without_our_signs(project: ProjectFolder) -> None:
    """Where the encoding lacks a sign a question mark stands for it."""
    project.init("alpha")
    shown = project.process("plan", "-v", PYTHONIOENCODING="ascii").ended(0)
    assert "production/alpha" in shown.out
    assert shown.out.isascii()


# Terminals


@pytest.mark.parametrize(("answer", "code", "posts"), [("yes\n", 0, 1), ("y\n", 5, 0)])
def test_only_yes_approves(
    answer: str, code: int, posts: int, project: ProjectFolder, platform: SimulatedPlatform
) -> None:
    """On a terminal apply shows the plan and asks; only the word yes will do."""
    project.init("alpha")
    terminal = project.terminal("apply")
    terminal.wait_for("Only 'yes' will do:")
    terminal.type(answer)
    shown = terminal.end().ended(code)
    assert "1 to deploy" in shown.out
    assert len(platform.posts) == posts


def test_interrupted_question(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """Ctrl-C at the question: exit code 130, and nothing was done."""
    project.init("alpha")
    terminal = project.terminal("apply")
    terminal.wait_for("Only 'yes' will do:")
    terminal.interrupt_question()
    assert "nothing was done" in terminal.end().ended(130).out
    assert platform.posts == []


def test_live_progress(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """While jobs run a table shows them and what is to come; it is gone at the end, and the cursor is back."""
    platform.plays({**SLOW_JOB, "match": {"model": "cm-alpha", "operation": "deploy"}})
    project.init("alpha")
    project.deploy("needy", more="rollout: {dependsOn: [alpha]}")
    terminal = project.terminal("apply", "--yes")
    terminal.wait_for("waits for production/alpha")
    shown = terminal.end().ended(0)
    assert "2 succeeded" in shown.out
    assert terminal.raw.rindex("\x1b[?25h") > terminal.raw.rindex("\x1b[?25l")


def test_interrupted_live_progress(project: ProjectFolder) -> None:
    """Ctrl-C while jobs run ends the table, says what goes on, and exits 9."""
    with held_platform(running=("cm-alpha",)) as platform:
        project.host = platform.origin
        project.init("alpha")
        terminal = project.terminal("apply", "--yes")
        terminal.wait_for("accepted")
        terminal.signal(signal.SIGINT)
        assert "1 running" in terminal.end().ended(9).out
        assert terminal.raw.rindex("\x1b[?25h") > terminal.raw.rindex("\x1b[?25l")


def colours(terminal: Terminal) -> bool:
    terminal.end().ended(0)
    return "\x1b[" in terminal.raw


def test_colour_only_where_it_is_wanted(project: ProjectFolder) -> None:
    """Colour on a terminal, none in a pipe; NO_COLOR and TERM=dumb turn it off, --color decides above all."""
    project.init("alpha")
    assert colours(project.terminal("plan"))
    assert not colours(project.terminal("plan", NO_COLOR="1"))
    assert not colours(project.terminal("plan", TERM="dumb"))
    assert not colours(project.terminal("plan", "--color", "never"))
    assert "\x1b[" not in project.run("plan").ended(0).out
    assert "\x1b[" in project.run("plan", "--color", "always").ended(0).out
    project.environ["NO_COLOR"] = "1"
    assert "\x1b[" in project.run("--color", "always", "plan").ended(0).out


def test_narrow_terminal(project: ProjectFolder) -> None:
    """On 60 columns the table of `status` keeps whole dock status ids, on lines of their own."""
    project.init("alpha")
    project.apply().ended(0)
    dock_status_id = project.entry("alpha")["live"]["dockStatusId"]
    lines = project.terminal("status", columns=60).end().ended(0).out.splitlines()
    assert f"    {dock_status_id}" in lines
    assert all(len(line) <= 80 for line in lines)
    wide = project.terminal("status", columns=200).end().ended(0).out
    assert any(line.startswith("production/alpha") and dock_status_id in line for line in wide.splitlines())


def test_repair_asks(project: ProjectFolder) -> None:
    """`state repair` shows what it found and asks on a terminal."""
    project.init("alpha")
    project.write(".reconciler/production/state.json", b"\x00")
    terminal = project.terminal("state", "repair")
    with contextlib.suppress(AssertionError):
        terminal.wait_for("Only 'yes' will do:")
        terminal.type("no\n")
    assert terminal.end().code in {5, 6}
