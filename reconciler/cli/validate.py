"""`reconciler validate`."""

from __future__ import annotations

import sys

import click

from reconciler import pipeline, wiring
from reconciler.cli.options import Command, examples, output_option
from reconciler.cli.session import Session
from reconciler.diagnostics import errors_in
from reconciler.errors import InvalidInput
from reconciler.report.diagnostics import diagnostics_json, diagnostics_text
from reconciler.report.style import count


@click.command(
    cls=Command,
    epilog=examples(
        "reconciler validate                  everything, all mistakes at once",
        "reconciler validate -C ../models     another folder",
        "reconciler validate -o json          for an editor or a script",
    ),
)
@output_option("text", "json")
@click.pass_context
def validate(ctx: click.Context, output: str) -> int:
    """Check the project file and every manifest, for all environments. Needs no state, no key and no network."""
    session = Session.of(ctx)
    try:
        opened = wiring.open_project(session.settings)
    except InvalidInput as error:
        if output != "json" or not error.diagnostics:
            raise
        session.show_value(diagnostics_json(error.diagnostics), "json")
        return error.exit_code
    snapshot = wiring.take_snapshot(opened, provenance=False)
    checked = pipeline.check(snapshot, opened.project)
    if output == "json":
        session.show_value(diagnostics_json(checked.diagnostics), "json")
    elif checked.diagnostics:
        sources = {file.path: file.data for file in snapshot.files}
        session.show(diagnostics_text(checked.diagnostics, sources, session.style(sys.stdout)))
    if errors_in(checked.diagnostics):
        return InvalidInput.exit_code
    if output == "text":
        resources = sum(len(desired.resources) for desired in checked.desired.values())
        session.say(
            f"Valid: {count(len(snapshot.files), 'file')}, {count(resources, 'deployment')} in"
            f" {count(len(checked.desired), 'environment')}."
        )
    return 0
