"""pydantic's findings -> our diagnostics: the place, the cause, what is allowed, a did-you-mean.

pydantic's own words never reach a reader; the table below says what each kind of finding becomes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from reconciler.diagnostics import Diagnostic
from reconciler.load.hints import Known, Path, belongs, closest, known_at, range_of, same, values_of
from reconciler.load.yaml import Marks, path_text
from reconciler.model.manifest import DURATION_PATTERN, ID_PATTERN, NAME_PATTERN
from reconciler.model.project import EXTRA_FIELD_PATTERN, VARIABLE_PATTERN
from reconciler.model.snapshot import SourceFile
from reconciler.model.text import without_keys
from reconciler.model.values import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Widening:
    """What the project file accepts beyond the documented platform; paths as `hyperParameters.maxTokens`."""

    device_types: frozenset[str] = frozenset()
    ranges: Mapping[str, tuple[float, float]]
    extra_fields: frozenset[str] = frozenset()

    def accepts(self, error: Mapping[str, Any], path: Path, known: Known) -> bool:
        """Whether a finding is one that the project file lifts. `path` is inside the spec."""
        name, value = path_text(path), error["input"]
        if error["type"] == "extra_forbidden":
            return name in self.extra_fields
        if error["type"] == "literal_error" and name == "deviceType":
            return isinstance(value, str) and value in self.device_types
        if error["type"] in _RANGE and name in self.ranges:
            low, high = self.range_at(path, known) or (1.0, 0.0)
            return bool(low <= value <= high)
        return False

    def range_at(self, path: Path, known: Known) -> tuple[float, float] | None:
        """The documented range, stretched to what the project file names."""
        documented = range_of(known.field)
        wider = self.ranges.get(path_text(path), documented)
        return documented and wider and (min(documented[0], wider[0]), max(documented[1], wider[1]))

    def values_at(self, path: Path, known: Known) -> tuple[Any, ...]:
        """The documented values of a choice, and what the project file adds."""
        documented = values_of(known.field)
        more = self.device_types.difference(documented) if path == ("deviceType",) else ()
        return (*documented, *sorted(more))


API_VERSION = "reconciler/v1"
_ELSEWHERE = {
    "ModelDeployment": "Move it out of the manifest folders, or name the file under `ignore:` in the project file.",
}
NO_WIDENING = Widening(ranges={})

_SHOWN = 60  # characters of a value that a diagnostic quotes
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


class Placer:
    """Makes the diagnostics of one file; composes it again at the first mistake, and only then."""

    def __init__(self, file: SourceFile) -> None:
        self._file = file
        self._marks: Marks | None = None

    def say(self, document: int, path: Path, code: str, message: str, *, key: bool = False, **more: Any) -> Diagnostic:
        """One diagnostic at the value that `path` leads to from the document's root, or at its key."""
        if self._marks is None:
            self._marks = Marks(self._file.data, self._file.path)
        place = self._marks.position(document, path, key=key)
        return Diagnostic(code=code, message=message, position=place, path=path_text(path), **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What one model says of a part of a document. `base` leads to the part."""

    model: type[BaseModel]
    widening: Widening
    base: Path = ()

    def mistakes(self, value: Json, document: int, placer: Placer) -> Iterator[Diagnostic]:
        """Every finding that the project file does not lift, as a diagnostic."""
        for error in findings(self.model, value):
            path = _named_path(error["loc"])
            known = known_at(self.model, path)
            inside = _inside_spec((*self.base, *path))
            if inside is not None and self.widening.accepts(error, inside, known):
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
                suggestion=self._meant(error, path, known),
            )

    def _said(self, error: Any, inside: Path, known: Known) -> _Said:
        """The table's words, and all that is allowed where the models know it."""
        say = _TABLE.get(error["type"])
        code, message, allowed = say(error) if say else ("RC303", "not as it must be", None)
        if error["type"] in _RANGE and (bounds := self.widening.range_at(inside, known)):
            allowed = f"{_number(bounds[0])} to {_number(bounds[1])}"
        if error["type"] == "literal_error" and (values := self.widening.values_at(inside, known)):
            allowed = _one_of(values)
        return code, message, allowed

    def _meant(self, error: Any, path: Path, known: Known) -> str | None:
        """What was probably meant: the right name here, the right place for this name, or the right value."""
        if error["type"] == "extra_forbidden":
            name = str(path[-1])
            place = belongs(name, self.model)
            close = closest(name, known.beside)
            if place is not None and (close is None or not same(close, name)):
                place = place.replace("NAME", str(path[1])) if len(path) > _NAMED else place
                return f"It belongs under {path_text((*self.base, place))}."
            return f"Did you mean {close}?" if close else None
        if error["type"] == "literal_error" and isinstance(error["input"], str):
            close = closest(error["input"], values_of(known.field) or _expected(error))
            return f"Did you mean {close}?" if close else None
        return None


def not_ours(value: Json, kind: str, document: int, placer: Placer) -> Diagnostic | None:
    """What is said of a document of another apiVersion or kind: nothing else in it is judged."""
    for field, ours in (("apiVersion", API_VERSION), ("kind", kind)):
        written = value.get(field) if isinstance(value, dict) else None
        if written != ours:
            close = closest(written, (ours,)) if isinstance(written, str) else None
            return placer.say(
                document,
                (field,),
                "RC308",
                f"not a {API_VERSION} {kind}",
                value=None if written is None else shown(written),
                allowed=ours,
                suggestion=f"Did you mean {close}?" if close else _ELSEWHERE.get(kind),
            )
    return None


def with_nulls(
    found: Iterable[Diagnostic], nulls: Iterable[Path], document: int, placer: Placer
) -> Iterator[Diagnostic]:
    """The diagnostics, and one for each null that none of them is about."""
    said = set()
    for diagnostic in found:
        said.add(diagnostic.path)
        yield diagnostic
    for path in nulls:
        if path_text(path) not in said:
            yield placer.say(
                document,
                path,
                "RC307",
                "null deletes a value, and there is nothing to delete here",
                value="null",
                suggestion="Leave the field out; write {} for an environment where nothing differs.",
            )


def findings(model: type[BaseModel], value: Json) -> list[Any]:
    """What pydantic finds; empty when the value fits."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        return list(error.errors(include_url=False, include_context=True))
    return []


def nulls(value: Json, path: Path = ()) -> Iterator[Path]:
    """The fields that are null. RFC 7396 does not look into lists, and neither does this."""
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from nulls(item, (*path, key))


def shown(value: Json) -> str:
    """A value as short text; what looks like an API key is blotted out."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, str):
        text = without_keys(value[: 4 * _SHOWN])
        return repr(text) if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]!r}…"
    return "null" if value is None else str(value).lower()[:_SHOWN]


def _named_path(location: tuple[Any, ...]) -> Path:
    """The location that pydantic gives, without its mark for "the key, not the value"."""
    return tuple(step for step in location if step != _KEY_MARK)


_KEY_MARK = "[key]"


def _inside_spec(path: Path) -> Path | None:
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
