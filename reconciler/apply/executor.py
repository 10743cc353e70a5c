"""A plan becomes calls, records and results: the loop of `apply`.

`pipeline.apply_plan` calls `run_plan`. What may run now is decided by `schedule`, how one change is sent by `send`, how a
job is followed by `docks`; here are the run lock, the bookkeeping, the places for bounded parallelism, and the report.

A change keeps its place from its first send until its job ends, so `parallelism` bounds how much is in motion at once; jobs
that ran before are followed beside them. The run lock is given back as soon as nothing remains to be sent.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TypeVar

from reconciler.apply.commits import advance
from reconciler.apply.context import RunContext
from reconciler.apply.docks import JobOver, follow, result_of, salvage
from reconciler.apply.journal import Journal
from reconciler.apply.recover import check_key, find_lost
from reconciler.apply.run import Run, Work
from reconciler.apply.schedule import Schedule, Skipped
from reconciler.apply.send import Doubt, Job, send
from reconciler.errors import GuardError, ReconcilerError, StalePlan, StateForeign
from reconciler.model.applied import Applied, Situation, situation_of
from reconciler.model.events import Happened
from reconciler.model.plan import Action, Change, Plan, Reason
from reconciler.model.records import Adopt, DecisionRecord, Describe, LockEvent, LockRecord, Record
from reconciler.model.run import Ended, Result, RunReport
from reconciler.plan.edges import UNSATISFIED
from reconciler.platform.api import Platform
from reconciler.state.store import DurabilityLost, ExpiringLock, Hurrying, RunLock, RunLockLost, Store

T = TypeVar("T")

# Seconds after the stop in which a store must have answered: what is in flight is read for 5, and everything is over in 7.
HURRY = 5.8

# A change whose action is not to be carried out, and yet is worth a line at the end.
NOT_DONE = {
    Reason.OUTCOME_UNKNOWN: Ended.UNKNOWN,
    Reason.QUARANTINED: Ended.REFUSED,
    Reason.SUSPENDED: Ended.SKIPPED,
    Reason.BACKOFF: Ended.SKIPPED,
}


async def run_plan(plan: Plan, platform: Platform, journal: Journal, *, context: RunContext) -> RunReport:
    """Do what the plan says, follow every job, record everything.

    Raises what stops a run before anything is sent: RunLockHeld, AuthenticationError, GuardError for a plan with guards,
    StateForeign for a plan of another state or host, StateError. Whatever happens later is in the report.
    """
    _refuse_foreign(plan, platform, await _refreshed(journal))
    with _begun(platform, journal, context) as run:
        return await _Execution(run, plan).go()


async def follow_only(
    changes: Iterable[Change], platform: Platform, journal: Journal, *, context: RunContext
) -> RunReport:
    """Follow the running jobs of these changes to their end and send nothing, so no lock is taken.

    `changes` are a plan's, or `recover.running_jobs`'. What a plan would still send is not in the report.
    """
    jobs = tuple(replace(change, action=Action.FOLLOW, waits_for=(), records=False) for change in changes if change.job)
    with _begun(platform, journal, context) as run:
        applied = await _refreshed(journal)
        plan = Plan(environment=applied.environment, origin=platform.origin, lineage=applied.lineage, changes=jobs)
        return await _Execution(run, plan).go()


@contextmanager
def _begun(platform: Platform, journal: Journal, context: RunContext) -> Iterator[Run]:
    with ExitStack() as stops:
        stop = stops.enter_context(context.stop.child())
        sends, follows = stops.enter_context(stop.child()), stops.enter_context(stop.child())
        run = Run(platform, journal, context, stop=stop, sends=sends, follows=follows)
        if isinstance(journal.store, Hurrying):
            stops.enter_context(context.stop.calling(functools.partial(journal.store.hurry, HURRY)))
        if context.room is not None:
            stops.enter_context(context.room.calling(run.make_room))
        yield run


def _refuse_foreign(plan: Plan, platform: Platform, applied: Applied) -> None:
    if plan.guards:
        raise GuardError(f"Refused: {'; '.join(guard.message for guard in plan.guards)}.")
    pairs = (
        ("environment", plan.environment, applied.environment),
        ("lineage", plan.lineage, applied.lineage),
        ("host", plan.origin, platform.origin),
    )
    for what, planned, found in pairs:
        if planned != found:
            raise StateForeign(f"The plan was made for the {what} {planned}, and this is {found}.")


class _Execution:
    """One run of one plan."""

    def __init__(self, run: Run, plan: Plan) -> None:
        self._run = run
        self._plan = plan
        self._changes = {change.address: change for change in plan.changes}
        self._schedule = Schedule(())
        self._results: dict[str, Result] = {}
        self._books: dict[str, Result] = {}
        self._places = run.context.parallelism
        self._sending = 0
        self._lock: RunLock | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._group = asyncio.TaskGroup()

    async def go(self) -> RunReport:
        try:
            await self._prepare()
            self._schedule = Schedule(self._changes.values())
            async with self._group:
                self._advance()
                await self._release_when_sent()
            await self._release()
        finally:
            if self._renewal is not None:
                self._renewal.cancel()
            if self._lock is not None:  # something unforeseen: the log will say that the holder is gone
                self._lock.release()
        await self._compact()
        return self._report()

    # Before

    async def _prepare(self) -> None:
        if any(change.action.sends for change in self._changes.values()) and not self._run.sends.requested:
            await self._become_sender()
        for change in await find_lost(self._run, self._changes.values()):
            self._changes[change.address] = change
        await self._keep_books()

    async def _become_sender(self) -> None:
        """The run lock; the key, before anything is written; then LOCK with an epoch of its own, and the commit.

        Raises GuardError where a newer commit was applied since the plan was made.
        """
        run, context, store = self._run, self._run.context, self._run.journal.store
        self._lock = await _called(store, lambda: store.lock_run(context.holder))
        if isinstance(self._lock, ExpiringLock):
            self._renewal = asyncio.create_task(self._keep(self._lock))
        await check_key(run)
        dead = (await _refreshed(run.journal)).lock
        if dead is not None:
            run.notes.append(f"An earlier run ended without releasing the run lock: {dead.holder}.")

        def taken(applied: Applied) -> Sequence[Record]:
            run.epoch = applied.epoch + 1
            lock = LockRecord(event=LockEvent.TAKEN, epoch=run.epoch, holder=context.holder, at=context.now())
            return (lock, *advance(applied, context, changes=True))

        await run.journal.transact(taken)

    async def _keep(self, lock: ExpiringLock) -> None:
        """Renews the run lock as long as it is held, whatever the run waits for meanwhile."""
        run, failed = self._run, False
        while True:
            await asyncio.sleep(lock.renew_every)
            try:
                await asyncio.to_thread(lock.renew)
            except RunLockLost as error:
                run.complain(error)
                run.close(str(error))
                return
            except (
                ReconcilerError
            ) as error:  # there will be another time; until then the lock itself knows when not to claim
                if not failed:
                    run.notes.append(f"The run lock could not be renewed in time: {error}")
                failed = True

    # Bookkeeping: what is only written down, in one transaction; the commit, where nothing is sent, among it

    async def _keep_books(self) -> None:
        asked = [change for change in self._changes.values() if _is_bookkeeping(change)]
        if self._run.stop.requested:
            return
        written: set[str] = set()

        def decide(applied: Applied) -> Sequence[Record]:
            written.clear()
            records = [*advance(applied, self._run.context, changes=bool(asked))]
            for change in asked:
                record = self._entry_in_books(change, applied)
                if record is not None:
                    records.append(record)
                    written.add(change.address)
            return records

        await self._run.journal.transact(decide)
        for change in asked:
            if change.action in {Action.ADOPT, Action.RENAME}:
                self._books[change.address] = self._in_books(change, written=change.address in written)

    def _entry_in_books(self, change: Change, applied: Applied) -> Record | None:
        """None when the entry has moved since the plan was made, or says so already."""
        entry = applied.entries.get(change.model_id)
        last = entry.last.id if entry is not None and entry.last else None
        if last != change.attempt:
            return None
        context = self._run.context
        if change.action is Action.ADOPT:
            if situation_of(entry) is not Situation.ABSENT:
                return None
            return DecisionRecord(
                decision=_adoption(change, context), who=context.holder.user, why="rollout.adopt", at=context.now()
            )
        if entry is None or (entry.name, entry.metadata) == (change.name, change.metadata):
            return None
        decision = Describe(model_id=change.model_id, name=change.name, metadata=change.metadata)
        return DecisionRecord(decision=decision, who=context.holder.user, why="as the manifest says", at=context.now())

    def _in_books(self, change: Change, *, written: bool) -> Result:
        if written:
            return Result(address=change.address, action=change.action, ended=Ended.SUCCEEDED)
        why = "was changed by somebody else since the plan was made"
        self._run.complain(StalePlan(f"{change.address} {why}.", next_step="Run it again: it plans anew."))
        return Result(address=change.address, action=change.action, ended=Ended.SKIPPED, detail=f"it {why}")

    # During

    def _advance(self) -> None:
        """Starts what may run now. Called at the beginning and at the end of every change."""
        for skipped in self._schedule.take_skipped():
            self._skip(skipped)
        # What sends nothing comes first out of the schedule and needs no place.
        while self._places > 0 and not self._run.sends.requested:
            change = self._schedule.take_ready()
            if change is None:
                return
            self._start(change)

    def _start(self, change: Change) -> None:
        work = Work(self._run, change)
        if change.address in self._books:
            self._end(work, self._books[change.address])
        elif change.action is Action.FOLLOW and not self._run.context.wait:
            work.dock_status_id = change.job
            self._end(work, work.result(Ended.RUNNING, "its job is running"))
        else:
            if change.action.sends:
                self._places -= 1
                self._sending += 1
            self._group.create_task(self._carry_out(work), name=change.address)

    async def _carry_out(self, work: Work) -> None:
        work.tell(Happened.STARTED, detail=work.change.detail)
        sends = work.change.action.sends
        try:
            result = await (self._send_and_follow(work) if sends else self._follow(work, _job_of(work.change)))
        except Exception as error:  # noqa: BLE001 - a mistake of ours ends the run in order: the others' replies are recorded
            self._run.fail(_unforeseen(error))
            result = work.result(Ended.UNKNOWN, "an unexpected error of this program ended it: see `reconciler status`")
        if sends:
            self._places += 1
        self._end(work, result)
        self._advance()
        await self._release_when_sent()

    async def _send_and_follow(self, work: Work) -> Result:
        try:
            sent = await self._send(work)
        finally:
            self._sending -= 1
        await self._release_when_sent()
        if isinstance(sent, Doubt):
            sent = await salvage(self._run, work, sent)
        return sent if isinstance(sent, Result) else await self._follow(work, sent)

    async def _send(self, work: Work) -> Job | Doubt | Result:
        """The entry's running job first, where there is one."""
        if work.change.job is not None:
            if not self._run.context.wait:
                return work.result(Ended.WAITING, "it waits for its running job")
            end = await follow(self._run, work, _job_of(work.change))
            if not isinstance(end, JobOver):
                return result_of(work, end)
            earlier = result_of(work, end)
            work.tell(Happened.ENDED, action=Action.FOLLOW, detail=earlier.detail, ended=earlier.ended)
            work.expect(end.applied)
            work.about_what_is_sent()
        return await send(self._run, work)

    async def _follow(self, work: Work, job: Job) -> Result:
        if not self._run.context.wait:
            return work.result(Ended.RUNNING, "sent; nobody waits for its job")
        return result_of(work, await follow(self._run, work, job))

    def _end(self, work: Work, result: Result) -> None:
        self._results[result.address] = result
        work.tell(Happened.ENDED, detail=result.detail, ended=result.ended)
        # What runs on is not settled: what waits for it is neither ready nor to be skipped.
        if result.ended not in {Ended.RUNNING, Ended.WAITING}:
            self._schedule.settle(result.address, satisfied=result.ended is Ended.SUCCEEDED)

    def _skip(self, skipped: Skipped) -> None:
        work = Work(self._run, skipped.change)
        result = work.result(Ended.SKIPPED, skipped.why)
        self._results[result.address] = result
        work.tell(Happened.ENDED, detail=result.detail, ended=result.ended)

    # The run lock's end

    async def _release_when_sent(self) -> None:
        nothing_left = self._run.sends.requested or not self._schedule.may_still_send
        if self._sending == 0 and nothing_left:
            await self._release()

    async def _release(self) -> None:
        lock, self._lock = self._lock, None
        if lock is None:
            return
        run, context = self._run, self._run.context

        def released(applied: Applied) -> Sequence[Record]:
            if applied.lock is None or applied.lock.epoch != run.epoch:
                return ()
            return (LockRecord(event=LockEvent.RELEASED, epoch=run.epoch, holder=context.holder, at=context.now()),)

        try:
            await run.journal.transact(released)
        except ReconcilerError as error:
            run.fail(error)
        finally:
            if self._renewal is not None:
                self._renewal.cancel()
            await _called(run.journal.store, lock.release)

    # After

    async def _compact(self) -> None:
        if any(isinstance(problem, DurabilityLost) for problem in self._run.problems):
            return
        try:
            await _called(self._run.journal.store, self._run.journal.compact)
        except DurabilityLost as error:
            self._run.complain(error)
        except ReconcilerError as error:
            # Everything is in the log already, so nothing is lost: the next run tries again.
            self._run.notes.append(f"The log could not be folded into the snapshot: {error}")

    def _report(self) -> RunReport:
        run, stop = self._run, self._run.context.stop
        results = (self._results.get(address) or self._untried(change) for address, change in self._changes.items())
        return RunReport(
            environment=self._plan.environment,
            run=run.context.run,
            results=tuple(result for result in results if result is not None),
            interrupted=stop.signal if stop.requested else None,
            problems=tuple(run.problems),
            notes=tuple(run.notes),
            recovery=tuple(run.recovery),
        )

    def _untried(self, change: Change) -> Result | None:
        """What was not taken up. None where nothing was to be done."""
        ended, detail = NOT_DONE.get(change.reason), change.detail
        if change.action is Action.FOLLOW:
            ended, detail = Ended.RUNNING, "its job is running"
        elif change.action not in {Action.NONE, Action.HOLD}:
            closed = self._run.sends.requested
            ended = Ended.SKIPPED if closed else Ended.WAITING
            detail = f"it was not tried: {self._run.closed}" if closed else _what_for(change, self._results)
        if ended is None:
            return None
        return Result(
            address=change.address, action=change.action, ended=ended, detail=detail, dock_status_id=change.job
        )


