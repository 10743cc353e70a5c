"""Running a plan from the command line: signals, progress, the event loop, and the exit code at the end."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from reconciler import pipeline, wiring
from reconciler.apply.commits import advance
from reconciler.apply.context import RunContext, Stop
from reconciler.apply.executor import follow_only
from reconciler.apply.journal import Journal
from reconciler.cli.planning import Planned, Project
from reconciler.cli.progress import progress
from reconciler.cli.session import Session, now
from reconciler.errors import worst
from reconciler.model.applied import Holder
from reconciler.model.events import Listener, nobody_listens
from reconciler.model.plan import Plan
from reconciler.model.run import EXIT_CODES, RunReport
from reconciler.platform.client import HttpPlatform
from reconciler.report.run_text import run_text
from reconciler.settings import is_terminal

T = TypeVar("T")
UNFINISHED = 9
FOLLOWING = "status"  # the operation that sends nothing
APPLYING = "apply"  # the operation that is about a commit's manifests, and not about one deployment


def run_plan(project: Project, planned: Planned, plan: Plan, *, operation: str, parallelism: int, wait: bool) -> int:
    """Apply a plan that was shown and approved, tell how it ended, and give the exit code."""

    async def work(context: RunContext, platform: HttpPlatform) -> RunReport:
        return await pipeline.apply_plan(plan, platform, Journal(planned.store), context)

    planned = replace(planned, plan=plan)
    return _told(project.session, run(project, planned, work, operation=operation, parallelism=parallelism, wait=wait))


def follow_jobs(project: Project, planned: Planned) -> int:
    """Follow the running jobs of an environment and send nothing; gives the exit code."""
    running = [change for change in planned.plan.changes if change.job is not None]
    if not running:
        return 0

    async def work(context: RunContext, platform: HttpPlatform) -> RunReport:
        return await follow_only(running, platform, Journal(planned.store), context=context)

    return _told(project.session, run(project, planned, work, operation=FOLLOWING, parallelism=1, wait=True))


def record_commit(project: Project, planned: Planned) -> None:
    """What an apply leaves behind that has nothing to do: the commit, unless a newer one is recorded."""
    context = _context(
        project, planned, uuid.uuid4().hex[:12], nobody_listens, operation=APPLYING, parallelism=1, wait=True
    )
    if advance(planned.applied, context, changes=False):
        Journal(planned.store).transact_now(lambda applied: advance(applied, context, changes=False))


def _told(session: Session, report: RunReport) -> int:
    for line in report.recovery:
        session.say(line)
    if is_terminal(sys.stdout) and is_terminal(sys.stderr):
        session.say("")  # the report begins where the progress ended
    session.show(run_text(report, session.style(sys.stdout)))
    return exit_code(report)


def run(
    project: Project,
    planned: Planned,
    work: Callable[[RunContext, HttpPlatform], Awaitable[T]],
    *,
    operation: str,
    parallelism: int,
    wait: bool,
) -> T:
    """Do work on an event loop of its own: with a platform, a run id, progress and signals."""
    platform = wiring.platform_for(project.opened, planned.environment)
    run_id = uuid.uuid4().hex[:12]
    _set_up_log(project, planned, run_id)
    with progress(project.session, planned.plan.changes if operation != FOLLOWING else ()) as listener:
        context = _context(project, planned, run_id, listener, operation=operation, parallelism=parallelism, wait=wait)
        return asyncio.run(_with_signals(project.session, work, context, platform))


async def _with_signals(
    session: Session,
    work: Callable[[RunContext, HttpPlatform], Awaitable[T]],
    context: RunContext,
    platform: HttpPlatform,
) -> T:
    """SIGINT and SIGTERM ask the run to stop; it ends what it must and is out within seconds."""
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        if not context.stop.requested:
            context.stop.request(number)
            session.say("Stopping: nothing new is sent, and what is under way is recorded. This takes at most 7 s.")

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        return await work(context, platform)
    finally:
        await platform.close()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _context(
    project: Project, planned: Planned, run_id: str, listener: Listener, *, operation: str, parallelism: int, wait: bool
) -> RunContext:
    settings = project.session.settings
    return RunContext(
        run=run_id,
        holder=holder_of(project.session, operation, run_id),
        provenance=replace(project.checked.snapshot.provenance, actor=settings.user, ci_url=settings.ci_url),
        rate_limit=planned.environment.rate_limit,
        parallelism=parallelism,
        wait=wait,
        listener=listener,
        now=now,
        random=random.random,
        stop=Stop(),
        older=planned.older if operation == APPLYING else None,
    )


def holder_of(session: Session, operation: str, run_id: str) -> Holder:
    settings = session.settings
    return Holder(
        user=settings.user,
        host=settings.machine,
        pid=os.getpid(),
        operation=operation,
        run=run_id,
        ci_url=settings.ci_url,
    )


def exit_code(report: RunReport) -> int:
    """Rule 9: the worst of all endings; an interrupted run with anything unfinished is 9, else the signal's own."""
    codes = [EXIT_CODES[result.ended] for result in report.results]
    codes += [problem.exit_code for problem in report.problems]
    if report.interrupted is None:
        return worst(codes)
    return worst([*codes, UNFINISHED]) if report.is_unfinished else 128 + report.interrupted


def _set_up_log(project: Project, planned: Planned, run_id: str) -> None:
    from reconciler.cli.logs import set_up

    settings = project.opened.settings
    key = wiring.key_reader(planned.environment.api_key, settings.root, settings.environ)()
    set_up(settings, run=run_id, secrets=[key])
