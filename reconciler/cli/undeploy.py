"""`reconciler undeploy`."""

from __future__ import annotations

import sys
from dataclasses import replace

import click

from reconciler import wiring
from reconciler.apply.decisions import undeploy_change
from reconciler.cli.deciding import addressed, confirm
from reconciler.cli.names import complete_address
from reconciler.cli.options import Command, examples
from reconciler.cli.running import run_plan
from reconciler.report.plan_text import plan_text


@click.command(cls=Command, epilog=examples("reconciler undeploy production/old-model"))
@click.argument("address", metavar="ENV/NAME", shell_complete=complete_address)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--allow-ephemeral-state", is_flag=True, help="In CI: the state's folder outlives the runner.")
@click.pass_context
def undeploy(ctx: click.Context, address: str, *, yes: bool, allow_ephemeral_state: bool) -> int:
    """Remove an orphan from the platform: an entry whose manifest is gone. Whatever calls the model starts failing."""
    project, found = addressed(ctx, address)
    project.checked.or_refuse()  # while a manifest cannot be read, a missing one proves nothing
    wiring.refuse_ephemeral(project.opened, allowed=allow_ephemeral_state)
    change = undeploy_change(found.change)
    plan = replace(found.planned.plan, changes=(change,), guards=(), warnings=())
    session = project.session
    session.show_first(plan_text([plan], session.style(sys.stdout)))
    confirm(f"Undeploy {change.address} ({change.model_id})?", yes=yes)
    return run_plan(project, found.planned, plan, operation="undeploy", parallelism=1, wait=True)
