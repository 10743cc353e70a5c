"""pydantic's findings -> our diagnostics: the place, the cause, what is allowed, a did-you-mean.

pydantic's own words never reach a reader; the table below says what each kind of finding becomes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from reconciler.diagnostics import Diagnostic
from reconciler.load.yaml import Marks, path_text
from reconciler.model.manifest import DURATION_PATTERN, ID_PATTERN, NAME_PATTERN
from reconciler.model.values import Json

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Widening:
    """What the project file accepts beyond the documented platform; paths as `hyperParameters.maxTokens`."""

    device_types: frozenset[str] = frozenset()
    ranges: Mapping[str, tuple[float, float]]
    extra_fields: frozenset[str] = frozenset()

    def accepts(self, error: Mapping[str, Any], path: Path) -> bool:
        """Whether a finding is one that the project file lifts. `path` is inside the spec."""
        name, value = path_text(path), error["input"]
        if error["type"] == "extra_forbidden":
            return name in self.extra_fields
        if error["type"] == "literal_error" and name == "deviceType":
            return value in self.device_types
        low, high = self.ranges.get(name, (1.0, 0.0))
        return error["type"] in _RANGE and low <= value <= high


_SHOWN = 60  # characters of a value that a diagnostic quotes
NO_WIDENING = Widening(ranges={})
_RANGE = frozenset({"greater_than_equal", "less_than_equal"})
_FORMS = {
    ID_PATTERN: "letters, digits, '.', '_' and '-', at most 128, beginning with a letter or digit",
    NAME_PATTERN: "a DNS label: lower-case letters, digits and '-', at most 63",
    DURATION_PATTERN: "a duration such as 45m or 1h30m",
}

# finding -> (code, message, what is allowed)
_Said = tuple[str, str, str | None]
_TABLE: Mapping[str, Callable[[Any], _Said]] = {
    "extra_forbidden": lambda _: ("RC301", "unknown field", None),
    "missing": lambda _: ("RC302", "this field is required", None),
    "int_type": lambda e: ("RC303", _not_an_integer(e["input"]), "an integer"),
    "int_from_float": lambda e: ("RC303", _not_an_integer(e["input"]), "an integer"),
    "float_type": lambda _: ("RC303", "not a number", "a number"),
    "bool_type": lambda _: ("RC303", "not a boolean", "true or false (YAML 1.2: yes, no, on and off are text)"),
    "string_type": lambda _: ("RC303", "not text", "text; quote it if it looks like a number"),
    "list_type": lambda _: ("RC303", "not a list", "a list"),
    "dict_type": lambda _: ("RC303", "not a mapping", "a mapping"),
    "model_type": lambda _: ("RC303", "not a mapping", "a mapping"),
    "model_attributes_type": lambda _: ("RC303", "not a mapping", "a mapping"),
    "greater_than_equal": lambda e: ("RC304", "too small", f"{_number(e['ctx']['ge'])} or more"),
    "less_than_equal": lambda e: ("RC304", "too large", f"{_number(e['ctx']['le'])} or less"),
    "literal_error": lambda e: ("RC305", "not one of the values allowed here", e["ctx"]["expected"]),
    "string_pattern_mismatch": lambda e: (
        "RC306",
        "badly spelled",
        _FORMS.get(e["ctx"]["pattern"], e["ctx"]["pattern"]),
    ),
    "value_error": lambda _: ("RC306", "not a duration", _FORMS[DURATION_PATTERN]),
    "string_too_short": lambda _: ("RC306", "empty", "at least one character"),
    "string_too_long": lambda e: ("RC306", "too long", f"at most {e['ctx']['max_length']} characters"),
    "too_short": lambda e: ("RC302", "too few items", f"at least {e['ctx']['min_length']}"),
    "too_long": lambda e: ("RC303", "too many items", f"at most {e['ctx']['max_length']}"),
}


def findings(model: type[BaseModel], value: Json) -> list[Any]:
    """What pydantic finds; empty when the value fits."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        return list(error.errors(include_url=False, include_context=True))
    return []


def nulls(value: Json, path: Path = ()) -> Iterator[Path]:
    """Where nulls stand."""
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from nulls(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from nulls(item, (*path, index))


def without_nulls(value: Json) -> Json:
    """An override as if nothing were deleted, to judge the rest of it."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return value


def to_diagnostic(error: Any, path: Path, document: int, marks: Marks, fields: tuple[str, ...] = ()) -> Diagnostic:
    """One finding, placed. `path` leads from the document's root; `fields` are the names allowed at that level."""
    say = _TABLE.get(error["type"])
    code, message, allowed = say(error) if say else ("RC303", "not as it must be", None)
    close = get_close_matches(str(path[-1]), fields, n=1) if error["type"] == "extra_forbidden" and path else []
    if error["type"] == "literal_error" and isinstance(error["input"], str):
        close = get_close_matches(
            error["input"], error["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", "), n=1
        )
    return Diagnostic(
        code=code,
        message=message,
        position=marks.position(document, path, key=error["type"] == "extra_forbidden"),
        path=path_text(path),
        value=None if error["type"] == "missing" else shown(error["input"]),
        allowed=allowed,
        suggestion=f"Did you mean {close[0]}?" if close else None,
    )


def fields_at(model: type[BaseModel], path: Path) -> tuple[str, ...]:
    """The field names that are known where `path` ends, for the did-you-mean."""
    for step in path[:-1]:
        found = next((f for n, f in model.model_fields.items() if (f.alias or n) == step), None)
        inner = (
            next((a for a in _arguments(found.annotation) if isinstance(a, type) and issubclass(a, BaseModel)), None)
            if found
            else None
        )
        if inner is None:
            return ()
        model = inner
    return tuple(field.alias or name for name, field in model.model_fields.items())


def shown(value: Json) -> str:
    """A value as short text."""
    text = repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _arguments(annotation: Any) -> tuple[Any, ...]:
    return getattr(annotation, "__args__", None) or (annotation,)


def _not_an_integer(value: Json) -> str:
    if isinstance(value, float) and value.is_integer():
        return f"a float in YAML 1.2; write {int(value)}"
    return "not an integer"


def _number(value: float) -> str:
    return f"{value:g}"
