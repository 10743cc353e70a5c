"""Going back to an earlier spec of one deployment, as a decision. Pure; `cli.rollback` records it and applies what follows.

A pin stands for the manifest's spec until another one comes (`diff.differ`, `state.fold`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.apply.decisions import By, Subject
from reconciler.errors import UsageError
from reconciler.model.applied import Accepted, Applied, Entry, Operation, Situation, situation_of
from reconciler.model.records import DecisionRecord, Pin
from reconciler.model.resource import Resource

_COMMIT_DIGITS = 7  # the fewest that name a commit


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spec:
    """A spec that was live, and what made it so."""

    model_type: str
    body: str
    digest: str
    attempt: str | None
    commit: str | None

    def is_named(self, to: str | None) -> bool:
        return to is None or self.attempt == to or (len(to) >= _COMMIT_DIGITS and (self.commit or "").startswith(to))


def rollback(applied: Applied, subject: Subject, by: By, *, wanted: Resource, to: str | None) -> DecisionRecord:
    """Put an earlier spec back instead of the manifest's, `wanted`, which is quarantined until another one comes.

    `to` names an attempt, or begins a commit; without it the newest spec that was live and is another one is taken. Raises
    UsageError when there is none, or when it is not known what runs.
    """
    entry = applied.entries.get(subject.model_id)
    if entry is None:
        raise UsageError(f"{subject.address} is not in the state.", next_step="`reconciler status` lists what is.")
    if situation_of(entry) is Situation.UNKNOWN:
        raise UsageError(
            f"The outcome of the last call to {subject.address} is unknown; first it must be known what runs.",
            next_step=f"Run `reconciler resolve {subject.address} …`.",
        )
    found = next((one for one in _earlier_specs(entry) if one.digest != wanted.digest and one.is_named(to)), None)
    if found is None:
        what = "other spec that was live" if to is None else f"other spec that was live by an attempt or commit {to}"
        raise UsageError(
            f"The state remembers no {what} of {subject.address}.",
            next_step=f"`reconciler history {subject.address}` lists what it remembers: the last ten attempts.",
        )
    return by.says(
        Pin(
            model_id=subject.model_id,
            model_type=found.model_type,
            body=found.body,
            digest=found.digest,
            instead_of=wanted.digest,
            attempt=found.attempt,
            commit=found.commit,
        )
    )


def _earlier_specs(entry: Entry) -> Iterator[_Spec]:
    """What was confirmed as live, the newest first."""
    live = entry.live
    if live is not None:
        made_by = next((a.id for a in reversed(entry.attempts) if a.digest == live.digest), None)
        yield _Spec(model_type=live.model_type, body=live.body, digest=live.digest, attempt=made_by, commit=live.commit)
    for attempt in reversed(entry.attempts):
        outcome = attempt.outcome
        succeeded = isinstance(outcome, Accepted) and outcome.status == "SUCCESS"
        if not succeeded or attempt.operation is not Operation.DEPLOY:
            continue
        if attempt.model_type is not None and attempt.body is not None and attempt.digest is not None:
            yield _Spec(
                model_type=attempt.model_type,
                body=attempt.body,
                digest=attempt.digest,
                attempt=attempt.id,
                commit=attempt.provenance.commit,
            )
