"""The client against raw servers on loopback: what leaves byte for byte, and every way a reply may fail to come."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import pytest

from reconciler import __version__
from reconciler.model.applied import Accepted, Operation, Unknown
from reconciler.platform.api import (
    Aborted,
    ConnectFailed,
    NoReply,
    Reply,
    Request,
    Sent,
    deploy_request,
    undeploy_request,
)
from reconciler.platform.client import HttpPlatform, Timeouts
from reconciler.platform.endings import classify
from tests.support.loopback import (
    Behaviour,
    LoopbackServer,
    Peer,
    answering,
    loopback_server,
    reply_bytes,
    silent,
)
from tests.support.vendor import SAMPLES, Sample

T = TypeVar("T")

ID = "ds-11111111-2222-3333-4444-555555555555"
KEY = "kg-0badc0de-0000-5000-8000-000000000000"
TAKEN = json.dumps(
    {"dock-statusId": ID, "modelId": "cm-1", "jobType": "MODELS", "action": "DEPLOY", "status": "IN_PROGRESS"}
)
DEPLOY = deploy_request("cm-1", "openSource", json.dumps(SAMPLES[0].body, separators=(",", ":")))
SHORT = 0.05  # seconds, for a timeout that is expected; the others never end a test


async def at_once() -> None:
    """A record that takes no time."""


PATIENT = Timeouts(connect=60.0, write=60.0, read=60.0, reply=60.0, answer=60.0)  # none of them ever ends a test


def with_platform(
    server: LoopbackServer,
    use: Callable[[HttpPlatform], Awaitable[T]],
    *,
    key: str = KEY,
    timeouts: Timeouts = PATIENT,
) -> T:
    """Run `use` on a client of this server."""

    async def main() -> T:
        platform = HttpPlatform(server.origin, lambda: key, timeouts=timeouts, environ={})
        try:
            return await use(platform)
        finally:
            await platform.close()

    return asyncio.run(main())


def deploy_to(behaviour: Behaviour, timeouts: Timeouts = PATIENT) -> tuple[Sent, list[bytes]]:
    """Send one deploy; gives its ending and what each connection received."""
    with loopback_server(behaviour) as server:
        sent = with_platform(server, lambda platform: platform.send(DEPLOY, at_once), timeouts=timeouts)
    return sent, server.received


# What leaves


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.manifest)
def test_a_vendors_sample_on_the_wire(sample: Sample) -> None:
    """Method, path, query, headers and body of each sample request are on the wire as on the vendor's page."""
    request = deploy_request(sample.model_id, sample.model_type, json.dumps(sample.body))
    with loopback_server(answering(reply_bytes(TAKEN.encode()))) as server:
        with_platform(server, lambda platform: platform.send(request, at_once), key=sample.key)
    [raw] = server.received
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *rest = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in rest)}
    assert len(headers) == len(rest)
    assert line == f"{sample.method} {sample.target} HTTP/1.1"
    assert json.loads(body) == sample.body
    assert sample.headers.items() <= headers.items()
    # What the page does not show is what HTTP needs, and nothing else.
    assert {name: headers[name] for name in headers.keys() - sample.headers.keys()} == {
        "host": server.origin.removeprefix("http://"),
        "user-agent": f"reconciler/{__version__}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "connection": "close",
        "content-length": str(len(body)),
    }


def test_an_undeploy_and_a_question_on_the_wire() -> None:
    """Undeploy is a POST without a body, asking is a GET; both carry the key in its header and nowhere else."""

    def behave(peer: Peer) -> None:
        while peer.read_request():
            peer.send(reply_bytes(TAKEN.encode()))

    async def use(platform: HttpPlatform) -> None:
        await platform.send(undeploy_request("cm-1"), at_once)
        await platform.ask(ID)

    with loopback_server(behave) as server:
        with_platform(server, use)
    undeploy, ask = server.received
    assert undeploy.startswith(b"POST /api/public/models/cm-1/undeploy HTTP/1.1\r\n")
    assert undeploy.endswith(b"\r\n\r\n")
    assert b"Content-Length: 0\r\n" in undeploy
    assert b"Content-Type" not in undeploy
    assert ask.startswith(f"GET /api/public/dock-status/{ID} HTTP/1.1\r\n".encode())
    for raw in (undeploy, ask):
        assert raw.count(KEY.encode()) == 1
        assert f"\r\nx-api-key: {KEY}\r\n".encode() in raw


