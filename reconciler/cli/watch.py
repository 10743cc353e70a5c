"""`reconciler watch`."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from reconciler import wiring
from reconciler.cli.options import FLAGS, Command, environments_option, examples
from reconciler.cli.serving import Serving, around, secrets_of, serving_options
from reconciler.cli.session import Session, now
from reconciler.errors import Unfinished, UsageError, worst
from reconciler.model.spelling import seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.apply.context import Pace, Stop
    from reconciler.cli.watched import WatchedBranch, WatchedFolder
    from reconciler.controller.board import Board, Pass, View
    from reconciler.controller.loop import Means
    from reconciler.controller.supervisor import Supervisor
    from reconciler.model.applied import Holder
    from reconciler.model.resource import Environment
    from reconciler.wiring import Opened

MINUTE = 60.0
OFTEN = 0.1  # seconds; an interval of nothing would leave the loop no time
MAIN = "main"
OUT = 6.9  # seconds from the signal to the end, whatever some thread still waits for


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic in the stubs of newer versions only
    """`45m`, `1h30m`, `10s`; also seconds with a fraction, as `0.5`."""

    name = "duration"

    def __init__(self, least: float = 0.0) -> None:
        """`least` in seconds: what is done in intervals must leave time for everything else."""
        self._least = least

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        try:
            seconds = float(value) if value.replace(".", "", 1).isdecimal() else float(seconds_of(value))
        except ValueError:
            self.fail(f"{value!r} is not a duration such as 45m, 1h30m or 10s", param, ctx)
        if seconds < self._least:
            self.fail(f"{value!r} is too often; write {self._least:g}s or more", param, ctx)
        return seconds


@click.command(
    cls=Command,
    epilog=examples(
        "reconciler watch                              the folder where you are",
        "reconciler watch --once                       one pass; exit codes are apply's",
        "reconciler watch --dry-run                    says what it would do, writes nothing",
        "reconciler watch --git https://git.example.com/ml/models.git --ref main --project /etc/reconciler.yaml",
    ),
)
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path())
@environments_option
@click.option("--git", "url", metavar="URL", help="Watch a branch of this repository instead of a folder.")
@click.option("--ref", metavar="BRANCH", help="The branch, with --git. Default main.")
@click.option("--path", metavar="P", help="The project's folder in the repository, with --git.")
@click.option(
    "--interval", type=Duration(OFTEN), default=MINUTE, show_default="1m", help="Between fetches, with --git."
)
@click.option(
    "--resync",
    type=Duration(OFTEN),
    default=5 * MINUTE,
    show_default="5m",
    help="Look at least this often, whatever happens.",
)
@click.option(
    "--settle", type=Duration(), default=1.0, show_default="1s", help="How long files must be left alone to be read."
)
@click.option("--poll", type=Duration(OFTEN), metavar="DURATION", help="Look at the files in intervals, not on events.")
@click.option("--once", is_flag=True, help="One pass of every environment, then end.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; send and write nothing.")
@click.option(
    "--parallelism", type=click.IntRange(1, 64), default=4, show_default=True, help="Deployments under way at once."
)
@click.option("--init-state", is_flag=True, help="Create the state where there is none.")
@click.option("--allow-ephemeral-state", is_flag=True, help="In CI: the state's folder outlives the runner.")
@serving_options
@click.pass_context
def watch(  # one parameter an option
    ctx: click.Context,
    folder: str | None,
    environments: tuple[str, ...],
    url: str | None,
    ref: str | None,
    path: str | None,
    interval: float,
    resync: float,
    settle: float,
    poll: float | None,
    parallelism: int,
    *,
    once: bool,
    dry_run: bool,
    init_state: bool,
    allow_ephemeral_state: bool,
    serving: Serving,
) -> int:
    """Keep the platform as the manifests say, for as long as it runs.

    Whatever changes in the folder or on the branch is applied once the files are at rest. What fails is tried again after
    5 and 20 minutes and then left alone; what is doubtful, or changes too much at once, waits for a person.
    """
    if folder is not None:
        ctx.meta.setdefault(FLAGS, {})["directory"] = folder
    choices = _Choices(
        url=url,
        ref=ref,
        path=path,
        interval=interval,
        resync=resync,
        settle=settle,
        poll=poll,
        parallelism=parallelism,
        once=once,
        dry_run=dry_run,
        only=environments,
        init_state=init_state,
        allow_ephemeral_state=allow_ephemeral_state,
        serving=serving,
    )
    try:
        with _terminated_before_it_watches():
            return _begin(ctx, choices)
    except (_Terminated, KeyboardInterrupt) as error:
        number = signal.SIGTERM if isinstance(error, _Terminated) else signal.SIGINT
        return 128 + number if once else 0


def _begin(ctx: click.Context, choices: _Choices) -> int:
    from reconciler.cli.watched import with_log_level

    session = Session.of(ctx)
    _check(session, choices)
    opened = wiring.open_project(session.settings)
    chosen = opened.chosen(choices.only)
    if not choices.dry_run:
        wiring.refuse_ephemeral(opened, allowed=choices.allow_ephemeral_state)
    session.settings = with_log_level(session.settings, ctx.meta.get(FLAGS, {}).get("log_level"))
    opened = replace(opened, settings=session.settings)
    _set_up_log(opened, chosen, choices.serving)
    with _out_in_time(Unfinished.exit_code if choices.once else 0) as count_down:
        return asyncio.run(_Watch(session, opened, choices, count_down).run(chosen))


class _Terminated(BaseException):
    """SIGTERM came before the loop was there to hear it."""


@contextmanager
def _terminated_before_it_watches() -> Iterator[None]:
    """The first process of a container does not die of a signal that it does not handle, and a state may be far away."""

    def heard(*_: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, heard)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _out_in_time(code: int) -> Iterator[Callable[[], None]]:
    """Gives what begins the count-down. A thread that waits for a disk or a host cannot be ended, only left behind.

    By then every request in flight had its time, and what was to be recorded and is not is as after a kill: in doubt.
    """

    def leave() -> None:
        os.write(2, b"Something did not end in time after the signal; it is left behind.\n")
        os._exit(code)

    timer = threading.Timer(OUT, leave)
    timer.daemon = True
    try:
        yield timer.start
    finally:
        timer.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choices:
    url: str | None
    ref: str | None
    path: str | None
    interval: float
    resync: float
    settle: float
    poll: float | None
    parallelism: int
    once: bool
    dry_run: bool
    only: tuple[str, ...]
    init_state: bool
    allow_ephemeral_state: bool
    serving: Serving


def _check(session: Session, choices: _Choices) -> None:
    if choices.url is None:
        if choices.ref is not None or choices.path is not None:
            raise UsageError(
                "--ref and --path say what of a repository is watched.", next_step="Name it with --git URL."
            )
        return
    from reconciler.source.remote import protocol_of

    protocol_of(choices.url)
    if not session.settings.project_named:
        raise UsageError(
            "--git needs the operator's project file: hosts and keys are never taken from the branch.",
            next_step="Name it with --project FILE.",
        )


def _init(opened: Opened, chosen: tuple[Environment, ...]) -> None:
    from reconciler.cli.planning import empty_state

    for environment in chosen:
        store = wiring.store_for(opened, environment)
        if not store.exists():
            store.create(empty_state(environment))


def _set_up_log(opened: Opened, chosen: tuple[Environment, ...], serving: Serving) -> None:
    from reconciler.cli.logs import set_up
    from reconciler.errors import AuthenticationError

    settings, secrets = opened.settings, list(secrets_of(opened, serving))
    for environment in chosen:
        try:
            secrets.append(wiring.key_reader(environment.api_key, settings.root, settings.environ)())
        except AuthenticationError:
            continue  # told, and tried again, by the environment's own passes
    set_up(settings, run=f"watch-{os.getpid()}", secrets=secrets)


class _Watch:
    """The loop with everything around it."""

    def __init__(self, session: Session, opened: Opened, choices: _Choices, count_down: Callable[[], None]) -> None:
        self._session, self._opened, self._choices, self._count_down = session, opened, choices, count_down
        self._paces: dict[str, Pace] = {}
        self._shown: dict[str, str] = {}

    async def run(self, chosen: tuple[Environment, ...]) -> int:
        from reconciler.apply.context import Stop
        from reconciler.cli.logs import log_event
        from reconciler.controller.board import Board
        from reconciler.controller.supervisor import Supervisor

        choices, stop = self._choices, Stop()
        source = self._source()
        board = Board(source=source.in_words(), remote=source.shown_at())
        board.on_event(log_event)
        board.on_pass(self._tell)
        means = self._means(board, stop, source)
        supervisor = Supervisor(source.read, means, chosen, only=frozenset(choices.only))
        with _signals(stop, supervisor.ask), stop.calling(self._count_down):
            await self._create_states(chosen, stop)
            async with AsyncExitStack() as stack:
                if not choices.once:
                    surroundings = around(self._opened, board, choices.serving, look=supervisor.ask, say=self._say)
                    await stack.enter_async_context(surroundings)
                    for trigger in self._triggers(source, supervisor):
                        stack.push_async_callback(_cancelled, asyncio.create_task(trigger))
                await supervisor.run()
        return self._exit_code(supervisor, stop)

    async def _create_states(self, chosen: tuple[Environment, ...], stop: Stop) -> None:
        """In a thread: a state may be far away, and a signal must be heard. Raises StateError."""
        if not self._choices.init_state or self._choices.dry_run:
            return
        try:
            async with stop.limited(0):
                await asyncio.to_thread(_init, self._opened, chosen)
        except TimeoutError:
            if not stop.requested:
                raise

    def _source(self) -> WatchedFolder | WatchedBranch:
        from reconciler.cli.watched import WatchedFolder, watched_branch

        choices, settings = self._choices, self._session.settings
        if choices.url is None:
            return WatchedFolder(settings, self._opened, choices.settle, self._say)
        serving = choices.serving
        environ = wiring.lent_environ(self._opened, serving.token, serving.webhook_secret)
        return watched_branch(self._opened, environ, choices.url, choices.ref or MAIN, choices.path or ".")

    def _means(self, board: Board, stop: Stop, source: WatchedFolder | WatchedBranch) -> Means:
        from reconciler.apply.context import Pace
        from reconciler.controller.loop import Means

        def pace(environment: Environment) -> Pace:
            known = self._paces.get(environment.origin)
            return known or self._paces.setdefault(environment.origin, Pace.of(environment.rate_limit))

        return Means(
            store=lambda environment: wiring.store_for(source.opened, environment),
            platform=lambda environment: wiring.platform_for(source.opened, environment),
            refuse=wiring.refuse_foreign,
            pace=pace,
            holder=self._holder,
            ask=lambda *_: None,
            now=now,
            random=random.random,
            board=board,
            stop=stop,
            parallelism=self._choices.parallelism,
            dry_run=self._choices.dry_run,
            once=self._choices.once,
        )

    def _holder(self, run: str) -> Holder:
        from reconciler.cli.running import holder_of

        return holder_of(self._session, "watch", run)

    def _triggers(
        self, source: WatchedFolder | WatchedBranch, supervisor: Supervisor
    ) -> list[Coroutine[Any, Any, None]]:
        from reconciler.cli.watched import WatchedFolder
        from reconciler.controller.triggers import FETCH, FileWatch, every

        choices = self._choices
        supervisor.ask("the start")
        found = [every(choices.resync, supervisor.ask, random=random.random)]
        if isinstance(source, WatchedFolder):
            files = FileWatch(
                places=source.places,
                ask=supervisor.ask,
                say=self._say,
                settle=choices.settle,
                poll=choices.poll,
            )
            found.append(files.run())
        else:
            found.append(every(choices.interval, supervisor.ask, random=random.random, cause=FETCH))
        return found

    # What is said

    def _say(self, text: str | None) -> None:
        import structlog

        structlog.get_logger().info("watching" if text is None else text)

    def _tell(self, done: Pass, view: View) -> None:
        """A line a pass; and the plan, where nothing is done with it. Records that nobody else has, above all."""
        import structlog

        from reconciler.controller.board import PassEnd

        for line in done.report.recovery if done.report is not None else ():
            self._session.say(line)
        log = structlog.get_logger()
        tell = log.info if done.end in {PassEnd.SUCCEEDED, PassEnd.SUPERSEDED} else log.warning
        fields = {
            "environment": done.environment,
            "cause": done.cause,
            "end": str(done.end),
            "detail": done.detail or None,
            "seconds": round(done.seconds, 3),
            "commit": done.commit,
        }
        tell("pass", run=done.id, **{key: value for key, value in fields.items() if value is not None})
        if self._choices.dry_run and view.plan is not None:
            self._show_plan(view)

    def _show_plan(self, view: View) -> None:
        """Once, until it is another one."""
        from reconciler.report.plan_text import plan_text

        if view.plan is None:
            return
        text = plan_text([view.plan], self._session.style(sys.stdout))
        if self._shown.get(view.environment.name) != text:
            self._shown[view.environment.name] = text
            self._session.show(text)

    def _exit_code(self, supervisor: Supervisor, stop: Stop) -> int:
        """Being stopped is how a watch ends well; a single pass ends as apply does."""
        if supervisor.fatal is not None:
            return supervisor.fatal.exit_code
        if not self._choices.once:
            return 0
        codes = [code for worker in supervisor.workers.values() for code in worker.exit_codes()]
        if not codes and stop.signal is not None:
            return 128 + stop.signal
        return worst(codes)


@contextmanager
def _signals(stop: Stop, ask: Callable[[str], None]) -> Iterator[None]:
    """SIGTERM and SIGINT end it in order, SIGHUP asks for a look."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.request, number)
    loop.add_signal_handler(signal.SIGHUP, ask, "SIGHUP")
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
