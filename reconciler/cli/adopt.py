"""`reconciler adopt`."""

from __future__ import annotations

import click

from reconciler.apply import decisions
from reconciler.cli.addresses import Addressed
from reconciler.cli.deciding import addressed, decided_by, record
from reconciler.cli.files import write_file
from reconciler.cli.names import complete_address
from reconciler.cli.options import Command, examples, why_option
from reconciler.cli.planning import Project
from reconciler.edit.yaml_text import edit
from reconciler.errors import UsageError
from reconciler.model.resource import Resource


@click.command(
    cls=Command,
    epilog=examples(
        "reconciler adopt production/flan-t5            record it now",
        "reconciler adopt production/flan-t5 --write    write `adopt: true` into its manifest instead",
    ),
)
@click.argument("address", metavar="ENV/NAME", shell_complete=complete_address)
@click.option("--write", is_flag=True, help="Write rollout.adopt: true into the manifest; record nothing.")
@why_option
@click.pass_context
def adopt(ctx: click.Context, address: str, reason: str, *, write: bool) -> int:
    """Take over a deployment that already runs: record its manifest as what is live, without a call.

    The manifest's values are taken on trust, because no call reads them back. Its health is Unknown until the next deploy.
    """
    project, found = addressed(ctx, address)
    resource = _resource(project, found)
    if write:
        _write(project, resource)
        return 0
    by = decided_by(project, reason)
    commit = project.checked.snapshot.provenance.commit
    record(found, lambda applied: decisions.adopt(applied, resource, by, commit=commit))
    project.session.say(f"{resource.address} is recorded as live as its manifest says; nothing was sent.")
    return 0


def _resource(project: Project, found: Addressed) -> Resource:
    for resource in project.checked.desired[found.change.environment].resources:
        if resource.address == found.change.address:
            return resource
    raise UsageError(
        f"{found.change.address} has no manifest that can be read.",
        next_step="Write one first: `reconciler init --from` makes it from the deploy call that you use today.",
    )


def _write(project: Project, resource: Resource) -> None:
    """The manifest as it was read, with one value set; refused when the file has changed since."""
    path = project.session.settings.root / resource.origin.file
    before = next(file.data for file in project.checked.snapshot.files if file.path == resource.origin.file)
    if path.read_bytes() != before:
        raise UsageError(f"{path} has changed meanwhile.", next_step="Run it again.")
    text = edit(before.decode(), resource.origin.document, ("spec", "rollout", "adopt"), value=True)
    write_file(path, text.encode())
    project.session.say(f"{path}: rollout.adopt is true; the next apply records {resource.address} without a call.")
