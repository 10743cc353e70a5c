"""What a change under review causes, and what only rides along with it: the plan of its base beside the plan of itself.

Both plans are made against the same state, so a change that stands in both was pending before: an earlier failure, or a
commit that nobody applied yet. Pure; `cli.plan` makes the two plans, `report` shows the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.model.plan import Action, Change, Plan, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Causes:
    """Addresses of one environment, sorted. `undone` are those that the base would change and the change under review leaves;
    `orphaned` those that run without a manifest because of it.

    `base` says what was compared with, as it was named, and `commit` which commit that is. `unread` is True when the base
    has errors: what it says of their manifests is not known, so they count as caused. `ahead` is how many commits the base
    has that were not planned.
    """

    environment: str
    base: str
    commit: str
    caused: tuple[str, ...] = ()
    riding: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    orphaned: tuple[str, ...] = ()
    unread: bool = False
    ahead: int = 0


def causes(head: Plan, before: Plan | None, *, base: str, commit: str, unread: bool = False) -> Causes:
    """`before` is the plan of the base, None when the base does not know the environment: everything is caused then.

    A selection in `head` selects here too.
    """
    known = {change.address: change for change in before.changes} if before else {}
    pending = [change for change in head.changes if _does_something(change)]
    riding = [change.address for change in pending if _is_same(change, known.get(change.address))]
    caused = sorted({change.address for change in pending} - set(riding))
    here = {change.address: _does_something(change) for change in head.changes}
    selects = bool(head.globs or head.labels)  # then what is not there is only not selected
    undone = [address for address, one in known.items() if _does_something(one) and not here.get(address, selects)]
    orphaned = [
        change.address for change in head.changes if _is_orphan(change) and not _is_orphan(known.get(change.address))
    ]
    return Causes(
        environment=head.environment,
        base=base,
        commit=commit,
        caused=tuple(caused),
        riding=tuple(riding),
        undone=tuple(sorted(undone)),
        orphaned=tuple(sorted(orphaned)),
        unread=unread,
    )


def _does_something(change: Change) -> bool:
    """Following a job changes nothing: it runs whatever is merged."""
    return change.action not in {Action.NONE, Action.FOLLOW}


def _is_orphan(change: Change | None) -> bool:
    return change is not None and change.reason in {Reason.ORPHAN, Reason.PROTECTED}


def _is_same(change: Change, before: Change | None) -> bool:
    """The same call for the same reason. Labels and rollout may differ: they are not why it is sent."""
    return before is not None and _call(change) == _call(before)


def _call(change: Change) -> tuple[str | None, ...]:
    return (
        change.action,
        change.reason,
        change.model_id,
        change.model_type,
        change.body,
        change.replaces,
        change.previous_name,
    )
