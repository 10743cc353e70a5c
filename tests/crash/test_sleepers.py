"""A real process that is suspended (SIGSTOP) while it sends, and wakes too late or in time."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.model.applied import Accepted, Attempt, NotSent
from tests.crash.history import APPLY, History, Wanted, told, write_manifests, write_project
from tests.crash.injector import Fault
from tests.crash.nursery import Nursery

pytestmark = pytest.mark.crash


@pytest.fixture
def history(nursery: Nursery, scratch: Path) -> Iterator[History]:
    """Nothing is deployed yet; `add` asks for one more."""
    folder = scratch / "history"
    folder.mkdir()
    found = History(nursery, folder, write_project(scratch / "project", []), told())
    yield found
    found.close()


def add(history: History, *names: str) -> None:
    write_manifests(history.project, [Wanted(name=name) for name in names])


def _sync_of_attempt(history: History) -> int:
    """Which sync of an apply of one new deployment is the one of its ATTEMPT, by an apply in peace."""
    add(history, "first")
    assert history.apply().code == 0
    add(history, "first", "second")
    assert history.apply().code == 0
    events = [json.loads(line) for line in history.witness.read_text(encoding="utf-8").splitlines()]
    attempt = next(event for event in events if event["event"] == "wrote" and "cm-second" in str(event["records"]))
    return int(events[-1]["calls"][: attempt["at"]].count("fdatasync")) + 1


def _attempts(history: History) -> tuple[Attempt, ...]:
    assert history.applied is not None
    return history.applied.entries["cm-third"].attempts


@pytest.mark.parametrize(("slept", "late"), [(3600.0, True), (6.0, True), (0.0, False)])
def test_a_sender_that_slept(history: History, slept: float, *, late: bool) -> None:
    """Stopped between ATTEMPT and the send, it sends what is young; what is too old it calls not sent, and tries anew."""
    number = _sync_of_attempt(history)
    add(history, "first", "second", "third")
    sender = history.start(APPLY, fault=Fault(at=number, call="fdatasync", how="stop", slept=slept))
    history.nursery.wait_until_stopped(sender)
    calls = len(history.simulator.lines)
    os.kill(sender, signal.SIGCONT)
    assert history.ended(sender).code == 0
    posts = [line for line in history.simulator.lines[calls:] if line["method"] == "POST"]
    assert len(posts) == 1, "one POST, whenever it slept"
    outcomes = [type(attempt.outcome) for attempt in _attempts(history)]
    assert outcomes in ([[NotSent, Accepted]] if late else [[Accepted], [NotSent, Accepted]]), (
        "a slow machine is late too"
    )
    if late:
        assert "too late to be sent" in str(_attempts(history)[0].outcome)
    history.converge()
