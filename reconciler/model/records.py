"""The records of the log (RELIABILITY.md): the only way anything enters the state.

`apply` and the commands make them, `state` stores and folds them. `at` is wall-clock UTC. `type` is the discriminator
of the public format.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal, TypeAlias

from reconciler.model.applied import Binding, Holder, Metadata, Operation, Outcome
from reconciler.model.snapshot import Provenance


class LockEvent(StrEnum):
    TAKEN = "taken"
    RENEWED = "renewed"
    RELEASED = "released"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRecord:
    """The run lock is taken (epoch rises by one), renewed or released."""

    event: LockEvent
    epoch: int
    holder: Holder
    at: datetime
    type: Literal["LOCK"] = "LOCK"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """Written when the connection is up and before the request's first byte."""

    attempt: str
    model_id: str
    name: str
    metadata: Metadata
    operation: Operation
    generation: int
    method: str
    origin: str
    path: str
    model_type: str | None
    body: str | None
    digest: str | None
    provenance: Provenance
    epoch: int
    at: datetime
    type: Literal["ATTEMPT"] = "ATTEMPT"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSentRecord:
    """Connecting failed, or the sender gave up before the first byte."""

    attempt: str
    error: str
    at: datetime
    type: Literal["NOT_SENT"] = "NOT_SENT"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRecord:
    """The reply, whole or partial. `body` is at most 64 KiB of it as text (undecodable bytes as U+FFFD), the key redacted.

    `outcome` is what the reply means; it is derived before and stored with the reply, so that the log alone decides.
    """

    attempt: str
    status_code: int | None
    headers: tuple[tuple[str, str], ...]
    body: str
    error: str | None
    outcome: Outcome
    at: datetime
    type: Literal["RAW"] = "RAW"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRecord:
    """A dock status became terminal, or following it was given up (`timed_out`); others are kept in memory only."""

    attempt: str
    dock_status_id: str
    status: str
    detail: str | None
    at: datetime
    timed_out: bool = False
    type: Literal["STATUS"] = "STATUS"


# What a person or a policy decided. `kind` is the discriminator.


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt:
    """Record a spec as live without a call."""

    model_id: str
    name: str
    metadata: Metadata
    model_type: str
    body: str
    digest: str
    commit: str | None = None
    kind: Literal["adopt"] = "adopt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Describe:
    """The manifest's name or metadata changed and the body did not: bookkeeping, also of a rename."""

    model_id: str
    name: str
    metadata: Metadata
    kind: Literal["describe"] = "describe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """Drop an entry from the state; the platform is not called."""

    model_id: str
    kind: Literal["forget"] = "forget"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolve:
    """The outcome of an unknown attempt, as a person or `onUnknown` knows it.

    `verdict`: `accepted` (with the id, and the status the platform gave for it), `happened` (no id known),
    `didNotHappen`, or `sendAgain` (a duplicate is accepted).
    """

    model_id: str
    attempt: str
    verdict: Literal["accepted", "happened", "didNotHappen", "sendAgain"]
    dock_status_id: str | None = None
    status: str | None = None
    kind: Literal["resolve"] = "resolve"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Send the entry again at the next apply; lifts a quarantine and a pin."""

    model_id: str
    kind: Literal["retry"] = "retry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """Do not send this digest for this entry again by itself."""

    model_id: str
    digest: str
    kind: Literal["quarantine"] = "quarantine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Put an earlier spec back instead of the one with the digest `instead_of`, which is quarantined meanwhile."""

    model_id: str
    model_type: str
    body: str
    digest: str
    instead_of: str
    attempt: str | None
    commit: str | None
    kind: Literal["pin"] = "pin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspend:
    """Change nothing of this entry, or of the whole environment when `model_id` is None."""

    model_id: str | None
    kind: Literal["suspend"] = "suspend"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Ends a suspension."""

    model_id: str | None
    kind: Literal["resume"] = "resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebind:
    """The state belongs to another host or key reference from now on."""

    binding: Binding
    kind: Literal["rebind"] = "rebind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """Let the next run that sends change as much of the environment as it likes; that run's end takes it back."""

    kind: Literal["allow"] = "allow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """The manifests that are applied from now on are those of this commit: bookkeeping of a run, as it begins."""

    commit: str
    committed_at: datetime | None
    ci_url: str | None
    kind: Literal["advance"] = "advance"


Decision: TypeAlias = (
    Adopt | Describe | Forget | Resolve | Retry | Quarantine | Pin | Suspend | Resume | Allow | Rebind | Advance
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """Who decided what and why, and until when it holds."""

    decision: Decision
    who: str
    why: str
    at: datetime
    until: datetime | None = None
    type: Literal["DECISION"] = "DECISION"


Record: TypeAlias = LockRecord | AttemptRecord | NotSentRecord | RawRecord | StatusRecord | DecisionRecord
