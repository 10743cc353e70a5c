"""`reconciler rollback`."""

from __future__ import annotations

import sys
from dataclasses import replace

import click

from reconciler import pipeline, wiring
from reconciler.apply.journal import Journal
from reconciler.apply.rollback import rollback as going_back
from reconciler.cli.addresses import Addressed
from reconciler.cli.deciding import addressed, confirm, decided_by, subject_of
from reconciler.cli.names import complete_address
from reconciler.cli.options import Command, examples, why_option
from reconciler.cli.planning import Planned, Project
from reconciler.cli.running import run_plan
from reconciler.cli.session import now
from reconciler.errors import GuardError, UsageError
from reconciler.model.records import DecisionRecord
from reconciler.model.resource import Resource
from reconciler.plan.build import Choices
from reconciler.plan.select import Selection
from reconciler.report.plan_text import plan_text
from reconciler.state.fold import fold


@click.command(
    cls=Command,
    epilog=examples(
        "reconciler rollback production/flan-t5 --reason 'answers got worse'",
        "reconciler rollback production/flan-t5 --to 1f0c9a2e4b7d      what that commit deployed",
    ),
)
@click.argument("address", metavar="ENV/NAME", shell_complete=complete_address)
@click.option("--to", metavar="ATTEMPT|COMMIT", help="Which earlier spec; default: the newest that is another one.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--allow-mass-change", is_flag=True, help="Although it is all that runs in the environment.")
@click.option("--allow-ephemeral-state", is_flag=True, help="In CI: the state's folder outlives the runner.")
@why_option
@click.pass_context
def rollback(  # one parameter an option
    ctx: click.Context,
    address: str,
    to: str | None,
    reason: str,
    *,
    yes: bool,
    allow_mass_change: bool,
    allow_ephemeral_state: bool,
) -> int:
    """Deploy an earlier spec of a deployment again, and keep it although the manifest says otherwise.

    What the manifest says now is quarantined: neither apply nor watch sends it again. Any other spec in the manifest lifts
    both by itself, so the lasting way back is a commit: the command prints the `git revert` for it.
    """
    project, found = addressed(ctx, address)
    wiring.refuse_ephemeral(project.opened, allowed=allow_ephemeral_state)
    wanted = _wanted(project, found)
    by, subject = decided_by(project, reason), subject_of(found)
    record = going_back(found.planned.applied, subject, by, wanted=wanted, to=to)
    choices = Choices(selection=Selection(globs=(found.change.address,)), allow_mass_change=allow_mass_change)
    planned = _with(project, found.planned, record, choices)
    session = project.session
    session.show(plan_text([planned.plan], session.style(sys.stdout)))
    if planned.plan.guards:
        guard = planned.plan.guards[0]
        raise GuardError(f"Refused: {guard.message}.", next_step=f"Read the plan. {guard.flag} allows it.")
    confirm(f"Roll {subject.address} back?", yes=yes)
    Journal(planned.store).transact_now(lambda applied: (going_back(applied, subject, by, wanted=wanted, to=to),))
    code = 0 if planned.plan.is_empty else _apply(project, planned)
    session.say(_how_to_make_it_last(project, wanted))
    return code


def _wanted(project: Project, found: Addressed) -> Resource:
    for resource in project.checked.desired[found.change.environment].resources:
        if resource.address == found.change.address:
            return resource
    raise UsageError(
        f"{found.change.address} has no manifest that can be read, so there is nothing to go back from.",
        next_step="Put its manifest back as it was, and apply.",
    )


def _with(project: Project, planned: Planned, record: DecisionRecord, choices: Choices) -> Planned:
    """The plan as it will be once the decision is recorded."""
    applied = fold(planned.applied, [record])
    plan = pipeline.make_plan(project.checked, planned.environment.name, applied, now=now(), choices=choices)
    return replace(planned, applied=applied, plan=plan)


def _apply(project: Project, planned: Planned) -> int:
    return run_plan(project, planned, planned.plan, operation="rollback", parallelism=1, wait=True)


def _how_to_make_it_last(project: Project, wanted: Resource) -> str:
    from reconciler.source.blame import last_change

    commit = last_change(project.session.settings.root, wanted.origin.file)
    if commit is None:
        return (
            f"To make it last, put {wanted.origin.file} back as it was: until then the manifest's spec is quarantined."
        )
    return (
        f"{wanted.origin.file} was last changed by {commit[:12]}. To make it last:\n"
        f"  git revert {commit}\n"
        "Until the manifest says something else, its spec is quarantined and the earlier one stays."
    )
