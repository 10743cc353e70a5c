"""`reconciler schema`."""

from __future__ import annotations

import click

from reconciler.cli.options import Command, examples
from reconciler.cli.session import Session
from reconciler.load.schema import KINDS, render, schema_of


@click.command(
    cls=Command,
    epilog=examples(
        "reconciler schema                     both kinds in one",
        "reconciler schema ModelDeployment > model-deployment.json",
    ),
)
@click.argument("kind", type=click.Choice(KINDS, case_sensitive=False), required=False)
@click.pass_context
def schema(ctx: click.Context, kind: str | None) -> int:
    """Print a JSON Schema (2020-12), for editors and linters: of KIND, or of every kind in one."""
    Session.of(ctx).show(render(schema_of(kind)))
    return 0
