"""Errors -> words on stderr and an exit code: what happened, where, and what to do now."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

import click

from reconciler.cli.session import Session
from reconciler.diagnostics import Diagnostic
from reconciler.errors import InvalidInput, ReconcilerError
from reconciler.report.diagnostics import diagnostics_text
from reconciler.report.style import safe

_SHOWN_SOURCE = 1024 * 1024  # bytes of a file that may be quoted


def tell(error: ReconcilerError, ctx: click.Context) -> int:
    """Say it on stderr; gives the exit code."""
    session = Session.of_failure(ctx)
    style = session.style(sys.stderr)
    if isinstance(error, InvalidInput) and error.diagnostics:
        sources = sources_of(error.diagnostics, session.settings.root)
        click.echo(diagnostics_text(error.diagnostics, sources, style), err=True, nl=False, color=style.colour)
    head = click.style("Error:", fg="red", bold=True) if style.colour else "Error:"
    click.echo(f"{head} {safe(str(error))}", err=True, color=style.colour)
    for detail in error.details:
        click.echo(f"  - {safe(detail)}", err=True)
    if error.next_step:
        click.echo(f"  {safe(error.next_step)}", err=True)
    return error.exit_code


def tell_unexpected(error: Exception, ctx: click.Context) -> int:
    """A mistake of ours: the words for the user, the traceback only for whoever asks for it."""
    click.echo(f"Error: an unexpected error of reconciler itself: {type(error).__name__}: {safe(str(error))}", err=True)
    where = traceback.extract_tb(error.__traceback__)
    if where:
        click.echo(f"  In {Path(where[-1].filename).name}, line {where[-1].lineno}. Please report it.", err=True)
    if Session.of_failure(ctx).settings.log_level == "debug":
        traceback.print_exception(error)
    else:
        click.echo("  --log-level debug shows more; `reconciler status` shows what is recorded.", err=True)
    return 1


def sources_of(diagnostics: Iterable[Diagnostic], root: Path) -> dict[str, bytes]:
    """The files that diagnostics point into, to quote lines from; what cannot be read is not quoted."""
    names = {d.position.file for d in diagnostics if d.position is not None and d.position.file}
    return {name: text for name in names if (text := _text(root / name)) is not None}


def _text(path: Path) -> bytes | None:
    try:
        if not path.is_file() or path.stat().st_size > _SHOWN_SOURCE:
            return None
        return path.read_bytes()
    except OSError:
        return None
