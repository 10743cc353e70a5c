"""What the documentation allows in the body of Deploy a Model, and the words of a refusal.

Written from the vendor's page on its own, apart from the checks of manifests: two readings of one page check each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Field:
    """One row of the vendor's tables. `low` and `high` are inclusive."""

    path: str
    kind: str
    required: bool = False
    low: float | None = None
    high: float | None = None
    allowed: tuple[str, ...] | None = None


DEVICES = (
    "g4dn.xlarge",
    "g5.xlarge",
    "g5.2xlarge",
    "g6e.xlarge",
    "g4dn.12xlarge",
    "g5.12xlarge",
    "g5.48xlarge",
    "g4dn.metal",
)

# Source: "Deploy a Model API", Body Parameters. The empty optimization words are in both of its sample requests.
FIELDS = (
    Field("name", "string", required=True),
    Field("isDeployedPreviously", "boolean"),
    Field("hyperParameters", "object", required=True),
    Field("hyperParameters.temperature", "number", required=True, low=0, high=2),
    Field("hyperParameters.maxTokens", "integer", required=True, low=0, high=512),
    Field("hyperParameters.topP", "number", required=True, low=0, high=1),
    Field("hyperParameters.topK", "integer", required=True, low=1, high=100),
    Field("hyperParameters.stopSequence", "array of string"),
    Field("scalingParameters", "object"),
    Field("scalingParameters.maxBatchSize", "integer", low=1, high=256),
    Field("scalingParameters.minReplicas", "integer", low=1, high=10),
    Field("scalingParameters.maxReplicas", "integer", low=1, high=50),
    Field("scalingParameters.scaleUpDelay", "integer", low=1, high=1000),
    Field("scalingParameters.scaleDownDelay", "integer", low=50, high=2000),
    Field("deviceType", "string", required=True, allowed=DEVICES),
    Field("optimizationInfo", "object"),
    Field("optimizationInfo.optimizationType", "string", allowed=("", "ctranslate2", "vllm")),
    Field("optimizationInfo.quantizationType", "string", allowed=("", "no_quantization", "int8_float16")),
)
_PATHS = frozenset(field.path for field in FIELDS)
_OBJECTS = tuple(field.path for field in FIELDS if field.kind == "object")
_ABSENT = object()


def read_json(body: bytes) -> Any:
    """The body as strict JSON. Raises ValueError for anything else, duplicate keys and NaN included."""
    try:
        return json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key occurs twice")
    return value


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def mistakes(body: Any, *, unknown_fields: bool) -> list[str]:
    """Everything wrong with a deploy body, in the order of the documentation; `unknown_fields` True lets others pass."""
    if not isinstance(body, dict):
        return ["the body must be an object"]
    found = [message for field in FIELDS if (message := _mistake(field, body))]
    return found if unknown_fields else [*found, *_unknown(body)]


def _mistake(field: Field, body: dict[str, Any]) -> str | None:
    parent, _, name = field.path.rpartition(".")
    holder = body.get(parent, {}) if parent else body
    if not isinstance(holder, dict):
        return None  # the row of the parent says so
    value = holder.get(name, _ABSENT)
    if value is _ABSENT:
        return f"{field.path} is required" if field.required else None
    if not _is_kind(value, field.kind):
        return f"{field.path} must be of type {field.kind}"
    if field.allowed is not None and value not in field.allowed:
        return f"{field.path} must be one of {', '.join(repr(word) for word in field.allowed)}"
    if field.low is not None and field.high is not None and not field.low <= value <= field.high:
        return f"{field.path} must be between {field.low} and {field.high}"
    return None


def _is_kind(value: Any, kind: str) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {
        "string": isinstance(value, str),
        "boolean": isinstance(value, bool),
        "object": isinstance(value, dict),
        "number": number,
        "integer": number and (isinstance(value, int) or value.is_integer()),  # 512.0 is the JSON number 512
        "array of string": isinstance(value, list) and all(isinstance(item, str) for item in value),
    }[kind]


def _unknown(body: dict[str, Any]) -> Iterator[str]:
    for name in body:
        if name not in _PATHS:
            yield f"{name} is not allowed"
    for parent in _OBJECTS:
        holder = body.get(parent)
        for name in holder if isinstance(holder, dict) else ():
            if f"{parent}.{name}" not in _PATHS:
                yield f"{parent}.{name} is not allowed"
