"""`reconciler resolve`."""

from __future__ import annotations

import asyncio

import click

from reconciler import wiring
from reconciler.apply import decisions
from reconciler.apply.docks import status_of
from reconciler.cli.addresses import Addressed
from reconciler.cli.deciding import addressed, decided_by, record, subject_of
from reconciler.cli.names import complete_address
from reconciler.cli.options import Command, examples, why_option
from reconciler.cli.planning import Project
from reconciler.cli.session import now
from reconciler.errors import UsageError
from reconciler.platform.replies import valid_id


@click.command(
    cls=Command,
    epilog=examples(
        "reconciler resolve production/flan-t5 --dock-status-id ds-…   the console shows its job",
        "reconciler resolve production/flan-t5 --it-happened           it is deployed, and no id can be found",
        "reconciler resolve production/flan-t5 --it-did-not            the console shows nothing of it",
        "reconciler resolve production/flan-t5 --send-again            a second deploy does no harm",
    ),
)
@click.argument("address", metavar="ENV/NAME", shell_complete=complete_address)
@click.option("--dock-status-id", metavar="ID", help="The platform took it: this is its job, which is asked about.")
@click.option("--it-happened", is_flag=True, help="The platform did it; the id cannot be found.")
@click.option("--it-did-not", is_flag=True, help="The platform did not do it.")
@click.option("--send-again", is_flag=True, help="Send it again, whatever happened; never for an undeploy.")
@why_option
@click.pass_context
def resolve(  # one parameter an option
    ctx: click.Context,
    address: str,
    dock_status_id: str | None,
    reason: str,
    *,
    it_happened: bool,
    it_did_not: bool,
    send_again: bool,
) -> int:
    """Say how a call whose outcome is unknown really ended, so that its deployment is no longer held.

    Look in the platform's console first. Exactly one of the four options says what you found.
    """
    if sum((dock_status_id is not None, it_happened, it_did_not, send_again)) != 1:
        raise UsageError(
            "Say exactly one of --dock-status-id ID, --it-happened, --it-did-not and --send-again.",
            next_step="`reconciler resolve --help` says what each means.",
        )
    project, found = addressed(ctx, address)
    by, subject = decided_by(project, reason), subject_of(found)
    dead = found.planned.store.sender_is_dead()
    if dock_status_id is not None:
        status = _ask(project, found, dock_status_id)
        record(
            found,
            lambda applied: decisions.resolve_as_accepted(
                applied, subject, by, dock_status_id=dock_status_id, status=status, sender_is_dead=dead
            ),
        )
        project.session.say(f"{subject.address} was accepted as {dock_status_id}, now {status}.")
        return 0
    decide = (
        decisions.resolve_as_happened
        if it_happened
        else decisions.resolve_as_not_happened
        if it_did_not
        else decisions.resolve_by_sending_again
    )
    record(found, lambda applied: decide(applied, subject, by, sender_is_dead=dead))
    project.session.say(f"{subject.address} is no longer held. `reconciler plan` shows what comes next.")
    return 0


def _ask(project: Project, found: Addressed, dock_status_id: str) -> str:
    """The dock status that the platform gives for an id. Raises what stands in the way of believing it."""
    if not valid_id(dock_status_id):
        raise UsageError(f"{dock_status_id!r} is not a dock status id.", next_step="It looks like ds-….")
    platform = wiring.platform_for(project.opened, found.planned.environment)

    async def ask() -> str:
        try:
            return await status_of(platform, dock_status_id, model_id=found.change.model_id, now=now())
        finally:
            await platform.close()

    return asyncio.run(ask())
