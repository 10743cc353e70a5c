"""Replies that are slow, endless, huge, packed like bombs or nested without end, to every call: bounded, and never certain."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.model.applied import Accepted, Unknown
from reconciler.platform.api import MAX_REPLY, Reply
from reconciler.platform.endings import Running, Unreachable, Unreadable
from tests.support.loopback import Behaviour, Peer, answering, reply_bytes
from tests.wire.calls import CALLS, ID, PATIENT, Call, each_call, made

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BREATH = 0.005  # seconds between two bytes of a slow reply
SOON = 0.3  # seconds for a whole exchange that cannot end
MEMORY = 16 * MAX_REPLY


def test_a_byte_at_a_time_is_a_whole_reply() -> None:
    """However small the pieces in which a reply comes, it is one."""
    for call in CALLS:

        def behave(peer: Peer, whole: bytes = reply_bytes(call.job())) -> None:
            peer.read_request()
            for byte in whole:
                peer.send(bytes((byte,)))

        sent, _ = made(call, behave)
        assert isinstance(call.meaning(sent), Running if call.operation is None else Accepted)


def dribbling(head: bytes, piece: bytes) -> Behaviour:
    """Never silent for long, and never done, until the client has had enough."""

    def behave(peer: Peer) -> None:
        peer.read_request()
        peer.send(head)
        peer.sock.settimeout(BREATH)
        while True:
            try:
                if not peer.sock.recv(1):
                    return
            except TimeoutError:
                peer.send(piece)

    return behave


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"b"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"["),
        (CHUNKED, b"1\r\n \r\n"),
        (CHUNKED + b"1;", b"x"),
        (CHUNKED + b"0\r\n", b"X-A: b\r\n"),
    ],
    ids=[
        "interim",
        "no status",
        "fields",
        "a field",
        "to the end",
        "by length",
        "chunks",
        "a chunk's head",
        "trailers",
    ],
)
@each_call
def test_a_reply_that_never_ends_slowly(call: Call, head: bytes, piece: bytes) -> None:
    """One deadline holds for the whole exchange, however busy the other side keeps it; what had come says nothing certain."""
    sent, _ = made(call, dribbling(head, piece), replace(PATIENT, reply=SOON, answer=SOON))
    assert isinstance(call.meaning(sent), Unreachable | Unreadable if call.operation is None else Unknown), sent


def endless(head: bytes, piece: bytes, taken: list[int]) -> Behaviour:
    """As fast as it goes, until the client hangs up; `taken` gets the length of each piece that was taken off."""

    def behave(peer: Peer) -> None:
        peer.read_request()
        peer.send(head)
        while True:
            peer.send(piece)
            taken.append(len(piece))

    return behave


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b'{"' * 30000),
        (CHUNKED, b"8000\r\n" + b"x" * 0x8000 + b"\r\n"),
        (CHUNKED, (b"40\r\n" + b"[" * 64 + b"\r\n") * 500),
        (b"HTTP/1.1 500 Oh\r\n\r\n", b"x" * 65536),
    ],
    ids=["to the end", "by length", "chunks", "small chunks", "an error"],
)
@each_call
def test_a_body_without_end_is_cut(call: Call, head: bytes, piece: bytes) -> None:
    """Reading stops at one MiB, and the reply says that it is not whole."""
    taken: list[int] = []
    sent, _ = made(call, endless(head, piece, taken))
    assert isinstance(sent, Reply)
    assert len(sent.body) == MAX_REPLY
    assert sum(taken) < 32 * MAX_REPLY, "the system's buffers take some of it, and nobody the rest"
    assert "larger" in (sent.error or "")
    assert not isinstance(call.meaning(sent), Accepted | Running)


def _packed(pack: Callable[[bytes], bytes], encoding: str, body: bytes) -> bytes:
    return reply_bytes(pack(body), headers=(f"Content-Encoding: {encoding}",))


def _deflated(body: bytes) -> bytes:
    return zlib.compress(body, 9)


BOMB = b" " * (64 * MAX_REPLY)
BOMBS = {
    "gzip": _packed(gzip.compress, "gzip", BOMB),
    "deflate": _packed(_deflated, "deflate", BOMB),
    "x-gzip": _packed(gzip.compress, "X-GZIP", BOMB),
    "twice": _packed(lambda body: gzip.compress(gzip.compress(body)), "gzip, gzip", BOMB),
    "once inside": _packed(lambda body: gzip.compress(gzip.compress(body)), "gzip", BOMB),
    "many members": _packed(lambda body: gzip.compress(body) * 200, "gzip", b" " * MAX_REPLY),
    "unknown": _packed(gzip.compress, "zstd", BOMB),
    "chunked": CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in [gzip.compress(BOMB)])
    + b"0\r\n\r\n",
}


@pytest.mark.parametrize("name", BOMBS)
@each_call
def test_a_compressed_bomb_is_bounded(call: Call, name: str) -> None:
    """A reply that grows a thousandfold when it is decoded costs a few MiB, and is not believed."""
    tracemalloc.start()
    try:
        sent, _ = made(call, answering(BOMBS[name]))
        meaning = call.meaning(sent)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(sent, Reply)
    assert len(sent.body) <= MAX_REPLY
    assert peak < MEMORY
    assert isinstance(meaning, Unreadable if call.operation is None else Unknown)


DEEP = MAX_REPLY // 8
SHAPES = {
    "lists": "[" * DEEP,
    "closed lists": "[" * DEEP + "]" * DEEP,
    "objects": '{"a":' * DEEP,
    "closed objects": '{"a":' * (DEEP // 2) + "1" + "}" * (DEEP // 2),
    "strings": '["' * DEEP,
    "an open string": '{"' + "\\" * DEEP,
    "a number": '{"a": ' + "9" * DEEP + "}",
    "an exponent": '{"status": 1e' + "9" * DEEP + "}",
    "keys": "{" + ",".join(f'"k{n}":1' for n in range(DEEP // 2)) + "}",
    "the same key": "{" + ",".join(['"status":"SUCCESS"'] * (DEEP // 4)) + "}",
    "surrogates": '{"a": "' + "\\ud800" * 100_000 + '"}',
    "quotes": '"' * DEEP,
}


@pytest.mark.parametrize("name", SHAPES)
@each_call
def test_json_to_choke_on(call: Call, name: str) -> None:
    """JSON that is nested, long or many without measure raises nothing and is not believed."""
    sent, _ = made(call, answering(reply_bytes(SHAPES[name].encode())))
    meaning = call.meaning(sent)
    if call.operation is not None:
        assert isinstance(meaning, Unknown)
        assert meaning.candidates == ()
        assert len(meaning.reason) < 3000
    elif name != "the same key":  # it is about no other job, and says how this one ended
        assert isinstance(meaning, Unreadable)
        assert len(meaning.reason) < 3000


@pytest.mark.parametrize(
    "rest",
    [
        {"padding": "x" * (2 * MAX_REPLY)},
        {"nested": json.loads("[" * 60 + "]" * 60)},
        {"numbers": [1] * MAX_REPLY},
    ],
    ids=["padding", "nested", "numbers"],
)
@each_call
def test_an_id_before_the_flood_is_kept(call: Call, rest: dict[str, object]) -> None:
    """An id at the front of a reply that is too large or too deep is a candidate: it is to be asked about, not lost."""
    body = json.dumps({"dock-statusId": ID, "status": "SUCCESS", **rest}).encode()
    sent, _ = made(call, answering(reply_bytes(body)))
    meaning = call.meaning(sent)
    if call.operation is None:
        assert isinstance(meaning, Unreadable), "half an answer ends no job"
    else:
        assert isinstance(meaning, Unknown)
        assert meaning.candidates == (ID,)
