"""`reconciler plan`, also called `diff`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from reconciler.cli.files import write_file
from reconciler.cli.options import Command, environments_option, examples, output_option, selection_options
from reconciler.cli.planning import Allowed, plan_all, read_project
from reconciler.cli.session import Session, labels_of
from reconciler.errors import UsageError
from reconciler.plan.build import Choices
from reconciler.plan.codec import encode_plan
from reconciler.plan.select import Selection
from reconciler.report.plan_text import plan_text, plans_json

CHANGES = 2  # the exit code of --detailed-exitcode when there is anything to do


@click.command(
    cls=Command,
    epilog=examples(
        "reconciler plan                      every environment",
        "reconciler plan -e production 'flan*'",
        "reconciler plan -l team=support -o json",
        "reconciler plan -e production --out plan.json   then: reconciler apply --plan plan.json",
    ),
)
@selection_options
@environments_option
@output_option("text", "json", "yaml")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when there is anything to do.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the plan, for apply --plan.")
@click.option("--verbose", "-v", is_flag=True, help="Also what is unchanged.")
@click.option("--allow-mass-change", is_flag=True, help="Plan as if a person had allowed a mass change.")
@click.option("--init-state", is_flag=True, help="Plan as if the state were new, where there is none.")
@click.option("--rebind", is_flag=True, help="Plan although the state is bound to another host or key reference.")
@click.pass_context
def plan(  # one parameter an option
    ctx: click.Context,
    globs: tuple[str, ...],
    labels: tuple[str, ...],
    environments: tuple[str, ...],
    output: str,
    out: Path | None,
    *,
    detailed_exitcode: bool,
    verbose: bool,
    allow_mass_change: bool,
    init_state: bool,
    rebind: bool,
) -> int:
    """Show what apply would do, and why. Needs no API key and no network, and changes nothing.

    NAME is a name, an address or a glob of them; without one everything is planned.
    """
    session = Session.of(ctx)
    selection = Selection(globs=globs, labels=labels_of(labels))
    project = read_project(session, environments)
    choices = Choices(selection=selection, allow_mass_change=allow_mass_change)
    planned = plan_all(project, environments, choices, Allowed(init_state=init_state, rebind=rebind))
    plans = [one.plan for one in planned]
    if out is not None:
        if len(plans) != 1:
            raise UsageError("--out writes the plan of one environment.", next_step="Name it with -e ENV.")
        write_file(out, encode_plan(plans[0]))
    if output == "text":
        session.show(plan_text(plans, session.style(sys.stdout), verbose=verbose))
    else:
        session.show_value(plans_json(plans), output)
    if out is not None:
        session.say(f"The plan is in {out}. Apply exactly this with: reconciler apply --plan {out}")
    return CHANGES if detailed_exitcode and any(not one.is_empty for one in plans) else 0
