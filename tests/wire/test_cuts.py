"""Connections that end after every byte: of the request and of the reply, politely and by a reset, for every call.

Nothing that the platform may have received is ever called "not sent" (P5), an id that came is never lost (P2), and half an
answer is never taken for a whole one. `make wire` cuts everything after every byte; the suite takes every fifth where another
test has all of them for the like.
"""

from __future__ import annotations

import os

import pytest

from reconciler.model.applied import Accepted, NotProcessed, NotSent, Operation, RefusalKind, Unknown
from reconciler.platform.endings import Ended, Later, Running, Unreachable, Unreadable
from tests.support.loopback import Peer, answering, reply_bytes
from tests.wire.calls import ID, LIMIT, Call, Meaning, each_call, made, made_times

ALL = "WIRE" in os.environ
either_way = pytest.mark.parametrize("how", ["eof", "reset"])


def places(whole: int, *, every: bool) -> list[int]:
    """After how many bytes of so many it is cut."""
    return list(range(whole + 1)) if every or ALL else [*range(0, whole - 1, 5), whole - 1, whole]


def cut(call: Call, whole: bytes, how: str, *, every: bool) -> list[tuple[int, Meaning]]:
    """The lengths of the reply that came, and what the call means with each."""
    lengths = places(len(whole), every=every)

    def behave(peer: Peer) -> None:
        peer.read_request()
        peer.send(whole[: lengths[peer.number]])
        if how == "reset":
            peer.reset()

    endings, server = made_times(call, behave, len(lengths))
    assert all(raw.startswith((b"POST /", b"GET /")) for raw in server.received)
    assert len(server.received) == len(lengths), "asked once each"
    return [(length, call.meaning(sent)) for length, sent in zip(lengths, endings, strict=True)]


@either_way
@each_call
def test_a_request_cut_after_every_byte(call: Call, how: str) -> None:
    """However many bytes the server took before it hung up, the client never claims that nothing was sent."""
    whole = len(made(call, answering(reply_bytes(call.job())))[1].received[0])
    lengths = places(whole, every=how == "eof")

    def behave(peer: Peer) -> None:
        peer.read(lengths[peer.number])
        if how == "reset":
            peer.reset()

    endings, server = made_times(call, behave, len(lengths))
    assert [len(raw) for raw in server.received] == lengths
    for count, sent in zip(lengths, endings, strict=True):
        meaning = call.meaning(sent)
        if call.operation is None:
            assert isinstance(meaning, Unreachable), count
            assert not meaning.trust
        else:
            assert isinstance(meaning, Unknown if count else Unknown | NotSent), count


@either_way
@each_call
def test_a_good_reply_cut_after_every_byte(call: Call, how: str) -> None:
    """Only the whole counts; cut politely, the id that has come is a candidate. A reset may overtake what was sent before it."""
    whole = reply_bytes(call.job())
    complete = whole.index(ID.encode()) + len(ID)
    for count, meaning in cut(call, whole, how, every=how == "eof"):
        if count == len(whole) and (how == "eof" or not isinstance(meaning, Unknown | Unreachable | Unreadable)):
            assert isinstance(meaning, Running if call.operation is None else Accepted)
        elif call.operation is None:
            assert isinstance(meaning, Unreachable | Unreadable), count
        else:
            assert isinstance(meaning, Unknown), count
            assert meaning.candidates == ((ID,) if count >= complete else ()) or how == "reset", count


@either_way
@pytest.mark.parametrize("status", ["SUCCESS", "FAILED"])
@each_call
def test_an_end_cut_after_every_byte(call: Call, status: str, how: str) -> None:
    """A job is over only when a whole reply says so, however close to its end it was cut."""
    whole = reply_bytes(call.job(status, response={"message": "no capacity"}))
    for count, meaning in cut(call, whole, how, every=call.operation is None and how == "eof"):
        is_over = isinstance(meaning, Ended) or (isinstance(meaning, Accepted) and meaning.status == status)
        assert is_over <= (count == len(whole)), count
        assert is_over or how == "reset" or count < len(whole), count


@pytest.mark.parametrize(
    ("status", "message", "kind", "answer"),
    [
        ("400 Bad Request", "no", RefusalKind.REFUSED, Unreadable),
        ("409 Conflict", "no", RefusalKind.CONFLICT, Unreadable),
        ("429 Too Many Requests", "no", RefusalKind.RATE_LIMITED, Later),
    ],
)
@each_call
def test_a_refusal_cut_after_every_byte(call: Call, status: str, message: str, kind: RefusalKind, answer: type) -> None:
    """A refusal counts as one as soon as its head is whole; its words may be missing."""
    whole = reply_bytes(b'{"message": "%s"}' % message.encode(), status=status)
    head = whole.index(b"\r\n\r\n") + 4
    for count, meaning in cut(call, whole, "eof", every=status.startswith("400") and call.operation is not None):
        if count < head:
            assert isinstance(meaning, Unreachable if call.operation is None else Unknown), count
        elif call.operation is None:
            assert isinstance(meaning, answer), count
        else:
            assert isinstance(meaning, NotProcessed), count
            assert meaning.kind is kind


@each_call
def test_the_limiters_words_cut_after_every_byte(call: Call) -> None:
    """The documented words make a 503 a refusal only once they are whole; before that it is a gateway's, and unknown."""
    whole = reply_bytes(b'{"message": "%s"}' % LIMIT.encode(), status="503 Service Unavailable")
    needed = whole.index(b"has been reached") + len("has been reached")
    head = whole.index(b"\r\n\r\n") + 4
    for count, meaning in cut(call, whole, "eof", every=call.operation is Operation.DEPLOY):
        if call.operation is None:
            assert isinstance(meaning, Later if count >= head else Unreachable), count
        else:
            assert isinstance(meaning, NotProcessed if count >= needed else Unknown), count
