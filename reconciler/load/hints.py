"""What the models know about a place in a document: the fields there, their values and ranges, and what was probably meant.

Called by `shape` for what is wrong only; nothing here judges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from reconciler.load.words import squeezed
from reconciler.model.loaded import FieldPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A place: its field, if it is one, and the fields that may stand beside it."""

    field: FieldInfo | None
    beside: tuple[str, ...]


def known_at(model: type[BaseModel], path: FieldPath) -> Known:
    """What the models know of the place that `path` names; nothing where they know no more."""
    inside: type[BaseModel] | None = model
    field: FieldInfo | None = None
    beside: tuple[str, ...] = ()
    by_name = False  # whether the next step is a key of the user's choice, as an environment's name
    for step in path:
        if by_name or isinstance(step, int):
            by_name, field, beside = False, None, ()
            continue
        fields = _fields(inside) if inside else {}
        field, beside = fields.get(step), tuple(fields)
        inside, by_name = _part(field)
    return Known(field=field, beside=beside)


def values_of(field: FieldInfo | None) -> tuple[Any, ...]:
    """The values of a field that is a choice."""
    return tuple(_literals(field.annotation)) if field else ()


def range_of(field: FieldInfo | None) -> tuple[float, float] | None:
    """The lowest and the highest value of a number."""
    bounds = field.metadata if field else ()
    low = next((item.ge for item in bounds if hasattr(item, "ge")), None)
    high = next((item.le for item in bounds if hasattr(item, "le")), None)
    return None if low is None or high is None else (low, high)


def belongs(word: str, model: type[BaseModel]) -> str | None:
    """Where a field of this name stands in the model's document: `hyperParameters` for temperature in a spec."""
    return _places(model).get(squeezed(word))


@lru_cache
def _places(model: type[BaseModel]) -> dict[str, str]:
    """Every field that lies inside another one -> that one; of several the shallowest."""
    places: dict[str, str] = {}
    level = [("", model)]
    while level:
        below: list[tuple[str, type[BaseModel]]] = []
        for path, part in level:
            for name, field in _fields(part).items():
                if path:
                    places.setdefault(squeezed(name), path)
                inner, by_name = _part(field)
                if inner:
                    below.append((f"{path}.{name}".lstrip(".") + (".NAME" if by_name else ""), inner))
        level = below
    return places


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _part(field: FieldInfo | None) -> tuple[type[BaseModel] | None, bool]:
    """The model that a field holds, and whether it holds many by name."""
    for annotation in _flat(field.annotation) if field else ():
        if get_origin(annotation) is dict:
            inner = get_args(annotation)[1]
            return (inner if _is_model(inner) else None), True
        if _is_model(annotation):
            return annotation, False
    return None, False


def _flat(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; the annotation itself when it is none."""
    return (annotation,) if isinstance(annotation, type) or get_origin(annotation) is dict else get_args(annotation)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _literals(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
        return
    for inner in get_args(annotation):
        yield from _literals(inner)
