"""Jobs are followed by their dock status until they end: asking is harmless, so it is done as often as it takes.

`executor` and `recover` call this. Only an end, or that following was given up, is recorded; everything else is told to the
listener and forgotten. A deadline never makes a job FAILED: it may still be running, and can be followed later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias, assert_never

from reconciler.apply.run import Run, Work, find_attempt, owners_of
from reconciler.apply.send import Doubt, Job, over
from reconciler.errors import AuthenticationError, PlatformUnreachable, ReconcilerError, TlsTrustError, UsageError
from reconciler.model.applied import Accepted, Applied, Attempt, Unknown
from reconciler.model.events import Happened
from reconciler.model.records import DecisionRecord, Record, Resolve, StatusRecord
from reconciler.model.run import Ended, Result
from reconciler.platform.api import Platform
from reconciler.platform.endings import (
    TERMINAL,
    DockAnswer,
    Later,
    NotFound,
    Running,
    Unauthorized,
    Unreachable,
    Unreadable,
    read_dock_status,
)
from reconciler.platform.endings import Ended as Over
from reconciler.platform.pacing import poll_wait

SALVAGE_POLLS = 4  # a new dock status may not be found at once
WHO = "reconciler"  # decisions that policy takes


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOver:
    """The job has ended, and the state says so. `applied` is the state with it."""

    status: str
    detail: str | None
    applied: Applied


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Nobody follows the job any more, for now."""

    ended: Ended
    detail: str


JobEnd: TypeAlias = JobOver | Left


def result_of(work: Work, end: JobEnd) -> Result:
    match end:
        case JobOver():
            return over(work, end.status, end.detail)
        case Left():
            return work.result(end.ended, end.detail)
        case _:
            assert_never(end)


async def follow(run: Run, work: Work, job: Job) -> JobEnd:
    """Ask until the job ends, its timeout has passed, or the run is stopped. Raises nothing that platform or disk did."""
    work.about_job(job.dock_status_id, job.attempt)
    try:
        return await _Watch(run, work, job).to_the_end()
    except AuthenticationError as error:
        run.close(str(error))
        run.complain(error)
        return Left(ended=Ended.UNAUTHORIZED, detail=f"{error}; its job goes on")
    except ReconcilerError as error:
        run.fail(error)
        return Left(ended=Ended.RUNNING, detail=f"how its job ended could not be recorded: {error}")


