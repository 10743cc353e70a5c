"""JSON Schemas (2020-12) of what users write, for editors and linters; made from the models that the loader judges by.

Called by `reconciler schema`, `reconciler init` and `make schemas`. Schema and loader accept the same documents (a test holds
them to it), but for what JSON Schema cannot say: an integer written as 1.0, an address that is no host, a range upside down.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from reconciler.load.widening import NO_WIDENING, Widening
from reconciler.model.manifest import ModelDeployment, Override
from reconciler.model.project import ApiKey, Project
from reconciler.model.spelling import DURATION_PATTERN
from reconciler.model.text import KEY_PATTERN
from reconciler.model.values import Json

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MODELS: Mapping[str, type[BaseModel]] = {"Project": Project, "ModelDeployment": ModelDeployment}
KINDS = tuple(MODELS)

_SOMETHING = "^(?=.*[1-9])"  # a duration of nothing is refused; pydantic's patterns know no look-ahead, an editor's do
_OVERRIDING = "Override"  # beside each definition of a part of `spec`, one in which null deletes


def schema_of(kind: str | None = None, widening: Widening = NO_WIDENING) -> dict[str, Json]:
    """The schema of one kind; without one, of all kinds, told apart by `kind`. `widening` admits what a project admits."""
    definitions: dict[str, Json] = {}
    for name in KINDS if kind is None else (kind,):
        definitions |= _definitions(name)
    for path, parts in _places_of(definitions):
        _widen(path, parts, widening)
    if kind is not None:
        root = definitions.pop(kind)
        return {"$schema": DIALECT, "title": f"reconciler {kind}", **root, "$defs": dict(sorted(definitions.items()))}
    return {
        "$schema": DIALECT,
        "title": "reconciler",
        "description": "A document of any kind that reconciler reads.",
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {
            "apiVersion": {"const": "reconciler/v1", "description": "The version of this format."},
            "kind": {"enum": list(KINDS), "description": "What the document describes."},
        },
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": name}}, "required": ["kind"]},
                "then": {"$ref": f"#/$defs/{name}"},
            }
            for name in KINDS
        ],
        "$defs": dict(sorted(definitions.items())),
    }


def render(schema: Mapping[str, Json]) -> str:
    """The file's text."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _definitions(kind: str) -> dict[str, Json]:
    """The kind itself and every part of it, by name."""
    definitions = _made_from(MODELS[kind], overriding=False)
    if kind == "ModelDeployment":
        overrides = _made_from(Override, overriding=True)
        overrides["Override"] = overrides.pop("Override" + _OVERRIDING)
        overrides["Override"]["type"] = "object"  # an environment where nothing differs is {}, never null
        environments = definitions["Spec"]["properties"]["environments"]
        environments["additionalProperties"] = {"$ref": "#/$defs/Override"}
        definitions |= overrides
    else:
        key = definitions[ApiKey.__name__]
        key |= {"minProperties": 1, "maxProperties": 1}
        key["properties"]["file"]["not"] = {"pattern": KEY_PATTERN}
    return definitions


def _made_from(model: type[BaseModel], *, overriding: bool) -> dict[str, Json]:
    schema = model.model_json_schema()
    found = {**schema.pop("$defs", {}), model.__name__: schema}
    suffix = _OVERRIDING if overriding else ""
    return {f"{name}{suffix}": _tidy(definition, overriding=overriding) for name, definition in found.items()}


def _tidy(schema: Json, *, overriding: bool) -> Json:
    """One schema of pydantic, as we want it read: no titles, null only where it deletes, names checked."""
    if isinstance(schema, list):
        return [_tidy(item, overriding=overriding) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {**schema, **next((choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}), {})}
    result = {key: item for key, item in schema.items() if key not in _REPLACED}
    if schema.get("default") is not None:
        result["default"] = schema["default"]
    if "$ref" in result:
        result["$ref"] += _OVERRIDING if overriding else ""
    for keyword in ("items", "additionalProperties"):
        if keyword in result:
            result[keyword] = _tidy(result[keyword], overriding=False)
    for pattern, values in schema.get("patternProperties", {}).items():
        result |= {"propertyNames": {"pattern": pattern}, "additionalProperties": _tidy(values, overriding=False)}
    if result.get("pattern") == DURATION_PATTERN:
        result["pattern"] = _SOMETHING + DURATION_PATTERN.removeprefix("^")
    if "properties" in schema:
        result["properties"] = {name: _tidy(part, overriding=overriding) for name, part in schema["properties"].items()}
    return _in_order(_or_null(result) if overriding else result)


def _in_order(schema: dict[str, Json]) -> dict[str, Json]:
    """What a thing is before what holds for it, and its parts last."""
    return dict(sorted(schema.items(), key=lambda item: _ORDER.get(item[0], len(_ORDER) // 2)))


_REPLACED = frozenset({"title", "default", "anyOf", "properties", "patternProperties"})
_ORDER = {
    word: place
    for place, word in enumerate(
        ("description", "type", "$ref", "enum", "const", "required", "additionalProperties", "items", "properties")
    )
}


def _or_null(schema: dict[str, Json]) -> dict[str, Json]:
    """The same, and null, which deletes. References need nothing: what they name allows null itself."""
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None], "type": ["string", "null"]}
    return {**schema, "type": [schema["type"], "null"]} if isinstance(schema.get("type"), str) else schema


def _places_of(definitions: Mapping[str, Json]) -> Iterator[tuple[str, dict[str, Json]]]:
    """Each definition that is the spec or lies in it, with its path inside: "" or "hyperParameters"."""
    for base in ("Spec", "Override", "Overridable"):
        if base not in definitions:
            continue
        yield "", definitions[base]
        for name, part in definitions[base]["properties"].items():
            if "$ref" in part:
                yield name, definitions[part["$ref"].rpartition("/")[2]]


def _widen(path: str, part: dict[str, Json], widening: Widening) -> None:
    fields = part["properties"]
    inside = f"{path}." if path else ""
    for field in sorted(widening.extra_fields):
        parent, _, name = field.rpartition(".")
        if parent == path:
            fields.setdefault(name, {"description": "Admitted by platform.extraFields in the project file."})
    for field, (low, high) in widening.ranges.items():
        name = field.removeprefix(inside)
        if field.startswith(inside) and "minimum" in fields.get(name, {}):
            known = fields[name]
            known |= {"minimum": min(low, known["minimum"]), "maximum": max(high, known["maximum"])}
    if "deviceType" in fields:
        known = fields["deviceType"]["enum"]
        end = len(known) - (known[-1] is None)
        known[end:end] = sorted(widening.device_types - set(known))
