"""What a run did: one result per change, for the report at the end, the exit code and (later) notifications."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reconciler.errors import ReconcilerError
from reconciler.model.plan import Action


class Ended(StrEnum):
    """How one change of a run ended."""

    SUCCEEDED = "succeeded"  # the job ended with SUCCESS, or the bookkeeping is recorded
    FAILED = "failed"  # the job ended with FAILED
    REFUSED = "refused"  # not processed, and sending again would not help
    UNAUTHORIZED = "unauthorized"  # 401, 403, TLS trust
    UNREACHABLE = "unreachable"  # not sent, after all tries
    TIMED_OUT = "timedOut"  # following was given up; the job may still be running
    RUNNING = "running"  # sent; nobody waits for it (--no-wait), or interrupted while following
    UNKNOWN = "unknown"  # whether the platform did it cannot be told: held
    SKIPPED = "skipped"  # not tried, because of `detail`
    WAITING = "waiting"  # --no-wait: not tried yet, because it waits for a job that runs


EXIT_CODES = {
    Ended.SUCCEEDED: 0,
    Ended.RUNNING: 0,  # --no-wait; an interrupted run adds 9 itself
    Ended.WAITING: 0,
    Ended.SKIPPED: 0,  # what it was skipped for counts
    Ended.FAILED: 8,
    Ended.REFUSED: 8,
    Ended.UNREACHABLE: 8,
    Ended.TIMED_OUT: 8,
    Ended.UNAUTHORIZED: 4,
    Ended.UNKNOWN: 9,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The end of one change. `detail` is a sentence; `seconds` from the first send to the end, None where nothing was sent."""

    address: str
    action: Action
    ended: Ended
    detail: str = ""
    dock_status_id: str | None = None
    status: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """A whole run in one environment. `interrupted` is the signal's number, if one ended the run.

    `problems` are what went wrong beside single changes, or ended the run before its time; their exit codes count too.
    `notes` are sentences worth reading. `recovery` are machine-readable lines for stderr: records that could not be written,
    and that nobody else has.
    """

    environment: str
    run: str
    results: tuple[Result, ...]
    interrupted: int | None = None
    problems: tuple[ReconcilerError, ...] = ()
    notes: tuple[str, ...] = ()
    recovery: tuple[str, ...] = ()

    def of(self, *ended: Ended) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.ended in ended)

    @property
    def is_unfinished(self) -> bool:
        """Whether running it again would go on with something: a job runs, an outcome is unknown, a change was not tried."""
        return bool(self.of(Ended.RUNNING, Ended.WAITING, Ended.SKIPPED, Ended.UNKNOWN))
