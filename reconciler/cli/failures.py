"""Errors -> words on stderr and an exit code: what happened, where, and what to do now."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

import click

from reconciler.cli.session import Session
from reconciler.diagnostics import Diagnostic
from reconciler.errors import InvalidInput, ReconcilerError, SourceError
from reconciler.report.diagnostics import diagnostics_text
from reconciler.report.style import safe
from reconciler.settings import Settings
from reconciler.source.directory import read_project


def tell(error: ReconcilerError, ctx: click.Context) -> int:
    """Say it on stderr; gives the exit code."""
    session = Session.of_failure(ctx)
    style = session.style(sys.stderr)
    if isinstance(error, InvalidInput) and error.diagnostics:
        sources = sources_of(error.diagnostics, session.settings)
        session.say(diagnostics_text(error.diagnostics, sources, style))
    head = click.style("Error:", fg="red", bold=True) if style.colour else "Error:"
    session.say(f"{head} {_sentence(safe(str(error)))}")
    for detail in error.details:
        session.say(f"  - {safe(detail)}")
    if error.next_step:
        session.say(f"  {safe(error.next_step)}")
    return error.exit_code


def _sentence(text: str) -> str:
    return text if text.endswith((".", ":", "!", "?")) else f"{text}."


def tell_unexpected(error: Exception, ctx: click.Context) -> int:
    """A mistake of ours: the words for the user, the traceback only for whoever asks for it."""
    session = Session.of_failure(ctx)
    session.say(f"Error: an unexpected error of reconciler itself: {type(error).__name__}: {safe(str(error))}")
    where = traceback.extract_tb(error.__traceback__)
    if where:
        session.say(f"  In {Path(where[-1].filename).name}, line {where[-1].lineno}. Please report it.")
    if session.settings.log_level == "debug":
        session.say("".join(traceback.format_exception(error)))
    else:
        session.say("  --log-level debug shows more; `reconciler status` shows what is recorded.")
    return 1


def sources_of(diagnostics: Iterable[Diagnostic], settings: Settings) -> dict[str, bytes]:
    """The files that diagnostics point into, to quote lines from.

    Read again as they were read before: what is refused there, such as a link that leads out, is not quoted either.
    """
    names = {d.position.file for d in diagnostics if d.position is not None and d.position.file}
    return {name: text for name in names if (text := _text(name, settings)) is not None}


def _text(name: str, settings: Settings) -> bytes | None:
    root = settings.project.parent if name == settings.project.name else settings.root
    try:
        file = read_project(root, name)
    except SourceError:
        return None
    return file.data if file is not None else None
