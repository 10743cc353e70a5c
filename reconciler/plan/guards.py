"""What a plan as a whole may not do without a person's word (RELIABILITY.md, "Guards")."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.model.applied import Applied, Entry, Situation, situation_of
from reconciler.model.plan import Action, Change, Guard, Reason

FEW = 3  # changes that are never a mass change, unless they are all there is
SHARE = 0.30  # of the entries that run, or may run

DISRUPTIVE = frozenset({Action.REDEPLOY, Action.UNDEPLOY, Action.RETRY})


def guards_for(changes: tuple[Change, ...], applied: Applied, *, allow_mass_change: bool) -> tuple[Guard, ...]:
    """The guards that refuse this plan, in a stable order."""
    allowed = allow_mass_change or applied.allow_mass_change
    return (*_protected(changes), *(() if allowed else _mass_change(changes, applied)))


def _protected(changes: tuple[Change, ...]) -> Iterable[Guard]:
    """`protect` refuses a replace: what the new manifest says, and what the state remembers of the old one.

    So lifting it takes an apply of its own, as it does for a manifest that is deleted.
    """
    by_address = {change.address: change for change in changes}
    for change in changes:
        old = by_address.get(change.replaces) if change.replaces is not None else None
        if old is not None and (change.rollout.protect or old.metadata.protect):
            message = f"{change.address} is protected, and replacing its model undeploys {change.replaces}"
            yield Guard(code="protected", message=message, flag="rollout.protect: false, applied before the replace")


def _mass_change(changes: tuple[Change, ...], applied: Applied) -> Iterable[Guard]:
    """More than max(3, 30 %) of what runs, or all of it however little that is."""
    running = {entry.model_id for entry in applied.entries.values() if may_run(entry)}
    touched = {change.model_id for change in changes if _disrupts(change)} & running
    limit = max(FEW, SHARE * len(running))
    if touched and (len(touched) > limit or len(touched) == len(running)):
        message = f"this changes {len(touched)} of the {len(running)} deployments in {applied.environment} at once"
        yield Guard(code="massChange", message=message, flag="--allow-mass-change")


def may_run(entry: Entry) -> bool:
    """Whether something of this entry is or may be on the platform.

    First deployments that were certainly never started do not count: sending them again disturbs nobody.
    """
    return entry.live is not None or situation_of(entry) not in {Situation.ABSENT, Situation.REFUSED}


def _disrupts(change: Change) -> bool:
    """The old half of a replace is an undeploy and stands for the replace."""
    return change.action in DISRUPTIVE or change.reason is Reason.MODEL_REPLACED
