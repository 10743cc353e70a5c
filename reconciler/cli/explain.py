"""`reconciler explain`."""

from __future__ import annotations

import sys

import click

from reconciler.cli.addresses import find
from reconciler.cli.names import complete_address
from reconciler.cli.options import Command, examples, output_option
from reconciler.cli.planning import read_project
from reconciler.cli.session import Session, now
from reconciler.report.status_text import explain_json, explain_text
from reconciler.status import explain as explain_


@click.command(cls=Command, epilog=examples("reconciler explain production/flan-t5"))
@click.argument("address", metavar="ENV/NAME", shell_complete=complete_address)
@output_option("text", "json", "yaml")
@click.pass_context
def explain(ctx: click.Context, address: str, output: str) -> int:
    """Say why a deployment is as it is: each gate in order, the next step, and the command that unblocks it."""
    session = Session.of(ctx)
    project = read_project(session, strict=False)
    found = find(project, address)
    explanation = explain_(found.planned.plan, found.planned.applied, found.change.address)
    if output == "text":
        session.show(explain_text(explanation, session.style(sys.stdout), now=now()))
    else:
        session.show_value(explain_json(explanation), output)
    return 0
