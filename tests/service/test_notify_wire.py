"""Messages over real sockets: what a receiver gets, what its answers mean, and that no address or secret is ever said."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from reconciler.controller.notify.channels import NotDelivered, Sender, sender_for
from reconciler.controller.notify.facts import Fact
from reconciler.controller.notify.text import Message
from reconciler.errors import AuthenticationError
from reconciler.model.notification import Channel, Outcome
from reconciler.model.resource import KeyReference
from tests.support.loopback import Behaviour, LoopbackServer, Peer, answering, loopback_server, reply_bytes

CANARY = "T0-canary"
SECRET = "a-shared-secret"


# The library imports what later Pythons do without.
apprise_warns = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def channel(kind: str = "webhook", *, signed: bool = True) -> Channel:
    secret = KeyReference(kind="env", value="SECRET") if signed else None
    return Channel(name="ops", type=kind, url=KeyReference(kind="env", value="URL"), secret=secret)


def message(of: Channel) -> Message:
    one = Fact(
        outcome=Outcome.FAILED,
        environment="production",
        address="production/chat",
        detail="no GPU é",
        at=datetime(2030, 1, 1, tzinfo=UTC),
        pass_id="p",
    )
    return Message(id="msg_1", channel=of, source="main", facts=(one,))


def send(url: str, *, of: Channel | None = None, environ: Mapping[str, str] | None = None) -> None:
    """One delivery, the way the notifier makes it."""
    of = of or channel()
    values = {"URL": url, "SECRET": SECRET}

    async def go() -> None:
        sender: Sender = sender_for(of, lambda reference: values[reference.value], environ or {})
        try:
            await sender.send(message(of))
        finally:
            await sender.close()

    asyncio.run(go())


def refused(url: str, of: Channel | None = None) -> NotDelivered:
    with pytest.raises(NotDelivered) as caught:
        send(url, of=of)
    assert CANARY not in str(caught.value)
    assert SECRET not in str(caught.value)
    return caught.value


def request_of(server: LoopbackServer) -> tuple[str, dict[str, str], bytes]:
    (received,) = server.received
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return first, {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, body


def test_a_receiver_can_check_what_it_gets() -> None:
    """A webhook is one POST of JSON, signed over id, time and bytes."""
    with loopback_server(answering(reply_bytes(b"", status="204 No Content"))) as server:
        send(f"{server.origin}/{CANARY}?x=1")
    first, headers, body = request_of(server)
    assert first == f"POST /{CANARY}?x=1 HTTP/1.1"
    assert json.loads(body)["facts"][0]["address"] == "production/chat"
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["webhook-id"] == "msg_1"
    assert headers["content-type"] == "application/json"


def test_without_a_secret_nothing_is_signed() -> None:
    """A channel without a secret sends no signature."""
    with loopback_server(answering(reply_bytes(b""))) as server:
        send(server.origin, of=channel(signed=False))
    assert "webhook-signature" not in request_of(server)[1]


@pytest.mark.parametrize(
    ("status", "again"),
    [
        ("500 Oops", True),
        ("503 Busy", True),
        ("429 Slow", True),
        ("404 Gone", False),
        ("400 Bad", False),
        ("302 Go", False),
    ],
)
def test_what_an_answer_means(status: str, again: bool) -> None:
    """The receiver's own trouble passes; a message that it does not want is not sent again; no redirect is followed."""
    headers = ("Location: http://127.0.0.1:1/elsewhere",) if status.startswith("302") else ()
    with loopback_server(answering(reply_bytes(b"secret words", status=status, headers=headers))) as server:
        error = refused(f"{server.origin}/{CANARY}")
    assert (str(error), error.again) == (f"HTTP {status[:3]}", again)
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("seconds", "again", "after"), [("7", True, 7.0), ("86400", False, 86400.0), ("soon", True, None)]
)
def test_how_long_to_wait(seconds: str, again: bool, after: float | None) -> None:
    """Retry-After is kept, unless it asks for more patience than a message is worth."""
    reply = reply_bytes(b"", status="429 Slow", headers=(f"Retry-After: {seconds}",))
    with loopback_server(answering(reply)) as server:
        error = refused(server.origin)
    assert (error.again, error.after) == (again, after)


def _hang_up(peer: Peer) -> None:
    peer.read_request()
    peer.reset()


def _gibberish(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"\x00\x01 no HTTP\r\n\r\n")


@pytest.mark.parametrize("behaviour", [_hang_up, _gibberish])
def test_a_broken_connection_is_tried_again(behaviour: Behaviour) -> None:
    """What goes wrong on the way is told by its kind."""
    with loopback_server(behaviour) as server:
        assert refused(f"{server.origin}/{CANARY}").again


@pytest.mark.parametrize(
    "url", [f"http://chat.example.com/{CANARY}", f"ftp://127.0.0.1/{CANARY}", CANARY, f"https://[{CANARY}", ""]
)
def test_only_https_and_this_machine(url: str) -> None:
    """An address that is not https, or none at all, is refused without being said."""
    assert not refused(url).again


def test_a_missing_reference_is_no_surprise() -> None:
    """A reference that leads nowhere is told by its name; a file may still appear."""

    def read(reference: KeyReference) -> str:
        raise AuthenticationError(f"no {reference}")

    async def go() -> None:
        await sender_for(channel(), read, {}).send(message(channel()))

    with pytest.raises(NotDelivered, match="env:URL cannot be read") as caught:
        asyncio.run(go())
    assert caught.value.again


@apprise_warns
def test_apprise_carries_title_and_text() -> None:
    """A service that apprise knows gets both, in its own form."""
    pytest.importorskip("apprise")
    of = channel("apprise", signed=False)
    with loopback_server(answering(reply_bytes(b"ok"))) as server:
        send(f"json://127.0.0.1:{server.port}/{CANARY}", of=of)
    first, _, body = request_of(server)
    assert first == f"POST /{CANARY} HTTP/1.1"
    sent = json.loads(body)
    assert sent["title"] == "reconciler: 1 failed in production"
    assert sent["message"] == "✗ production/chat failed: no GPU é"


@apprise_warns
def test_apprise_failures_say_no_address(capfd: pytest.CaptureFixture[str]) -> None:
    """A service that refuses is tried again, an address that is none is not, and neither is repeated anywhere."""
    pytest.importorskip("apprise")
    of = channel("apprise", signed=False)
    with loopback_server(answering(reply_bytes(b"", status="500 Oops"))) as server:
        assert refused(f"json://127.0.0.1:{server.port}/{CANARY}", of).again
    assert not refused(f"nothing://{CANARY}", of).again
    shown = capfd.readouterr()
    assert CANARY not in shown.out + shown.err
