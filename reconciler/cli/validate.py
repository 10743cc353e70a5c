"""`reconciler validate`."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler import pipeline, wiring
from reconciler.cli.formats import FORGES, json_text, show_diagnostics
from reconciler.cli.options import Command, examples, output_option
from reconciler.cli.session import Session
from reconciler.diagnostics import Diagnostic, errors_in
from reconciler.errors import InvalidInput
from reconciler.model.snapshot import Snapshot
from reconciler.report.style import count


@click.command(
    cls=Command,
    epilog=examples(
        "reconciler validate                  everything, all mistakes at once",
        "reconciler validate -C ../models     another folder",
        "reconciler validate -o json          for an editor or a script",
        "reconciler validate -o github        annotations on a pull request; also gitlab, junit, sarif",
    ),
)
@output_option("text", "json", *FORGES)
@click.option("--json-into", type=click.Path(dir_okay=False, path_type=Path), help="Write what -o json prints, too.")
@click.pass_context
def validate(ctx: click.Context, output: str, json_into: Path | None) -> int:
    """Check the project file and every manifest, for all environments. Needs no state, no key and no network."""
    session = Session.of(ctx)
    try:
        opened = wiring.open_project(session.settings)
    except InvalidInput as error:
        if json_into is not None:
            _write(json_into, error.diagnostics)
        if output == "text" or not error.diagnostics:
            raise
        show_diagnostics(session, output, error.diagnostics, {})
        return error.exit_code
    snapshot = wiring.take_snapshot(opened, provenance=False)
    checked = pipeline.check(snapshot, opened.project)
    if json_into is not None:
        _write(json_into, checked.diagnostics)
    show_diagnostics(session, output, checked.diagnostics, _texts(snapshot, checked.diagnostics))
    if errors_in(checked.diagnostics):
        return InvalidInput.exit_code
    if output in {"text", "github"}:
        resources = sum(len(desired.resources) for desired in checked.desired.values())
        session.say(
            f"Valid: {count(len(snapshot.files), 'file')}, {count(resources, 'deployment')} in"
            f" {count(len(checked.desired), 'environment')}."
        )
    return 0


def _texts(snapshot: Snapshot, diagnostics: tuple[Diagnostic, ...]) -> dict[str, bytes]:
    """Every manifest file, and the project file where something is said of it."""
    project = snapshot.project
    is_told = project is not None and any(one.position and one.position.file == project.path for one in diagnostics)
    files = (*snapshot.files, project) if project is not None and is_told else snapshot.files
    return {file.path: file.data for file in files}


def _write(path: Path, diagnostics: tuple[Diagnostic, ...]) -> None:
    from reconciler.cli.files import write_file
    from reconciler.report.diagnostics import diagnostics_json

    write_file(path, json_text(diagnostics_json(diagnostics)))
