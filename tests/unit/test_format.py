"""The public format: every value comes back, equal values have equal bytes, and nothing that was changed is read."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings

from reconciler.errors import StateCorrupt, StateTooNew
from reconciler.model.applied import Applied, Unknown
from reconciler.model.records import RawRecord, Record
from reconciler.state import format as public
from reconciler.state.fold import fold
from reconciler.state.format import (
    decode_batch,
    decode_record,
    decode_snapshot,
    encode_batch,
    encode_record,
    encode_snapshot,
)
from tests.support.records import accepted, attempt, empty, note, raw, records, states, status

WHERE = "state.json"
SMALL = fold(empty(), [attempt(), accepted(), status()])


@given(states)
def test_snapshots_come_back(state: Applied) -> None:
    """Whatever a state holds is the same after writing and reading."""
    assert decode_snapshot(encode_snapshot(state), where=WHERE) == state


@given(records)
def test_records_come_back(record: Record) -> None:
    """Whatever a record holds is the same after writing and reading."""
    assert decode_record(encode_record(7, record), where=WHERE) == record


@given(states)
def test_equal_states_have_equal_bytes(state: Applied) -> None:
    """The order in which entries came to be leaves no trace."""
    turned = replace(state, entries=dict(reversed(list(state.entries.items()))))
    assert encode_snapshot(turned) == encode_snapshot(state)


@given(states)
def test_what_is_read_is_written_as_it_was(state: Applied) -> None:
    """Reading and writing changes no byte."""
    data = encode_snapshot(state)
    assert encode_snapshot(decode_snapshot(data, where=WHERE)) == data


@given(states)
@settings(max_examples=15)
def test_keys_are_sorted_and_lines_short(state: Applied) -> None:
    """A snapshot is sorted, indented JSON in UTF-8 with a line feed at its end."""
    data = encode_snapshot(state)
    value = json.loads(data)
    assert list(_keys(value)) == sorted(_keys(value))
    assert data.endswith(b"}\n")
    assert data.count(b"\n") >= len(_keys(value))


def _keys(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(value, dict):
        return [key for name, item in value.items() for key in ((*path, name), *_keys(item, (*path, name)))]
    if isinstance(value, list):
        return [key for n, item in enumerate(value) for key in _keys(item, (*path, f"{n:06d}"))]
    return []


@given(states)
@settings(max_examples=15)
def test_the_schema_holds(state: Applied) -> None:
    """Every snapshot that is written is valid by the published schema."""
    jsonschema.validate(json.loads(encode_snapshot(state)), SCHEMA)


@given(records)
@settings(max_examples=15)
def test_the_schema_of_records_holds(record: Record) -> None:
    """Every record that is written is valid by the published definition."""
    schema = {"$ref": "#/$defs/NumberedRecord", "$defs": SCHEMA["$defs"]}
    jsonschema.validate(json.loads(encode_record(1, record)), schema)


SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "state.json").read_text(encoding="utf-8"))


def test_every_changed_byte_is_found() -> None:
    """A snapshot with any one byte changed is refused."""
    data = encode_snapshot(SMALL)
    for position in range(len(data)):
        for changed in (data[position] ^ 0x01, data[position] ^ 0x20, 0):
            damaged = data[:position] + bytes([changed]) + data[position + 1 :]
            if damaged == data:
                continue
            with pytest.raises((StateCorrupt, StateTooNew)):
                decode_snapshot(damaged, where=WHERE)


def test_every_cut_is_found() -> None:
    """A snapshot that ends too early is refused, wherever it ends."""
    data = encode_snapshot(SMALL)
    for length in range(len(data)):
        with pytest.raises(StateCorrupt):
            decode_snapshot(data[:length], where=WHERE)


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 100, b"[]", b"{}", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format": 3}']
)
def test_garbage_is_corrupt(data: bytes) -> None:
    """What is no snapshot at all is said to be damaged, with its place, and never a traceback."""
    with pytest.raises(StateCorrupt, match=r"^state\.json is damaged: "):
        decode_snapshot(data, where=WHERE)


def test_a_newer_format_is_refused() -> None:
    """A state of a newer program is not read, and not called damaged either."""
    newer = encode_snapshot(SMALL).replace(b"reconciler/state/v2", b"reconciler/state/v3")
    with pytest.raises(StateTooNew, match="reconciler/state/v3"):
        decode_snapshot(newer, where=WHERE)
    with pytest.raises(StateTooNew):
        decode_snapshot(b'{"format": "reconciler/state/v12", "other": []}', where=WHERE)


def test_reformatting_is_said() -> None:
    """A snapshot that a tool has reformatted is refused with that reason."""
    with pytest.raises(StateCorrupt, match="edited or reformatted"):
        decode_snapshot(json.dumps(json.loads(encode_snapshot(SMALL))).encode(), where=WHERE)


def _resealed(data: bytes) -> bytes:
    """With a checksum that is right for what it holds now."""
    blank = re.sub(rb"sha256:[0-9a-f]{64}", public._BLANK.encode(), data, count=1)
    return blank.replace(public._BLANK.encode(), public._checksum(blank), 1)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (b'"serial": 0', b'"serial": "0"', "state.serial: Input should be a valid integer"),
        (b'"serial": 0,\n', b"\n", "state.serial: Field required"),
        (b'"serial": 0', b'"serial": 0,\n  "more": 1', "state.more: Unexpected keyword argument"),
        (b'00Z"', b'00"', "timezone"),
        (b'"type": "accepted"', b'"type": "excepted"', "outcome: Input tag 'excepted'"),
        (b'"cm-1": {', b'"cm-2": {', "state.entries.cm-2 is the entry of another model id"),
    ],
)
def test_what_is_wrong_is_named(before: bytes, after: bytes, said: str) -> None:
    """A snapshot with a right checksum and a wrong content is refused with the place of the first mistake."""
    data = encode_snapshot(SMALL)
    assert before in data
    with pytest.raises(StateCorrupt) as caught:
        decode_snapshot(_resealed(data.replace(before, after, 1)), where=WHERE)
    assert said in str(caught.value)


def test_of_a_large_state_no_place_is_named() -> None:
    """What is wrong in a state that is large is refused without looking for its place."""
    large = b'"serial": 0,\n  "more": ' + b"[" + b"{}, " * 10_000 + b"{}]"
    with pytest.raises(StateCorrupt, match="damaged: a field is missing, unknown or"):
        decode_snapshot(_resealed(encode_snapshot(SMALL).replace(b'"serial": 0', large, 1)), where=WHERE)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "rest", [b"", b"nonsense\n}\n", b' "state": NaN,\n}\n', b' "state": ' + b"[" * 100_000, b"\xff"]
)
def test_garbage_with_a_right_checksum_is_corrupt(version: int, rest: bytes) -> None:
    """Whatever stands behind a right head is refused with its place, in every version."""
    head = f'{{\n "checksum": "{public._BLANK}",\n "format": "reconciler/state/v{version}",\n'
    with pytest.raises(StateCorrupt, match=r"^state\.json is damaged: "):
        decode_snapshot(_resealed(head.encode() + rest), where=WHERE)


def test_half_surrogates_do_not_stop_a_reply() -> None:
    """A reply with half a surrogate pair reaches the log, with a question mark in its place."""
    record = raw("a1", Unknown(reason="said \ud800"), body="body \udfff")
    read = decode_record(encode_record(1, record), where=WHERE)
    assert isinstance(read, RawRecord)
    assert read.body == "body ?"
    assert read.outcome == Unknown(reason="said ?")


def test_batches_are_numbered() -> None:
    """A batch comes back with its numbers, and a batch with a gap is refused."""
    batch = [note(1), note(2), note(3)]
    read = decode_batch(encode_batch(5, batch), where=WHERE)
    assert [(one.seq, one.record) for one in read] == list(zip([5, 6, 7], batch, strict=True))
    with pytest.raises(StateCorrupt, match="not numbered one after the other"):
        decode_batch(encode_batch(5, batch).replace(b'"seq":6', b'"seq":8'), where=WHERE)


def test_a_record_is_one_line() -> None:
    """A record is one line of sorted JSON, whatever is in it."""
    line = encode_record(1, raw("a1", Unknown(reason="two\nlines"), body="a\0b\r\n"))
    assert b"\n" not in line
    assert b"\0" not in line
    assert json.dumps(json.loads(line), sort_keys=True, separators=(",", ":")).encode() == line
