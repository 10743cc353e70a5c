"""The tables of docs/manifests.md, made from the schemas; the words around them are written by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from reconciler.load.schema import schema_of
from reconciler.resolve.checks import REQUIRED, REQUIRED_HYPER

PAGE = Path(__file__).parent.parent / "docs" / "manifests.md"

# name of a table -> the definition, and the path of its fields
TABLES: Mapping[str, tuple[str, str]] = {
    "Project": ("Project", ""),
    "EnvironmentSpec": ("EnvironmentSpec", "environments.NAME."),
    "PlatformSpec": ("PlatformSpec", "platform."),
    "NotificationSpec": ("NotificationSpec", "notifications[]."),
    "ModelDeployment": ("ModelDeployment", ""),
    "ManifestMetadata": ("ManifestMetadata", "metadata."),
    "Spec": ("Spec", "spec."),
    "HyperParameters": ("HyperParameters", "spec.hyperParameters."),
    "ScalingParameters": ("ScalingParameters", "spec.scalingParameters."),
    "OptimizationInfo": ("OptimizationInfo", "spec.optimizationInfo."),
    "RolloutSpec": ("RolloutSpec", "spec.rollout."),
}
# A field's own parts stand in the same table, where there are few.
_INLINE = frozenset({"ApiKey", "RateLimitSpec"})
_NEEDED = frozenset(
    {*(f"spec.{name}" for name in REQUIRED), *(f"spec.hyperParameters.{name}" for name in REQUIRED_HYPER)}
)
_BLOCK = re.compile(r"(<!-- table (\w+), made by `make schemas` -->\n).*?(<!-- end -->)", re.DOTALL)
_PATTERNS = {
    "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$": "letters, digits, `.`, `_`, `-`; 1 to 128",
    "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$": "a DNS label",
    "^(?=.*[1-9])([0-9]+h)?([0-9]+m)?([0-9]+s)?$": "as `45m`, `1h30m`",
    "^[A-Za-z_][A-Za-z0-9_]*$": "a variable's name",
}


def manifests_page() -> str:
    """docs/manifests.md with its tables made anew."""
    return _BLOCK.sub(lambda block: block[1] + _table(*TABLES[block[2]]) + block[3], PAGE.read_text(encoding="utf-8"))


def _table(definition: str, prefix: str) -> str:
    rows = ["| field | | type | allowed | what it is |", "| --- | --- | --- | --- | --- |"]
    rows += _rows(_definitions()[definition], prefix)
    return "\n".join(rows) + "\n"


@cache
def _definitions() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in ("Project", "ModelDeployment"):
        schema = schema_of(kind)
        found |= {kind: schema, **schema["$defs"]}
    return found


def _rows(part: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, field in part["properties"].items():
        reference = field.get("$ref", "").rpartition("/")[2]
        whole = {**_definitions().get(reference, {}), **field}
        path = prefix + name
        needed = "required" if name in part.get("required", ()) or path in _NEEDED else ""
        cells = (f"`{path}`", needed, _type(whole), _allowed(whole), str(whole.get("description", "")))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        if reference in _INLINE:
            yield from _rows(_definitions()[reference], f"{path}.")


def _type(field: Mapping[str, Any]) -> str:
    names = {"object": "mapping", "array": "list", "string": "text", "number": "number", "boolean": "true or false"}
    kind = str(_definitions()[field["$ref"].rpartition("/")[2]]["type"] if "$ref" in field else field["type"])
    inner = f" of {_type(field['items'])}" if kind == "array" else ""
    return names.get(kind, kind) + inner


def _allowed(field: Mapping[str, Any]) -> str:
    parts = []
    if "enum" in field:
        parts.append(", ".join(f"`{value}`" if value else '`""`' for value in field["enum"]))
    if "const" in field:
        parts.append(f"`{field['const']}`")
    if "minimum" in field:
        parts.append(f"{field['minimum']} to {field['maximum']}")
    if "pattern" in field:
        parts.append(_PATTERNS[field["pattern"]])
    if "maxLength" in field and "minLength" in field:
        parts.append(f"{field['minLength']} to {field['maxLength']} characters")
    if "default" in field:
        parts.append(f"default {_spelled(field['default'])}")
    return "; ".join(parts)


def _spelled(value: Any) -> str:
    return f"`{str(value).lower() if isinstance(value, bool) else value}`".replace("'", "")