class _Watch:
    """One job, being followed."""

    def __init__(self, run: Run, work: Work, job: Job) -> None:
        self._run = run
        self._work = work
        self._job = job
        self._polls = 0
        self._percent: float | None = None
        self._seen = False
        self._deadline = asyncio.get_running_loop().time() + job.timeout

    async def to_the_end(self) -> JobEnd:
        run, loop = self._run, asyncio.get_running_loop()
        delay = poll_wait(1, run.context.random()) if self._job.fresh else 0.0
        while await run.follows.sleep(min(delay, self._deadline - loop.time())):
            answer = await ask(run, self._job.dock_status_id)
            if answer is None:
                break
            self._polls += 1
            end = await self._heard(answer)
            if end is not None:
                return end
            if loop.time() >= self._deadline:
                return await self._record("IN_PROGRESS" if self._work.status is None else self._work.status, None)
            delay = poll_wait(self._polls, run.context.random())
            if isinstance(answer, Later) and answer.retry_after is not None:
                delay = max(delay, answer.retry_after)
        return Left(ended=Ended.RUNNING, detail="the run was stopped; its job goes on")

    async def _heard(self, answer: DockAnswer) -> JobEnd | None:
        """What one answer means; None: go on asking."""
        match answer:
            case Over():
                self._check_model(answer.model_id)
                return await self._record(answer.status, answer.detail)
            case Unauthorized():
                self._run.close(f"the platform refuses the API key: {answer.message}")
                return Left(ended=Ended.UNAUTHORIZED, detail=f"its job cannot be asked about: {answer.message}")
            case Unreachable(trust=True):
                self._run.close(answer.error)
                return Left(ended=Ended.UNAUTHORIZED, detail=f"its job cannot be asked about: {answer.error}")
            case Running():
                self._running(answer)
            case NotFound():
                self._not_found(answer)
            case Later(reason=why) | Unreadable(reason=why) | Unreachable(error=why):
                self._work.tell(Happened.POLLED, detail=why)
            case _:
                assert_never(answer)
        return None

    def _running(self, answer: Running) -> None:
        self._check_model(answer.model_id)
        before, self._percent, self._seen = self._percent, answer.percent, True
        self._work.status = answer.word
        self._work.tell(Happened.POLLED, percent=answer.percent)
        if before is not None and answer.percent is not None and answer.percent < before:
            self._alarm(f"its job went back from {before:g} % to {answer.percent:g} %")

    def _not_found(self, answer: NotFound) -> None:
        """A new dock status may take a while to be found; one that was found does not go away."""
        if self._seen:
            self._seen = False
            self._alarm(f"the platform does not know {self._job.dock_status_id} any more: {answer.message}")
        else:
            self._work.tell(Happened.POLLED, detail=answer.message or "the platform does not know it yet")

    def _check_model(self, model_id: str | None) -> None:
        """Only told: the id came from the reply to our own call, and whether the platform repeats our model id is not sure."""
        if model_id is not None and model_id != self._job.model_id and not self._seen:
            self._alarm(f"{self._job.dock_status_id} is said to be about {model_id}, not {self._job.model_id}")

    def _alarm(self, what: str) -> None:
        self._work.tell(Happened.ALARM, detail=what, attempt=self._job.attempt)

    async def _record(self, status: str, detail: str | None) -> JobEnd:
        """STATUS, unless the state knows the end already: then that counts, whatever we were told now."""
        job, timed_out = self._job, status not in TERMINAL

        def ended(applied: Applied) -> Sequence[Record]:
            if not _needs_status(find_attempt(applied, job.model_id, job.attempt), job, timed_out=timed_out):
                return ()
            return (
                StatusRecord(
                    attempt=job.attempt,
                    dock_status_id=job.dock_status_id,
                    status=status,
                    detail=detail,
                    at=self._run.context.now(),
                    timed_out=timed_out,
                ),
            )

        applied = await self._run.journal.transact(ended)
        attempt = find_attempt(applied, job.model_id, job.attempt)
        return self._as_recorded(status, attempt, applied)

    def _as_recorded(self, status: str, attempt: Attempt | None, applied: Applied) -> JobEnd:
        outcome = attempt.outcome if attempt is not None else None
        if not isinstance(outcome, Accepted) or outcome.dock_status_id != self._job.dock_status_id:
            what = "its attempt was forgotten meanwhile" if outcome is None else "the outcome of its call is in doubt"
            return Left(ended=Ended.UNKNOWN, detail=f"{self._job.dock_status_id} says {status}, but {what}")
        if outcome.status in TERMINAL:
            if status in TERMINAL and status != outcome.status:
                self._alarm(f"its job was recorded as {outcome.status} and now is said to be {status}")
            return JobOver(status=outcome.status, detail=outcome.detail, applied=applied)
        minutes = self._job.timeout / 60
        detail = (
            f"its job was not over after {minutes:g} min; it may still end well: apply, or status --wait, follows it"
        )
        return Left(ended=Ended.TIMED_OUT, detail=detail)


def _needs_status(attempt: Attempt | None, job: Job, *, timed_out: bool) -> bool:
    outcome = attempt.outcome if attempt is not None else None
    if not isinstance(outcome, Accepted) or outcome.dock_status_id != job.dock_status_id or outcome.status in TERMINAL:
        return False
    return not (timed_out and outcome.timed_out)


async def ask(run: Run, dock_status_id: str) -> DockAnswer | None:
    """One question, paced; None when the run is stopped meanwhile. Raises AuthenticationError for a key that is missing."""
    if not await run.turn(run.polls, run.follows):
        return None
    try:
        async with run.follows.limited(0):
            sent = await run.platform.ask(dock_status_id)
    except TimeoutError:
        return None
    return read_dock_status(sent, dock_status_id=dock_status_id, now=run.context.now())


