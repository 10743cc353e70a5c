"""What the shell is offered while a name is typed: environments of the project, names and addresses in the state.

Parameters name these functions as their `shell_complete`; they run only while completing. Whatever goes wrong, nothing is
offered: nobody wants an error message in a half-typed line. A state that is not in a folder would make the shell wait, so the
names in the manifests stand for those in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
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
    yield from ((name, "") for name in opened.names)
    with suppress(ReconcilerError, OSError, ValueError):
        is_elsewhere = "://" in opened.project.state or opened.project.state.startswith("git:")
        yield from _in_manifests(opened) if is_elsewhere else _in_state(opened)


def _in_state(opened: Opened) -> Iterator[tuple[str, str]]:
    from reconciler import wiring
    from reconciler.state.file import FileStore

    for name in opened.names:
        with suppress(ReconcilerError, OSError, ValueError):
            applied = wiring.read_applied(FileStore(opened.settings.root / opened.project.state, name))
            yield from ((name, entry.name) for entry in applied.entries.values())


def _in_manifests(opened: Opened) -> Iterator[tuple[str, str]]:
    from reconciler import pipeline, wiring

    checked = pipeline.check(wiring.take_snapshot(opened, provenance=False), opened.project)
    for name, desired in checked.desired.items():
        yield from ((name, resource.name) for resource in desired.resources)
