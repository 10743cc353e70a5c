"""How a dataclass is spelled in JSON, and how strictly it is read. For `format`; knows nothing of states.

Keys are the fields' names in camelCase, sorted; all of them are written and all must be there; nothing else may be; times have
a zone; unions of dataclasses are told apart by their `type` or `kind`. Reading and writing are pydantic's core, compiled from
the annotations. pydantic itself, which takes longer to import than most states take to read, is only needed for the schema.

What is wrong is refused at the first mistake. pydantic would keep a copy of the surroundings of each: half a megabyte of
empty objects behind an object that lacks its fields took 370 MiB. So the places are looked for in a second reading, of what is
small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from pydantic_core import CoreSchema, SchemaSerializer, SchemaValidator, ValidationError

EXPLAINED = 32 * 1024  # bytes; of what is larger no place is said
_PLAIN = {str: "str", int: "int", float: "float", bool: "bool"}


class _Refused(Exception):
    """A field that is missing, or holds a mistake. No ValueError, or pydantic would collect it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One type, compiled: `read` stops at the first mistake, `explain` says the places of all."""

    read: SchemaValidator
    explain: SchemaValidator
    write: SchemaSerializer

    def dump(self, value: Any, *, indent: int | None = None) -> bytes:
        """The value as JSON in UTF-8."""
        from pydantic_core import PydanticSerializationError

        try:
            return self.write.to_json(value, by_alias=True, indent=indent)
        except PydanticSerializationError:
            # Half a surrogate pair, which a platform can say in a JSON escape. What was read must reach the log all the same.
            return self.write.to_json(_without_surrogates(value), by_alias=True, indent=indent)

    def load(self, data: bytes) -> Any:
        """The value in the JSON. Raises ValueError that names the place of the first mistake, where the whole is small, and not
        what is there.
        """
        from pydantic_core import ValidationError

        try:
            return self.read.validate_json(data)
        except ValidationError as error:  # no JSON
            raise ValueError(_first_of(error)) from None
        except _Refused:
            if len(data) > EXPLAINED:
                raise ValueError("a field is missing, unknown or not what it should be") from None
        try:
            return self.explain.validate_json(data)
        except ValidationError as error:
            raise ValueError(_first_of(error)) from None


def _first_of(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]


@cache
def shape_of(type_: Any) -> Shape:
    """Takes a millisecond or two, once."""
    from pydantic_core import SchemaSerializer, SchemaValidator

    schema = _schema_of(type_)
    read = SchemaValidator(_refusing(_hasty(schema)))
    return Shape(read=read, explain=SchemaValidator(schema), write=SchemaSerializer(schema))


def _hasty(part: Any) -> Any:
    """A schema whose fields refuse as soon as one of them is missing or holds a mistake."""
    if isinstance(part, list):
        return list(map(_hasty, part))
    if not isinstance(part, dict):
        return part
    part = {key: _hasty(value) for key, value in part.items()}
    if part.get("type") == "dataclass-field":
        part["schema"] = _refusing(part["schema"])
    return part


def _refusing(schema: CoreSchema) -> CoreSchema:
    from pydantic_core import core_schema

    return core_schema.with_default_schema(schema, default_factory=_refuse, on_error="default")


def _refuse() -> NoReturn:
    raise _Refused


def public(name: str) -> str:
    """`model_id` -> `modelId`."""
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def _schema_of(type_: Any) -> CoreSchema:
    from pydantic_core import core_schema

    if type_ in _PLAIN:
        return {"type": _PLAIN[type_], "strict": True}
    if type_ is datetime:
        return core_schema.datetime_schema(strict=True, tz_constraint="aware")
    if is_dataclass(type_):
        return _object(type_)
    if isinstance(type_, type) and issubclass(type_, Enum):
        return core_schema.enum_schema(type_, list(type_), sub_type="str", strict=True)
    arguments = get_args(type_)
    origin = get_origin(type_)
    if origin is Literal:
        return core_schema.literal_schema(list(arguments))
    if origin in {Union, UnionType}:
        return _union(arguments)
    if origin is tuple:
        return _array(arguments)
    if origin is Mapping:
        return core_schema.dict_schema(*map(_schema_of, arguments), fail_fast=True, strict=True)
    raise TypeError(f"{type_} has no place in the format")


def _object(cls: Any) -> CoreSchema:
    from pydantic_core import core_schema

    hints = get_type_hints(cls)
    names = sorted((field.name for field in fields(cls)), key=public)
    arguments = core_schema.dataclass_args_schema(
        cls.__name__,
        [
            core_schema.dataclass_field(
                name,
                _labels(hints[name]) if name == "labels" else _schema_of(hints[name]),
                kw_only=True,
                validation_alias=public(name),
                serialization_alias=public(name),
            )
            for name in names
        ],
        extra_behavior="forbid",
    )
    return core_schema.dataclass_schema(cls, arguments, names, slots=True, frozen=True, strict=True)


def _labels(pairs: Any) -> CoreSchema:
    """Pairs of texts, which everybody expects to be an object."""
    from pydantic_core import core_schema

    return core_schema.no_info_before_validator_function(
        lambda value: tuple(sorted(value.items())) if isinstance(value, dict) else value,
        _schema_of(pairs),
        serialization=core_schema.plain_serializer_function_ser_schema(lambda labels: dict(sorted(labels))),
    )


def _union(members: tuple[Any, ...]) -> CoreSchema:
    from pydantic_core import core_schema

    something = [member for member in members if member is not NoneType]
    if len(something) == 1:
        schema = _schema_of(something[0])
    else:
        key = "type" if "type" in something[0].__dataclass_fields__ else "kind"
        choices = {member.__dataclass_fields__[key].default: _schema_of(member) for member in something}
        schema = core_schema.tagged_union_schema(choices, key, strict=True)
    return core_schema.nullable_schema(schema) if NoneType in members else schema


def _array(members: tuple[Any, ...]) -> CoreSchema:
    from pydantic_core import core_schema

    if members[-1] is Ellipsis:
        # Only the first mistake is said: a file full of them would otherwise take its size a thousand times in memory.
        return core_schema.tuple_schema([_schema_of(members[0])], variadic_item_index=0, fail_fast=True, strict=True)
    return core_schema.tuple_schema(list(map(_schema_of, members)), strict=True)


def _without_surrogates(value: Any) -> Any:
    if type(value) is str:
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, tuple):
        return tuple(map(_without_surrogates, value))
    if isinstance(value, Mapping):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _without_surrogates(getattr(value, f.name)) for f in fields(value)})
    return value
