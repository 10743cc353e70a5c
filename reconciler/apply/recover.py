"""What is looked at before a run sends: the key, and what earlier runs left in doubt.

An ATTEMPT without a reply whose sender is dead needs no repair: the classification table reads it as unknown and holds it.
What can be done about doubt without a person is done here, and may be interrupted at any point: asking about ids that
damaged replies named.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from reconciler.apply.docks import salvage
from reconciler.apply.run import Run, Work
from reconciler.apply.send import Doubt, Job
from reconciler.errors import AuthenticationError, TlsTrustError
from reconciler.model.applied import Accepted, Applied, Entry, Unknown, address_of
from reconciler.model.plan import Action, Change, Reason
from reconciler.model.resource import Rollout
from reconciler.model.run import Ended
from reconciler.platform.endings import TERMINAL, Unauthorized, Unreachable, read_dock_status
from reconciler.state.store import Store

# An id that no job has: asking for it shows whether the key is taken, and changes nothing.
MADE_UP = "ds-00000000-0000-0000-0000-000000000000"


def as_of_now(applied: Applied, store: Store) -> Applied:
    """The state as a plan should see it: a run lock whose holder is certainly dead is none."""
    return replace(applied, lock=None) if applied.lock is not None and store.sender_is_dead() else applied


async def check_key(run: Run) -> None:
    """Raises AuthenticationError or TlsTrustError; whatever else happens, the sends will say."""
    try:
        async with run.stop.limited(0):
            sent = await run.platform.ask(MADE_UP)
    except TimeoutError:
        return
    match read_dock_status(sent, now=run.context.now()):
        case Unauthorized(message=why):
            raise AuthenticationError(f"{run.platform.origin} refuses the API key: {why}. Nothing was sent.")
        case Unreachable(error=why, trust=True):
            raise TlsTrustError(f"{run.platform.origin}: {why}. Nothing was sent.")


async def find_lost(run: Run, changes: Iterable[Change]) -> list[Change]:
    """Held changes whose damaged reply named an id that the platform now knows: from now on they are followed."""
    found = []
    for change in changes:
        doubt = _doubt_of(change, run.journal.applied.entries.get(change.model_id))
        if doubt is None or run.stop.requested:
            continue
        work = Work(run, change)
        salvaged = await salvage(run, work, doubt, polls=1)
        if isinstance(salvaged, Job) or salvaged.ended is not Ended.UNKNOWN:
            run.notes.append(f"{change.address}: its job was found again, {work.dock_status_id}.")
            if _is_as_wanted(change, run.journal.applied.entries[change.model_id]):
                found.append(replace(change, action=Action.FOLLOW, reason=Reason.JOB_RUNNING, job=work.dock_status_id))
    return found


def _doubt_of(change: Change, entry: Entry | None) -> Doubt | None:
    last = entry.last if entry is not None else None
    if change.action is not Action.HOLD or last is None or last.id != change.attempt:
        return None
    match last.outcome:
        case Unknown(reason=reason, candidates=candidates) if candidates:
            return Doubt(attempt=last.id, reason=reason, candidates=candidates)
        case _:
            return None


def _is_as_wanted(change: Change, entry: Entry) -> bool:
    """Whether the job does what the manifest says, or nothing says anything: only then may others build on its success."""
    return change.digest is None or (entry.last is not None and entry.last.digest == change.digest)


def running_jobs(applied: Applied) -> tuple[Change, ...]:
    """Every running job as a change that follows it, from the state alone: for `follow_only` where there is no plan."""
    found = []
    for entry in applied.entries.values():
        last = entry.last
        match last.outcome if last is not None else None:
            case Accepted(dock_status_id=str(job), status=status) if status not in TERMINAL:
                found.append(_follow_change(applied.environment, entry, job))
    return tuple(sorted(found, key=lambda change: change.address))


def _follow_change(environment: str, entry: Entry, job: str) -> Change:
    return Change(
        address=address_of(environment, entry),
        environment=environment,
        name=entry.name,
        model_id=entry.model_id,
        action=Action.FOLLOW,
        reason=Reason.JOB_RUNNING,
        detail="its job is running",
        rollout=Rollout(wave=entry.metadata.wave),
        metadata=entry.metadata,
        job=job,
        attempt=entry.last.id if entry.last is not None else None,
    )
