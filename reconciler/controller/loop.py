"""The passes of one environment: look, plan, judge, apply, look what came of it; one at a time.

`supervisor` makes one `Worker` an environment and offers it what it read. A worker keeps only the newest of what it was
offered, so that whatever comes during a pass means exactly one more. It never waits for a job when there is something newer
to do: a run makes room, and the next plan follows its jobs.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias, TypeVar

from reconciler import pipeline
from reconciler.apply.commits import advance
from reconciler.apply.context import PARALLELISM, Pace, RunContext, Stop
from reconciler.apply.executor import follow_only
from reconciler.apply.journal import Journal
from reconciler.apply.recover import as_of_now, running_jobs
from reconciler.controller.board import Board, Pass, PassEnd, View
from reconciler.controller.policy import PROBE, Judgement, Pause, judge
from reconciler.diagnostics import Diagnostic, Severity, errors_counted, errors_in
from reconciler.errors import (
    AuthenticationError,
    GuardError,
    InvalidInput,
    ReconcilerError,
    RunLockHeld,
    SourceError,
    Unfinished,
)
from reconciler.model.applied import Applied, Holder, without_lapsed
from reconciler.model.events import Event, Happened, nobody_listens
from reconciler.model.plan import Action, Plan
from reconciler.model.records import DecisionRecord, Quarantine
from reconciler.model.resource import Environment
from reconciler.model.run import EXIT_CODES, Ended, RunReport
from reconciler.model.snapshot import NO_PROVENANCE
from reconciler.model.text import with_stop
from reconciler.pipeline import Checked
from reconciler.platform.api import Platform
from reconciler.platform.pacing import SENDS, not_sent_wait
from reconciler.state.store import DurabilityLost, Store
from reconciler.status import standing_of

T = TypeVar("T")

SOON = timedelta(seconds=15)  # until it is tried again when somebody else was faster, or holds the run lock
UNFORESEEN = timedelta(minutes=5)
NEWS = 10.0  # seconds between looks whether somebody decided something
FRESH = 1.0  # seconds between views while a run goes on

_DURABLE = frozenset({Happened.ACCEPTED, Happened.ENDED, Happened.ALARM})
_BAD = (Ended.FAILED, Ended.REFUSED, Ended.UNAUTHORIZED, Ended.UNREACHABLE, Ended.TIMED_OUT)
_ABSENCE = "RC10"  # what a source could not read, as codes begin (load.codes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the manifests say, read at rest, or why they could not be read; and what asked for it."""

    cause: str
    checked: Checked | None = None
    problem: ReconcilerError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a worker is given, chosen in `cli.watch`.

    `store`, `platform` and `refuse` (for a state that belongs elsewhere) raise ReconcilerError. `pace` gives the same for every
    environment on a host. `ask` asks for a reading: the cause, and for whom.
    """

    store: Callable[[Environment], Store]
    platform: Callable[[Environment], Platform]
    refuse: Callable[[Environment, Applied], None]
    pace: Callable[[Environment], Pace]
    holder: Callable[[str], Holder]
    ask: Callable[[str, str], None]
    now: Callable[[], datetime]
    random: Callable[[], float]
    board: Board
    stop: Stop
    parallelism: int = PARALLELISM
    dry_run: bool = False
    once: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a pass came to. `problem` is what ended it before its time, or forbade it."""

    end: PassEnd
    detail: str = ""
    report: RunReport | None = None
    problem: ReconcilerError | None = None
    judged: Judgement | None = None
    again_at: datetime | None = None


_Run: TypeAlias = Callable[[Platform, Journal, RunContext], Awaitable[RunReport]]


