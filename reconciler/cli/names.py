"""What the shell is offered while a name is typed: environments of the project, names and addresses in the state.

Parameters name these functions as their `shell_complete`; they run only while completing. Whatever goes wrong, nothing is
offered: nobody wants an error message in a half-typed line. Only a state in a folder is looked at; a remote one would make
the shell wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from reconciler.wiring import Opened


def complete_environment(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of environments."""
    del param
    return [name for name in sorted({name for name, _ in _known(ctx)}) if name.startswith(incomplete)]


def complete_address(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """`ENV/NAME`; names alone where there is one environment."""
    del param
    known = tuple(_known(ctx))
    alone = len({environment for environment, _ in known}) == 1 and "/" not in incomplete
    offered = (name if alone else f"{environment}/{name}" for environment, name in known if name)
    return sorted(text for text in offered if text.startswith(incomplete))


def complete_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names, or addresses once a slash is typed."""
    if "/" in incomplete:
        return complete_address(ctx, param, incomplete)
    return sorted({name for _, name in _known(ctx) if name and name.startswith(incomplete)})


def _known(ctx: click.Context) -> Iterator[tuple[str, str]]:
    """Environment and name of every entry; an empty name for each environment itself."""
    from reconciler import wiring
    from reconciler.cli.session import Session

    try:
        opened = wiring.open_project(Session.of(ctx).settings)
    except (ReconcilerError, OSError, ValueError):
        return
    for name in opened.names:
        yield name, ""
        yield from ((name, entry) for entry in _entries(opened, name))


def _entries(opened: Opened, environment: str) -> list[str]:
    from reconciler import wiring
    from reconciler.state.file import FileStore

    state = opened.project.state
    if "://" in state or state.startswith("git:"):
        return []
    try:
        applied = wiring.read_applied(FileStore(opened.settings.root / state, environment))
    except (ReconcilerError, OSError, ValueError):
        return []
    return [entry.name for entry in applied.entries.values()]
