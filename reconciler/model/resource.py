"""Desired state: what the manifests say should exist, resolved for one environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from reconciler.diagnostics import Position
from reconciler.model.values import Json

DEFAULT_TIMEOUT = 45 * 60


class Strategy(StrEnum):
    """Which half of a replace goes first."""

    DEPLOY_FIRST = "DeployFirst"
    UNDEPLOY_FIRST = "UndeployFirst"


class OnUnknown(StrEnum):
    """What happens by itself after a call whose outcome is unknown."""

    HOLD = "hold"
    SEND_AGAIN = "sendAgain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """How a resource is rolled out. `timeout` in seconds, 1 or more; `depends_on` are names in the same environment."""

    wave: int = 0
    depends_on: tuple[str, ...] = ()
    timeout: int = DEFAULT_TIMEOUT
    protect: bool = False
    strategy: Strategy = Strategy.DEPLOY_FIRST
    on_unknown: OnUnknown = OnUnknown.HOLD
    adopt: bool = False


USUAL_ROLLOUT = Rollout()


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a resource is written: the file, the place of the document in it (from 0) and the document's first line."""

    file: str
    document: int
    line: int

    @property
    def position(self) -> Position:
        return Position(file=self.file, line=self.line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One thing that should exist in one environment.

    `body` is the RFC 8785 JSON text that a deploy sends, byte for byte; `digest` is made by `values.digest_of`.
    `labels` are sorted by key.
    """

    environment: str
    name: str
    labels: tuple[tuple[str, str], ...]
    model_id: str
    model_type: str
    body: str
    digest: str
    rollout: Rollout
    origin: Origin

    @property
    def address(self) -> str:
        return f"{self.environment}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """All resources of one environment, sorted by name, and what could not be read.

    `broken` are addresses whose manifest has errors, `broken_files` the files that hold errors: nothing that was last seen
    there is changed, undeployed or renamed meanwhile.
    """

    environment: str
    resources: tuple[Resource, ...]
    broken: frozenset[str] = frozenset()
    broken_files: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReference:
    """Where the API key is found; never the key. `kind` is `env` or `file`."""

    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """Calls that start a job, per host; 0 switches a window off."""

    per_minute: int = 60
    per_hour: int = 1800


USUAL_RATE_LIMIT = RateLimit()


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One platform host, resolved from the project file.

    `origin` is scheme, host and port without a path or trailing slash (`https://agent-platform.example.com`).
    `state` is the folder or URL that holds the states of all environments.
    """

    name: str
    origin: str
    api_key: KeyReference
    state: str
    ca_file: str | None = None
    prune: bool = False
    rate_limit: RateLimit = USUAL_RATE_LIMIT
    defaults: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame:
    """Which layer set a value, and where it is written: `defaults`, `spec` or `override`, `built in` for a default of ours."""

    layer: str
    position: Position | None


# (resource, path inside the body such as "scalingParameters.minReplicas") -> where that value was written, or where it lacks.
Locate = Callable[[Resource, str], Blame]
