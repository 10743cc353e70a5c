"""What a person decides about one deployment, as a record; or why that cannot be decided. Pure.

The commands call these inside a transaction (`Journal.transact_now`), so that they look at the state as it is at that moment.
Everything raises UsageError where the command does not fit what is there, GuardError where it would do harm; both say what
to do instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from reconciler.apply.run import owners_of
from reconciler.diff import metadata_of
from reconciler.errors import GuardError, ReconcilerError, UsageError
from reconciler.model.applied import Applied, Attempt, Entry, Operation, Situation, Unanswered, situation_of
from reconciler.model.plan import Action, Change, Reason
from reconciler.model.records import Adopt, Allow, Decision, DecisionRecord, Forget, Resolve, Resume, Retry, Suspend
from reconciler.model.resource import Resource

Verdict: TypeAlias = Literal["accepted", "happened", "didNotHappen", "sendAgain"]

GRACE = timedelta(minutes=10)  # a sender that was paused could still send that long, as far as one can be patient


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who decides, why, and when (wall-clock UTC)."""

    who: str
    why: str
    at: datetime

    def says(self, decision: Decision) -> DecisionRecord:
        return DecisionRecord(decision=decision, who=self.who, why=self.why, at=self.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is decided about: an address for people, and the model id behind it."""

    address: str
    model_id: str


# An unknown outcome. `sender_is_dead` is `Store.sender_is_dead()`.


def resolve_as_accepted(
    applied: Applied, subject: Subject, by: By, *, dock_status_id: str, status: str, sender_is_dead: bool
) -> DecisionRecord:
    """The platform took it, as this job. `status` is what the platform answered when it was asked about it."""
    attempt = _in_doubt(applied, subject, sender_is_dead=sender_is_dead)
    for entry in applied.entries.values():
        owner = owners_of(entry).get(dock_status_id, attempt.id)
        if owner != attempt.id:
            raise UsageError(
                f"{dock_status_id} belongs to {applied.environment}/{entry.name} already (attempt {owner}).",
                next_step="Look the id up in the platform's console; `reconciler history` lists the known ones.",
            )
    return by.says(_verdict(subject, attempt, "accepted", dock_status_id, status))


def resolve_as_happened(applied: Applied, subject: Subject, by: By, *, sender_is_dead: bool) -> DecisionRecord:
    """The platform did it, and nobody can name the id."""
    attempt = _in_doubt(applied, subject, sender_is_dead=sender_is_dead)
    return by.says(_verdict(subject, attempt, "happened"))


def resolve_as_not_happened(applied: Applied, subject: Subject, by: By, *, sender_is_dead: bool) -> DecisionRecord:
    """The platform did not do it. Refused while whoever sent it may be alive and might yet send it."""
    attempt = _in_doubt(applied, subject, sender_is_dead=sender_is_dead)
    age = by.at - attempt.started_at
    if not sender_is_dead and age < GRACE:
        raise GuardError(
            f"Somebody is sending, and the call to {subject.address} may be theirs: it was begun {_minutes(age)} ago.",
            next_step=f"Wait until that run has ended, or until {GRACE.seconds // 60} minutes have passed, and look again.",
        )
    return by.says(_verdict(subject, attempt, "didNotHappen"))


def resolve_by_sending_again(applied: Applied, subject: Subject, by: By, *, sender_is_dead: bool) -> DecisionRecord:
    """A duplicate is accepted. Never for an undeploy: what it would remove may be another deployment by now."""
    attempt = _in_doubt(applied, subject, sender_is_dead=sender_is_dead)
    if attempt.operation is Operation.UNDEPLOY:
        raise GuardError(
            f"The call to {subject.address} was an undeploy, which is never sent again while its outcome is unknown.",
            next_step="Look in the platform's console; then resolve it with --it-happened or --it-did-not.",
        )
    return by.says(_verdict(subject, attempt, "sendAgain"))


def _in_doubt(applied: Applied, subject: Subject, *, sender_is_dead: bool) -> Attempt:
    """The attempt whose outcome is unknown."""
    entry = _known(applied, subject)
    last = entry.last
    if last is None or situation_of(entry) is not Situation.UNKNOWN:
        raise UsageError(
            f"There is nothing to resolve for {subject.address}: its last outcome is known ({situation_of(entry)}).",
            next_step=f"See `reconciler explain {subject.address}`.",
        )
    lock = applied.lock
    if not sender_is_dead and lock is not None and isinstance(last.outcome, Unanswered) and last.epoch == lock.epoch:
        raise GuardError(
            f"{subject.address} is being sent at this moment by {lock.holder}.",
            next_step="Wait until that run has ended; it records what comes back.",
        )
    return last


def _verdict(
    subject: Subject, attempt: Attempt, verdict: Verdict, dock_status_id: str | None = None, status: str | None = None
) -> Resolve:
    return Resolve(
        model_id=subject.model_id,
        attempt=attempt.id,
        verdict=verdict,
        dock_status_id=dock_status_id,
        status=status,
    )


# Everything else


def retry(applied: Applied, subject: Subject, by: By) -> DecisionRecord:
    """Send it again at the next apply, whatever the table says; lifts a quarantine."""
    entry = _known(applied, subject)
    refuse = {
        Situation.UNKNOWN: ("the outcome of its last call is unknown", f"reconciler resolve {subject.address} …"),
        Situation.RUNNING: ("its job is running", "reconciler status --wait"),
        Situation.ABSENT: ("it is not deployed, so there is nothing to send again", "reconciler plan"),
    }
    found = refuse.get(situation_of(entry))
    if found is not None:
        raise UsageError(f"{subject.address} cannot be retried: {found[0]}.", next_step=f"Run `{found[1]}`.")
    return by.says(Retry(model_id=subject.model_id))


def suspend(applied: Applied, subject: Subject | None, by: By, *, until: datetime | None) -> DecisionRecord:
    """Change nothing of one deployment, or of the whole environment when `subject` is None; it lapses at `until`.

    A suspension that is there already is replaced.
    """
    if until is not None and until <= by.at:
        raise UsageError("A suspension cannot end before it begins.", next_step="Say for how long: --for 4h.")
    if subject is not None:
        _known(applied, subject)
    decision = Suspend(model_id=None if subject is None else subject.model_id)
    return replace(by.says(decision), until=until)


def allow_mass_change(applied: Applied, by: By) -> DecisionRecord:
    """Let the next run that sends change as much of the environment as it likes; its end takes that back."""
    if applied.allow_mass_change:
        raise UsageError(
            f"{applied.environment} may change as a whole already: the next run that sends takes that back.",
            next_step=f"`reconciler plan -e {applied.environment}` shows what it would do.",
        )
    return by.says(Allow())


def resume(applied: Applied, subject: Subject | None, by: By) -> DecisionRecord:
    """Ends the suspension of one deployment, or of the whole environment when `subject` is None."""
    suspension = applied.suspension if subject is None else _known(applied, subject).suspension
    if suspension is None:
        what = applied.environment if subject is None else subject.address
        also = f", but the environment is: `reconciler resume {applied.environment}`" if applied.suspension else ""
        raise UsageError(
            f"{what} is not suspended{also}.", next_step="`reconciler explain ENV/NAME` says what holds it."
        )
    return by.says(Resume(model_id=None if subject is None else subject.model_id))


def adopt(applied: Applied, resource: Resource, by: By, *, commit: str | None) -> DecisionRecord:
    """Record the manifest as live without a call."""
    entry = applied.entries.get(resource.model_id)
    situation = situation_of(entry)
    if situation in {Situation.RUNNING, Situation.UNKNOWN} or (entry is not None and entry.live is not None):
        why = {Situation.RUNNING: "its job is running", Situation.UNKNOWN: "the outcome of its last call is unknown"}
        raise UsageError(
            f"{resource.address} cannot be adopted: {why.get(situation, 'it is in the state as live already')}.",
            next_step=f"See `reconciler explain {resource.address}`.",
        )
    return by.says(
        Adopt(
            model_id=resource.model_id,
            name=resource.name,
            metadata=metadata_of(resource),
            model_type=resource.model_type,
            body=resource.body,
            digest=resource.digest,
            commit=commit,
        )
    )


def forget(applied: Applied, subject: Subject, by: By, *, has_manifest: bool) -> DecisionRecord:
    """Drop the entry; what runs on the platform keeps running, and nobody knows of it any more."""
    entry = _known(applied, subject)
    if has_manifest:
        raise GuardError(
            f"{subject.address} has a manifest: forgotten, it would be deployed anew by the next apply, and restart.",
            next_step="Remove its manifest first, if it is to be left alone.",
        )
    match situation_of(entry):
        case Situation.RUNNING:
            raise GuardError(
                f"The job of {subject.address} is running; forgetting it would lose its dock status id.",
                next_step="Run `reconciler status --wait` first.",
            )
        case Situation.UNKNOWN:
            raise GuardError(
                f"Whether the last call to {subject.address} was processed is unknown; forgetting it would hide that.",
                next_step=f"Run `reconciler resolve {subject.address} …` first.",
            )
        case _:
            return by.says(Forget(model_id=subject.model_id))


def undeploy_change(change: Change) -> Change:
    """The change of a plan, turned into the undeploy that a person asks for. For orphans only; protection refuses."""
    match change.reason:
        case Reason.ORPHAN:
            detail = "no manifest; a person asks for it"
            hint = "Whatever calls the model starts failing."
            return replace(change, action=Action.UNDEPLOY, reason=Reason.MANIFEST_GONE, detail=detail, hint=hint)
        case Reason.MANIFEST_GONE:
            return change
        case Reason.PROTECTED:
            raise GuardError(
                f"{change.address} is protected: rollout.protect was on when it was last applied.",
                next_step="Put its manifest back with `protect: false`, apply, remove it again; then it can be undeployed.",
            )
        case _:
            raise _not_an_orphan(change)


def _not_an_orphan(change: Change) -> ReconcilerError:
    match change.action, change.reason:
        case Action.HOLD, _:
            return UsageError(
                f"Whether the last call to {change.address} was processed is unknown.",
                next_step=f"Run `reconciler resolve {change.address} …` first.",
            )
        case Action.FOLLOW, _:
            return UsageError(
                f"The job of {change.address} is running.", next_step="Run `reconciler status --wait` first."
            )
        case _, Reason.SUSPENDED | Reason.BROKEN:
            return GuardError(f"{change.address} is not to be changed now: {change.detail}.")
        case _:
            return GuardError(
                f"{change.address} is not an orphan, and only orphans are undeployed by hand: {change.detail}.",
                next_step="Remove its manifest; with `prune: true` apply undeploys it, else `reconciler undeploy` does.",
            )


def _known(applied: Applied, subject: Subject) -> Entry:
    entry = applied.entries.get(subject.model_id)
    if entry is None:
        raise UsageError(f"{subject.address} is not in the state.", next_step="`reconciler status` lists what is.")
    return entry


def _minutes(age: timedelta) -> str:
    return f"{max(0, int(age.total_seconds())) // 60} min {max(0, int(age.total_seconds())) % 60} s"
