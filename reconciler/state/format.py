"""The state as bytes: the public format of snapshots and log records (docs/state.md, schemas/state.json).

Every store writes and reads these; nothing else does. The shapes are the dataclasses of `model.applied` and `model.records`
in camelCase: keys sorted, nothing left out, labels as an object. Equal values have equal bytes. Pure.

There is one reader per version. A change of the shapes gets a new tag and keeps the old reader, so that an older program
refuses what it would misread. Building the readers takes milliseconds, so each is built when it is first needed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal

from reconciler.errors import StateCorrupt, StateTooNew
from reconciler.model.applied import Applied
from reconciler.model.records import Record
from reconciler.model.values import Json

if TYPE_CHECKING:
    from pydantic_core import SchemaSerializer, SchemaValidator, ValidationError

FORMAT: Final = "reconciler/state/v1"
LOG_FORMAT: Final = "reconciler/log/v1"

_BLANK = "sha256:" + "0" * 64
# The first lines of a snapshot, exactly as written.
_HEAD = re.compile(rb'\A\{\n "checksum": "(sha256:[0-9a-f]{64})",\n "format": "reconciler/state/v1",\n')
_TAG = re.compile(r"\Areconciler/(state|log)/v(\d{1,9})\Z")


def _public(name: str) -> str:
    """`model_id` -> `modelId`."""
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


# For pydantic: the dataclasses inside inherit it.
_CONFIG = {"strict": True, "extra": "forbid", "alias_generator": _public}


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotDocument:
    """The file `state.json`. `checksum` is over the file's bytes, itself written as sixty-four zeros."""

    __pydantic_config__ = _CONFIG

    checksum: str
    format: Literal["reconciler/state/v1"]
    state: Applied


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedRecord:
    """A record with its place in the log; the first one has 1."""

    __pydantic_config__ = _CONFIG

    record: Record
    seq: int


def encode_snapshot(snapshot: Applied) -> bytes:
    """The snapshot as a file: indented by one, so that a change shows as the lines it is."""
    state = replace(snapshot, entries=dict(sorted(snapshot.entries.items())))
    document = SnapshotDocument(checksum=_BLANK, format=FORMAT, state=state)
    data = _dump(_shape(SnapshotDocument), document, indent=1) + b"\n"
    return data.replace(_BLANK.encode(), _checksum(data), 1)


def decode_snapshot(data: bytes, *, where: str) -> Applied:
    """The snapshot in a file. Raises StateCorrupt, with the place, and StateTooNew."""
    head = _HEAD.match(data)
    if head is None:
        raise _not_a_snapshot(data, where)
    start, end = head.span(1)
    if _checksum(data[:start] + _BLANK.encode() + data[end:]) != head[1]:
        raise StateCorrupt(f"{where} is damaged: its checksum does not match what it holds")
    document: SnapshotDocument = _load(_shape(SnapshotDocument), data, where)
    misplaced = next((key for key, entry in document.state.entries.items() if entry.model_id != key), None)
    if misplaced is not None:
        raise StateCorrupt(f"{where} is damaged: state.entries.{misplaced} is the entry of another model id")
    return document.state


def encode_record(seq: int, record: Record) -> bytes:
    """One record as one line of JSON, without the line's end."""
    return _dump(_shape(NumberedRecord), NumberedRecord(record=record, seq=seq))


def decode_record(data: bytes, *, where: str) -> Record:
    """The record in a line. Raises StateCorrupt, with the place."""
    numbered: NumberedRecord = _load(_shape(NumberedRecord), data, where)
    return numbered.record


def encode_batch(seq: int, records: Sequence[Record]) -> bytes:
    """Records that belong together, the first with number `seq`, as one line of JSON."""
    return b"[%s]" % b",".join(encode_record(seq + n, record) for n, record in enumerate(records))


def decode_batch(data: bytes, *, where: str) -> tuple[NumberedRecord, ...]:
    """The records of a line, numbered without a gap. Raises StateCorrupt, with the place."""
    batch: tuple[NumberedRecord, ...] = _load(_shape(tuple[NumberedRecord, ...]), data, where)
    if any(one.seq != batch[0].seq + n for n, one in enumerate(batch)):
        raise StateCorrupt(f"{where} is damaged: its records are not numbered one after the other")
    return batch


def check_format(tag: Json, expected: str, *, where: str) -> None:
    """Whether this program reads what carries the tag. Raises StateTooNew, StateCorrupt."""
    if tag == expected:
        return
    known, found = _TAG.match(expected), _TAG.match(tag) if isinstance(tag, str) else None
    if known and found and found[1] == known[1] and int(found[2]) > int(known[2]):
        raise StateTooNew(f"{where} is written in {tag}; this program reads up to {expected}")
    raise StateCorrupt(f"{where} is damaged: its format is {json.dumps(tag)[:120]}, not {expected}")


