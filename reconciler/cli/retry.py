"""`reconciler retry`."""

from __future__ import annotations

import click

from reconciler.apply import decisions
from reconciler.cli.deciding import addressed, decided_by, record, subject_of
from reconciler.cli.names import complete_address
from reconciler.cli.options import Command, examples, why_option


@click.command(cls=Command, epilog=examples("reconciler retry production/flan-t5 --reason 'more disk now'"))
@click.argument("address", metavar="ENV/NAME", shell_complete=complete_address)
@why_option
@click.pass_context
def retry(ctx: click.Context, address: str, reason: str) -> int:
    """Have the next apply send a deployment again although nothing changed; lifts a quarantine.

    A deployment that runs restarts.
    """
    project, found = addressed(ctx, address)
    by = decided_by(project, reason)
    record(found, lambda applied: decisions.retry(applied, subject_of(found), by))
    project.session.say(f"{found.change.address} is sent again by the next `reconciler apply`.")
    return 0
