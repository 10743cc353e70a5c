"""`reconciler history`."""

from __future__ import annotations

import re
import sys

import click

from reconciler import wiring
from reconciler.cli.addresses import refuse_misspelled
from reconciler.cli.names import complete_address
from reconciler.cli.options import Command, examples, output_option
from reconciler.cli.session import Session, now
from reconciler.errors import UsageError
from reconciler.model.applied import Applied, Entry, without_lapsed
from reconciler.model.spelling import ID_PATTERN
from reconciler.report.status_text import history_json, history_text


@click.command(
    cls=Command,
    epilog=examples(
        "reconciler history",
        "reconciler history production",
        "reconciler history production/flan-t5 -o json",
        "reconciler history production/flan-t5 --values    who wrote each live value, where and when",
    ),
)
@click.argument("address", metavar="[ENV[/NAME]]", required=False, shell_complete=complete_address)
@output_option("text", "json", "yaml")
@click.option("--values", is_flag=True, help="Each live value: the line that says so, its commit, author and date.")
@click.pass_context
def history(ctx: click.Context, address: str | None, output: str, *, values: bool) -> int:
    """List the attempts that the state remembers (the last ten of each deployment), oldest first."""
    session = Session.of(ctx)
    if values:
        return _values(session, address, output)
    opened = wiring.open_project(session.settings)
    environment, _, name = (address or "").partition("/")
    if address and not name and environment not in opened.names and len(opened.names) == 1:
        environment, name = opened.names[0], address
    chosen = opened.chosen([environment] if address else [])
    if "/" in (address or "") and not re.fullmatch(ID_PATTERN, name):  # a model's id will do, too
        refuse_misspelled(address or "", name)
    states = [without_lapsed(wiring.read_applied(wiring.store_for(opened, one)), now()) for one in chosen]
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


def _values(session: Session, address: str | None, output: str) -> int:
    from reconciler.cli.values import live_values
    from reconciler.report.values_text import values_json, values_text

    if address is None:
        raise UsageError("--values is about one deployment.", next_step="Name it as ENV/NAME.")
    whole, live, found = live_values(session, address)
    if output == "text":
        session.show(values_text(whole, live, found, session.style(sys.stdout)))
    else:
        session.show_value(values_json(whole, found), output)
    return 0


def _entries(state: Applied, name: str) -> tuple[Entry, ...]:
    """The entries of a name; `name@model-id` tells two apart."""
    entries = sorted(state.entries.values(), key=lambda entry: (entry.name, entry.model_id))
    return tuple(e for e in entries if not name or name in {e.name, f"{e.name}@{e.model_id}", e.model_id})