async def _called(store: Store, call: Callable[[], T]) -> T:
    """A call to the store, beside the event loop where it may take its time."""
    return call() if store.is_local else await asyncio.to_thread(call)


async def _refreshed(journal: Journal) -> Applied:
    return await _called(journal.store, journal.refresh)


def _is_bookkeeping(change: Change) -> bool:
    if change.action in {Action.ADOPT, Action.RENAME}:
        return True
    quiet = change.action in {Action.NONE, Action.FOLLOW} and change.reason not in UNSATISFIED
    return quiet and change.records


def _adoption(change: Change, context: RunContext) -> Adopt:
    if change.model_type is None or change.body is None or change.digest is None:
        raise AssertionError("an adoption has a body")
    return Adopt(
        model_id=change.model_id,
        name=change.name,
        metadata=change.metadata,
        model_type=change.model_type,
        body=change.body,
        digest=change.digest,
        commit=context.provenance.commit,
    )


def _job_of(change: Change) -> Job:
    if change.job is None or change.attempt is None:
        raise AssertionError("a change that follows has a job")
    return Job(
        model_id=change.model_id,
        attempt=change.attempt,
        dock_status_id=change.job,
        timeout=change.rollout.timeout,
    )


def _what_for(change: Change, results: dict[str, Result]) -> str:
    running = [edge.address for edge in change.waits_for if edge.address in results]
    return f"it waits for {', '.join(running)}" if running else "it waits for jobs of an earlier wave"


def _unforeseen(error: Exception) -> ReconcilerError:
    found = ReconcilerError(f"An unexpected error: {type(error).__name__}: {error}")
    found.__cause__ = error
    return found
