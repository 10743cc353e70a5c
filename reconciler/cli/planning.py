"""Settings -> checked manifests, applied state and plans: what plan, apply, status and explain begin with."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from reconciler import pipeline, wiring
from reconciler.cli.session import Session, now
from reconciler.diagnostics import Diagnostic, Severity, errors_in
from reconciler.errors import InvalidInput, StateMissing, UsageError
from reconciler.model.applied import Applied, without_lapsed
from reconciler.model.loaded import Memo
from reconciler.model.plan import Plan
from reconciler.model.resource import Environment
from reconciler.model.snapshot import Provenance
from reconciler.pipeline import Checked
from reconciler.plan.build import USUAL_CHOICES, Choices
from reconciler.plan.causes import Causes, causes
from reconciler.plan.guards import Older
from reconciler.report.diagnostics import diagnostics_text
from reconciler.state.store import Store
from reconciler.wiring import Base, Opened

NO_LINEAGE = ""  # of a state that is not there yet and will be made


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The project as the command line asked for it, with what its manifests say. `memo` spares reading the same files again in
    another commit.
    """

    session: Session
    opened: Opened
    checked: Checked
    memo: Memo

    def chosen(self, names: Iterable[str]) -> tuple[Environment, ...]:
        return self.opened.chosen(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One environment, ready to be shown or applied. `older` is asked again by a run that changes something."""

    environment: Environment
    store: Store
    applied: Applied
    plan: Plan
    older: Callable[[Applied], Older | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What the caller takes on: a state that is not there yet, another host or key than the state is bound to, a commit
    that is older than the one that was applied.
    """

    init_state: bool = False
    rebind: bool = False
    older_commit: bool = False


NOTHING_MORE = Allowed()


def read_project(
    session: Session, names: Iterable[str] = (), *, strict: bool = True, commit: Provenance | None = None
) -> Project:
    """Everything up to the desired state, of the checkout or of a commit. Raises InvalidInput; not for manifests when
    `strict` is False.

    Commands that only look go on with what can be read, and say what cannot.
    """
    memo = Memo()
    try:
        opened = wiring.open_project(session.settings, only=names, commit=commit.commit if commit else None)
        opened.chosen(names)
        checked = pipeline.check(wiring.take_snapshot(opened, commit=commit), opened.project, memo)
        if strict:
            checked.or_refuse()
    except InvalidInput as error:
        if commit is not None and commit.commit:
            error.diagnostics = tuple(_of_commit(one, commit.commit) for one in error.diagnostics)
        raise
    _warn(session, checked, everything=not strict)
    return Project(session=session, opened=opened, checked=checked, memo=memo)


def signed_commit(session: Session, ref: str) -> Provenance:
    """A commit whose signature git verifies. Raises GuardError, SourceError."""
    commit = wiring.commit_at(session.settings, ref, signed=True)
    session.say(f"Commit {(commit.commit or '')[:12]} is signed. Only what it holds counts, not the checkout.")
    return commit


def _of_commit(one: Diagnostic, commit: str) -> Diagnostic:
    """Named as git names it: a file of another commit is not the one in the checkout, whose lines must not be quoted."""
    if one.position is None:
        return one
    return replace(one, position=replace(one.position, file=f"{commit[:12]}:{one.position.file}"))


def plan_one(
    project: Project,
    environment: Environment,
    choices: Choices = USUAL_CHOICES,
    allowed: Allowed = NOTHING_MORE,
    store: Store | None = None,
) -> Planned:
    """Plan one environment against its state. Raises StateError, UsageError."""
    store = store or wiring.store_for(project.opened, environment)
    applied = _applied(store, environment, allowed)
    if not allowed.rebind:
        wiring.refuse_foreign(environment, applied)

    def older(known: Applied) -> Older | None:
        provenance = project.checked.snapshot.provenance
        return None if allowed.older_commit else wiring.older_than_applied(project.opened.settings, provenance, known)

    choices, moment = replace(choices, older=older(applied)), now()
    applied = without_lapsed(applied, moment)
    plan = pipeline.make_plan(project.checked, environment.name, applied, now=moment, choices=choices)
    return Planned(environment=environment, store=store, applied=applied, plan=plan, older=older)


def plan_all(project: Project, names: Iterable[str], choices: Choices, allowed: Allowed) -> tuple[Planned, ...]:
    """All environments, or those named."""
    place = wiring.state_place(project.opened)
    wiring.refuse_leftovers(project.opened, place)
    return tuple(plan_one(project, one, choices, allowed, place.store(one.name)) for one in project.chosen(names))


def compare(project: Project, planned: Sequence[Planned], base: Base) -> tuple[Causes, ...]:
    """What the planned change causes since the base: the base's plans are made against the same states.

    A base with errors is compared as far as it can be read.
    """
    try:
        opened = wiring.open_project(project.session.settings, only=project.opened.names, commit=base.commit.commit)
    except (InvalidInput, UsageError):  # not a project yet, or not this one's: everything is caused
        return tuple(_causes(one.plan, None, base, unread=True) for one in planned)
    checked = pipeline.check(wiring.take_snapshot(opened, commit=base.commit), opened.project, project.memo)
    unread = bool(errors_in(checked.diagnostics))
    before = {
        one.environment.name: pipeline.make_plan(checked, one.environment.name, one.applied, now=now())
        for one in planned
        if one.environment.name in checked.environments
    }
    return tuple(_causes(one.plan, before.get(one.environment.name), base, unread=unread) for one in planned)


def _causes(head: Plan, before: Plan | None, base: Base, *, unread: bool) -> Causes:
    found = causes(head, before, base=base.ref, commit=base.commit.commit or "", unread=unread)
    return replace(found, ahead=base.ahead)


def _applied(store: Store, environment: Environment, allowed: Allowed) -> Applied:
    if allowed.init_state and not store.exists():
        return empty_state(environment, lineage=NO_LINEAGE)
    try:
        return wiring.read_applied(store)
    except StateMissing as error:
        raise StateMissing(
            f"There is no state for {environment.name} in {store.location}.",
            next_step="Is that the right place? If this environment is new, run `reconciler init`, or add --init-state. "
            "Models that already run would be deployed again: take them over with `rollout.adopt: true` first.",
        ) from error


def empty_state(environment: Environment, *, lineage: str | None = None) -> Applied:
    """What `init` records: a new lineage, bound to the environment's host and key reference."""
    return Applied(
        environment=environment.name,
        lineage=str(uuid.uuid4()) if lineage is None else lineage,
        binding=wiring.binding_of(environment),
    )


def _warn(session: Session, checked: Checked, *, everything: bool) -> None:
    shown = [d for d in checked.diagnostics if everything or d.severity is Severity.WARNING]
    if shown:
        files: Mapping[str, bytes] = {file.path: file.data for file in checked.snapshot.files}
        session.say(diagnostics_text(shown, files, session.style(sys.stderr)))
