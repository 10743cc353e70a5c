"""`reconciler forget`."""

from __future__ import annotations

import click

from reconciler.apply import decisions
from reconciler.cli.deciding import addressed, confirm, decided_by, record, subject_of
from reconciler.cli.names import complete_address
from reconciler.cli.options import Command, examples, why_option


@click.command(cls=Command, epilog=examples("reconciler forget production/old-model --reason 'kept by the data team'"))
@click.argument("address", metavar="ENV/NAME", shell_complete=complete_address)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@why_option
@click.pass_context
def forget(ctx: click.Context, address: str, reason: str, *, yes: bool) -> int:
    """Drop an entry without a manifest from the state. The platform is not called: what runs there keeps running."""
    project, found = addressed(ctx, address)
    by, subject = decided_by(project, reason), subject_of(found)
    wanted = project.checked.desired[found.change.environment].resources
    has_manifest = any(resource.model_id == subject.model_id for resource in wanted)
    decisions.forget(found.planned.applied, subject, by, has_manifest=has_manifest)  # before anybody is asked
    confirm(f"Forget {subject.address} ({subject.model_id})?", yes=yes)
    record(found, lambda applied: decisions.forget(applied, subject, by, has_manifest=has_manifest))
    project.session.say(f"{subject.address} is forgotten; {subject.model_id} was left as it is on the platform.")
    return 0
