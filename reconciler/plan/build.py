"""The plan of one environment: the diff's changes with their dependencies, selected, guarded and with warnings.

Pure. `pipeline.make_plan` calls `build_plan`; what a change waits for is executed by `apply.schedule`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from reconciler.model.applied import Applied
from reconciler.model.plan import Action, Because, Change, Edge, Plan, Reason
from reconciler.model.resource import Environment
from reconciler.model.snapshot import NO_PROVENANCE, Provenance
from reconciler.plan.guards import guards_for
from reconciler.plan.select import EVERYTHING, Selection, select

# A `none` for one of these reasons is not what the manifest wants: whoever depends on it must wait.
UNSATISFIED = frozenset({Reason.SUSPENDED, Reason.QUARANTINED, Reason.BROKEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the caller decides beside manifests and state."""

    selection: Selection = EVERYTHING
    allow_mass_change: bool = False


USUAL_CHOICES = Choices()


def build_plan(
    changes: Iterable[Change],
    applied: Applied,
    environment: Environment,
    *,
    provenance: Provenance = NO_PROVENANCE,
    choices: Choices = USUAL_CHOICES,
) -> Plan:
    """Raises UsageError when the selection leaves out something that a selected change waits for."""
    linked = with_dependencies(tuple(changes))
    chosen = select(linked, choices.selection)
    return Plan(
        environment=environment.name,
        origin=environment.origin,
        lineage=applied.lineage,
        changes=chosen,
        guards=guards_for(chosen, applied, allow_mass_change=choices.allow_mass_change),
        warnings=tuple(_warnings(chosen)),
        globs=choices.selection.globs,
        labels=choices.selection.labels,
        commit=provenance.commit,
        dirty=provenance.dirty,
    )


def is_satisfied(change: Change) -> bool:
    """Whether dependants need not wait: it is live with the desired digest, or bookkeeping only."""
    if change.action is Action.NONE:
        return change.reason not in UNSATISFIED
    return change.action in {Action.ADOPT, Action.RENAME}


def with_dependencies(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Adds an edge for each dependency that is not satisfied yet. Waves stay numbers: edges would be quadratic."""
    by_address = {change.address: change for change in changes}
    return tuple(_with_edges(change, by_address) if change.rollout.depends_on else change for change in changes)


def _with_edges(change: Change, by_address: Mapping[str, Change]) -> Change:
    if not change.action.sends:
        return change
    needed = (f"{change.environment}/{name}" for name in change.rollout.depends_on)
    edges = tuple(
        Edge(address=address, because=Because.DEPENDS_ON)
        for address in needed
        if address in by_address and not is_satisfied(by_address[address])
    )
    return replace(change, waits_for=(*change.waits_for, *edges)) if edges else change


def _warnings(changes: Iterable[Change]) -> Iterable[str]:
    for change in changes:
        if change.reason in {Reason.ORPHAN, Reason.PROTECTED}:
            yield f"{change.address} ({change.model_id}) runs without a manifest: {change.detail}"