def test_every_post_has_its_own_connection_and_questions_share_one() -> None:
    """No connection outlives its POST, whatever the server offers; polls use the pool."""

    def behave(peer: Peer) -> None:
        while peer.read_request():
            peer.send(reply_bytes(TAKEN.encode(), headers=("Connection: keep-alive",)))

    async def use(platform: HttpPlatform) -> None:
        for _ in range(3):
            await platform.send(DEPLOY, at_once)
        for _ in range(3):
            await platform.ask(ID)

    with loopback_server(behave) as server:
        with_platform(server, use)
    assert [raw.count(b"POST") for raw in server.received] == [1, 1, 1, 0]
    assert server.received[3].count(b"GET") == 3


def test_a_pooled_connection_that_died_is_no_harm() -> None:
    """A kept connection that the platform closed costs a question at most; the next one is answered."""

    async def use(platform: HttpPlatform) -> list[Sent]:
        return [await platform.ask(ID) for _ in range(3)]

    with loopback_server(answering(reply_bytes(TAKEN.encode()))) as server:
        answers = with_platform(server, use)
    assert sum(isinstance(sent, Reply) for sent in answers) >= 2


def test_cookies_and_authentication_are_not_answered() -> None:
    """A reply that sets cookies or asks for a password changes nothing about the next request."""
    more = ("Set-Cookie: a=b", "WWW-Authenticate: Basic realm=x", "Proxy-Authenticate: Basic")

    async def use(platform: HttpPlatform) -> None:
        await platform.send(DEPLOY, at_once)
        await platform.send(DEPLOY, at_once)

    with loopback_server(answering(reply_bytes(b"{}", status="401 Unauthorized", headers=more))) as server:
        with_platform(server, use)
    first, second = server.received
    assert first == second


# The moment before the first byte


def test_the_record_is_made_once_connected_and_before_any_byte() -> None:
    """`before_first_byte` is called exactly once, when the server has a connection and has received nothing."""
    seen: list[tuple[int, bytes]] = []

    def behave(peer: Peer) -> None:
        recorded.wait(60)
        answering(reply_bytes(TAKEN.encode()))(peer)

    recorded = threading.Event()

    with loopback_server(behave) as server:

        async def record() -> None:
            seen.append((len(server.peers), b"".join(server.received)))
            recorded.set()

        with_platform(server, lambda platform: platform.send(DEPLOY, record))
    assert len(seen) == 1
    assert seen[0][1] == b""


@pytest.mark.parametrize(
    "objection", [Aborted("suspended"), OSError(28, "No space left on device"), asyncio.CancelledError()]
)
def test_nothing_leaves_when_the_record_cannot_be_made(objection: BaseException) -> None:
    """A server whose client could not record its attempt sees a connection and not one byte."""

    async def record() -> None:
        raise objection

    with loopback_server(silent) as server, pytest.raises(type(objection)):
        with_platform(server, lambda platform: platform.send(DEPLOY, record))
    assert server.received == [b""]


def test_nothing_is_recorded_without_a_connection() -> None:
    """A refused connection is ConnectFailed, and nobody was asked to record."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    server = LoopbackServer(port=port)
    sent = with_platform(server, lambda platform: platform.send(DEPLOY, lambda: pytest.fail("asked to record")))
    assert isinstance(sent, ConnectFailed)
    assert not sent.trust
    assert "refused" in sent.error.lower()


def test_a_name_that_does_not_exist_is_not_sent() -> None:
    """A host that DNS does not know is ConnectFailed."""

    async def main() -> Sent:
        platform = HttpPlatform("https://no-such-host.invalid", lambda: KEY, environ={})
        return await platform.send(DEPLOY, lambda: pytest.fail("asked to record"))

    sent = asyncio.run(main())
    assert isinstance(sent, ConnectFailed)
    assert not sent.trust


# Replies in odd clothes

_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.0 200 OK\r\n\r\n" + TAKEN.encode(),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + TAKEN.encode(),
        b"HTTP/1.1 200\r\nContent-Length: %d\r\n\r\n" % len(TAKEN) + TAKEN.encode(),
        _CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(TAKEN), TAKEN.encode()),
        _CHUNKED + b"".join(b"1;x=y\r\n%c\r\n" % byte for byte in TAKEN.encode()) + b"0\r\nTrailer: x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + reply_bytes(TAKEN.encode()),
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + reply_bytes(TAKEN.encode()),
        reply_bytes(gzip.compress(TAKEN.encode()), headers=("Content-Encoding: gzip",)),
        reply_bytes(b"\xef\xbb\xbf" + TAKEN.encode()),
        reply_bytes(TAKEN.encode(), headers=("X-Odd: \xff\xfe",)),
        reply_bytes(TAKEN.encode(), headers=("X-Long: " + "a" * 30_000,)),
        reply_bytes(TAKEN.encode()) + b"HTTP/1.1 500 Internal Server Error\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: %d\n\n" % len(TAKEN) + TAKEN.encode(),
    ],
    ids=lambda raw: repr(raw[:40]),
)
def test_unusual_replies_are_read(raw: bytes) -> None:
    """HTTP/1.0, chunks, interim replies, a compressing gateway and odd headers do not cost an id."""
    sent, _ = deploy_to(answering(raw))
    assert classify(sent, operation=Operation.DEPLOY) == Accepted(dock_status_id=ID), sent


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n\r\n",
        b"ds-1\r\n\r\n",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n{}",
        b"HTTP/1.1 999999 OK\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 100_000 + b"\r\n{}",
        b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 1_000_000 + b"\r\n\r\n{}",
        _CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
        _CHUNKED + b"2\r\n{}\r\n",
        reply_bytes(TAKEN.encode(), headers=("Content-Encoding: br",)),
        reply_bytes(TAKEN.encode(), headers=("Content-Encoding: gzip",)),
        reply_bytes(gzip.compress(TAKEN.encode())[:-4], headers=("Content-Encoding: gzip",)),
        reply_bytes(b"[" * 200_000),
        reply_bytes(b'{"a":' * 100_000),
    ],
    ids=lambda raw: repr(raw[:40]),
)
def test_broken_replies_are_unknown(raw: bytes) -> None:
    """What is no whole reply is unknown, never an exception and never certain."""
    sent, _ = deploy_to(answering(raw))
    assert isinstance(sent, NoReply | Reply)
    assert isinstance(classify(sent, operation=Operation.DEPLOY), Unknown), sent


@pytest.mark.parametrize("head", [b"%s 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n%s\r\n\r\n"])
def test_a_broken_reply_does_not_give_the_key_away(head: bytes) -> None:
    """What the network's library quotes of a reply that it cannot read does not hold the key."""
    sent, _ = deploy_to(answering(head % KEY.encode()))
    assert isinstance(sent, NoReply)
    assert KEY not in sent.error
    assert "[redacted]" in sent.error


