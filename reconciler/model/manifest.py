"""What a person may write in a manifest: shape, ranges and enums, field by field.

The source of every range and enum is the vendor's "Deploy a Model" page. Nothing in `spec` is required here, because
defaults and overrides are merged first; `resolve` checks what is complete. These models only judge: what is sent is
the text that was written (`load.documents`), so nothing is coerced on the way. The JSON Schemas are made from them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
DURATION_PATTERN = r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"

DeviceType = Literal[
    "g4dn.xlarge",
    "g5.xlarge",
    "g5.2xlarge",
    "g6e.xlarge",
    "g4dn.12xlarge",
    "g5.12xlarge",
    "g5.48xlarge",
    "g4dn.metal",
]
# "" is what the vendor's samples send for none.
OptimizationType = Literal["", "ctranslate2", "vllm"]
QuantizationType = Literal["", "no_quantization", "int8_float16"]

Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


def seconds_of(duration: str) -> int:
    """`1h30m` -> 5400. Raises ValueError for anything but hours, minutes and seconds in this order, or for nothing."""
    match = re.match(DURATION_PATTERN, duration)
    hours, minutes, seconds = (int(part[:-1]) if part else 0 for part in match.groups()) if match else (0, 0, 0)
    total = hours * 3600 + minutes * 60 + seconds
    if total < 1:
        raise ValueError("not a duration")
    return total


def _is_duration(text: str) -> str:
    seconds_of(text)
    return text


Duration = Annotated[str, StringConstraints(max_length=16, pattern=DURATION_PATTERN), AfterValidator(_is_duration)]


class Written(BaseModel):
    """As written: strict types, no unknown fields, field names as in the platform's body."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, alias_generator=to_camel)


class HyperParameters(Written):
    """How the model answers."""

    temperature: float | None = Field(default=None, ge=0, le=2, description="Randomness of the output.")
    max_tokens: int | None = Field(default=None, ge=0, le=512, description="Most tokens in an answer.")
    top_p: float | None = Field(default=None, ge=0, le=1, description="Nucleus sampling.")
    top_k: int | None = Field(default=None, ge=1, le=100, description="Top-K sampling.")
    stop_sequence: list[str] | None = Field(default=None, description="Texts at which the model stops.")


class ScalingParameters(Written):
    """How many replicas, and when. The vendor's pages give the delays' unit as ms and as seconds; it is sent as written."""

    max_batch_size: int | None = Field(default=None, ge=1, le=256)
    min_replicas: int | None = Field(default=None, ge=1, le=10)
    max_replicas: int | None = Field(default=None, ge=1, le=50)
    scale_up_delay: int | None = Field(default=None, ge=1, le=1000)
    scale_down_delay: int | None = Field(default=None, ge=50, le=2000)


class OptimizationInfo(Written):
    optimization_type: OptimizationType | None = None
    quantization_type: QuantizationType | None = None


class RolloutSpec(Written):
    """How the program brings it about; never sent to the platform."""

    wave: int | None = Field(default=None, ge=-1000, le=1000, description="Lower waves go first. Default 0.")
    depends_on: list[Name] | None = Field(
        default=None, description="Names in the same environment that must be live first."
    )
    timeout: Duration | None = Field(
        default=None, description="How long a job is followed, as 45m or 1h30m. Default 45m."
    )
    protect: bool | None = Field(default=None, description="Never undeploy it by itself. Default false.")
    strategy: Literal["DeployFirst", "UndeployFirst"] | None = Field(default=None, description="Order of a replace.")
    on_unknown: Literal["hold", "sendAgain"] | None = Field(
        default=None, description="After a lost reply. Default hold."
    )
    adopt: bool | None = Field(
        default=None, description="Record as live without a call, where nothing is recorded yet."
    )


class Overridable(Written):
    """What `defaults`, `spec` and overrides have in common."""

    model_type: Literal["openSource", "fineTune"] | None = None
    is_deployed_previously: bool | None = Field(
        default=None, description="Default true: the vendor wants the first by hand."
    )
    hyper_parameters: HyperParameters | None = None
    scaling_parameters: ScalingParameters | None = None
    device_type: DeviceType | None = None
    optimization_info: OptimizationInfo | None = None
    rollout: RolloutSpec | None = None


class Override(Overridable):
    """What differs in one environment; merged by RFC 7396, so null deletes."""

    model_id: Id | None = Field(default=None, description="The platform's id, as cm-….")
    name: str | None = Field(default=None, min_length=1, max_length=256, description="What the platform shows.")


class Spec(Override):
    environments: dict[Name, Any] | None = Field(default=None, description="Where it goes, and what differs there.")


class ManifestMetadata(Written):
    name: Name
    labels: dict[str, str] = Field(default_factory=dict)


class ModelDeployment(Written):
    """One model, in one or several environments."""

    api_version: Literal["reconciler/v1"]
    kind: Literal["ModelDeployment"]
    metadata: ManifestMetadata
    spec: Spec
