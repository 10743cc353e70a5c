"""pydantic's findings -> our diagnostics: the place, the cause, what is allowed, a did-you-mean.

pydantic's own words never reach a reader; the table below says what each kind of finding becomes. Imported only when
something does not fit (`judge`), because pydantic and the models are slow to import.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from reconciler.diagnostics import Diagnostic
from reconciler.load.hints import Known, belongs, known_at, range_of, values_of
from reconciler.load.placer import Placer, shown
from reconciler.load.widening import Widening
from reconciler.load.words import closest, same
from reconciler.load.yaml import MAX_MISTAKES, path_text
from reconciler.model.loaded import FieldPath
from reconciler.model.manifest import ModelDeployment, Override
from reconciler.model.project import Project
from reconciler.model.spelling import (
    DURATION_PATTERN,
    EXTRA_FIELD_PATTERN,
    ID_PATTERN,
    NAME_PATTERN,
    VARIABLE_PATTERN,
)
from reconciler.model.values import Json

MODELS: Mapping[str, type[BaseModel]] = {"ModelDeployment": ModelDeployment, "Override": Override, "Project": Project}

_NAMED = 2  # steps to an environment's own fields
_LONG = 1e15  # floats beyond are not spelled out as integers
_RANGE = frozenset({"greater_than_equal", "less_than_equal"})
_FORMS = {
    ID_PATTERN: "letters, digits, '.', '_' and '-', at most 128, beginning with a letter or digit",
    NAME_PATTERN: "a DNS label: lower-case letters, digits and '-', at most 63",
    DURATION_PATTERN: "a duration such as 45m or 1h30m",
    VARIABLE_PATTERN: "the name of an environment variable",
    EXTRA_FIELD_PATTERN: "a field of the body, as hyperParameters.minP or newField",
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
    "literal_error": lambda e: ("RC305", "not one of the values allowed here", ", ".join(_expected(e))),
    "string_pattern_mismatch": lambda e: ("RC306", "badly spelled", _FORMS.get(e["ctx"]["pattern"])),
    "value_error": lambda _: ("RC306", "not a duration", _FORMS[DURATION_PATTERN]),
    "string_too_short": lambda _: ("RC306", "empty", "at least one character"),
    "string_too_long": lambda e: ("RC306", "too long", f"at most {e['ctx']['max_length']} characters"),
    "too_short": lambda e: ("RC302", "too few items", f"at least {e['ctx']['min_length']}"),
    "too_long": lambda e: ("RC303", "too many items", f"at most {e['ctx']['max_length']}"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What one model says of a part of a document. `base` leads to the part."""

    model: type[BaseModel]
    widening: Widening
    base: FieldPath = ()

    def mistakes(self, value: Json, document: int, placer: Placer) -> Iterator[Diagnostic]:
        """Every finding that the project file does not lift, as a diagnostic."""
        for error in findings(self.model, value):
            path = _named_path(error["loc"])
            known = known_at(self.model, path)
            inside = _inside_spec((*self.base, *path))
            if inside is not None and _accepts(self.widening, error, inside, known):
                continue
            code, message, allowed = self._said(error, inside or (), known)
            at_key = error["type"] == "extra_forbidden" or _KEY_MARK in error["loc"]
            yield placer.say(
                document,
                (*self.base, *path),
                code,
                message,
                key=at_key,
                value=None if at_key or error["type"] == "missing" or "apiKey" in path else shown(error["input"]),
                allowed=allowed,
                suggestion=self._meant(error, path, known) if placer.said < MAX_MISTAKES else None,
            )

    def _said(self, error: Any, inside: FieldPath, known: Known) -> _Said:
        """The table's words, and all that is allowed where the models know it."""
        say = _TABLE.get(error["type"])
        code, message, allowed = say(error) if say else ("RC303", "not as it must be", None)
        if error["type"] in _RANGE and (bounds := _range_at(self.widening, inside, known)):
            allowed = f"{_number(bounds[0])} to {_number(bounds[1])}"
        if error["type"] == "literal_error" and (values := _values_at(self.widening, inside, known)):
            allowed = _one_of(values)
        return code, message, allowed

    def _meant(self, error: Any, path: FieldPath, known: Known) -> str | None:
        """What was probably meant: the right name here, the right place for this name, or the right value."""
        if error["type"] == "extra_forbidden":
            name = str(path[-1])
            place = belongs(name, self.model)
            close = closest(name, known.beside)
            if place is not None and (close is None or not same(close, name)):
                place = place.replace("NAME", str(path[1])) if len(path) > _NAMED else place
                under = f"belongs under {path_text((*self.base, place))}."
                return f"Did you mean {close}? {name} itself {under}" if close else f"It {under}"
            return f"Did you mean {close}?" if close else self._widened(path)
        if error["type"] == "literal_error" and isinstance(error["input"], str):
            close = closest(error["input"], values_of(known.field) or _expected(error))
            return f"Did you mean {close}?" if close else None
        return None

    def _widened(self, path: FieldPath) -> str | None:
        """How a field that only the platform knows is let in; `rollout` is ours, and so is what stands around the spec."""
        inside = _inside_spec((*self.base, *path))
        if not inside or inside[0] in _OURS:
            return None
        return f"Where the platform takes it, let it in: platform: {{extraFields: [{path_text(inside)}]}} in the project file."


