"""`reconciler doctor`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import click

from reconciler import pipeline, wiring
from reconciler.apply.recover import MADE_UP
from reconciler.cli.options import Command, environments_option, examples
from reconciler.cli.session import Session
from reconciler.errors import (
    AuthenticationError,
    InvalidInput,
    PlatformUnreachable,
    ReconcilerError,
    StateMissing,
    TlsTrustError,
    worst,
)
from reconciler.model.resource import Environment
from reconciler.model.snapshot import Provenance, Snapshot
from reconciler.platform.client import HttpPlatform
from reconciler.platform.endings import (
    DockAnswer,
    Ended,
    NotFound,
    Running,
    Unauthorized,
    Unreachable,
    read_dock_status,
)
from reconciler.report.diagnostics import summary
from reconciler.report.style import Style, count, safe
from reconciler.wiring import Opened

_SIGNS = {"ok": ("✓", "green"), "worry": ("!", "yellow"), "wrong": ("✗", "red")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report. `sign` is a key of the table above; `fix` is what to do, where anything is."""

    sign: str
    what: str
    text: str
    fix: str | None = None
    code: int = 0


@click.command(
    cls=Command, epilog=examples("reconciler doctor                  everything", "reconciler doctor -e production")
)
@environments_option
@click.pass_context
def doctor(ctx: click.Context, environments: tuple[str, ...]) -> int:
    """Look whether everything is in place: project file, manifests, and each environment's state, key and host.

    Each host is asked about a dock status that does not exist, which shows whether it takes the API key. Nothing is changed.
    """
    session = Session.of(ctx)
    style = session.style(sys.stdout)
    codes = []
    for finding in _findings(session, environments):
        session.show(_lines(finding, style))
        codes.append(finding.code)
    return worst(codes)


def _lines(finding: Finding, style: Style) -> str:
    sign, colour = _SIGNS[finding.sign]
    fix = f"\n    {style.paint(safe(finding.fix), 'cyan')}" if finding.fix else ""
    return f"{style.paint(sign, colour)} {finding.what}: {safe(finding.text)}{fix}"


def _findings(session: Session, names: tuple[str, ...]) -> Iterator[Finding]:
    opened: Opened | None = None

    def project() -> Finding:
        nonlocal opened
        opened = wiring.open_project(session.settings, only=names)
        if opened.file is None:
            text = f"there is no {session.settings.project}; the environment is {opened.names[0]}, from RECONCILER_HOST"
            return Finding(sign="worry", what="project file", text=text, fix="`reconciler init` writes one.")
        text = f"{session.settings.project}, {count(len(opened.names), 'environment')}: {', '.join(opened.names)}"
        return Finding(sign="ok", what="project file", text=text)

    yield _looked("project file", project)
    if opened is None:
        return
    chosen = opened.chosen(names)
    yield _looked("manifests", lambda: _manifests(opened))
    yield _looked("git", lambda: _git(wiring.take_snapshot(opened).provenance))
    for environment in chosen:
        yield _looked(f"{environment.name}: state", lambda: _state(opened, environment))  # noqa: B023 - called at once
        yield from _platform(opened, environment)


def _looked(what: str, look: Callable[[], Finding]) -> Finding:
    """What `look` finds, or why it could not look."""
    try:
        return look()
    except InvalidInput as error:
        text = f"{error} {summary(error.diagnostics)}" if error.diagnostics else str(error)
        fix = "`reconciler validate` lists them." if error.diagnostics else error.next_step
        return Finding(sign="wrong", what=what, text=text, fix=fix, code=error.exit_code)
    except ReconcilerError as error:
        return Finding(sign="wrong", what=what, text=str(error), fix=error.next_step, code=error.exit_code)


def _manifests(opened: Opened) -> Finding:
    snapshot: Snapshot = wiring.take_snapshot(opened, provenance=False)
    checked = pipeline.check(snapshot, opened.project).or_refuse()
    deployments = sum(len(desired.resources) for desired in checked.desired.values())
    text = f"{count(len(snapshot.files), 'file')}, {count(deployments, 'deployment')}"
    if checked.diagnostics:
        fix = "`reconciler validate` lists the warnings."
        return Finding(sign="worry", what="manifests", text=f"{text}; {summary(checked.diagnostics)}", fix=fix)
    return Finding(sign="ok", what="manifests", text=text)


def _git(provenance: Provenance) -> Finding:
    if provenance.commit is None:
        text = "not in a git checkout, or git is not installed: the state cannot say which commit is live"
        return Finding(sign="worry", what="git", text=text)
    if provenance.dirty:
        text = f"commit {provenance.commit[:12]}, with uncommitted changes"
        return Finding(sign="worry", what="git", text=text, fix="Commit them, so that the commit says what is live.")
    return Finding(sign="ok", what="git", text=f"commit {provenance.commit[:12]}")


def _state(opened: Opened, environment: Environment) -> Finding:
    what = f"{environment.name}: state"
    store = wiring.store_for(opened, environment)
    if not store.exists():
        raise StateMissing(f"there is none in {store.location}")
    applied = wiring.read_applied(store)
    wiring.refuse_foreign(environment, applied)
    text = f"{store.location}, {count(len(applied.entries), 'entry', 'entries')}"
    if applied.suspension is not None:
        fix = f"Compare with the console, then `reconciler resume {environment.name}`."
        return Finding(sign="worry", what=what, text=f"{text}; suspended: {applied.suspension.why}", fix=fix)
    if applied.lock is not None:
        return Finding(sign="worry", what=what, text=f"{text}; the run lock is held by {applied.lock.holder}")
    return Finding(sign="ok", what=what, text=f"{text}, nobody is sending")


def _platform(opened: Opened, environment: Environment) -> Iterator[Finding]:
    """The key, and the host only where there is a key to show it."""
    key = _looked(f"{environment.name}: key", lambda: _key(opened, environment))
    yield key
    if key.sign == "ok":
        yield _looked(f"{environment.name}: host", lambda: _host(opened, environment))


def _key(opened: Opened, environment: Environment) -> Finding:
    wiring.key_reader(environment.api_key, opened.settings.root, opened.settings.environ)()
    return Finding(sign="ok", what=f"{environment.name}: key", text=f"found in {environment.api_key}")


def _host(opened: Opened, environment: Environment) -> Finding:
    platform = wiring.platform_for(opened, environment)
    match asyncio.run(_answer(platform)):
        case Unauthorized(message=why):
            raise AuthenticationError(f"{platform.origin} refuses the API key: {why}")
        case Unreachable(error=why, trust=True):
            raise TlsTrustError(f"{platform.origin}: {why}")
        case Unreachable(error=why):
            raise PlatformUnreachable(f"{platform.origin} cannot be reached: {why}")
        case NotFound() | Running() | Ended():
            text = f"{platform.origin} answers and takes the key"
            return Finding(sign="ok", what=f"{environment.name}: host", text=text)
        case answer:
            raise PlatformUnreachable(
                f"{platform.origin} answers, but not as the platform does: {getattr(answer, 'reason', 'no answer')}",
                next_step="Check the host, and what stands between it and this machine.",
            )


async def _answer(platform: HttpPlatform) -> DockAnswer:
    try:
        return read_dock_status(await platform.ask(MADE_UP))
    finally:
        await platform.close()