async def status_of(platform: Platform, dock_status_id: str, *, model_id: str, now: datetime) -> str:
    """The status of the job that a person names, for `reconciler resolve`.

    Raises UsageError when there is no such job or it is another model's, AuthenticationError, PlatformUnreachable.
    """
    answer = read_dock_status(await platform.ask(dock_status_id), dock_status_id=dock_status_id, now=now)
    match answer:
        case Running(word=status, model_id=about) | Over(status=status, model_id=about):
            if about not in {None, model_id}:
                step = "Look the id up in the platform's console."
                raise UsageError(f"{dock_status_id} is about {about}, not {model_id}.", next_step=step)
            return status
        case NotFound(message=why):
            step = "Check the id; a new one may take a minute to be known."
            raise UsageError(f"The platform does not know {dock_status_id}: {why}.", next_step=step)
        case Unauthorized(message=why):
            raise AuthenticationError(f"{platform.origin} refuses the API key: {why}.")
        case Unreachable(error=why, trust=True):
            raise TlsTrustError(f"{platform.origin}: {why}.")
        case Later(reason=why) | Unreadable(reason=why) | Unreachable(error=why):
            raise PlatformUnreachable(f"{platform.origin} does not say what {dock_status_id} is: {why}.")
        case _:
            assert_never(answer)


async def salvage(run: Run, work: Work, doubt: Doubt, *, polls: int = SALVAGE_POLLS) -> Job | Result:
    """A damaged reply named one id: if the platform has a job of that id for this model, it is ours."""
    held = work.result(Ended.UNKNOWN, doubt.reason)
    if len(doubt.candidates) != 1:
        return held
    try:
        answer = await _find(run, doubt.candidates[0], polls if run.context.wait else 1)
        if answer is None or answer.model_id not in {None, work.change.model_id}:
            return held
        status = answer.status if isinstance(answer, Over) else answer.word
        applied = await run.journal.transact(lambda applied: _resolved(work, doubt, status, applied))
    except AuthenticationError as error:
        run.close(str(error))
        return held
    except ReconcilerError as error:
        run.fail(error)
        return held
    return _salvaged(work, doubt, applied) or held


def _salvaged(work: Work, doubt: Doubt, applied: Applied) -> Job | Result | None:
    attempt = find_attempt(applied, work.change.model_id, doubt.attempt)
    outcome = attempt.outcome if attempt is not None else None
    if not isinstance(outcome, Accepted) or outcome.dock_status_id is None:
        return None
    work.run.known.claim(outcome.dock_status_id, doubt.attempt)
    work.expect(applied)
    work.about_job(outcome.dock_status_id, doubt.attempt)
    work.status = outcome.status
    work.tell(Happened.ACCEPTED, detail="found again: its damaged reply named the id")
    if outcome.status in TERMINAL:
        return over(work, outcome.status, outcome.detail)
    timeout = work.change.rollout.timeout
    return Job(
        model_id=work.change.model_id,
        attempt=doubt.attempt,
        dock_status_id=outcome.dock_status_id,
        timeout=timeout,
        fresh=True,
    )


async def _find(run: Run, candidate: str, polls: int) -> Running | Over | None:
    for polled in range(1, polls + 1):
        answer = await ask(run, candidate)
        match answer:
            case Running() | Over():
                return answer
            case None | Unauthorized():
                return None
        if polled < polls and not await run.follows.sleep(poll_wait(polled, run.context.random())):
            return None
    return None


def _resolved(work: Work, doubt: Doubt, status: str, applied: Applied) -> Sequence[Record]:
    model_id, candidate = work.change.model_id, doubt.candidates[0]
    attempt = find_attempt(applied, model_id, doubt.attempt)
    in_doubt = attempt is not None and isinstance(attempt.outcome, Unknown) and candidate in attempt.outcome.candidates
    if not in_doubt or _is_named_elsewhere(applied, candidate, doubt.attempt):
        return ()
    verdict = Resolve(
        model_id=model_id, attempt=doubt.attempt, verdict="accepted", dock_status_id=candidate, status=status
    )
    why = "its damaged reply names this id, and the platform has a job of that id"
    return (DecisionRecord(decision=verdict, who=WHO, why=why, at=work.run.context.now()),)


def _is_named_elsewhere(applied: Applied, candidate: str, attempt_id: str) -> bool:
    """Whether the id belongs to another attempt, or stands in another one's reply: then nobody can tell whose it is."""
    for entry in applied.entries.values():
        if owners_of(entry).get(candidate, attempt_id) != attempt_id:
            return True
        if any(a.id != attempt_id and a.reply is not None and candidate in a.reply for a in entry.attempts):
            return True
    return False
