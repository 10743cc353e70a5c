r"""The log as bytes: frames in zero-filled segments. Pure; `file` does the reading and writing, `repair` looks for what is left.

A segment is one file of a size fixed when it is made, `log/<number of its first record>.log`:

    <length> <crc32> {"environment": …, "firstSeq": …, "format": …, "lineage": …, "size": …}\n
    <length> <crc32> [{"record": …, "seq": 1}]\n
    <length> <crc32> [{"record": …, "seq": 2}, {"record": …, "seq": 3}]\n
    <length> <crc32> {"continuedAt": 4}\n            (once there is another segment, so that its loss is noticed)
    NUL NUL NUL …

`length` counts the bytes of the JSON, `crc32` (eight hexadecimal digits) is zlib's over them. What is appended together is
one frame, so it is there whole or not at all. A frame holds no NUL and ends with its only line feed; that tells a write that
was torn by a crash (its end lacks, or whole sectors of it are still NUL) from one that was whole once and was damaged since.
The first was never acknowledged and is cut; the second may be a call that was sent, so reading stops.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.errors import StateCorrupt, StateForeign
from reconciler.state.format import LOG_FORMAT, check_format

SEGMENT_SIZE = 1 << 20
CONTINUATION_ROOM = 64  # bytes kept free for the last frame

_FRAME = re.compile(rb"([1-9][0-9]{0,8}) ([0-9a-f]{8}) ")
_FRAME_AFTER = re.compile(rb"(?<=[\n\0])[1-9][0-9]{0,8} [0-9a-f]{8} ")
_NO_PAYLOAD = re.compile(rb"[\n\0]")
_HOLE = re.compile(rb"\0+(?=[^\0])")
_SECTOR = 512  # bytes; the smallest there are
_NAME = re.compile(r"\A([0-9]{20})\.log\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame, read: `start` and `end` are offsets in the segment."""

    payload: bytes
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """The frames from some offset on, where the next one goes, and whether a torn write lies there."""

    frames: tuple[Frame, ...]
    end: int
    torn: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a segment says of itself in its first frame."""

    environment: str
    lineage: str
    first_seq: int
    size: int
    format: str = LOG_FORMAT


def segment_name(first_seq: int) -> str:
    return f"{first_seq:020d}.log"


def first_seq_of(name: str) -> int | None:
    """The number in a segment's name; None for other files."""
    found = _NAME.match(name)
    return int(found[1]) if found else None


def encode_frame(payload: bytes) -> bytes:
    return b"%d %08x %s\n" % (len(payload), zlib.crc32(payload), payload)


def encode_header(header: Header) -> bytes:
    value = {
        "environment": header.environment,
        "firstSeq": header.first_seq,
        "format": header.format,
        "lineage": header.lineage,
        "size": header.size,
    }
    return encode_frame(json.dumps(value, separators=(",", ":"), sort_keys=True).encode())


def decode_header(payload: bytes, *, where: str) -> Header:
    """Raises StateCorrupt, StateTooNew."""
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        value = None
    check_format(value.get("format") if isinstance(value, dict) else None, LOG_FORMAT, where=where)
    match value:
        case {"environment": str(environment), "lineage": str(lineage), "firstSeq": int(first), "size": int(size)}:
            return Header(environment=environment, lineage=lineage, first_seq=first, size=size, format=value["format"])
    raise StateCorrupt(f"{where} is damaged: its first line lacks a field")


def check_header(header: Header, expected: Header, *, where: str) -> None:
    """Whether a segment is the one that its name says, whole, and of this state. Raises StateForeign, StateCorrupt."""
    if (header.environment, header.lineage) != (expected.environment, expected.lineage):
        raise StateForeign(
            f"{where} belongs to {header.environment}, lineage {header.lineage}; the state beside it is"
            f" {expected.environment}, lineage {expected.lineage}"
        )
    if header.first_seq != expected.first_seq:
        raise StateCorrupt(f"{where} was renamed: it begins with record {header.first_seq}")
    if header.size != expected.size:
        raise StateCorrupt(f"{where} was cut or grew: it has {expected.size} bytes instead of {header.size}")


def encode_continuation(next_seq: int) -> bytes:
    return encode_frame(b'{"continuedAt":%d}' % next_seq)


def is_continuation(payload: bytes) -> bool:
    return payload.startswith(b'{"continuedAt":')


def scan(data: bytes, *, base: int = 0, where: str) -> Scan:
    """The frames in `data`, which stands at offset `base` and reaches to the segment's end.

    Raises StateCorrupt for anything that a torn write cannot have left behind.
    """
    frames = []
    position = 0
    while (frame := _frame_at(data, position, base)) is not None:
        frames.append(frame)
        position = frame.end - base
    garbage = _without_end(data[position:])
    if garbage and not _is_torn(garbage, base + position):
        raise StateCorrupt(f"{where} is damaged at byte {base + position}")
    return Scan(frames=tuple(frames), end=base + position, torn=bool(garbage))


def salvage(data: bytes) -> Iterator[Frame]:
    """Every whole frame, whatever lies between them. For repair."""
    data = _without_end(data)
    position = 0
    while position < len(data):
        frame = _frame_at(data, position, 0, lenient=True)
        if frame is not None:
            yield frame
            position = frame.end
        else:
            further = _FRAME_AFTER.search(data, position + 1)
            if further is None:
                return
            position = further.start()


def _without_end(data: bytes) -> bytes:
    """Without the NULs at the end; comparing is many times faster than stripping where there is nothing else."""
    return b"" if data == bytes(len(data)) else data.rstrip(b"\0")


def _frame_at(data: bytes, position: int, base: int, *, lenient: bool = False) -> Frame | None:
    """The frame there; `lenient` takes it whatever its line feed has become."""
    head = _FRAME.match(data, position)
    if head is None:
        return None
    end = head.end() + int(head[1])
    # Looked at before the sum is reckoned: a file full of heads would otherwise be summed from each of them.
    if end > len(data) or (not lenient and data[end : end + 1] != b"\n") or _NO_PAYLOAD.search(data, head.end(), end):
        return None
    payload = data[head.end() : end]
    if zlib.crc32(payload) != int(head[2], 16):
        return None
    return Frame(payload=payload, start=base + position, end=base + end + 1)


def _is_torn(garbage: bytes, offset: int) -> bool:
    """Whether a write that was cut short can have left this at the offset: some of it lacks, and nothing was written after it."""
    if any(_frame_at(garbage, found.start(), 0) for found in _FRAME_AFTER.finditer(garbage)):
        return False
    holes = list(_HOLE.finditer(garbage))
    if holes:
        return all(_is_of_sectors(hole, offset) for hole in holes)
    # Whole but for its line feed, which became something else: it was whole once.
    frame = _frame_at(garbage, 0, 0, lenient=True)
    return not garbage.endswith(b"\n") and (frame is None or frame.end > len(garbage))


def _is_of_sectors(hole: re.Match[bytes], offset: int) -> bool:
    """A disk writes sectors whole or not at all, in any order; a hole of another shape was made by something else."""
    begins = hole.start() == 0 or (offset + hole.start()) % _SECTOR == 0
    return begins and (offset + hole.end()) % _SECTOR == 0
