"""TLS that is not in order, for every call: without proof of the host not one byte of a request leaves."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.model.applied import Accepted, NotSent, Unknown
from reconciler.platform.api import ConnectFailed, NoReply
from reconciler.platform.endings import Running, Unreachable
from tests.support.certificates import Authority
from tests.support.loopback import Behaviour, Peer, answering, loopback_server, reply_bytes, silent
from tests.wire.calls import CALLS, KEY, PATIENT, SHORT, Call, each_call, in_turn, over

Server = Callable[[Authority, Authority], ssl.SSLContext]

UNTRUSTED: dict[str, Server] = {
    "expired": lambda ours, _: ours.server(valid="expired"),
    "not yet valid": lambda ours, _: ours.server(valid="not yet"),
    "wrong name": lambda ours, _: ours.server("elsewhere.example.com"),
    "a name below": lambda ours, _: ours.server("api.localhost"),
    "unknown authority": lambda _, theirs: theirs.server(),
    "self-signed": lambda ours, _: ours.self_signed(),
}


def not_sent(call: Call) -> type:
    return Unreachable if call.operation is None else NotSent


def in_doubt(call: Call) -> type:
    return Unreachable if call.operation is None else Unknown


@each_call
def test_in_order(call: Call, authority: Authority) -> None:
    """With a certificate of the authority in caFile the call is made, and its record is asked for once TLS is up."""
    with loopback_server(answering(reply_bytes(call.job())), tls=authority.server()) as server:
        [(sent, recorded)] = over(f"https://localhost:{server.port}", call.make, ca_file=authority.ca_file)
    assert isinstance(call.meaning(sent), Running if call.operation is None else Accepted)
    assert recorded == (call.operation is not None)
    assert server.received[0].count(KEY.encode()) == 1


@pytest.mark.parametrize("name", UNTRUSTED)
def test_not_in_order(name: str, authority: Authority, stranger: Authority) -> None:
    """A certificate that does not prove the host is an error of trust, for every call: nothing is recorded, nothing sent."""
    context = UNTRUSTED[name](authority, stranger)
    with loopback_server(answering(reply_bytes(CALLS[0].job())), tls=context) as server:
        origin = f"https://localhost:{server.port}"
        endings = in_turn(origin, [call.make for call in CALLS], ca_file=authority.ca_file)
    for call, (sent, recorded) in zip(CALLS, endings, strict=True):
        assert isinstance(sent, ConnectFailed)
        assert sent.trust
        assert "not trusted" in sent.error
        assert recorded == 0
        assert isinstance(call.meaning(sent), not_sent(call))
    assert server.received == [b""] * len(CALLS)


@each_call
def test_no_caFile_no_trust(call: Call, authority: Authority) -> None:  # noqa: N802 - as users write it
    """Without caFile an authority of one's own is unknown."""
    with loopback_server(answering(reply_bytes(call.job())), tls=authority.server()) as server:
        [(sent, recorded)] = over(f"https://localhost:{server.port}", call.make)
    assert isinstance(sent, ConnectFailed)
    assert sent.trust
    assert (recorded, server.received) == (0, [b""])


def _plain(told: bytes) -> Behaviour:
    def behave(peer: Peer) -> None:
        peer.read(1)
        peer.send(told)

    return behave


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(_plain(reply_bytes(b'{"dock-statusId": "ds-1"}')), id="plain http"),
        pytest.param(_plain(b"\x15\x03\x01\x00\x02\x02\x28"), id="an alert"),
        pytest.param(_plain(b"\x16\x03\x03\xff\xff" + b"x" * 100), id="no handshake"),
        pytest.param(_plain(b""), id="hangs up"),
        pytest.param(lambda peer: peer.reset(), id="resets"),
    ],
)
def test_no_tls_at_all(behave: Behaviour, authority: Authority) -> None:
    """A port that speaks no TLS gets the beginning of a handshake and never a request; that is no matter of trust."""
    with loopback_server(behave) as server:
        origin = f"https://localhost:{server.port}"
        endings = in_turn(origin, [call.make for call in CALLS], ca_file=authority.ca_file)
    for call, (sent, recorded) in zip(CALLS, endings, strict=True):
        assert isinstance(sent, ConnectFailed)
        assert not sent.trust
        assert recorded == 0
        assert isinstance(call.meaning(sent), not_sent(call))
    assert not any(KEY.encode() in raw for raw in server.received)


@each_call
def test_a_handshake_that_never_ends(call: Call, authority: Authority) -> None:
    """The connect deadline covers TLS: silence there is "not sent"."""
    timeouts = replace(PATIENT, connect=SHORT)
    with loopback_server(silent) as server:
        origin = f"https://localhost:{server.port}"
        [(sent, recorded)] = over(origin, call.make, ca_file=authority.ca_file, timeouts=timeouts)
    assert isinstance(sent, ConnectFailed)
    assert "in time" in sent.error
    assert recorded == 0


@each_call
def test_a_server_that_wants_a_certificate(call: Call, authority: Authority) -> None:
    """We have none to show. The refusal comes after our side of TLS is up, so a call is unknown and never "not sent" falsely."""
    context = authority.server()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca_file)
    with loopback_server(answering(reply_bytes(call.job())), tls=context) as server:
        [(sent, recorded)] = over(f"https://localhost:{server.port}", call.make, ca_file=authority.ca_file)
    assert isinstance(sent, NoReply if recorded else ConnectFailed | NoReply)
    assert isinstance(call.meaning(sent), in_doubt(call) if recorded else not_sent(call))
    assert server.received == [b""]


@pytest.mark.parametrize("bytes_read", [0, 1])
@each_call
def test_a_reset_after_the_handshake(call: Call, bytes_read: int, authority: Authority) -> None:
    """Once TLS is up, whatever breaks leaves doubt."""

    def behave(peer: Peer) -> None:
        peer.read(bytes_read)
        peer.reset()

    with loopback_server(behave, tls=authority.server()) as server:
        [(sent, recorded)] = over(f"https://localhost:{server.port}", call.make, ca_file=authority.ca_file)
    assert isinstance(sent, NoReply)
    assert recorded == (call.operation is not None)
    assert isinstance(call.meaning(sent), in_doubt(call))
