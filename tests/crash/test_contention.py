"""Several real processes at one state at once."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash.contention import contend
from tests.crash.evidence import folder_for
from tests.crash.history import APPLY, ENVIRONMENT, History, Wanted, told, write_manifests, write_project
from tests.crash.injector import Fault
from tests.crash.nursery import Nursery

pytestmark = pytest.mark.crash


@pytest.mark.parametrize(("processes", "rounds"), [(2, 20), (16, 3)])
def test_one_post_a_round(processes: int, rounds: int, nursery: Nursery, scratch: Path, tmp_path: Path) -> None:
    """However many processes apply one change at once, the platform sees one POST; the others find it done or the lock held."""
    repeat = f"contention --processes {processes} --rounds {rounds}"
    with folder_for(scratch, "race", tmp_path, repeat) as folder:
        contend(nursery, folder, processes=processes, rounds=rounds)


def test_who_only_looks_polls_or_decides_is_not_blocked(nursery: Nursery, scratch: Path) -> None:
    """While a sender stands still in the middle of sending, everything but another sender goes on."""
    polled = {"match": {"model": "cm-polled", "nth": 1}, "job": {"statuses": ["IN_PROGRESS", "SUCCESS"]}}
    wanted = [Wanted(name="polled"), Wanted(name="quiet")]
    project = write_project(scratch / "project", wanted)
    folder = scratch / "history"
    folder.mkdir()
    history = History(nursery, folder, project, told(polled))
    try:
        assert history.run((*APPLY, "--no-wait")).code == 0
        wanted.append(Wanted(name="sent"))
        write_manifests(project, wanted)
        sender = history.start(APPLY, fault=Fault(at=1, how="stop", call="post"))
        nursery.wait_until_stopped(sender)
        wanted[1] = replace(wanted[1], temperature=0.5)
        write_manifests(project, wanted)

        second = history.run(APPLY)
        assert second.code == 6
        assert f"pid {sender}" in second.stderr
        for command in ("plan", "status", "history", "validate"):
            assert history.run((command,)).code == 0
        assert history.run(("explain", f"{ENVIRONMENT}/sent")).code == 0
        assert history.run(("status", "--wait")).code == 0
        assert history.applied is not None
        assert history.applied.entries["cm-polled"].live is not None
        assert history.run(("retry", f"{ENVIRONMENT}/quiet")).code == 0
        assert history.run(("resolve", f"{ENVIRONMENT}/sent", "--it-did-not")).code == 5

        os.kill(sender, signal.SIGCONT)
        assert history.ended(sender).code == 0
        evidence = history.converge()
        assert evidence.accepted == {("deploy", "cm-polled"): 1, ("deploy", "cm-quiet"): 2, ("deploy", "cm-sent"): 1}
    finally:
        history.close()
