"""`reconciler fmt`."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from reconciler import wiring
from reconciler.cli.files import read_file, write_file
from reconciler.cli.options import Command, examples
from reconciler.cli.session import Session
from reconciler.diagnostics import Diagnostic
from reconciler.edit.fmt import formatted
from reconciler.errors import InvalidInput, UsageError
from reconciler.load.yaml import parse
from reconciler.report.diagnostics import diagnostics_text
from reconciler.report.style import count, safe

STDIN = "-"
ENDINGS = (".yaml", ".yml")


@click.command(
    cls=Command,
    epilog=examples(
        "reconciler fmt                       the project file and every manifest",
        "reconciler fmt manifests/flan.yaml   this file; a folder means what lies in it",
        "reconciler fmt --check --diff        change nothing, exit 3 when something would change",
        "reconciler fmt -  <in.yaml >out.yaml",
    ),
)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--check", is_flag=True, help="Change nothing; exit 3 when something would change.")
@click.option("--diff", is_flag=True, help="Print what changes.")
@click.pass_context
def fmt(ctx: click.Context, paths: tuple[str, ...], *, check: bool, diff: bool) -> int:
    """Write manifests and project files in one style: order of keys, spaces, lists. Comments stay, and so does the meaning.

    Files that hold nothing of ours are left alone.
    """
    session = Session.of(ctx)
    if STDIN in paths:
        return _stdin(session, paths, check=check)
    changed, unchanged = [], 0
    wrong: list[Diagnostic] = []
    sources: dict[str, bytes] = {}
    for path, shown in _files(session, paths):
        data = read_file(path, "The file")
        _, found = parse(data, shown)
        after = data if found else formatted(data)
        wrong += found
        if found:
            sources[shown] = data
        elif after == data:
            unchanged += 1
        else:
            changed.append(shown)
            _report(session, shown, data, after, diff=diff)
            if not check:
                write_file(path, after)
    _conclude(session, len(changed), unchanged, check=check)
    if wrong:
        session.say(diagnostics_text(wrong, sources, session.style(sys.stderr)))
    return InvalidInput.exit_code if wrong or (check and changed) else 0


def _stdin(session: Session, paths: tuple[str, ...], *, check: bool) -> int:
    if len(paths) != 1:
        raise UsageError(f"{STDIN} stands for standard input, and for nothing beside it.", next_step="See --help.")
    data = sys.stdin.buffer.read()
    _, found = parse(data, "<stdin>")
    if found:
        raise InvalidInput("What was read is not formatted.", diagnostics=found)
    after = formatted(data)
    if not check:
        session.show_bytes(after)
    return InvalidInput.exit_code if check and after != data else 0


def _files(session: Session, paths: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    """Every file that is meant, once, with the name to show it by. Raises UsageError, InvalidInput."""
    if paths:
        yield from dict.fromkeys((path, safe(str(path))) for name in paths for path in _below(Path(name)))
        return
    settings = session.settings
    opened = wiring.open_project(settings)
    if opened.file is not None:
        yield settings.project, safe(settings.project.name)
    snapshot = wiring.take_snapshot(opened, provenance=False)
    if snapshot.diagnostics:
        raise InvalidInput("Not every manifest can be read.", diagnostics=snapshot.diagnostics)
    for file in snapshot.files:
        yield settings.root / file.path, safe(file.path)


def _below(path: Path) -> Iterator[Path]:
    if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
        yield path
        return
    for inside in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in inside.relative_to(path).parts)
        if inside.suffix in ENDINGS and inside.is_file() and not hidden:
            yield inside


def _report(session: Session, shown: str, before: bytes, after: bytes, *, diff: bool) -> None:
    if not diff:
        session.show(shown)
        return
    old, new = (data.decode("utf-8", "replace").splitlines() for data in (before, after))
    for line in difflib.unified_diff(old, new, f"a/{shown}", f"b/{shown}", lineterm=""):
        session.show(safe(line))


def _conclude(session: Session, changed: int, unchanged: int, *, check: bool) -> None:
    would = "would be formatted" if check else "formatted"
    how = " `reconciler fmt` does it." if check and changed else ""
    session.say(f"{count(changed, 'file')} {would}, {unchanged} unchanged.{how}")
