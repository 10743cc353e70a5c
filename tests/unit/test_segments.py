"""The log as bytes: whatever happens to them, no record is read that was not written, and none that was vanishes unseen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import StateCorrupt, StateForeign, StateTooNew
from reconciler.state.segments import (
    Header,
    check_header,
    decode_header,
    encode_continuation,
    encode_frame,
    encode_header,
    first_seq_of,
    is_continuation,
    salvage,
    scan,
    segment_name,
)

PAYLOADS = [b'[{"n":1}]', b'[{"n":2},{"n":3}]', b'[{"long":"%s"}]' % (b"x" * 1500), b'[{"n":4}]']
FRAMES = [encode_frame(payload) for payload in PAYLOADS]
ROOM = 64
DATA = b"".join(FRAMES) + bytes(ROOM)
HEADER = Header(environment="production", lineage="lineage-1", first_seq=7, size=1 << 20)


def payloads(data: bytes) -> list[bytes]:
    return [frame.payload for frame in scan(data, where="log").frames]


def test_frames_come_back() -> None:
    """What was framed is read, with the place where the next frame goes."""
    found = scan(DATA, base=100, where="log")
    assert [frame.payload for frame in found.frames] == PAYLOADS
    assert (found.end, found.torn) == (100 + len(DATA) - ROOM, False)
    assert [frame.start for frame in found.frames][:2] == [100, 100 + len(FRAMES[0])]


def test_an_empty_segment_has_no_frames() -> None:
    """NUL is the end."""
    assert scan(bytes(50), where="log").frames == ()
    assert scan(b"", where="log").frames == ()


@pytest.mark.parametrize("mask", [0x01, 0x04, 0x20, 0x80, 0xFF])
def test_every_changed_byte_is_found(mask: int) -> None:
    """With any byte of any frame changed the log is refused; a change in the room after it is refused or cut."""
    end = len(DATA) - ROOM
    for position in range(len(DATA)):
        damaged = bytearray(DATA)
        damaged[position] ^= mask
        if position < end:
            with pytest.raises(StateCorrupt, match=r"^log is damaged at byte \d+"):
                scan(bytes(damaged), where="log")
        else:
            _refused_or_cut(bytes(damaged))


def _refused_or_cut(damaged: bytes) -> None:
    try:
        found = scan(damaged, where="log")
    except StateCorrupt:
        return
    assert [frame.payload for frame in found.frames] == PAYLOADS
    assert found.torn


def test_every_byte_that_became_nul_is_found() -> None:
    """A hole of one byte is no torn write, in the last frame either, save in its last byte."""
    for position in range(len(DATA) - ROOM - 1):
        damaged = bytearray(DATA)
        damaged[position] = 0
        with pytest.raises(StateCorrupt):
            scan(bytes(damaged), where="log")


@pytest.mark.parametrize("frame", FRAMES[1:3])
def test_every_torn_write_is_cut(frame: bytes) -> None:
    """A write that was cut after any byte leaves what was before it, and is recognised."""
    for length in range(1, len(frame)):
        found = scan(FRAMES[0] + frame[:length] + bytes(ROOM), where="log")
        assert ([one.payload for one in found.frames], found.end, found.torn) == (PAYLOADS[:1], len(FRAMES[0]), True)


def test_sectors_may_be_written_in_any_order() -> None:
    """After a power cut any sectors of the last write may lack; then all of it does."""
    frame = encode_frame(b'["%s"]' % (b"y" * 4000))
    data = (FRAMES[0] + frame).ljust(4608, b"\0")
    first, last = len(FRAMES[0]) // 512, (len(FRAMES[0]) + len(frame) - 1) // 512
    for lacking in range(1, 1 << (last - first + 1)):
        torn = bytearray(data)
        for n in range(first, last + 1):
            if lacking >> (n - first) & 1:
                begin = max(n * 512, len(FRAMES[0]))
                torn[begin : (n + 1) * 512] = bytes((n + 1) * 512 - begin)
        assert payloads(bytes(torn)) == PAYLOADS[:1]


@given(st.binary(max_size=200))
def test_garbage_never_becomes_a_frame(garbage: bytes) -> None:
    """Whatever stands behind the frames, nothing but the frames is read, or nothing at all."""
    try:
        found = scan(FRAMES[0] + garbage, where="log")
    except StateCorrupt:
        return
    assert [one.payload for one in found.frames] == PAYLOADS[:1]


def test_salvage_finds_what_is_whole() -> None:
    """Of a damaged log every other frame is found again, whichever was hit, and wherever."""
    starts = [sum(map(len, FRAMES[:n])) for n in range(len(FRAMES))]
    for hit, start in enumerate(starts):
        for position in range(start, start + len(FRAMES[hit]) - 1):
            damaged = bytearray(DATA)
            damaged[position] ^= 0x10
            found = [frame.payload for frame in salvage(bytes(damaged))]
            assert found == PAYLOADS[:hit] + PAYLOADS[hit + 1 :]
    damaged = bytearray(DATA)
    damaged[starts[1] - 1] ^= 0x10  # a line feed
    assert [frame.payload for frame in salvage(bytes(damaged))] == PAYLOADS


def test_headers_come_back() -> None:
    """What a segment says of itself is read."""
    payload = scan(encode_header(HEADER), where="log").frames[0].payload
    assert decode_header(payload, where="log") == HEADER
    check_header(HEADER, HEADER, where="log")


@pytest.mark.parametrize(
    ("other", "error", "said"),
    [
        (Header(environment="staging", lineage="lineage-1", first_seq=7, size=1 << 20), StateForeign, "staging"),
        (Header(environment="production", lineage="lineage-2", first_seq=7, size=1 << 20), StateForeign, "lineage-2"),
        (Header(environment="production", lineage="lineage-1", first_seq=8, size=1 << 20), StateCorrupt, "renamed"),
        (Header(environment="production", lineage="lineage-1", first_seq=7, size=1 << 19), StateCorrupt, "cut or grew"),
    ],
)
def test_a_segment_of_something_else_is_refused(other: Header, error: type[Exception], said: str) -> None:
    """A segment of another state, under another name or of another size is not read."""
    with pytest.raises(error, match=said):
        check_header(other, HEADER, where="log")


@pytest.mark.parametrize("payload", [b"", b"[]", b"nonsense", b'{"format":"reconciler/log/v1"}', b'{"format":1}'])
def test_a_header_that_is_none_is_damage(payload: bytes) -> None:
    """A first line that says something else is damage."""
    with pytest.raises(StateCorrupt):
        decode_header(payload, where="log")


def test_a_newer_log_is_refused() -> None:
    """A log of a newer program is not read."""
    with pytest.raises(StateTooNew):
        decode_header(b'{"format":"reconciler/log/v3"}', where="log")


def test_names_carry_the_number() -> None:
    """A segment's name sorts as its number; other files are none."""
    assert first_seq_of(segment_name(42)) == 42
    assert sorted([segment_name(9), segment_name(10)]) == [segment_name(9), segment_name(10)]
    for name in ("spare", ".spare.new", "42.log", segment_name(1) + ".damaged-1"):
        assert first_seq_of(name) is None


def test_the_last_frame_of_a_full_segment() -> None:
    """The word that there is another segment is a frame that is no batch."""
    (frame,) = scan(encode_continuation(9), where="log").frames
    assert is_continuation(frame.payload)
    assert not any(map(is_continuation, PAYLOADS))
