"""`reconciler suspend`."""

from __future__ import annotations

from datetime import timedelta

import click

from reconciler import wiring
from reconciler.apply import decisions
from reconciler.apply.decisions import By
from reconciler.apply.journal import Journal
from reconciler.cli.deciding import addressed, decided_by, record, subject_of
from reconciler.cli.names import complete_address
from reconciler.cli.options import Command, examples
from reconciler.cli.session import Session, now
from reconciler.errors import UsageError
from reconciler.model.spelling import seconds_of


@click.command(
    cls=Command,
    epilog=examples(
        "reconciler suspend production --reason 'migration' --for 4h         the whole environment",
        "reconciler suspend production/flan-t5 --reason 'being debugged'    one deployment, until it is resumed",
    ),
)
@click.argument("address", metavar="ENV[/NAME]", shell_complete=complete_address)
@click.option("--reason", metavar="TEXT", required=True, help="Why; shown wherever the suspension is.")
@click.option("--for", "lasts", metavar="DURATION", help="It ends by itself after that long, as 4h or 45m.")
@click.pass_context
def suspend(ctx: click.Context, address: str, reason: str, lasts: str | None) -> int:
    """Change nothing of an environment, or of one deployment, until it is resumed: neither by apply nor by watch.

    Jobs that run are followed. A suspension that is there already is replaced.
    """
    session = Session.of(ctx)
    seconds = _seconds(lasts)
    opened = wiring.open_project(session.settings)
    if address in opened.names:
        by = By(who=session.settings.user, why=reason, at=now())
        until = by.at + timedelta(seconds=seconds) if seconds is not None else None
        store = wiring.store_for(opened, opened.environment(address))
        Journal(store).transact_now(lambda applied: (decisions.suspend(applied, None, by, until=until),))
        what = address
    else:
        project, found = addressed(ctx, address)
        by = decided_by(project, reason)
        until = by.at + timedelta(seconds=seconds) if seconds is not None else None
        record(found, lambda applied: decisions.suspend(applied, subject_of(found), by, until=until))
        what = found.change.address
    ends = f"until {until:%Y-%m-%d %H:%M:%S} UTC" if until is not None else "until it is resumed"
    session.say(f"{what} is suspended {ends}. `reconciler resume {what}` ends it.")
    return 0


def _seconds(text: str | None) -> int | None:
    try:
        return None if text is None else seconds_of(text)
    except ValueError as error:
        raise UsageError(f"--for {text!r} is not a duration.", next_step="Write it as 4h, 45m or 1h30m.") from error
