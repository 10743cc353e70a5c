"""What one change waits for in another, and when it need not: used to build plans, to select, and by `apply.schedule`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reconciler.model.plan import Action, Because, Change, Edge, Reason

# A `none` for one of these reasons is not what the manifest wants: whoever depends on it must wait.
UNSATISFIED = frozenset({Reason.SUSPENDED, Reason.QUARANTINED, Reason.BACKOFF, Reason.BROKEN})


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
