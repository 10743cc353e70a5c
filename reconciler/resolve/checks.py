"""What must hold for one merged spec: completeness and the rules between fields. Each mistake names the layer at fault.

Ranges and enums are checked by `load` where they are written; merging cannot break them, because it never mixes two values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import takewhile

from reconciler.diagnostics import Diagnostic
from reconciler.model.loaded import FieldPath, Places
from reconciler.model.values import Json
from reconciler.resolve.layers import DEFAULTS, OVERRIDE, SPEC, Layers, Steps

# The vendor's page, "Body Parameters", column REQUIRED; `name` has a default of ours.
REQUIRED = ("modelId", "modelType", "hyperParameters", "deviceType")
REQUIRED_HYPER = ("temperature", "maxTokens", "topP", "topK")
_REQUIRED, _REQUIRED_HYPER = frozenset(REQUIRED), frozenset(REQUIRED_HYPER)

# quantization -> the optimizations that can do it (int8_float16 is a compute type of CTranslate2; vLLM has none by this name)
QUANTIZATIONS: Mapping[str, frozenset[str]] = {"int8_float16": frozenset({"ctranslate2"})}

_SAFE_INTEGER = 2**53
_RANK = {DEFAULTS: 0, SPEC: 1, OVERRIDE: 2}


def is_complete(merged: Mapping[str, Json]) -> bool:
    """Whether every required value is there; the quick answer for what is right."""
    hyper = merged.get("hyperParameters")
    return isinstance(hyper, dict) and merged.keys() >= _REQUIRED and hyper.keys() >= _REQUIRED_HYPER


def mistakes_in(merged: Mapping[str, Json], layers: Layers, places: Places) -> Iterator[Diagnostic]:
    """Everything wrong with one merged spec."""
    if not is_complete(merged):
        yield from _incomplete(merged, layers, places)
    yield from _replicas(merged, layers, places)
    yield from _quantization(merged, layers, places)


def _incomplete(merged: Mapping[str, Json], layers: Layers, places: Places) -> Iterator[Diagnostic]:
    for field in REQUIRED:
        if field not in merged:
            inside = f" with {', '.join(REQUIRED_HYPER)}" if field == "hyperParameters" else ""
            yield _missing((field,), inside, layers, places)
    hyper = merged.get("hyperParameters")
    if isinstance(hyper, dict):
        for field in REQUIRED_HYPER:
            if field not in hyper:
                yield _missing(("hyperParameters", field), "", layers, places)


def _missing(steps: Steps, inside: str, layers: Layers, places: Places) -> Diagnostic:
    name, layer = ".".join(steps), layers.layer_of(steps)
    deleted = layer == OVERRIDE
    return Diagnostic(
        code="RC401",
        message=f"{name} is required, and the override deletes it" if deleted else f"{name} is required",
        position=layers.place(layer, steps, places),
        path=layers.path(layer, steps),
        value="null" if deleted else None,
        suggestion=f"Add {name}{inside} to spec, to its environments, or to the environment's defaults.",
        environment=layers.environment,
    )


def _replicas(merged: Mapping[str, Json], layers: Layers, places: Places) -> Iterator[Diagnostic]:
    scaling = merged.get("scalingParameters")
    if not isinstance(scaling, dict) or "minReplicas" not in scaling or "maxReplicas" not in scaling:
        return
    low, high = scaling["minReplicas"], scaling["maxReplicas"]
    if low <= high:
        return
    fields = (("scalingParameters", "minReplicas"), ("scalingParameters", "maxReplicas"))
    blamed, other = _later_first(fields, layers)
    at_fault, there = layers.layer_of(blamed), layers.layer_of(other)
    where = layers.place(there, other, places)
    wrote = f"{other[-1]} is {scaling[other[-1]]}, set by {_spoken(there)}" + (f" at {where}" if where else "")
    yield Diagnostic(
        code="RC402",
        message=f"minReplicas {low} is larger than maxReplicas {high}",
        position=layers.place(at_fault, blamed, places, key=False),
        path=layers.path(at_fault, blamed),
        value=str(scaling[blamed[-1]]),
        allowed=f"{'at most' if blamed[-1] == 'minReplicas' else 'at least'} {scaling[other[-1]]}",
        suggestion=f"{wrote}.",
        environment=layers.environment,
    )


def _later_first(fields: tuple[Steps, Steps], layers: Layers) -> tuple[Steps, Steps]:
    """The field that the later layer set is to blame: it was written with the other one in force."""
    first, second = fields
    return (second, first) if _RANK[layers.layer_of(second)] > _RANK[layers.layer_of(first)] else (first, second)


def _quantization(merged: Mapping[str, Json], layers: Layers, places: Places) -> Iterator[Diagnostic]:
    info = merged.get("optimizationInfo")
    if not isinstance(info, dict):
        return
    quantization, optimization = info.get("quantizationType"), info.get("optimizationType") or ""
    able = QUANTIZATIONS.get(quantization) if isinstance(quantization, str) else None
    if able is None or optimization in able:
        return
    steps: Steps = ("optimizationInfo", "quantizationType")
    if optimization:
        steps, _ = _later_first((steps, ("optimizationInfo", "optimizationType")), layers)
    layer, needed = layers.layer_of(steps), " or ".join(sorted(able))
    yield Diagnostic(
        code="RC403",
        message=f"{quantization} needs optimizationType {needed}, "
        + (f"not {optimization}" if optimization else "and there is none"),
        position=layers.place(layer, steps, places, key=False),
        path=layers.path(layer, steps),
        value=repr(info[steps[-1]]),
        allowed=needed if steps[-1] == "optimizationType" else "no_quantization",
        environment=layers.environment,
    )


def inexact_in(body: Mapping[str, Json], layers: Layers, places: Places) -> Iterator[Diagnostic]:
    """What `canonical` refuses: numbers and texts that JSON readers do not agree on."""
    found = False
    for path, value in _leaves(body, ()):
        if isinstance(value, int) and not -_SAFE_INTEGER < value < _SAFE_INTEGER:
            found = True
            yield _inexact(path, "JSON readers do not agree on integers of 2^53 and beyond", layers, places)
    if not found:
        yield _inexact((), "a text holds half a character (a lone surrogate), which JSON cannot carry", layers, places)


def _inexact(path: FieldPath, message: str, layers: Layers, places: Places) -> Diagnostic:
    layer = layers.layer_of(tuple(takewhile(lambda step: isinstance(step, str), path)))  # type: ignore[arg-type]
    return Diagnostic(
        code="RC410",
        message=message,
        position=layers.place(layer, path, places, key=False),
        path=layers.path(layer, path),
        allowed="integers between -9007199254740991 and 9007199254740991" if path else None,
        environment=layers.environment,
    )


def _leaves(value: Json, path: FieldPath) -> Iterator[tuple[FieldPath, Json]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    else:
        yield path, value


def _spoken(layer: str) -> str:
    return {OVERRIDE: "the override", DEFAULTS: "the environment's defaults"}.get(layer, "spec")
