"""What would be done and why: the value that `plan` shows, a reviewer approves and `apply` executes.

Built by `diff` and `plan`, rendered by `report`, walked by `apply`. No field holds a clock reading or a random id, so the
same inputs give the same plan, byte for byte.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from reconciler.diagnostics import Position
from reconciler.model.applied import NO_METADATA, Metadata, Suspension
from reconciler.model.resource import USUAL_ROLLOUT, OnUnknown, Rollout
from reconciler.model.values import Json


class Action(StrEnum):
    """What a change does. The order is the order of the summary."""

    DEPLOY = "deploy"
    REDEPLOY = "redeploy"
    UNDEPLOY = "undeploy"
    RETRY = "retry"
    ADOPT = "adopt"
    RENAME = "rename"
    FOLLOW = "follow"
    HOLD = "hold"
    NONE = "none"

    @property
    def sends(self) -> bool:
        """Whether the platform is asked to change something."""
        return self in _SENDING


# A tuple: members are compared by identity, without the hash that an enum computes in Python.
_SENDING = (Action.DEPLOY, Action.REDEPLOY, Action.UNDEPLOY, Action.RETRY)


class Reason(StrEnum):
    """Why a change has its action: a stable word for machines; `Change.detail` says it in a sentence."""

    NEW = "new"  # no entry
    BODY_CHANGED = "bodyChanged"
    MODEL_REPLACED = "modelReplaced"  # same name, other model id
    MANIFEST_GONE = "manifestGone"  # undeploy: prune is on and nothing protects it
    ADOPTED = "adopted"  # rollout.adopt
    RENAMED = "renamed"
    JOB_RUNNING = "jobRunning"
    JOB_FAILED = "jobFailed"
    NOT_PROCESSED = "notProcessed"
    RETRY_ASKED = "retryAsked"
    OUTCOME_UNKNOWN = "outcomeUnknown"
    SEND_AGAIN = "sendAgain"  # unknown, and rollout.onUnknown says sendAgain
    UNCHANGED = "unchanged"
    ORPHAN = "orphan"  # manifest gone, not to be undeployed
    PROTECTED = "protected"  # an orphan because of its protection
    SUSPENDED = "suspended"
    QUARANTINED = "quarantined"
    PINNED = "pinned"  # an earlier spec was put back instead of the manifest's, and it is live
    BACKOFF = "backoff"  # the loop waits before it does this by itself
    BROKEN = "broken"  # its manifest, or the file it was last seen in, has errors


class Because(StrEnum):
    """Why one change waits for another."""

    DEPENDS_ON = "dependsOn"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """This change waits until the change at `address` is satisfied."""

    address: str
    because: Because


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One field of the body (or `modelId`, `modelType`) that differs. None means absent: a body never holds null.

    `position` is where `after` was written, or what lacks it; `layer` the layer that set it (defaults, spec, override).
    """

    path: str
    before: Json
    after: Json
    position: Position | None = None
    layer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happens to one address.

    `body` and `digest` are what a deploy would send, None where nothing is sent or for undeploy. `metadata` is what the
    entry will remember. `job` is the dock status id of a running job that is followed first. `waits_for` are explicit
    edges; a change also waits for every change of a lower `wave`, and an undeploy for everything else (DESIGN.md).
    `hint` is a whole sentence about a better way or a next step. `restarts` is True when a running model restarts.
    `records` is True when the entry's metadata changes and nothing else tells so. `commit` is the one that the body comes
    from where it is not the plan's: of a spec that was put back.
    """

    address: str
    environment: str
    name: str
    model_id: str
    action: Action
    reason: Reason
    detail: str
    model_type: str | None = None
    body: str | None = None
    digest: str | None = None
    fields: tuple[FieldChange, ...] = ()
    waits_for: tuple[Edge, ...] = ()
    rollout: Rollout = USUAL_ROLLOUT
    metadata: Metadata = NO_METADATA
    position: Position | None = None
    job: str | None = None
    attempt: str | None = None
    previous_name: str | None = None
    restarts: bool = False
    replaces: str | None = None
    records: bool = False
    hint: str | None = None
    commit: str | None = None

    @property
    def on_unknown(self) -> OnUnknown:
        return self.rollout.on_unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Why `apply` will refuse the plan as a whole until a person allows it with `flag`."""

    code: str
    message: str
    flag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything one run would do in one environment. `changes` are sorted by address; `commit` is the manifests' commit.

    `globs` and `labels` are the selection it was made with: planning again for a plan file selects the same. `suspensions` are
    those in force, also where there is nothing to hold back.
    """

    environment: str
    origin: str
    lineage: str
    changes: tuple[Change, ...]
    guards: tuple[Guard, ...] = ()
    warnings: tuple[str, ...] = ()
    globs: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    commit: str | None = None
    dirty: bool | None = None
    suspensions: tuple[Suspension, ...] = ()

    def counts(self) -> dict[Action, int]:
        """How many changes have each action, in the order of Action, zeros included."""
        counted = Counter(change.action for change in self.changes)
        return {action: counted[action] for action in Action}

    @property
    def pending(self) -> tuple[Change, ...]:
        """The changes that are something to do: every action but `none`."""
        return tuple(change for change in self.changes if change.action is not Action.NONE)

    @property
    def silent_suspensions(self) -> tuple[Suspension, ...]:
        """The suspensions that no change of the plan tells of."""
        own = {one.address for one in self.suspensions}
        held = {change.address for change in self.changes if change.reason is Reason.SUSPENDED}
        told = {address if address in own else self.environment for address in held}
        return tuple(one for one in self.suspensions if one.address not in told)

    @property
    def is_empty(self) -> bool:
        return not self.pending
