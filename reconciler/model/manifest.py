"""What a person may write in a manifest: shape, ranges and enums, field by field.

The source of every range and enum is the vendor's "Deploy a Model" page. Nothing in `spec` is required here, because
defaults and overrides are merged first; `resolve` checks what is complete. These models only judge: what is sent is
the text that was written (`load.documents`), so nothing is coerced on the way. The JSON Schemas are made from them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from reconciler.model.spelling import DURATION_PATTERN, ID_PATTERN, NAME_PATTERN, seconds_of

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


def _is_duration(text: str) -> str:
    seconds_of(text)
    return text


Duration = Annotated[str, StringConstraints(max_length=16, pattern=DURATION_PATTERN), AfterValidator(_is_duration)]


class Written(BaseModel):
    """As written: strict types, no unknown fields, field names as in the platform's body."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, alias_generator=to_camel, defer_build=True)


class HyperParameters(Written):
    """How the model answers."""

    temperature: float | None = Field(default=None, ge=0, le=2, description="Randomness of the output.")
    max_tokens: int | None = Field(default=None, ge=0, le=512, description="Most tokens in an answer.")
    top_p: float | None = Field(default=None, ge=0, le=1, description="Nucleus sampling.")
    top_k: int | None = Field(default=None, ge=1, le=100, description="Top-K sampling.")
    stop_sequence: list[str] | None = Field(default=None, description="Texts at which the model stops.")


class ScalingParameters(Written):
    """How many replicas, and when. The vendor's pages give the delays' unit as ms and as seconds; it is sent as written."""

    max_batch_size: int | None = Field(default=None, ge=1, le=256, description="Most requests answered in one batch.")
    min_replicas: int | None = Field(default=None, ge=1, le=10, description="Replicas that always run.")
    max_replicas: int | None = Field(default=None, ge=1, le=50, description="Replicas at most; minReplicas or more.")
    scale_up_delay: int | None = Field(default=None, ge=1, le=1000, description="Wait before a replica is added.")
    scale_down_delay: int | None = Field(default=None, ge=50, le=2000, description="Wait before a replica is removed.")


class OptimizationInfo(Written):
    """How the model is made faster or smaller before it is deployed; "" is the vendor's word for none."""

    optimization_type: OptimizationType | None = Field(default=None, description="The engine that runs the model.")
    quantization_type: QuantizationType | None = Field(
        default=None, description="The precision of its weights; int8_float16 needs ctranslate2."
    )


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

    model_type: Literal["openSource", "fineTune"] | None = Field(
        default=None, description="Where the model comes from."
    )
    is_deployed_previously: bool | None = Field(
        default=None,
        description="Whether the model was deployed before. Default true: the vendor wants the first deployment by hand.",
    )
    hyper_parameters: HyperParameters | None = Field(default=None, description="How the model answers.")
    scaling_parameters: ScalingParameters | None = Field(default=None, description="How many replicas, and when.")
    device_type: DeviceType | None = Field(default=None, description="The machine that each replica runs on.")
    optimization_info: OptimizationInfo | None = Field(
        default=None, description="How the model is made faster or smaller before it is deployed."
    )
    rollout: RolloutSpec | None = Field(
        default=None, description="How the program brings it about; never sent to the platform."
    )


class Override(Overridable):
    """What differs in one environment; merged by RFC 7396, so null deletes."""

    model_id: Id | None = Field(default=None, description="The platform's id, as cm-….")
    name: str | None = Field(
        default=None, min_length=1, max_length=256, description="What the platform shows. Default metadata.name."
    )


class Spec(Override):
    """What should run, in every environment that is named."""

    environments: dict[Name, Any] | None = Field(
        default=None,
        description="Where it goes, and what differs there: a name of an environment -> an override, often {}. "
        "May be left out where the project has one environment.",
    )


class ManifestMetadata(Written):
    """How the program calls it."""

    name: Name = Field(description="Its name in plans and in the state; its address is environment/name.")
    labels: dict[str, str] = Field(default_factory=dict, description="Text for selecting, as -l team=support.")


class ModelDeployment(Written):
    """One model, in one or several environments."""

    api_version: Literal["reconciler/v1"] = Field(description="The version of this format.")
    kind: Literal["ModelDeployment"] = Field(description="What the document describes.")
    metadata: ManifestMetadata = Field(description="How the program calls it.")
    spec: Spec = Field(description="What should run, in every environment that is named.")
