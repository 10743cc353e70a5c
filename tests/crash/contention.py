"""Several processes of the program at one state at once."""

from __future__ import annotations

import fcntl
import os
from dataclasses import replace
from pathlib import Path

from tests.crash.history import APPLY, History, Wanted, told, write_manifests, write_project
from tests.crash.nursery import Nursery

# Had the lock and did it, or found it done · another one had the lock · found at the last moment that it was done meanwhile ·
# planned while another one was sending, and held what was in flight
CODES = frozenset({0, 6, 7, 9})


def contend(nursery: Nursery, folder: Path, *, processes: int, rounds: int) -> None:
    """In every round a manifest changes and all processes apply it at once: one POST. Raises AssertionError."""
    wanted = [Wanted(name=name) for name in ("a", "b")]
    project = write_project(folder / "project", wanted)
    history = History(nursery, folder, project, told())
    gate = folder / "gate"
    gate.touch()
    try:
        history.converge()
        for number in range(1, rounds + 1):
            wanted[0] = replace(wanted[0], temperature=number / 1000)
            write_manifests(project, wanted)
            _apply_at_once(history, gate, processes)
            evidence = history.judge()
            assert len(evidence.lines) == len(wanted) + number, f"round {number}: not exactly one POST"
            assert evidence.lines[-1]["body"] == wanted[0].body
        history.converge()
    finally:
        history.close()


def _apply_at_once(history: History, gate: Path, processes: int) -> None:
    held = os.open(gate, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    pids = [history.start(APPLY, gate=gate) for _ in range(processes)]
    os.close(held)
    ends = [history.ended(pid) for pid in pids]
    codes = [said.code for said in ends]
    assert set(codes) <= CODES, codes
    assert 0 in codes, codes
    for said in ends:
        assert said.code != 6 or "run lock" in said.stderr, said
