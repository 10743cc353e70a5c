"""What a simulated platform is told: how it behaves, and the rules by which it misbehaves.

Read from a scenario file (YAML, camelCase, docs/simulator.md) or made by the flags of `reconciler simulate`. `world` obeys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from reconciler.diagnostics import Diagnostic, Position
from reconciler.errors import InvalidInput

DEFAULT_KEY = "kg-simulator"

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
StatusCode = Annotated[int, Field(ge=200, le=599)]  # lower ones are not whole replies


class Shape(StrEnum):
    """How an error body looks; the real platform's is not documented, these were seen."""

    ERRORS = "errors"  # {"errors": [{"msg": …, "code": …}]}
    MESSAGE = "message"  # {"message": …}
    ERROR = "error"  # {"error": …}
    TEXT = "text"
    HTML = "html"  # a gateway's page
    EMPTY = "empty"


class Call(StrEnum):
    """What a rule may be about."""

    DEPLOY = "deploy"
    UNDEPLOY = "undeploy"
    STATUS = "status"


class Scope(StrEnum):
    """What a key may do."""

    DEPLOY = "deploy"  # deploy and undeploy
    STATUS = "status"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Answer(_Frozen):
    """A reply instead of the usual one. `accepted` says whether the job starts all the same.

    `body` is sent as it is; without it the body is made from `message` in `shape`. `retry_after` is a number of seconds or
    the word `date` before one: `date:30` sends the HTTP date 30 s from now.
    """

    status: StatusCode
    message: str = "Simulated failure"
    shape: Shape | None = None
    body: str | None = None
    headers: Mapping[str, str] = Field(default_factory=dict)
    retry_after: str | float | None = None
    accepted: bool = False


class JobReply(_Frozen):
    """How the usual reply of an accepted call differs: `idKey` may be `none` (no id) or `two` (two that differ)."""

    id_key: str | None = None
    id: str | None = None
    status: str | None = None
    extra: Mapping[str, Any] = Field(default_factory=dict)


class Job(_Frozen):
    """How the job differs. `statuses` are answered poll by poll, the last one for ever, whatever the time."""

    seconds: Seconds | None = None
    fails: bool = False
    stuck: bool = False
    response: Any = None
    statuses: tuple[str, ...] = ()
    hidden_seconds: Seconds | None = None


class Slow(_Frozen):
    """The reply's body comes in pieces of `chunk` bytes, one every `seconds`."""

    chunk: Annotated[int, Field(ge=1)] = 1
    every: Seconds = 1.0


class Match(_Frozen):
    """Which calls a rule is about. `nth` counts the calls that match the rest, from 1; empty means all of them."""

    model: str = "*"
    operation: Call | None = None
    nth: tuple[Annotated[int, Field(ge=1)], ...] = ()

    @field_validator("nth", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, int) else value

    def fits(self, operation: Call, model_id: str) -> bool:
        return self.operation in {None, operation} and fnmatchcase(model_id, self.model)


class Rule(_Frozen):
    """One misbehaviour. Of the rules that match a call, the first whose turn (`nth`) it is applies, alone.

    `lost` closes the connection without one byte of a reply, `before` or `after` the call was accepted. `cut` closes it
    after that many bytes of the reply, status line and headers included; `cutBody` after that many bytes of the body.
    """

    match: Match = Match()
    delay: Seconds | None = None
    answer: Answer | None = None
    lost: Literal["before", "after"] | None = None
    lost_by: Literal["reset", "eof"] = "reset"
    cut: Count | None = None
    cut_body: Count | None = None
    slow: Slow | None = None
    reply: JobReply = JobReply()
    job: Job = Job()


NO_RULE = Rule()


class Behaviour(_Frozen):
    """How the platform behaves where no rule says otherwise. Limits of 0 are off; times are seconds."""

    keys: Mapping[str, frozenset[Scope]] = Field(default_factory=lambda: {DEFAULT_KEY: frozenset(Scope)})
    models: tuple[str, ...] = ("*",)  # those that exist, as globs
    never_deployed: tuple[str, ...] = ()  # those never deployed by hand, as globs
    first_deployment: Literal["refuse", "whenDeclared", "accept"] = "refuse"  # declared: isDeployedPreviously is false
    unknown_fields: Literal["refuse", "ignore"] = "refuse"
    while_running: Literal["accept", "conflict"] = "accept"
    undeploy: Literal["atOnce", "job"] = "atOnce"  # the vendor's sample answers SUCCESS at once
    job_seconds: Seconds = 20.0
    hidden_seconds: Seconds = 0.0  # how long a new dock status answers 404
    latency: Seconds = 0.0
    id_key: str = "dock-statusId"
    error_shape: Shape = Shape.ERRORS
    per_minute: Count = 60
    per_hour: Count = 1800
    status_per_minute: Count = 60
    status_per_hour: Count = 1800
    rate_limit_status: StatusCode = 429
    retry_after: Literal["none", "seconds", "date"] = "none"
    seed: str = "simulator"  # dock status ids are made from it and a count

    @field_validator("keys", mode="before")
    @classmethod
    def _all_scopes_unless_said(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: frozenset(Scope) if scopes in (None, "*") else scopes for key, scopes in value.items()}
        return value


class Scenario(_Frozen):
    """A whole scenario file."""

    api_version: Literal["reconciler/v1"] = "reconciler/v1"
    kind: Literal["Scenario"] = "Scenario"
    behaviour: Behaviour = Behaviour()
    rules: tuple[Rule, ...] = ()


def parse_scenario(text: str, *, name: str = "scenario") -> Scenario:
    """A scenario from YAML or JSON text. Raises InvalidInput with a diagnostic per mistake."""
    try:
        # The simulator's operator writes this file for herself: the small loader is enough.
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _refused(name, [("", str(error).replace("\n", " "))]) from error
    try:
        return Scenario.model_validate({} if value is None else value)
    except ValidationError as error:
        mistakes = [(_path(item["loc"]), item["msg"]) for item in error.errors(include_url=False)]
        raise _refused(name, mistakes) from error


def _path(location: Sequence[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def _refused(name: str, mistakes: Sequence[tuple[str, str]]) -> InvalidInput:
    diagnostics = [
        Diagnostic(code="RC900", message=message, path=path, position=Position(file=name)) for path, message in mistakes
    ]
    listed = "; ".join(f"{path}: {message}" if path else message for path, message in mistakes)
    return InvalidInput(
        f"The scenario {name} is not valid: {listed}",
        diagnostics=diagnostics,
        next_step="docs/simulator.md lists what a scenario may say.",
    )
