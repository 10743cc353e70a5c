"""`reconciler status`."""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase

import click

from reconciler.cli.names import complete_name
from reconciler.cli.options import Command, environments_option, examples, output_option
from reconciler.cli.planning import Planned, Project, plan_one, read_project
from reconciler.cli.session import Session, now
from reconciler.errors import worst
from reconciler.report.status_text import status_json, status_text
from reconciler.status import DeploymentStatus, statuses


@click.command(
    cls=Command,
    epilog=examples(
        "reconciler status                        every deployment",
        "reconciler status -o wide 'production/*'    with devices, commits and dates",
        "reconciler status --wait                 follow what is running; send nothing",
    ),
)
@click.argument("globs", nargs=-1, metavar="[NAME]...", shell_complete=complete_name)
@environments_option
@output_option("text", "wide", "json", "yaml")
@click.option("--wait", is_flag=True, help="Follow the running jobs until they end; sends nothing.")
@click.pass_context
def status(
    ctx: click.Context, globs: tuple[str, ...], environments: tuple[str, ...], output: str, *, wait: bool
) -> int:
    """Show each deployment's sync, health and operation, its dock status id, age and commit.

    Takes no lock and changes nothing; with --wait it records how the jobs ended.
    """
    session = Session.of(ctx)
    project = read_project(session, environments, strict=False)
    chosen = project.chosen(environments)
    code = worst(_follow(project, plan_one(project, environment)) for environment in chosen) if wait else 0
    planned = [plan_one(project, environment) for environment in chosen]
    rows = [row for one in planned for row in statuses(one.plan, one.applied) if _selected(row, globs)]
    if output in {"json", "yaml"}:
        session.show_value(status_json(rows), output)
    else:
        session.show(status_text(rows, session.style(sys.stdout), now=now(), wide=output == "wide"))
    if wait:
        remain = sum(len(one.plan.pending) for one in planned)
        remains = "1 change remains" if remain == 1 else f"{remain} changes remain"
        session.say(f"{remains}: run apply." if remain else "Nothing remains.")
    return code


def _selected(row: DeploymentStatus, globs: tuple[str, ...]) -> bool:
    return not globs or any(fnmatchcase(text, glob) for glob in globs for text in (row.name, row.address))


def _follow(project: Project, planned: Planned) -> int:
    from reconciler.cli.running import follow_jobs

    return follow_jobs(project, planned)
