"""The classification table of DESIGN.md as a literal, and the rules in its cells.

Rows are what the state knows of an entry, columns what the manifests want of it. A rule is a function where the cell needs to
look at more than its row and column. `differ` reads the table; what holds a change back, whatever the table says, is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from reconciler.model.applied import (
    Accepted,
    Entry,
    NotProcessed,
    NotSent,
    Operation,
    Situation,
    Unknown,
    reference_digest,
    situation_of,
)
from reconciler.model.plan import Action, Reason
from reconciler.model.resource import OnUnknown, Resource


class Wish(Enum):
    """The columns of the table: what the manifests want of an entry."""

    GONE = auto()  # no manifest
    SAME = auto()  # the desired digest is the last attempt's
    OTHER = auto()  # another digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One cell of the table, read. In `hint`, `{address}` stands for the change's address."""

    action: Action
    reason: Reason
    detail: str
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything one cell may look at. `entry` is None in row ABSENT for a model never seen; `resource` in column GONE."""

    entry: Entry | None
    resource: Resource | None
    prune: bool
    replaced: bool
    in_flight_by: str | None

    @property
    def known(self) -> Entry:
        """The entry, in the rows that have one."""
        if self.entry is None:
            raise AssertionError("this row has an entry")
        return self.entry

    @property
    def wanted(self) -> Resource:
        """The resource, in the columns that have one."""
        if self.resource is None:
            raise AssertionError("this column has a resource")
        return self.resource


def _nothing(_: Case) -> Verdict | None:
    return None


_UNCHANGED = Verdict(action=Action.NONE, reason=Reason.UNCHANGED, detail="as last applied")


def _unchanged(_: Case) -> Verdict:
    return _UNCHANGED


def _deploy_or_adopt(case: Case) -> Verdict:
    if case.wanted.rollout.adopt and (case.entry is None or case.entry.last is None):
        return Verdict(
            action=Action.ADOPT,
            reason=Reason.ADOPTED,
            detail="rollout.adopt: recorded as live without a call; the manifest's values are taken on trust",
        )
    detail = "not in the state" if case.entry is None else "it was undeployed; nothing is live"
    return Verdict(action=Action.DEPLOY, reason=Reason.NEW, detail=detail)


def _undeploy_or_orphan(case: Case) -> Verdict:
    """Column GONE: a deployment is removed only where that was asked for."""
    entry = case.known
    if case.replaced:
        detail = f"its name now means another model; {entry.model_id} is undeployed"
        return Verdict(action=Action.UNDEPLOY, reason=Reason.MODEL_REPLACED, detail=detail)
    if entry.metadata.protect:
        detail = "no manifest; protected (rollout.protect was on when last applied), so it stays"
        return Verdict(action=Action.NONE, reason=Reason.PROTECTED, detail=detail)
    if not case.prune:
        detail = "no manifest; prune is off for this environment, so it stays"
        return Verdict(action=Action.NONE, reason=Reason.ORPHAN, detail=detail)
    return Verdict(action=Action.UNDEPLOY, reason=Reason.MANIFEST_GONE, detail="no manifest; prune is on")


def _gone_after_refusal(case: Case) -> Verdict | None:
    """As live where something is live, as none where nothing ever was."""
    return _undeploy_or_orphan(case) if case.known.live else None


def _redeploy(case: Case) -> Verdict:
    if case.known.live is None:
        return Verdict(
            action=Action.DEPLOY, reason=Reason.BODY_CHANGED, detail="the last attempt failed; nothing is live"
        )
    return Verdict(
        action=Action.REDEPLOY, reason=Reason.BODY_CHANGED, detail="the body differs from what was last applied"
    )


def _follow_or_replace(case: Case) -> Verdict:
    """A replace need not wait for the next run: the old model is undeployed once its job is over."""
    last = case.known.last
    if not case.replaced or last is None or last.operation is Operation.UNDEPLOY:
        return _follow(case)
    detail = f"its name now means another model; {case.known.model_id} is undeployed once its job is over"
    return Verdict(action=Action.UNDEPLOY, reason=Reason.MODEL_REPLACED, detail=detail)


def _follow(case: Case) -> Verdict:
    return Verdict(action=Action.FOLLOW, reason=Reason.JOB_RUNNING, detail=_how_it_runs(case.known))


def _how_it_runs(entry: Entry) -> str:
    """Any dock status but the two terminal ones is still running; one that is not documented is said."""
    match entry.last.outcome if entry.last else None:
        case Accepted(timed_out=True):
            return "its job was not over when following it timed out"
        case Accepted(status=status) if status != "IN_PROGRESS":
            return f"its job is running; the platform calls it {status}"
        case _:
            return "its job is running"


def _after_the_job(case: Case) -> Verdict:
    last = case.known.last
    if last is not None and last.operation is Operation.UNDEPLOY:
        return Verdict(
            action=Action.DEPLOY, reason=Reason.NEW, detail="it is being undeployed; deployed again after that"
        )
    action = Action.DEPLOY if case.known.live is None else Action.REDEPLOY
    return Verdict(action=action, reason=Reason.BODY_CHANGED, detail="the body differs from that of the running job")


def _equal_to_live_or_redeploy(case: Case) -> Verdict:
    if _has_failed_since(case.known):
        return _redeploy_after_failure(case)
    live = case.known.live
    if live is not None and live.digest == case.wanted.digest:
        return Verdict(action=Action.NONE, reason=Reason.UNCHANGED, detail="as live; the refused change is withdrawn")
    return _redeploy(case)


def _has_failed_since(entry: Entry) -> bool:
    """Whether the last attempt that the platform did take ended in a failed job: a refusal after it mends nothing."""
    taken = (a for a in reversed(entry.attempts) if not isinstance(a.outcome, NotSent | NotProcessed))
    last = next(taken, None)
    failed = last is not None and isinstance(last.outcome, Accepted) and last.outcome.status == "FAILED"
    return failed and last is not None and (entry.live is None or entry.live.since < last.started_at)


def _retry(case: Case) -> Verdict:
    last = case.known.last
    match last.outcome if last else None:
        case Accepted(detail=str(why)):
            return Verdict(action=Action.RETRY, reason=Reason.JOB_FAILED, detail=f"its last job failed: {why}")
        case Accepted():
            return Verdict(action=Action.RETRY, reason=Reason.JOB_FAILED, detail="its last job failed")
        case NotProcessed(status_code=code, message=why):
            detail = f"the platform did not process it (HTTP {code}: {why})"
            return Verdict(action=Action.RETRY, reason=Reason.NOT_PROCESSED, detail=detail)
        case NotSent(error=why):
            return Verdict(action=Action.RETRY, reason=Reason.NOT_PROCESSED, detail=f"it was not sent ({why})")
        case _:
            return Verdict(action=Action.RETRY, reason=Reason.RETRY_ASKED, detail="a person asked for it")


def _redeploy_after_failure(case: Case) -> Verdict:
    """Also when equal to live: the failed job may have replaced what was live."""
    live = case.known.live
    if live is not None and live.digest == case.wanted.digest:
        undeployed = case.known.last is not None and case.known.last.operation is Operation.UNDEPLOY
        detail = f"its last job failed and may have {'removed' if undeployed else 'replaced'} what was live"
        return Verdict(action=Action.REDEPLOY, reason=Reason.JOB_FAILED, detail=detail)
    return _redeploy(case)


def _hold(case: Case) -> Verdict:
    if case.in_flight_by is not None:
        detail = f"being sent by {case.in_flight_by}"
        return Verdict(action=Action.HOLD, reason=Reason.OUTCOME_UNKNOWN, detail=detail)
    last = case.known.last
    undeploying = last is not None and last.operation is Operation.UNDEPLOY
    wanted = case.resource
    if wanted is not None and wanted.rollout.on_unknown is OnUnknown.SEND_AGAIN and not undeploying:
        detail = "whether the last call was processed is unknown; rollout.onUnknown: sendAgain accepts a duplicate"
        return Verdict(action=Action.RETRY, reason=Reason.SEND_AGAIN, detail=detail)
    why = (
        last.outcome.reason
        if last and isinstance(last.outcome, Unknown)
        else "the sender died before a reply was recorded"
    )
    detail = f"whether the last {last.operation if last else 'call'} was processed is unknown: {why}"
    hint = "`reconciler explain {address}` tells what to look at, `reconciler resolve {address}` settles it."
    return Verdict(action=Action.HOLD, reason=Reason.OUTCOME_UNKNOWN, detail=detail, hint=hint)


Rule = Callable[[Case], Verdict | None]

# The table of DESIGN.md, row by row. "redeploy" is said as "deploy" where nothing is live.
TABLE: Mapping[Situation, Mapping[Wish, Rule]] = {
    Situation.ABSENT: {Wish.GONE: _nothing, Wish.SAME: _deploy_or_adopt, Wish.OTHER: _deploy_or_adopt},
    Situation.LIVE: {Wish.GONE: _undeploy_or_orphan, Wish.SAME: _unchanged, Wish.OTHER: _redeploy},
    Situation.RUNNING: {Wish.GONE: _follow_or_replace, Wish.SAME: _follow, Wish.OTHER: _after_the_job},
    Situation.REFUSED: {Wish.GONE: _gone_after_refusal, Wish.SAME: _retry, Wish.OTHER: _equal_to_live_or_redeploy},
    Situation.FAILED: {Wish.GONE: _undeploy_or_orphan, Wish.SAME: _retry, Wish.OTHER: _redeploy_after_failure},
    Situation.UNKNOWN: {Wish.GONE: _hold, Wish.SAME: _hold, Wish.OTHER: _hold},
}


def cell_of(entry: Entry | None, resource: Resource | None) -> tuple[Situation, Wish]:
    """Which cell of the table an entry and a manifest, of one model id, stand in."""
    if resource is None:
        return situation_of(entry), Wish.GONE
    same = entry is not None and reference_digest(entry) == resource.digest
    return situation_of(entry), Wish.SAME if same else Wish.OTHER
