"""The plan of one environment: the diff's changes with their dependencies, selected, guarded and with warnings.

Pure. `pipeline.make_plan` calls `build_plan`; what a change waits for is executed by `apply.schedule`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from reconciler.model.applied import Applied, suspensions_of
from reconciler.model.plan import Change, Plan, Reason
from reconciler.model.resource import Environment
from reconciler.model.snapshot import NO_PROVENANCE, Provenance
from reconciler.plan.edges import is_satisfied, with_dependencies
from reconciler.plan.guards import Older, guards_for
from reconciler.plan.select import EVERYTHING, Selection, select


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the caller decides beside manifests and state. `older` where it looked, and did not allow it."""

    selection: Selection = EVERYTHING
    allow_mass_change: bool = False
    older: Older | None = None


USUAL_CHOICES = Choices()


def build_plan(
    changes: Iterable[Change],
    applied: Applied,
    environment: Environment,
    *,
    provenance: Provenance = NO_PROVENANCE,
    choices: Choices = USUAL_CHOICES,
) -> Plan:
    """`applied` is without what is over by now. Raises UsageError when the selection leaves out something that a selected
    change waits for.
    """
    linked = with_dependencies(tuple(changes))
    chosen = select(linked, choices.selection)
    return Plan(
        environment=environment.name,
        origin=environment.origin,
        lineage=applied.lineage,
        changes=chosen,
        guards=guards_for(chosen, applied, allow_mass_change=choices.allow_mass_change, older=choices.older),
        warnings=tuple(_warnings(chosen)),
        globs=choices.selection.globs,
        labels=choices.selection.labels,
        commit=provenance.commit,
        dirty=provenance.dirty,
        suspensions=tuple(suspensions_of(applied, ((change.address, change.model_id) for change in chosen))),
    )


def _warnings(changes: Iterable[Change]) -> Iterator[str]:
    for change in changes:
        if change.reason in {Reason.ORPHAN, Reason.PROTECTED}:
            yield f"{change.address} ({change.model_id}) runs without a manifest: {change.detail}"


__all__ = ["USUAL_CHOICES", "Choices", "build_plan", "is_satisfied"]
