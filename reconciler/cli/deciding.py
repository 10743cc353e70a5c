"""What the commands have in common by which a person decides something: find the deployment, decide, record, say so."""

from __future__ import annotations

from collections.abc import Callable

import click

from reconciler.apply.decisions import By, Subject
from reconciler.apply.journal import Journal
from reconciler.cli.addresses import Addressed, find
from reconciler.cli.planning import Project, read_project
from reconciler.cli.session import Session, now
from reconciler.errors import GuardError, UsageError
from reconciler.model.applied import Applied
from reconciler.model.records import DecisionRecord
from reconciler.settings import both_ends_are_terminals


def addressed(ctx: click.Context, text: str) -> tuple[Project, Addressed]:
    """The project and the deployment that an argument names; broken manifests of others do not stand in the way."""
    project = read_project(Session.of(ctx), strict=False)
    return project, find(project, text)


def subject_of(found: Addressed) -> Subject:
    return Subject(address=found.change.address, model_id=found.change.model_id)


def decided_by(project: Project, why: str) -> By:
    return By(who=project.session.settings.user, why=why, at=now())


def record(found: Addressed, decide: Callable[[Applied], DecisionRecord]) -> None:
    """Decide on the state as it is at this moment, and record it. Raises what `decide` raises, StateError."""
    Journal(found.planned.store).transact_now(lambda applied: (decide(applied),))


def confirm(question: str, *, yes: bool) -> None:
    """Asks on a terminal. Raises UsageError where nobody can be asked, GuardError when the answer is not yes."""
    if yes:
        return
    if not both_ends_are_terminals():
        raise UsageError("Nobody can be asked: this is not a terminal.", next_step="Approve with --yes.")
    if click.prompt(f"{question} Only 'yes' will do", default="", show_default=False, err=True).strip() != "yes":
        raise GuardError("Not approved; nothing was done.", next_step="Only the word yes approves.")
