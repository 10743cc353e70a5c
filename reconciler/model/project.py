"""What an operator may write in `reconciler.yaml`."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, StringConstraints

from reconciler.model.manifest import Name, Overridable, Written
from reconciler.model.notification import USUAL_LINE, USUAL_OUTCOMES, USUAL_PER_MINUTE, USUAL_TITLE
from reconciler.model.spelling import EXTRA_FIELD_PATTERN, VARIABLE_PATTERN

# Every number of the deploy body.
RangedField = Literal[
    "hyperParameters.temperature",
    "hyperParameters.maxTokens",
    "hyperParameters.topP",
    "hyperParameters.topK",
    "scalingParameters.maxBatchSize",
    "scalingParameters.minReplicas",
    "scalingParameters.maxReplicas",
    "scalingParameters.scaleUpDelay",
    "scalingParameters.scaleDownDelay",
]


class ApiKey(Written):
    """Where the API key is found, never the key: exactly one of the two."""

    env: Annotated[str, StringConstraints(pattern=VARIABLE_PATTERN)] | None = Field(
        default=None, description="The environment variable that holds the key."
    )
    file: Annotated[str, StringConstraints(min_length=1)] | None = Field(
        default=None, description="The file that holds the key, as a mounted secret."
    )


class RateLimitSpec(Written):
    """Calls that start a job, per host; 0 switches a window off."""

    per_minute: int = Field(default=60, ge=0, le=100_000, description="Calls in any 60 seconds.")
    per_hour: int = Field(default=1800, ge=0, le=1_000_000, description="Calls in any 3,600 seconds.")


class EnvironmentSpec(Written):
    """One platform host, with a state of its own."""

    host: str = Field(min_length=1, description="A host name or URL of the platform.")
    api_key: ApiKey = Field(description="Where the API key is found, never the key: {env: NAME} or {file: PATH}.")
    ca_file: str | None = Field(default=None, description="Authority for the host's certificate, PEM.")
    prune: bool = Field(default=False, description="Undeploy what has no manifest any more.")
    rate_limit: RateLimitSpec = Field(
        default_factory=RateLimitSpec, description="Calls that start a job, at most; 0 switches a window off."
    )
    defaults: Overridable | None = Field(default=None, description="Values for every manifest in this environment.")


class PlatformSpec(Written):
    """Widens what is accepted when the vendor adds a device, a range or a field."""

    device_types: list[str] = Field(default_factory=list, description="Device types beyond those known.")
    ranges: dict[RangedField, Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(
        default_factory=dict,
        description="A field inside spec, as hyperParameters.maxTokens -> the lowest and the highest value accepted.",
    )
    extra_fields: list[Annotated[str, StringConstraints(pattern=EXTRA_FIELD_PATTERN)]] = Field(
        default_factory=list,
        description="Fields inside spec that are not known, as hyperParameters.minP; sent as written.",
    )


# The words of model.notification.Outcome; a test holds the two together.
OutcomeWord = Literal[
    "succeeded",
    "failed",
    "held",
    "quarantined",
    "alarm",
    "refused",
    "waiting",
    "unauthorized",
    "unreachable",
    "recovered",
]


class NotificationSpec(Written):
    """One receiver of what `reconciler watch` tells."""

    name: Name = Field(description="What the channel is called in logs and metrics.")
    type: Literal["webhook", "apprise"] = Field(
        description="webhook: signed JSON by POST. apprise: Slack, Teams, mail and others, by an apprise URL."
    )
    url: ApiKey = Field(description="Where the address is found, never the address: {env: NAME} or {file: PATH}.")
    secret: ApiKey | None = Field(default=None, description="Where the key that signs a webhook is found.")
    on: list[OutcomeWord] = Field(
        default=[word for word in get_args(OutcomeWord) if word in USUAL_OUTCOMES],
        min_length=1,
        description="What is told; by default all but succeeded.",
    )
    environments: list[Name] = Field(default_factory=list, description="Only these; by default all.")
    per_minute: int = Field(
        default=USUAL_PER_MINUTE, ge=1, le=600, description="Messages in any 60 seconds; what is over is put together."
    )
    title: Annotated[str, StringConstraints(min_length=1, max_length=500)] = Field(
        default=USUAL_TITLE, description="The first line, with $summary, $environment, $source."
    )
    line: Annotated[str, StringConstraints(min_length=1, max_length=500)] = Field(
        default=USUAL_LINE, description="One line per fact, with $sign, $address, $outcome, $detail, $commit, …"
    )


class Project(Written):
    """The operator's file, reconciler.yaml: environments, where manifests lie, where the state is kept."""

    api_version: Literal["reconciler/v1"] = Field(description="The version of this format.")
    kind: Literal["Project"] = Field(description="What the document describes.")
    manifests: list[Annotated[str, StringConstraints(min_length=1)]] = Field(
        default=["manifests/"], min_length=1, description="Folders that are read, at any depth."
    )
    ignore: list[str] = Field(
        default_factory=list, description='Globs of files that are not read, as "**/values.yaml".'
    )
    state: Annotated[str, StringConstraints(min_length=1)] = Field(
        default=".reconciler",
        description="A folder, git:BRANCH, s3://, gs:// or az://BUCKET/PREFIX, or postgresql://HOST/DATABASE; each environment has its"  # noqa: E501 - one sentence of the reference
        " own state inside.",
    )
    platform: PlatformSpec = Field(
        default_factory=PlatformSpec,
        description="Widens what is accepted when the vendor adds a device, a range or a field.",
    )
    environments: dict[Name, EnvironmentSpec] = Field(min_length=1, description="Name -> one platform host.")
    notifications: list[NotificationSpec] = Field(
        default_factory=list, description="Who is told of what `reconciler watch` does."
    )
