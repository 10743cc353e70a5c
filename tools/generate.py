"""Writes the files that are made from the program: `make schemas`. A test (tests/unit/test_generated.py) finds stale ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from reconciler.cli.reference import cli_page
from reconciler.load.codes import diagnostics_page
from reconciler.load.fits import compiled
from reconciler.load.schema import render, schema_of
from reconciler.plan.codec import schema as plan_schema
from reconciler.report.status_text import schema as status_schema
from reconciler.state.format import schema as state_schema
from tools.reference import manifests_page

ROOT = Path(__file__).parent.parent

# file, from the root of the repository -> its text
GENERATED: Mapping[str, Callable[[], str]] = {
    "docs/cli.md": cli_page,
    "docs/diagnostics.md": diagnostics_page,
    "docs/manifests.md": manifests_page,
    "reconciler/load/fits.json": compiled,
    "schemas/model-deployment.json": lambda: render(schema_of("ModelDeployment")),
    "schemas/plan.json": lambda: render(plan_schema()),
    "schemas/project.json": lambda: render(schema_of("Project")),
    "schemas/reconciler.json": lambda: render(schema_of()),
    "schemas/state.json": lambda: render(state_schema()),
    "schemas/status.json": lambda: render(status_schema()),
}


def main() -> None:
    for name, text in GENERATED.items():
        (ROOT / name).write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
