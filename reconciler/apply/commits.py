"""The order of commits: what is recorded as a run begins, and what a run that comes too late finds.

`executor` asks inside its first transaction, so that of two runs that were planned at once the later one sees what the first
one wrote, however long it waited in between; `cli.apply` asks where there is nothing to run.
"""

from __future__ import annotations

from reconciler.apply.context import RunContext
from reconciler.errors import GuardError
from reconciler.model.applied import Applied
from reconciler.model.records import Advance, DecisionRecord, Record
from reconciler.plan.guards import COMES_LATE


def advance(applied: Applied, context: RunContext, *, changes: bool) -> tuple[Record, ...]:
    """What names this run's commit as the one that is applied; nothing where the state names it already.

    Raises GuardError where a newer one was applied and the run `changes` anything. Where it changes nothing, the newer one
    simply stays.
    """
    commit = context.provenance
    if context.older is None or commit.commit is None or is_recorded(applied, commit.commit):
        return ()
    older = context.older(applied)
    if older is not None and changes:
        raise GuardError(f"Refused: {older}.", next_step=COMES_LATE)
    if older is not None:
        return ()
    decision = Advance(commit=commit.commit, committed_at=commit.committed_at, ci_url=context.holder.ci_url)
    return (DecisionRecord(decision=decision, who=context.holder.user, why="applied", at=context.now()),)


def is_recorded(applied: Applied, commit: str | None) -> bool:
    """Whether the state names this commit, or there is none to name."""
    return commit is None or (applied.commit is not None and applied.commit.commit == commit)
