"""One append as a document: what stores that keep a file an append (git, object stores) write. Pure.

    {"environment": …, "firstSeq": 7, "format": "reconciler/log/v1", "lineage": …, "records": [
    {"record": …, "seq": 7},
    {"record": …, "seq": 8}
    ], "write": "4f0c…"}

`write` is made anew for every append: by it a writer whose answer was lost finds out that the append was its own.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.errors import StateCorrupt, StateForeign
from reconciler.model.records import Record
from reconciler.state.format import LOG_FORMAT, NumberedRecord, check_format, encode_record
from reconciler.state.shapes import public, shape_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What was appended together; its records are numbered from `first_seq` on."""

    __pydantic_config__ = {"strict": True, "extra": "forbid", "alias_generator": public}  # noqa: RUF012 - pydantic's

    environment: str
    first_seq: int
    format: str
    lineage: str
    records: tuple[NumberedRecord, ...]
    write: str

    @property
    def last_seq(self) -> int:
        return self.first_seq + len(self.records) - 1


def new_write() -> str:
    """An id that no other write has."""
    return uuid.uuid4().hex


def encode(owner: tuple[str, str], first_seq: int, records: Sequence[Record], write: str) -> bytes:
    """A document of one record a line. `owner` is environment and lineage."""
    environment, lineage = map(json.dumps, owner)
    lines = b",\n".join(encode_record(first_seq + n, record) for n, record in enumerate(records))
    head = f'{{"environment":{environment},"firstSeq":{first_seq},"format":"{LOG_FORMAT}","lineage":{lineage},"records":[\n'
    return head.encode() + lines + f'\n],"write":"{write}"}}\n'.encode()


def decode(data: bytes, *, where: str) -> Batch:
    """Raises StateCorrupt, with the place, and StateTooNew."""
    try:
        batch: Batch = shape_of(Batch).load(data)
    except ValueError as error:
        check_format(_tag(data), LOG_FORMAT, where=where)  # a newer format is not damage
        raise StateCorrupt(f"{where} is damaged: {error}") from None
    check_format(batch.format, LOG_FORMAT, where=where)
    if not batch.records or any(one.seq != batch.first_seq + n for n, one in enumerate(batch.records)):
        raise StateCorrupt(f"{where} is damaged: its records are not numbered one after the other")
    return batch


def decode_owned(data: bytes, owner: tuple[str, str], first_seq: int, *, where: str) -> Batch:
    """As `decode`, for the place where record `first_seq` of this environment and lineage must begin. Raises StateForeign."""
    batch = decode(data, where=where)
    if (batch.environment, batch.lineage) != owner:
        raise StateForeign(
            f"{where} belongs to {batch.environment}, lineage {batch.lineage}; the snapshot beside it is {owner[0]},"
            f" lineage {owner[1]}"
        )
    if batch.first_seq != first_seq:
        raise StateCorrupt(f"{where} begins with record {batch.first_seq}; record {first_seq} is not there")
    return batch


def _tag(data: bytes) -> object:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return LOG_FORMAT
    return value.get("format") if isinstance(value, dict) else LOG_FORMAT