class Worker:
    """One environment. `outcome` is that of the last pass; `fatal` is why this process must send nothing more."""

    def __init__(self, environment: Environment, means: Means) -> None:
        self.name = environment.name
        self.outcome: Outcome | None = None
        self.fatal: ReconcilerError | None = None
        self._means = means
        self._view = View(environment=environment, dry_run=means.dry_run)
        self._bell = asyncio.Event()
        self._offered: Reading | None = None
        self._retired = False
        self._journal: Journal | None = None
        self._seq = -1
        self._platform: Platform | None = None
        self._pause: Pause | None = None
        self._unreachable = 0
        self._again_at: datetime | None = None
        means.board.publish(self._view)

    def offer(self, reading: Reading) -> None:
        """The newest reading takes the place of one that was not looked at yet; what asked for that is not forgotten."""
        if self._offered is not None and self._offered.cause != reading.cause:
            reading = replace(reading, cause=f"{self._offered.cause}, {reading.cause}")
        self._offered = reading
        self._bell.set()

    def retire(self) -> None:
        """The project does not have the environment any more: what is under way makes room, and that is all."""
        self._retired = True
        self._bell.set()

    async def run(self) -> None:
        """Until it is stopped or retired; after one pass, if that is all that is wanted."""
        with self._means.stop.calling(self._bell.set):
            try:
                while (reading := await self._next()) is not None:
                    await self._pass(reading)
                    if self._means.once or self.fatal is not None:
                        return
            finally:
                await self._close()

    def exit_codes(self) -> list[int]:
        """What the last pass counts for, as `apply` would count it (DESIGN.md, rule 9)."""
        outcome = self.outcome
        if outcome is None:
            return []
        codes = [] if outcome.problem is None else [outcome.problem.exit_code]
        codes += [error.exit_code for error in outcome.report.problems] if outcome.report is not None else []
        codes += [EXIT_CODES[result.ended] for result in outcome.report.results] if outcome.report is not None else []
        if outcome.judged is not None and outcome.judged.held_up is not None:
            codes.append(GuardError.exit_code)
        if errors_in(self._view.diagnostics):
            codes.append(InvalidInput.exit_code)
        interrupted = outcome.report.interrupted if outcome.report is not None else None
        if interrupted is not None and outcome.report is not None:
            codes.append(Unfinished.exit_code if outcome.report.is_unfinished else 128 + interrupted)
        return codes

    # Between passes

    @property
    def _ends(self) -> bool:
        return self._retired or self._means.stop.requested

    async def _next(self) -> Reading | None:
        while not self._ends:
            self._bell.clear()
            reading, self._offered = self._offered, None
            if reading is not None:
                return reading
            await self._sleep()
        return None

    async def _sleep(self) -> None:
        """Until the bell rings; asks for a reading when it is time to try again, or when somebody decided something."""
        now = self._means.now()
        due = None if self._again_at is None else max(0.0, (self._again_at - now).total_seconds())
        try:
            async with asyncio.timeout(NEWS if due is None else min(due, NEWS)):
                await self._bell.wait()
        except TimeoutError:
            if self._again_at is not None and self._means.now() >= self._again_at:
                self._again_at = None
                self._means.ask("it is time to try again", self.name)
            elif self._is_news():
                self._means.ask("somebody wrote to the state", self.name)

    def _is_news(self) -> bool:
        if self._journal is None or not self._journal.store.is_local:
            return False
        try:
            seq = self._journal.refresh().seq
        except ReconcilerError:
            self._journal = None
            return True
        moved, self._seq = seq != self._seq, seq
        return moved

    # A pass

    async def _pass(self, reading: Reading) -> None:
        means, loop = self._means, asyncio.get_running_loop()
        identity, started_at, began = uuid.uuid4().hex[:12], means.now(), loop.time()
        self._show(running=identity)
        try:
            outcome = await self._turn(reading, identity)
        except DurabilityLost as error:
            self.fatal = error
            outcome = self._refused(error)
        except ReconcilerError as error:
            outcome = self._refused(error)
        except Exception as error:  # noqa: BLE001 - a mistake of ours in one pass must not end the others
            unforeseen = ReconcilerError(f"An unexpected error: {type(error).__name__}: {error}")
            unforeseen.__cause__ = error
            outcome = Outcome(
                end=PassEnd.FAILED, detail=str(unforeseen), problem=unforeseen, again_at=means.now() + UNFORESEEN
            )
        self.outcome, self._again_at = outcome, outcome.again_at
        done = Pass(
            id=identity,
            environment=self.name,
            cause=reading.cause,
            started_at=started_at,
            seconds=loop.time() - began,
            end=outcome.end,
            detail=outcome.detail,
            commit=reading.checked.snapshot.provenance.commit if reading.checked else None,
            report=outcome.report,
            problem=outcome.problem,
        )
        self._finish(done, outcome)

    async def _turn(self, reading: Reading, identity: str) -> Outcome:
        try:
            checked = _readable(reading)
            environment = checked.environments[self.name]
        except ReconcilerError as error:
            return await self._meanwhile(error, reading, identity)
        judged = await self._judged(checked, await self._belong_to(environment), identity)
        self._show(environment=environment, diagnostics=checked.diagnostics)
        if self._means.dry_run or not judged.acts or self._ends:
            if not (self._means.dry_run or self._ends) and judged.held_up is None:
                await self._record_commit(reading, identity)
            return self._outcome(checked, judged)
        plan = judged.plan
        report, superseded = await self._carry_out(
            lambda platform, journal, context: pipeline.apply_plan(plan, platform, journal, context),
            reading,
            identity,
            sends=any(change.action.sends for change in plan.changes),
        )
        self._learn(report)
        return self._outcome(
            checked, await self._judged(checked, await self._read(), identity), report, superseded=superseded
        )

    async def _record_commit(self, reading: Reading, identity: str) -> None:
        """What there is nothing to do for is applied all the same: an older pipeline must not undo it."""
        context = self._context(identity, reading, Stop(), nobody_listens)
        if advance(self._known.applied, context, changes=False):
            applied = await self._known.transact(lambda applied: advance(applied, context, changes=False))
            self._seq = applied.seq  # it was not somebody else

    async def _meanwhile(self, error: ReconcilerError, reading: Reading, identity: str) -> Outcome:
        """Nothing is changed while the manifests cannot be read; jobs that run are followed all the same."""
        refused = self._refused(error)
        try:
            jobs = running_jobs(await self._belong_to(self._view.environment))
        except ReconcilerError:
            return refused  # that the state cannot be read either is told once there is something to do
        if not jobs or self._means.dry_run:
            return refused
        self._show(held_up=refused.detail)
        report, _ = await self._carry_out(
            lambda platform, journal, context: follow_only(jobs, platform, journal, context=context),
            reading,
            identity,
            sends=False,
        )
        return replace(refused, report=report)

    async def _belong_to(self, environment: Environment) -> Applied:
        """Store and platform as the project says now; gives the state. Raises StateError, StateForeign."""
        if environment != self._view.environment:
            await self._close()
        self._view = replace(self._view, environment=environment)
        if self._journal is None:
            store = self._means.store(environment)
            self._journal = await _called(store, lambda: Journal(store))
        applied = await self._read()
        self._means.refuse(environment, applied)
        return applied

    async def _read(self) -> Applied:
        """The state as it is now."""
        journal = self._known
        applied = await _called(journal.store, lambda: as_of_now(journal.refresh(), journal.store))
        self._seq = applied.seq
        return applied

    @property
    def _known(self) -> Journal:
        if self._journal is None:
            raise AssertionError("a pass begins with the state")
        return self._journal

    async def _judged(self, checked: Checked, applied: Applied, identity: str) -> Judgement:
        """The plan, judged; what is to be given up is recorded first."""
        judged, plan = self._plan(checked, applied)
        if judged.give_up and not self._means.dry_run:
            records = judged.give_up
            await self._known.transact(lambda _: records)
            judged, plan = self._plan(checked, await self._read())
            self._tell_given_up(records, plan, identity)
        self._show(plan=plan, applied=self._known.applied, waits=judged.waits, held_up=judged.held_up)
        return judged

    def _tell_given_up(self, records: Iterable[DecisionRecord], plan: Plan, identity: str) -> None:
        models = {record.decision.model_id for record in records if isinstance(record.decision, Quarantine)}
        for change in plan.changes:
            entry = self._known.applied.entries.get(change.model_id)
            event = standing_of(change, entry, run=identity, at=self._means.now())
            if change.model_id in models and event is not None:
                self._means.board.tell(event)

    def _plan(self, checked: Checked, applied: Applied) -> tuple[Judgement, Plan]:
        now = self._means.now()
        plan = pipeline.make_plan(checked, self.name, applied, now=now)
        return judge(plan, applied, now=now, pause=self._pause), plan

    # A run

    async def _carry_out(self, work: _Run, reading: Reading, identity: str, *, sends: bool) -> tuple[RunReport, bool]:
        """The report, and whether the run made room for something newer."""
        journal, room = self._known, Stop()
        epoch, noted = journal.applied.epoch, _Noted()

        def listen(event: Event) -> None:
            noted.dirty |= event.happened in _DURABLE
            self._means.board.tell(event)
            self._bell.set()

        if self._platform is None:
            self._platform = self._means.platform(self._view.environment)
        context = self._context(identity, reading, room, listen)
        run = asyncio.ensure_future(work(self._platform, journal, context))
        run.add_done_callback(lambda _: self._bell.set())
        try:
            while not run.done():
                self._bell.clear()
                only_follows = not sends or (journal.applied.epoch > epoch and journal.applied.lock is None)
                if self._must_make_room(reading, only_follows=only_follows):
                    room.request()
                self._show_progress(reading, noted)
                await self._ring(noted)
            return run.result(), room.requested
        finally:
            run.cancel()

    async def _ring(self, noted: _Noted) -> None:
        try:
            async with asyncio.timeout(FRESH if noted.dirty else None):
                await self._bell.wait()
        except TimeoutError:
            pass

    def _must_make_room(self, reading: Reading, *, only_follows: bool) -> bool:
        newer = self._offered
        if self._retired:
            return True
        if newer is None or self._means.once:
            return False
        is_other = newer.checked is not None and essence(newer, self.name) != essence(reading, self.name)
        return only_follows or is_other

    def _show_progress(self, reading: Reading, noted: _Noted) -> None:
        """What the run has come to so far, not more often than people look."""
        now = asyncio.get_running_loop().time()
        if not noted.dirty or now - noted.shown < FRESH:
            return
        noted.dirty, noted.shown = False, now
        applied = self._known.applied
        plan = self._view.plan
        if reading.checked is not None and self.name in reading.checked.environments:
            plan = pipeline.make_plan(reading.checked, self.name, applied, now=self._means.now())
        self._show(plan=plan, applied=applied)

    def _context(self, identity: str, reading: Reading, room: Stop, listener: Callable[[Event], None]) -> RunContext:
        means, environment = self._means, self._view.environment
        provenance = NO_PROVENANCE if reading.checked is None else reading.checked.snapshot.provenance
        return RunContext(
            run=identity,
            holder=means.holder(identity),
            now=means.now,
            random=means.random,
            stop=means.stop,
            rate_limit=environment.rate_limit,
            parallelism=means.parallelism,
            listener=listener,
            room=room,
            pace=means.pace(environment),
            provenance=provenance,
            older=lambda _: None,  # it follows its branch or folder, back too
        )

    def _learn(self, report: RunReport) -> None:
        """What a run says about the host, as opposed to one deployment."""
        now = self._means.now()
        refused = next((p for p in report.problems if isinstance(p, AuthenticationError)), None)
        lost = next((p for p in report.problems if isinstance(p, DurabilityLost)), None)
        unreachable = report.of(Ended.UNREACHABLE)
        self.fatal = lost or self.fatal
        if refused is not None:
            self._pause = Pause(until=now + PROBE, why=f"{refused} It is tried every 5 min".replace("..", "."))
        elif unreachable:
            self._unreachable += 1
            wait = timedelta(seconds=not_sent_wait(SENDS + self._unreachable - 1))
            self._pause = Pause(until=now + wait, why=unreachable[0].detail)
        else:
            self._pause, self._unreachable = None, 0

    # What came of it

    def _refused(self, error: ReconcilerError) -> Outcome:
        """Nothing was done. What a moment may change is tried again by itself; the rest when something is mended."""
        now = self._means.now()
        again, end = None, PassEnd.REFUSED
        if isinstance(error, RunLockHeld):
            again, end = now + SOON, PassEnd.FAILED
        elif isinstance(error, AuthenticationError):
            self._pause = Pause(until=now + PROBE, why=str(error))
            again, end = now + PROBE, PassEnd.FAILED
        return Outcome(end=end, detail=_in_words(error), problem=error, again_at=again)

    def _outcome(
        self, checked: Checked, judged: Judgement, report: RunReport | None = None, *, superseded: bool = False
    ) -> Outcome:
        again = judged.again_at
        if report is not None and report.problems:
            again = min(again or datetime.max.replace(tzinfo=self._means.now().tzinfo), self._means.now() + SOON)
        end, detail = self._said(checked, judged, report, superseded=superseded)
        problem = report.problems[0] if report is not None and report.problems else None
        return Outcome(end=end, detail=detail, report=report, problem=problem, judged=judged, again_at=again)

    def _said(
        self, checked: Checked, judged: Judgement, report: RunReport | None, *, superseded: bool
    ) -> tuple[PassEnd, str]:
        bad = [r for r in report.of(*_BAD) if r.action is not Action.NONE] if report is not None else []
        if superseded and report is not None and report.of(Ended.SKIPPED, Ended.WAITING):
            return PassEnd.SUPERSEDED, "something newer came before everything was sent"
        if report is not None and report.problems:
            return PassEnd.FAILED, str(report.problems[0])
        if bad:
            more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
            return PassEnd.FAILED, f"{bad[0].address}: {bad[0].detail or bad[0].ended}{more}"
        if judged.held_up is not None:
            return PassEnd.WAITING, judged.held_up
        wrong = errors_in(checked.diagnostics)
        if wrong:
            return PassEnd.WAITING, f"{errors_counted(len(wrong))}; {_first(wrong)}"
        if judged.stuck is not None:
            return PassEnd.WAITING, f"{judged.stuck.address}: {judged.stuck.why}"
        suspended = sum(wait.on_purpose for wait in judged.waits)
        return PassEnd.SUCCEEDED, f"{suspended} suspended" if suspended else ""

    def _show(self, **fields: Any) -> None:
        if "applied" in fields:
            fields["applied"] = without_lapsed(fields["applied"], self._means.now())
        self._view = replace(self._view, **fields)
        self._means.board.publish(self._view)

    def _finish(self, done: Pass, outcome: Outcome) -> None:
        view = replace(self._view, running=None, last=done, next_look=outcome.again_at)
        if done.end is PassEnd.SUCCEEDED:
            view = replace(view, last_success_at=self._means.now())
        if outcome.judged is None:
            view = replace(view, held_up=outcome.detail)
        self._view = view
        self._means.board.finish(done, view)

    async def _close(self) -> None:
        platform, self._platform, self._journal = self._platform, None, None
        if platform is not None:
            await platform.close()


