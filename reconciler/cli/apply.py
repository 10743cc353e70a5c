"""`reconciler apply`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler import wiring
from reconciler.cli.files import read_file
from reconciler.cli.options import Command, environments_option, examples, selection_options
from reconciler.cli.planning import (
    Allowed,
    Planned,
    Project,
    empty_state,
    plan_all,
    plan_one,
    read_project,
    signed_commit,
)
from reconciler.cli.session import Session, labels_of, now
from reconciler.errors import GuardError, RunLockHeld, StalePlan, UsageError, worst
from reconciler.model.plan import Action, Change, Guard, Plan
from reconciler.model.records import DecisionRecord, Rebind
from reconciler.plan.build import Choices
from reconciler.plan.codec import decode_plan, differences
from reconciler.plan.guards import COMES_LATE, OLDER_COMMIT
from reconciler.plan.select import Selection
from reconciler.report.plan_text import plan_text
from reconciler.settings import both_ends_are_terminals

if TYPE_CHECKING:
    from reconciler.model.resource import Environment


@click.command(
    cls=Command,
    epilog=examples(
        "reconciler apply                         one environment: shows the plan and asks",
        "reconciler apply -e production --yes     in a pipeline",
        "reconciler apply --plan plan.json --yes  exactly what was approved, or nothing",
        "reconciler apply --no-wait               sends what is ready; `status --wait` follows",
    ),
)
@selection_options
@environments_option
@click.option("--all-environments", is_flag=True, help="Every environment, one run each.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Apply what this file holds, or nothing.",
)
@click.option("--no-wait", is_flag=True, help="Send what is ready and follow nothing.")
@click.option(
    "--parallelism",
    type=click.IntRange(1, 64),
    metavar="N",
    default=4,
    show_default=True,
    help="Deployments under way at once.",
)
@click.option("--allow-mass-change", is_flag=True, help="Allow a plan that changes a large share of the environment.")
@click.option("--allow-older-commit", is_flag=True, help="Apply although a newer commit was applied already.")
@click.option("--allow-ephemeral-state", is_flag=True, help="In CI: the state's folder outlives the runner.")
@click.option("--init-state", is_flag=True, help="Create the state where there is none.")
@click.option("--rebind", is_flag=True, help="The state belongs to this host and key reference from now on.")
@click.option("--require-signed", is_flag=True, help="Apply the commit itself, and only if git verifies its signature.")
@click.pass_context
def apply(  # one parameter an option
    ctx: click.Context,
    globs: tuple[str, ...],
    labels: tuple[str, ...],
    environments: tuple[str, ...],
    plan_file: Path | None,
    parallelism: int,
    *,
    all_environments: bool,
    yes: bool,
    no_wait: bool,
    allow_mass_change: bool,
    allow_older_commit: bool,
    allow_ephemeral_state: bool,
    init_state: bool,
    rebind: bool,
    require_signed: bool,
) -> int:
    """Make the platform what the manifests say: deploy, follow every job until it ends, and record it.

    Running it again is always safe: what is done is not repeated, what is under way is followed.
    """
    session = Session.of(ctx)
    selection = Selection(globs=globs, labels=labels_of(labels))
    approved = _approved(plan_file, selection, environments)
    names = (approved.environment,) if approved else environments
    if approved is not None:
        selection = Selection(globs=approved.globs, labels=approved.labels)
    commit = signed_commit(session, "HEAD") if require_signed else None
    project = read_project(session, names, commit=commit)
    _one_or_all(project, names, all_environments=all_environments)
    wiring.refuse_ephemeral(project.opened, allowed=allow_ephemeral_state)
    choices = Choices(selection=selection, allow_mass_change=allow_mass_change or _mass_change_approved(approved))
    allowed = Allowed(init_state=init_state, rebind=rebind, older_commit=allow_older_commit)
    planned = plan_all(project, names, choices, allowed)
    if approved is not None:
        _refuse_stale(approved, planned[0].plan)
    session.show_first(plan_text([one.plan for one in planned], session.style(sys.stdout)))
    _refuse_guarded(planned)
    _refuse_held(planned)
    _ask(planned, yes=yes)
    ready = [_prepared(project, one, choices, allowed) for one in planned]
    return worst(_apply_one(project, one, parallelism=parallelism, wait=not no_wait) for one in ready)


def _approved(path: Path | None, selection: Selection, environments: tuple[str, ...]) -> Plan | None:
    if path is None:
        return None
    if selection != Selection() or environments:
        raise UsageError(
            "--plan already says which environment and which deployments.",
            next_step="Leave out -e, -l and the names, or leave out --plan.",
        )
    return decode_plan(read_file(path, "The plan file"), where=str(path))


def _mass_change_approved(approved: Plan | None) -> bool:
    """Who approved a plan file made with --allow-mass-change approved that too."""
    return approved is not None and all(guard.code == OLDER_COMMIT for guard in approved.guards)


def _one_or_all(project: Project, names: tuple[str, ...], *, all_environments: bool) -> None:
    """Nothing is applied to several environments by accident."""
    if len(project.opened.names) > 1 and not names and not all_environments:
        raise UsageError(
            f"The project has several environments: {', '.join(project.opened.names)}.",
            next_step="Name one with -e ENV, or say --all-environments.",
        )


def _refuse_stale(approved: Plan, fresh: Plan) -> None:
    found = differences(approved, fresh)
    if found:
        raise StalePlan("The plan file and today's plan differ:", details=found)


def _refuse_guarded(planned: tuple[Planned, ...]) -> None:
    guards = [guard for one in planned for guard in one.plan.guards]
    if guards:
        what = "; ".join(guard.message for guard in guards)
        raise GuardError(f"Refused: {what}.", next_step=_what_allows(guards))


def _what_allows(guards: Iterable[Guard]) -> str:
    """That a pipeline comes late says most, whatever else is refused: nothing is to be done then."""
    late = any(guard.code == OLDER_COMMIT for guard in guards)
    others = ", ".join(dict.fromkeys(guard.flag for guard in guards if guard.code != OLDER_COMMIT))
    if not late:
        return f"Read the plan. {others} allows it."
    return f"{COMES_LATE} Beside it that takes {others}." if others else COMES_LATE


def _refuse_held(planned: tuple[Planned, ...]) -> None:
    """Raises RunLockHeld while somebody else sends: now, rather than after the question, or for what he is just sending."""
    for one in planned:
        lock = one.applied.lock
        if lock is not None and any(change.action.sends or _is_theirs(one, change) for change in one.plan.changes):
            raise RunLockHeld(f"The run lock of {one.store.location} is held by {lock.holder}.")


def _is_theirs(one: Planned, change: Change) -> bool:
    entry = one.applied.entries.get(change.model_id)
    last = entry.last if entry is not None and change.action is Action.HOLD else None
    return last is not None and one.applied.lock is not None and last.epoch == one.applied.lock.epoch


def _ask(planned: tuple[Planned, ...], *, yes: bool) -> None:
    """A person says yes on a terminal; elsewhere --yes does. What changes nothing needs no approval.

    Raises UsageError when nobody can be asked, GuardError when the answer is another one.
    """
    changing = [one for one in planned if any(_changes_something(change.action) for change in one.plan.changes)]
    if yes or not changing:
        return
    if not both_ends_are_terminals():
        raise UsageError(
            "Nobody can be asked: this is not a terminal. Nothing was applied.",
            next_step="Approve with --yes, or with an approved plan file and --plan FILE --yes.",
        )
    names = ", ".join(one.environment.name for one in changing)
    answer = click.prompt(f"Apply this to {names}? Only 'yes' will do", default="", show_default=False, err=True)
    if answer.strip() != "yes":
        raise GuardError("Not approved; nothing was applied.", next_step="Only the word yes approves.")


def _changes_something(action: Action) -> bool:
    return action.sends or action in {Action.ADOPT, Action.RENAME}


def _prepared(project: Project, one: Planned, choices: Choices, allowed: Allowed) -> Planned:
    """The state as the run needs it: made where it was allowed to be missing, bound anew where that was asked for."""
    environment = one.environment
    if not one.store.exists():
        one.store.create(empty_state(environment))
        return plan_one(project, environment, choices, allowed)
    if one.applied.binding != wiring.binding_of(environment):  # allowed: `refuse_foreign` let it pass
        _rebind(project.session, one, environment)
        return plan_one(project, environment, choices, allowed)
    return one


def _rebind(session: Session, one: Planned, environment: Environment) -> None:
    from reconciler.apply.journal import Journal

    decision = Rebind(binding=wiring.binding_of(environment))
    record = DecisionRecord(decision=decision, who=session.settings.user, why="the project file says so", at=now())
    Journal(one.store).transact_now(lambda _: [record])


def _apply_one(project: Project, one: Planned, *, parallelism: int, wait: bool) -> int:
    from reconciler.cli.running import APPLYING, record_commit, run_plan

    plan = replace(one.plan, guards=())
    if one.plan.is_empty and not any(change.records for change in plan.changes):
        record_commit(project, one)
        return 0
    return run_plan(project, one, plan, operation=APPLYING, parallelism=parallelism, wait=wait)
