"""A replace is two changes of one name: this joins them by edges, so that they are done in the order that is asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from reconciler.model.plan import Action, Because, Change, Edge, Reason
from reconciler.model.resource import Strategy


def with_replace_edges(changes: list[Change]) -> Iterator[Change]:
    """Joins the halves of each replace by edges, in the direction that the strategy says."""
    new = {change.name: change for change in changes if change.digest is not None}
    old = defaultdict(list)
    for change in changes:
        if change.digest is None and change.name in new:
            old[change.name].append(change)
    for change in changes:
        if change.name not in old:
            yield change
        elif change.digest is None:
            yield _old_half(change, new[change.name])
        else:
            yield _new_half(change, old[change.name])


def _old_half(old: Change, new: Change) -> Change:
    """In the wave of the new half. It goes after it, unless the strategy turns the edge and the new half can follow."""
    rollout = replace(old.rollout, wave=new.rollout.wave, strategy=new.rollout.strategy)
    first = new.rollout.strategy is Strategy.UNDEPLOY_FIRST and new.action.sends
    waits = old.action is Action.UNDEPLOY and not first and not _is_there_already(new)
    edges = (Edge(address=new.address, because=Because.REPLACE),) if waits else ()
    return replace(old, rollout=rollout, waits_for=edges, position=new.position)


def _new_half(new: Change, old: list[Change]) -> Change:
    """With UndeployFirst it waits for every old half, also for one that is held: two at once is what must not be."""
    waits = new.rollout.strategy is Strategy.UNDEPLOY_FIRST and new.action.sends
    edges = tuple(Edge(address=change.address, because=Because.REPLACE) for change in old) if waits else ()
    removed = [change.address for change in old if change.action is Action.UNDEPLOY]
    return replace(new, waits_for=edges, replaces=removed[0] if removed and new.action.sends else None)


def _is_there_already(change: Change) -> bool:
    return change.action in {Action.NONE, Action.RENAME} and change.reason in {Reason.UNCHANGED, Reason.RENAMED}
