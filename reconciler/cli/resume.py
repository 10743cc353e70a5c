"""`reconciler resume`."""

from __future__ import annotations

import click

from reconciler import wiring
from reconciler.apply import decisions
from reconciler.apply.decisions import By
from reconciler.apply.journal import Journal
from reconciler.cli.deciding import addressed, decided_by, record, subject_of
from reconciler.cli.options import Command, examples, why_option
from reconciler.cli.session import Session, now


@click.command(
    cls=Command,
    epilog=examples(
        "reconciler resume production --reason 'compared with the console'   the whole environment",
        "reconciler resume production/flan-t5                                one deployment",
    ),
)
@click.argument("address", metavar="ENV[/NAME]")
@why_option
@click.pass_context
def resume(ctx: click.Context, address: str, reason: str) -> int:
    """End a suspension, so that apply may send again: the one that `state repair` leaves where records were lost.

    Look in the platform's console first whether what runs is what `reconciler status` says.
    """
    session = Session.of(ctx)
    opened = wiring.open_project(session.settings)
    if address in opened.names:
        by = By(who=session.settings.user, why=reason, at=now())
        store = wiring.store_for(opened, opened.environment(address))
        Journal(store).transact_now(lambda applied: (decisions.resume(applied, None, by),))
        session.say(f"{address} is no longer suspended. `reconciler plan -e {address}` shows what comes next.")
        return 0
    project, found = addressed(ctx, address)
    by = decided_by(project, reason)
    record(found, lambda applied: decisions.resume(applied, subject_of(found), by))
    session.say(f"{found.change.address} is no longer suspended. `reconciler plan` shows what comes next.")
    return 0
