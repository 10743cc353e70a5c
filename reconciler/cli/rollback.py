"""`reconciler rollback`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
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
from reconciler.diff.fields import body_differences
from reconciler.errors import GuardError, SourceError, UsageError
from reconciler.model.records import DecisionRecord, Pin
from reconciler.model.resource import Resource
from reconciler.plan.build import Choices
from reconciler.plan.select import Selection
from reconciler.report.plan_text import plan_text
from reconciler.report.style import count
from reconciler.state.fold import fold

MAX_REVERTED = 10  # commits to name; of more, putting the file back is the easier way


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
    to = _commit_or(project, to)
    wiring.refuse_ephemeral(project.opened, allowed=allow_ephemeral_state)
    wanted = _wanted(project, found)
    by, subject = decided_by(project, reason), subject_of(found)
    record = going_back(found.planned.applied, subject, by, wanted=wanted, to=to)
    choices = Choices(selection=Selection(globs=(found.change.address,)), allow_mass_change=allow_mass_change)
    planned = _with(project, found.planned, record, choices)
    session = project.session
    session.show_first(plan_text([planned.plan], session.style(sys.stdout)))
    if planned.plan.guards:
        guard = planned.plan.guards[0]
        raise GuardError(f"Refused: {guard.message}.", next_step=f"Read the plan. {guard.flag} allows it.")
    confirm(f"Roll {subject.address} back?", yes=yes)
    Journal(planned.store).transact_now(lambda applied: (going_back(applied, subject, by, wanted=wanted, to=to),))
    code = 0 if planned.plan.is_empty else _apply(project, planned)
    session.say(_how_to_make_it_last(project, wanted, record))
    return code


def _commit_or(project: Project, to: str | None) -> str | None:
    """The whole name of a commit that is called by a branch, a tag or the like; else what was typed, an attempt perhaps."""
    if to is None:
        return None
    try:
        return wiring.commit_at(project.session.settings, to).commit or to
    except SourceError:
        return to


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


def _how_to_make_it_last(project: Project, wanted: Resource, record: DecisionRecord) -> str:
    """Every commit since the spec that was put back: to take the newest back alone would bring a spec between the two."""
    from reconciler.source.blame import changes_since, last_change

    root, pin = project.session.settings.root, record.decision
    assert isinstance(pin, Pin)  # noqa: S101 - what `going_back` decides
    until = "Until the manifest says something else, its spec is quarantined and the earlier one stays."
    commits = changes_since(root, pin.commit, _files(project, wanted, pin)) if pin.commit is not None else ()
    if 0 < len(commits) <= MAX_REVERTED:
        what = count(len(commits), "commit")
        return (
            f"{what} since {(pin.commit or '')[:12]} changed what it says. To make it last:\n"
            f"  git revert {' '.join(commits)}\n{until}"
        )
    newest = last_change(root, wanted.origin.file)
    if newest is None or commits:
        at = f" as it was in {(pin.commit or '')[:12]}" if commits else " as it was"
        return f"To make it last, put {wanted.origin.file} back{at}. {until}"
    return (
        f"{wanted.origin.file} was last changed by {newest[:12]}. To make it last:\n  git revert {newest}\n"
        f"Look whether that is enough: how it came to the earlier spec cannot be told here. {until}"
    )


def _files(project: Project, wanted: Resource, pin: Pin) -> Iterator[str]:
    """The manifest, and where else a value is written that differs from the spec that was put back."""
    yield wanted.origin.file
    for path, _, _ in body_differences(pin.body, wanted.body):
        position = project.checked.locate(wanted, path).position
        if position is not None:
            yield position.file