_OURS = ("rollout", "environments")


def _accepts(widening: Widening, error: Mapping[str, Any], path: FieldPath, known: Known) -> bool:
    """Whether a finding is one that the project file lifts. `path` is inside the spec."""
    name, value = path_text(path), error["input"]
    if error["type"] == "extra_forbidden":
        return name in widening.extra_fields
    if error["type"] == "literal_error" and name == "deviceType":
        return isinstance(value, str) and value in widening.device_types
    if error["type"] in _RANGE and name in widening.ranges:
        low, high = _range_at(widening, path, known) or (1.0, 0.0)
        return bool(low <= value <= high)
    return False


def _range_at(widening: Widening, path: FieldPath, known: Known) -> tuple[float, float] | None:
    """The documented range, stretched to what the project file names."""
    documented = range_of(known.field)
    wider = widening.ranges.get(path_text(path), documented)
    return documented and wider and (min(documented[0], wider[0]), max(documented[1], wider[1]))


def _values_at(widening: Widening, path: FieldPath, known: Known) -> tuple[Any, ...]:
    """The documented values of a choice, and what the project file adds."""
    documented = values_of(known.field)
    more = widening.device_types.difference(documented) if path == ("deviceType",) else ()
    return (*documented, *sorted(more))


def findings(model: type[BaseModel], value: Json) -> list[Any]:
    """What pydantic finds; empty when the value fits."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        return list(error.errors(include_url=False, include_context=True))
    return []


def _named_path(location: tuple[Any, ...]) -> FieldPath:
    """The location that pydantic gives, without its mark for "the key, not the value"."""
    return tuple(step for step in location if step != _KEY_MARK)


_KEY_MARK = "[key]"


def _inside_spec(path: FieldPath) -> FieldPath | None:
    """The rest of a path inside `spec`, an override or an environment's defaults: what `platform` widens."""
    match path:
        case ("spec", "environments", _, *rest) | ("spec", *rest) | ("environments", _, "defaults", *rest):
            return tuple(rest)
    return None


def _expected(error: Any) -> list[str]:
    """The values that pydantic names, for want of a field that knows them: `'a', 'b' or 'c'`."""
    return str(error["ctx"]["expected"]).replace("'", "").replace(" or ", ", ").split(", ")


def _one_of(values: tuple[Any, ...]) -> str:
    return ", ".join(str(value) or '""' for value in values)


def _not_an_integer(value: Json) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < _LONG:
        return f"a float in YAML 1.2; write {int(value)}"
    return "not an integer"


def _number(value: float) -> str:
    return f"{value:.15g}"
