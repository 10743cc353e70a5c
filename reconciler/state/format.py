"""The state as bytes: the public format of snapshots and log records (docs/state.md, schemas/state.json).

Every store writes and reads these; nothing else does. The shapes are the dataclasses of `model.applied` and `model.records`
as `shapes` spells them: camelCase, sorted, nothing left out. Equal values have equal bytes. Pure.

There is one reader per version. A change of the shapes gets a new tag and keeps the old reader, so that an older program
refuses what it would misread.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from reconciler.errors import StateCorrupt, StateTooNew
from reconciler.model.applied import Applied
from reconciler.model.records import Record
from reconciler.model.values import Json
from reconciler.state.shapes import public, shape_of

FORMAT: Final = "reconciler/state/v2"
LOG_FORMAT: Final = "reconciler/log/v2"

_BLANK = "sha256:" + "0" * 64
# The first lines of a snapshot, exactly as written.
_HEAD = re.compile(
    rb'\A\{\n "checksum": "(sha256:[0-9a-f]{64})",\n "format": "reconciler/state/v(?P<version>[1-9][0-9]?)",\n'
)
_TAG = re.compile(r"\Areconciler/(state|log)/v([1-9]\d{0,8})\Z")


# For pydantic, which makes the schema; the dataclasses inside inherit it.
_CONFIG = {"strict": True, "extra": "forbid", "alias_generator": public}


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotDocument:
    """The file `state.json`. `checksum` is over the file's bytes, itself written as sixty-four zeros."""

    __pydantic_config__ = _CONFIG

    checksum: str
    format: Literal["reconciler/state/v2"]
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
    data = shape_of(SnapshotDocument).dump(document, indent=1) + b"\n"
    return data.replace(_BLANK.encode(), _checksum(data), 1)


def decode_snapshot(data: bytes, *, where: str) -> Applied:
    """The snapshot in a file. Raises StateCorrupt, with the place, and StateTooNew."""
    head = _HEAD.match(data)
    if head is None:
        raise _not_a_snapshot(data, where)
    version = int(head["version"])
    check_format(f"reconciler/state/v{version}", FORMAT, where=where)
    start, end = head.span(1)
    if _checksum(data[:start] + _BLANK.encode() + data[end:]) != head[1]:
        raise StateCorrupt(f"{where} is damaged: its checksum does not match what it holds")
    try:
        for step in _STEPS[version - 1 :]:
            data = step(data)
    except (ValueError, RecursionError):
        raise StateCorrupt(f"{where} is damaged: it is not the JSON that a state file is") from None
    document: SnapshotDocument = _load(SnapshotDocument, data, where)
    misplaced = next((key for key, entry in document.state.entries.items() if entry.model_id != key), None)
    if misplaced is not None:
        raise StateCorrupt(f"{where} is damaged: state.entries.{misplaced} is the entry of another model id")
    return document.state


def _from_v1(data: bytes) -> bytes:
    """Version 2 knows the commit that was applied. A log of version 1 is one of version 2 as it stands."""
    value = json.loads(data)
    value["format"] = FORMAT
    if isinstance(value.get("state"), dict):
        value["state"].setdefault("commit", None)
    return json.dumps(value).encode()


# From each version to the next; a snapshot is read by those from its own on.
_STEPS = (_from_v1,)


def encode_record(seq: int, record: Record) -> bytes:
    """One record as one line of JSON, without the line's end."""
    return shape_of(NumberedRecord).dump(NumberedRecord(record=record, seq=seq))


def decode_record(data: bytes, *, where: str) -> Record:
    """The record in a line. Raises StateCorrupt, with the place."""
    numbered: NumberedRecord = _load(NumberedRecord, data, where)
    return numbered.record


def encode_batch(seq: int, records: Sequence[Record]) -> bytes:
    """Records that belong together, the first with number `seq`, as one line of JSON."""
    return b"[%s]" % b",".join(encode_record(seq + n, record) for n, record in enumerate(records))


def decode_batch(data: bytes, *, where: str) -> tuple[NumberedRecord, ...]:
    """The records of a line, numbered without a gap. Raises StateCorrupt, with the place."""
    batch: tuple[NumberedRecord, ...] = _load(tuple[NumberedRecord, ...], data, where)
    if any(one.seq != batch[0].seq + n for n, one in enumerate(batch)):
        raise StateCorrupt(f"{where} is damaged: its records are not numbered one after the other")
    return batch


def check_format(tag: Json, expected: str, *, where: str) -> None:
    """Whether this program reads what carries the tag: what is `expected`, and what was before it. Raises StateTooNew,
    StateCorrupt.
    """
    known, found = _TAG.match(expected), _TAG.match(tag) if isinstance(tag, str) else None
    if known and found and found[1] == known[1]:
        if int(found[2]) <= int(known[2]):
            return
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


def _load(type_: Any, data: bytes, where: str) -> Any:
    try:
        return shape_of(type_).load(data)
    except ValueError as error:
        raise StateCorrupt(f"{where} is damaged: {error}") from None
