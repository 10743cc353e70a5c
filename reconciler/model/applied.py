"""Applied state: what the state of one environment knows, folded from its snapshot and log.

`state` reads and writes these; `diff` and `status` only read. The field names, in camelCase, are the public format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal, TypeAlias

from reconciler.model.snapshot import Provenance

MAX_ATTEMPTS = 10


class Operation(StrEnum):
    """What an attempt asks the platform to do."""

    DEPLOY = "deploy"
    UNDEPLOY = "undeploy"


class RefusalKind(StrEnum):
    """Why the platform certainly did not do it."""

    RATE_LIMITED = "rateLimited"  # wait and send again
    REDIRECTED = "redirected"  # 307, 308: a configuration error
    REFUSED = "refused"  # 400 404 405 413 415 422: no retry
    UNAUTHORIZED = "unauthorized"  # 401 403
    CONFLICT = "conflict"  # 409 423: evidence for an earlier unknown attempt


# How an attempt ended. `type` tells the variants apart in the public format.


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """ATTEMPT was written and nothing after it: under way while its sender lives, unknown once the sender is dead."""

    type: Literal["unanswered"] = "unanswered"


UNANSWERED = Unanswered()


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """Not one byte left: connecting failed, or the sender gave up before the first byte."""

    error: str
    type: Literal["notSent"] = "notSent"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotProcessed:
    """The platform answered that it did not do it. `retry_after` in seconds, where it said so."""

    kind: RefusalKind
    message: str
    status_code: int
    retry_after: float | None = None
    type: Literal["notProcessed"] = "notProcessed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The platform started a job, or a person said so.

    `status` is the last recorded dock status; any word but SUCCESS and FAILED is still running. A terminal status is never
    overwritten. `timed_out` means that we stopped following it. `dock_status_id` is None only when a person said
    "it happened" and could not name the id; `status` is then SUCCESS.
    """

    dock_status_id: str | None
    status: str = "IN_PROGRESS"
    detail: str | None = None
    timed_out: bool = False
    type: Literal["accepted"] = "accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Whether the platform did it cannot be told. `candidates` are ids read from a damaged reply, to be asked about."""

    reason: str
    status_code: int | None = None
    candidates: tuple[str, ...] = ()
    type: Literal["unknown"] = "unknown"


Outcome: TypeAlias = Unanswered | NotSent | NotProcessed | Accepted | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call that may have changed the platform.

    `path` includes the query. `body` is the JSON text sent, None for undeploy; `digest` likewise. `reply` is what the
    platform answered (at most 64 KiB, key redacted), dropped once the outcome is terminal. `decided` names the
    person who resolved an unknown outcome.
    """

    id: str
    operation: Operation
    generation: int
    origin: str
    path: str
    model_type: str | None
    body: str | None
    digest: str | None
    provenance: Provenance
    manifest: str | None
    epoch: int
    started_at: datetime
    outcome: Outcome = UNANSWERED
    ended_at: datetime | None = None
    reply: str | None = None
    decided: str | None = None

    @property
    def run(self) -> str:
        """The run, or the pass, that made it: its id is RUN-EPOCH-NUMBER (`apply.run`)."""
        return self.id.rsplit("-", 2)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """The last confirmed spec of an entry. `how` is `deployed` or `adopted`; an adopted one has no dock status id."""

    model_type: str
    body: str
    digest: str
    how: Literal["deployed", "adopted"]
    dock_status_id: str | None
    since: datetime
    commit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What an entry remembers of its manifest beside the body; never sent to the platform."""

    labels: tuple[tuple[str, str], ...] = ()
    manifest: str | None = None
    protect: bool = False
    wave: int = 0
    depends_on: tuple[str, ...] = ()


NO_METADATA = Metadata()


