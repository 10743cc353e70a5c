"""A disk that refuses: every call that changes a file fails once, or from some call on, with each of the errors of a bad day."""

from __future__ import annotations

import errno
from pathlib import Path

from reconciler.simulator.scenario import Scenario
from tests.crash.history import History, Wanted, told
from tests.crash.injector import FILE_CALLS, Fault
from tests.crash.judge import Evidence, Said, recovery_lines
from tests.crash.nursery import Nursery
from tests.crash.sweep import finished

THREE = (Wanted(name="a"), Wanted(name="b"), Wanted(name="c", depends_on=("a",)))
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.EMFILE)
# Done: what failed was a courtesy or is made up for later. State: nothing was sent. Unfinished: something may have been.
CODES = frozenset({0, 6, 9})


def platform() -> Scenario:
    return told({"match": {"model": "cm-a"}, "job": {"statuses": ["IN_PROGRESS", "SUCCESS"]}})


def file_calls(nursery: Nursery, folder: Path, project: Path) -> list[int]:
    """The numbers of the calls that a disk can refuse, from a run in peace."""
    history = History(nursery, folder, project, platform())
    try:
        assert history.apply().code == 0
        return [number for number, call in enumerate(finished(history)[0], 1) if call in FILE_CALLS]
    finally:
        history.close()


def refuse(nursery: Nursery, folder: Path, project: Path, fault: Fault) -> int:
    """One apply with the fault, and then the next ones. Gives the exit code. Raises AssertionError."""
    history = History(nursery, folder, project, platform())
    try:
        said = history.apply(fault)
        assert said.code in CODES, f"another exit code: {said}"
        evidence = history.judge()
        _check_recovery(said, evidence)
        evidence = history.converge()
        assert all(count == 1 for count in evidence.accepted.values()), f"repeated: {evidence.accepted} (P4)"
        assert len(evidence.accepted) == len(THREE)
        return said.code or 0
    finally:
        history.close()


def _check_recovery(said: Said, evidence: Evidence) -> None:
    """An id that could not be recorded is told on stderr, and the exit code says that something is unfinished."""
    told_ids = "\n".join(recovery_lines(said))
    for call in evidence.calls:
        attempt = evidence.attempts.get(call.attempt or "")
        recorded = attempt is not None and getattr(attempt.outcome, "dock_status_id", None) == call.job
        if call.job is not None and not recorded:
            assert call.job in told_ids, f"{call.job} is neither recorded nor told: {said}"
            assert said.code == 9, said