@dataclass(slots=True)
class _Noted:
    """What the run under way has told and was not shown yet."""

    dirty: bool = False
    shown: float = float("-inf")


async def _called(store: Store, call: Callable[[], T]) -> T:
    """A state elsewhere may take its time: the page, the other environments and signals do not wait for it."""
    return call() if store.is_local else await asyncio.to_thread(call)


def _readable(reading: Reading) -> Checked:
    """Raises why nothing may be changed: absence is not evidence."""
    if reading.problem is not None:
        raise reading.problem
    if reading.checked is None:
        raise AssertionError("a reading has one of the two")
    found = reading.checked.snapshot.diagnostics
    absent = [d for d in found if d.code.startswith(_ABSENCE) and d.severity is Severity.ERROR]
    if absent:
        where = absent[0].position.file if absent[0].position else "the source"
        raise SourceError(f"{where}: {with_stop(absent[0].message)}", diagnostics=tuple(absent))
    return reading.checked


def _in_words(error: ReconcilerError) -> str:
    """Nobody lists the errors beside it, as commands do; a source's are in its message."""
    wrong = errors_in(error.diagnostics) if type(error) is InvalidInput else ()
    return f"{error} Nothing was changed; {_first(wrong)}" if wrong else f"{with_stop(str(error))} {error.next_step}"


def _first(wrong: Sequence[Diagnostic]) -> str:
    return f"the first: {wrong[0].position}: {wrong[0].message}"


def essence(reading: Reading, environment: str) -> object:
    """What of a reading would make another plan for the environment; two that are equal in this need not replace each other."""
    checked = reading.checked
    if checked is None or environment not in checked.environments:
        return None
    desired = checked.desired[environment]
    wanted = frozenset((r.address, r.model_id, r.digest, r.rollout, r.labels) for r in desired.resources)
    return checked.environments[environment], wanted, desired.broken, desired.broken_files
