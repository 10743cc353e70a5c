"""`reconciler history`."""

from __future__ import annotations

import sys

import click

from reconciler import wiring
from reconciler.cli.options import Command, examples, output_option
from reconciler.cli.session import Session, now
from reconciler.errors import UsageError
from reconciler.model.applied import Applied, Entry
from reconciler.report.status_text import history_json, history_text


@click.command(
    cls=Command,
    epilog=examples(
        "reconciler history", "reconciler history production", "reconciler history production/flan-t5 -o json"
    ),
)
@click.argument("address", metavar="[ENV[/NAME]]", required=False)
@output_option("text", "json", "yaml")
@click.pass_context
def history(ctx: click.Context, address: str | None, output: str) -> int:
    """List the attempts that the state remembers (the last ten of each deployment), oldest first."""
    session = Session.of(ctx)
    opened = wiring.open_project(session.settings)
    environment, _, name = (address or "").partition("/")
    if address and not name and environment not in opened.names and len(opened.names) == 1:
        environment, name = opened.names[0], address
    chosen = opened.chosen([environment] if environment else [])
    states = [wiring.read_applied(wiring.store_for(opened, one)) for one in chosen]
    selected = [(state, _entries(state, name)) for state in states]
    if name and not any(entries for _, entries in selected):
        raise UsageError(
            f"The state of {environment} knows no {name}.", next_step="`reconciler status` lists the addresses."
        )
    if output == "text":
        session.show(history_text(selected, session.style(sys.stdout), now=now()))
    else:
        session.show_value(history_json(selected), output)
    return 0


def _entries(state: Applied, name: str) -> tuple[Entry, ...]:
    """The entries of a name; `name@model-id` tells two apart."""
    entries = sorted(state.entries.values(), key=lambda entry: (entry.name, entry.model_id))
    return tuple(e for e in entries if not name or name in {e.name, f"{e.name}@{e.model_id}", e.model_id})