REPAIR = "reconciler state repair"  # who suspends what lost records: nobody wanted that


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A decision that keeps something from being changed: a suspension, or the quarantine of one digest."""

    who: str
    why: str
    since: datetime
    until: datetime | None = None
    digest: str | None = None

    def in_words(self, word: str) -> str:
        """`suspended by Ada until 2030-01-02 12:00 UTC: load test`; the word is given."""
        until = f" until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else ""
        return f"{word} by {self.who}{until}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """Who keeps `address`, a deployment or a whole environment, from being changed; for whoever shows it."""

    address: str
    who: str
    why: str
    since: datetime
    until: datetime | None = None

    def in_words(self) -> str:
        """`production/chat is suspended by Ada until 2030-01-02 12:00 UTC: load test`."""
        hold = Hold(who=self.who, why=self.why, since=self.since, until=self.until)
        return hold.in_words(f"{self.address} is suspended")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """An earlier spec that a person put back. It stands for the manifest's as long as that has the digest `instead_of`.

    `attempt` made it live, None for an adopted one; `commit` is that attempt's.
    """

    model_type: str
    body: str
    digest: str
    instead_of: str
    attempt: str | None
    commit: str | None
    who: str
    why: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the state knows of one (environment, model id).

    `attempts` holds the last ten, oldest first. `live` is None before the first success and after an undeploy.
    `retry` is a person's wish to send the last spec again whatever the table says; the next attempt clears it. `pin` is
    lifted when anything but the pinned spec is sent.
    """

    model_id: str
    name: str
    metadata: Metadata = NO_METADATA
    generation: int = 0
    live: Live | None = None
    attempts: tuple[Attempt, ...] = ()
    quarantine: Hold | None = None
    suspension: Hold | None = None
    retry: bool = False
    pin: Pinned | None = None

    @property
    def last(self) -> Attempt | None:
        return self.attempts[-1] if self.attempts else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """The host and key reference that a state belongs to; another one is refused until `--rebind`."""

    origin: str
    api_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who sends, or wants to: shown to whoever finds the run lock held."""

    user: str
    host: str
    pid: int
    operation: str
    run: str
    ci_url: str | None = None

    def __str__(self) -> str:
        where = f" ({self.ci_url})" if self.ci_url else ""
        return f"`reconciler {self.operation}` of {self.user}@{self.host}, pid {self.pid}, run {self.run}{where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The run lock as the log tells it: the epoch rises each time it is taken."""

    epoch: int
    holder: Holder
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedCommit:
    """The commit whose manifests were applied last, all of them or some: what is older than it must not undo it by accident.

    `committed_at` is its committer's time, for clones that do not have it; `who` had it applied, at `at`.
    """

    commit: str
    committed_at: datetime | None
    who: str
    at: datetime
    ci_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """Everything the state of one environment knows.

    `lineage` is made once at `init` and never changes silently. `serial` counts snapshots, `seq` counts records.
    `entries` maps model id to entry and is treated as immutable. `lock` is None when the log says nobody sends.
    `commit` is None until manifests from git are applied.
    """

    environment: str
    lineage: str
    serial: int = 0
    seq: int = 0
    epoch: int = 0
    binding: Binding
    entries: Mapping[str, Entry] = field(default_factory=dict)
    lock: Lock | None = None
    suspension: Hold | None = None
    allow_mass_change: bool = False
    commit: AppliedCommit | None = None


def in_force(hold: Hold | None, now: datetime) -> Hold | None:
    """None where it has lapsed."""
    lapsed = hold is not None and hold.until is not None and hold.until <= now
    return None if lapsed else hold


def without_lapsed(applied: Applied, now: datetime) -> Applied:
    """For whoever shows a state and has no clock: suspensions that are over are none. The same value where none is."""
    lapsed = {
        model: replace(entry, suspension=None)
        for model, entry in applied.entries.items()
        if entry.suspension is not None and in_force(entry.suspension, now) is None
    }
    if not lapsed and in_force(applied.suspension, now) is applied.suspension:
        return applied
    return replace(applied, entries={**applied.entries, **lapsed}, suspension=in_force(applied.suspension, now))


def suspended_until(entry: Entry | None, applied: Applied) -> datetime | None:
    """When neither its own suspension nor the environment's is left; None where only a person ends one.

    The state is one `without_lapsed`.
    """
    holds = [hold for hold in (entry.suspension if entry is not None else None, applied.suspension) if hold is not None]
    ends = [hold.until for hold in holds if hold.until is not None]
    return max(ends) if ends and len(ends) == len(holds) else None


def suspensions_of(applied: Applied, deployments: Iterable[tuple[str, str]]) -> Iterator[Suspension]:
    """Of the environment, and of those of the deployments (address and model id) that have one of their own."""
    held = [(applied.environment, applied.suspension)]
    for address, model_id in deployments:
        entry = applied.entries.get(model_id)
        held.append((address, entry.suspension if entry is not None else None))
    for address, hold in held:
        if hold is not None:
            yield Suspension(address=address, who=hold.who, why=hold.why, since=hold.since, until=hold.until)


class Situation(StrEnum):
    """The rows of the classification table (DESIGN.md)."""

    ABSENT = "none"
    LIVE = "live"
    RUNNING = "job running"
    REFUSED = "not processed"
    FAILED = "job failed"
    UNKNOWN = "unknown"


def situation_of(entry: Entry | None) -> Situation:
    """Which row of the classification table an entry stands in."""
    if entry is None or (entry.last is None and entry.live is None):
        return Situation.ABSENT
    if entry.last is None or _was_adopted_since(entry, entry.last):
        return Situation.LIVE
    match entry.last.outcome:
        case Accepted(status="SUCCESS"):
            return Situation.LIVE if entry.live is not None else Situation.ABSENT
        case Accepted(status="FAILED"):
            return Situation.FAILED
        case Accepted():
            return Situation.RUNNING
        case NotSent() | NotProcessed():
            return Situation.REFUSED
        case Unanswered() | Unknown():
            return Situation.UNKNOWN


def _was_adopted_since(entry: Entry, last: Attempt) -> bool:
    """Adopting after a refused or failed attempt says that the model runs as the manifest says: that attempt is history."""
    adopted = entry.live is not None and entry.live.how == "adopted" and entry.live.since >= last.started_at
    return adopted and not isinstance(last.outcome, Unanswered | Unknown)


def reference_digest(entry: Entry) -> str | None:
    """The digest that the desired one is compared with: the last attempt's, or the adopted one's; None after an undeploy."""
    if entry.last is None or _was_adopted_since(entry, entry.last):
        return entry.live.digest if entry.live else None
    return entry.last.digest


def address_of(environment: str, entry: Entry, *, replaced: bool = False) -> str:
    """`environment/name`, or `environment/name@model-id` for an entry whose name now means another model."""
    suffix = f"@{entry.model_id}" if replaced else ""
    return f"{environment}/{entry.name}{suffix}"