def schema() -> dict[str, Json]:
    """The JSON Schema of `state.json`; its definition NumberedRecord is that of a record in the log."""
    from pydantic import TypeAdapter

    documents = (("snapshot", SnapshotDocument), ("record", NumberedRecord))
    shared = TypeAdapter.json_schemas([(key, "serialization", TypeAdapter(cls)) for key, cls in documents])[1]
    definitions = shared["$defs"]
    definitions["Metadata"]["properties"]["labels"] = {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "description": "The manifest's labels.",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **definitions.pop("SnapshotDocument"),
        "$defs": definitions,
        "title": "The state of one environment of reconciler",
    }


def _checksum(data: bytes) -> bytes:
    return b"sha256:" + hashlib.sha256(data).hexdigest().encode()


def _not_a_snapshot(data: bytes, where: str) -> StateCorrupt | StateTooNew:
    """Why a file does not begin as a snapshot of this version does."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        empty = "it is empty" if not data.strip(b"\0 \n") else "it is not the JSON that a state file is"
        return StateCorrupt(f"{where} is damaged: {empty}")
    try:
        check_format(value.get("format") if isinstance(value, dict) else None, FORMAT, where=where)
    except (StateCorrupt, StateTooNew) as error:
        return error
    return StateCorrupt(f"{where} is damaged: it was edited or reformatted, so its checksum says nothing")


# Shapes: how a dataclass is spelled. pydantic makes the schema, pydantic-core works by it.


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    read: SchemaValidator
    write: SchemaSerializer


def _dump(shape: _Shape, value: Any, *, indent: int | None = None) -> bytes:
    from pydantic_core import PydanticSerializationError

    try:
        return shape.write.to_json(value, by_alias=True, indent=indent)
    except PydanticSerializationError:
        # Half a surrogate pair, which a platform can say in a JSON escape. What was read must reach the log all the same.
        return shape.write.to_json(_without_surrogates(value), by_alias=True, indent=indent)


def _load(shape: _Shape, data: bytes, where: str) -> Any:
    from pydantic_core import ValidationError

    try:
        return shape.read.validate_json(data)
    except ValidationError as error:
        raise StateCorrupt(f"{where} is damaged: {_first_place(error)}") from None


def _first_place(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value if type(value) is not str else value.encode("utf-8", "replace").decode()
    if isinstance(value, tuple):
        return tuple(map(_without_surrogates, value))
    if isinstance(value, Mapping):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _without_surrogates(getattr(value, f.name)) for f in fields(value)})
    return value


@cache
def _shape(type_: Any) -> _Shape:
    """The schema that pydantic has of the dataclasses, made stricter than pydantic lets one ask for."""
    from pydantic import TypeAdapter
    from pydantic_core import SchemaSerializer, SchemaValidator

    core: Any = TypeAdapter(type_).core_schema
    _tighten(core)
    return _Shape(read=SchemaValidator(core), write=SchemaSerializer(core))


def _tighten(part: Any) -> None:
    """Goes through a core schema: keys sorted, no defaults, times with a zone, unions told apart by `type` or `kind`."""
    if isinstance(part, list | tuple):
        for item in part:
            _tighten(item)
    if not isinstance(part, dict):
        return
    match part.get("type"):
        case "dataclass":
            _sort_fields(part)
        case "dataclass-field":
            _require(part)
        case "datetime":
            part["tz_constraint"] = "aware"
        case "union":
            _tell_apart(part)
    for item in part.values():
        _tighten(item)


def _sort_fields(part: dict[str, Any]) -> None:
    arguments = part["schema"]
    while arguments["type"] != "dataclass-args":
        arguments = arguments["schema"]
    arguments["fields"].sort(key=lambda field: field["serialization_alias"])
    part["fields"] = [field["name"] for field in arguments["fields"]]


def _require(field: dict[str, Any]) -> None:
    """A value that lacks is a damage, not a default."""
    if field["schema"]["type"] == "default":
        field["schema"] = field["schema"]["schema"]
    if field["name"] == "labels":
        field["schema"] = _as_object(field["schema"])


def _as_object(pairs: Any) -> Any:
    from pydantic_core import core_schema

    return core_schema.no_info_before_validator_function(
        lambda value: tuple(sorted(value.items())) if isinstance(value, dict) else value,
        pairs,
        serialization=core_schema.plain_serializer_function_ser_schema(lambda labels: dict(sorted(labels))),
    )


def _tell_apart(union: dict[str, Any]) -> None:
    """A union of dataclasses that say by a literal which one they are."""
    tagged = [(choice["cls"], choice) for choice in union["choices"] if choice["type"] == "dataclass"]
    if len(tagged) != len(union["choices"]):
        return
    key = "type" if "type" in tagged[0][0].__dataclass_fields__ else "kind"
    union.update(
        type="tagged-union",
        discriminator=key,
        choices={cls.__dataclass_fields__[key].default: choice for cls, choice in tagged},
    )
