"""What a plan as a whole may not do without a person's word (RELIABILITY.md, "Guards")."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC

from reconciler.model.applied import Applied, AppliedCommit, Entry, Situation, situation_of
from reconciler.model.plan import Action, Change, Guard, Reason

FEW = 3  # changes that are never a mass change, unless they are all there is
SHARE = 0.30  # of the entries that run, or may run

OLDER_COMMIT = "olderCommit"
COMES_LATE = (
    "Nothing is to be done where this pipeline only came late. To go back on purpose: `git revert`, or `reconciler rollback"
    " ENV/NAME`, or --allow-older-commit."
)

DISRUPTIVE = frozenset({Action.REDEPLOY, Action.UNDEPLOY, Action.RETRY})


def guards_for(
    changes: tuple[Change, ...], applied: Applied, *, allow_mass_change: bool, older: Older | None = None
) -> tuple[Guard, ...]:
    """The guards that refuse this plan, in a stable order."""
    allowed = allow_mass_change or applied.allow_mass_change
    mass = () if allowed else _mass_change(changes, applied)
    return (*_older_commit(changes, older), *_protected(changes), *mass)


@dataclass(frozen=True, slots=True, kw_only=True)
class Older:
    """Manifests of a commit that is older than the one that was applied: a pipeline that comes late."""

    commit: str
    applied: AppliedCommit

    def __str__(self) -> str:
        newer = self.applied
        where = f" ({newer.ci_url})" if newer.ci_url else ""
        when = newer.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
        return (
            f"commit {self.commit[:12]} is older than {newer.commit[:12]}, which {newer.who} applied on {when}{where}:"
            " this would undo what is newer"
        )


def _older_commit(changes: tuple[Change, ...], older: Older | None) -> Iterable[Guard]:
    """An older commit may follow jobs and find nothing to do; whatever it changed or wrote down would undo a newer one."""
    if older is not None and any(changes_anything(change) for change in changes):
        yield Guard(code=OLDER_COMMIT, message=str(older), flag="--allow-older-commit")


def changes_anything(change: Change) -> bool:
    """The platform, or what the state knows of an entry."""
    return change.action.sends or change.action in {Action.ADOPT, Action.RENAME} or change.records


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