# Timeouts, phase by phase


def test_a_server_that_never_answers() -> None:
    """Silence after the request ends in NoReply, because the request was received."""
    sent, [received] = deploy_to(silent, replace(PATIENT, read=SHORT))
    assert sent == NoReply(error="no answer in time")
    assert received.endswith(DEPLOY.body or b"-")


def test_a_server_that_stops_in_the_middle() -> None:
    """Silence inside a reply keeps what has come."""

    def behave(peer: Peer) -> None:
        peer.read_request()
        peer.send(reply_bytes(TAKEN.encode())[:-9])
        peer.read_to_end()

    sent, _ = deploy_to(behave, replace(PATIENT, read=2.0))
    assert isinstance(sent, Reply)
    assert sent.body == TAKEN.encode()[:-9]
    outcome = classify(sent, operation=Operation.DEPLOY)
    assert isinstance(outcome, Unknown)
    assert outcome.candidates == (ID,)


def test_a_server_that_does_not_read() -> None:
    """A request that cannot be written to its end is NoReply, because some of it was."""

    def behave(peer: Peer) -> None:
        peer.read(1)
        done.wait(60)

    done = threading.Event()
    huge = Request(method="POST", path=DEPLOY.path, body=b"x" * 64 * 1024 * 1024)
    with loopback_server(behave) as server:
        sent = with_platform(
            server, lambda platform: platform.send(huge, at_once), timeouts=replace(PATIENT, write=SHORT)
        )
        done.set()
    assert isinstance(sent, NoReply)


def test_a_question_that_is_not_answered() -> None:
    """Asking ends in NoReply too; nothing depends on it."""
    with loopback_server(silent) as server:
        sent = with_platform(server, lambda platform: platform.ask(ID), timeouts=replace(PATIENT, answer=SHORT))
    assert isinstance(sent, NoReply)


def test_a_cancelled_send_is_cancelled() -> None:
    """Whoever cancels a send gets CancelledError, and the connection is closed."""

    async def use(platform: HttpPlatform) -> None:
        recorded = asyncio.Event()

        async def record() -> None:
            recorded.set()

        task = asyncio.create_task(platform.send(DEPLOY, record))
        await recorded.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with loopback_server(silent) as server:
        with_platform(server, use)


def test_many_at_once() -> None:
    """A hundred sends at once have a hundred connections and a hundred endings."""

    async def use(platform: HttpPlatform) -> list[Sent]:
        return list(await asyncio.gather(*(platform.send(DEPLOY, at_once) for _ in range(100))))

    with loopback_server(answering(reply_bytes(TAKEN.encode()))) as server:
        endings = with_platform(server, use)
    assert len(server.peers) == 100
    assert all(isinstance(sent, Reply) for sent in endings)
