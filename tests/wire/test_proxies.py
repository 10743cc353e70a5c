"""Proxies, for every call: what fails before the tunnel is up was not sent, what fails in it is unknown, none sees the key."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.model.applied import Accepted, NotSent, Unknown
from reconciler.platform.api import ConnectFailed, NoReply, Reply
from reconciler.platform.endings import Running, Unreachable, Unreadable
from tests.support.certificates import Authority
from tests.support.loopback import Behaviour, LoopbackServer, Peer, answering, loopback_server, reply_bytes, silent
from tests.wire.calls import CALLS, ID, KEY, PATIENT, SHORT, Call, each_call, in_turn, over

NAME = "platform.example.com"
ORIGIN = f"https://{NAME}"
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"


def through(proxy: LoopbackServer, variable: str = "https_proxy") -> dict[str, str]:
    return {variable: f"http://user:hunter2@127.0.0.1:{proxy.port}"}


def relaying(to: LoopbackServer) -> Behaviour:
    """An honest proxy: opens the tunnel and carries what it cannot read."""

    def behave(peer: Peer) -> None:
        peer.read_request()
        with socket.create_connection(("127.0.0.1", to.port)) as far:
            peer.send(OPEN)
            other = {peer.sock: far, far: peer.sock}
            while True:
                for near in select.select(list(other), [], [])[0]:
                    piece = near.recv(65536)
                    if not piece:
                        return
                    if near is peer.sock:
                        peer.received += piece
                    other[near].sendall(piece)

    return behave


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
@each_call
def test_a_proxy_sees_no_key(call: Call, variable: str, authority: Authority) -> None:
    """The proxy is asked for a tunnel with its own password, and of what it carries it can read nothing."""
    with (
        loopback_server(answering(reply_bytes(call.job())), tls=authority.server(NAME)) as platform,
        loopback_server(relaying(platform)) as proxy,
    ):
        environ = through(proxy, variable)
        [(sent, recorded)] = over(ORIGIN, call.make, ca_file=authority.ca_file, environ=environ)
    assert isinstance(call.meaning(sent), Running if call.operation is None else Accepted)
    assert recorded == (call.operation is not None)
    [carried], [request] = proxy.received, platform.received
    assert carried.startswith(f"CONNECT {NAME}:443 HTTP/1.1\r\n".encode())
    assert b"Proxy-Authorization: Basic " in carried
    for secret in (KEY.encode(), b"x-api-key", b"cm-1", ID.encode()):
        assert secret not in carried.lower()
    assert request.count(KEY.encode()) == 1
    assert b"proxy-authorization" not in request.lower()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return int(closed.getsockname()[1])


@each_call
def test_a_proxy_that_is_not_there(call: Call, authority: Authority) -> None:
    """A refused proxy is "not sent"; the platform is not called around it."""
    environ = {"https_proxy": f"http://127.0.0.1:{closed_port()}"}
    [(sent, recorded)] = over(ORIGIN, call.make, ca_file=authority.ca_file, environ=environ)
    assert isinstance(sent, ConnectFailed)
    assert recorded == 0


def no_tunnel(told: bytes, how: str = "eof") -> Behaviour:
    def behave(peer: Peer) -> None:
        peer.read_request()
        peer.send(told)
        if how == "reset":
            peer.reset()

    return behave


NO_TUNNEL: dict[str, Behaviour] = {
    "hangs up at once": lambda peer: None,
    "resets at once": lambda peer: peer.reset(),
    "hangs up when asked": no_tunnel(b""),
    "resets when asked": no_tunnel(b"", "reset"),
    "407": no_tunnel(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n"),
    "403 with an id": no_tunnel(reply_bytes(b'{"dock-statusId": "ds-1"}', status="403 Forbidden")),
    "302": no_tunnel(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n"),
    "429": no_tunnel(b"HTTP/1.1 429 Slow down\r\nRetry-After: 99999\r\n\r\n"),
    "502": no_tunnel(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"),
    "504": no_tunnel(b"HTTP/1.1 504 Gateway Timeout\r\n\r\n"),
    "nonsense": no_tunnel(b"nonsense\r\n\r\n"),
    "half a head": no_tunnel(b"HTTP/1.1 200 Conn"),
    "opens and hangs up": no_tunnel(OPEN),
    "opens and resets": no_tunnel(OPEN, "reset"),
    "opens to plain http": no_tunnel(OPEN + reply_bytes(b'{"dock-statusId": "ds-1"}')),
    "opens to noise": no_tunnel(OPEN + b"\x00" * 100),
}


@pytest.mark.parametrize("name", NO_TUNNEL)
def test_before_the_tunnel_nothing_was_sent(name: str, authority: Authority) -> None:
    """Whatever a proxy does before TLS through it is up: no call has left for the platform, and nobody was shown the key."""
    with loopback_server(NO_TUNNEL[name]) as proxy:
        environ = through(proxy)
        endings = in_turn(ORIGIN, [call.make for call in CALLS], ca_file=authority.ca_file, environ=environ)
    for call, (sent, recorded) in zip(CALLS, endings, strict=True):
        assert isinstance(sent, ConnectFailed)
        assert not sent.trust
        assert "hunter2" not in sent.error
        assert recorded == 0
        assert isinstance(call.meaning(sent), Unreachable if call.operation is None else NotSent)
    assert len(proxy.received) == len(CALLS), "not tried again by itself"
    assert not any(KEY.encode() in raw for raw in proxy.received)


@pytest.mark.parametrize("told", [b"", OPEN], ids=["never answers", "opens and is silent"])
@each_call
def test_a_proxy_that_takes_for_ever(call: Call, told: bytes, authority: Authority) -> None:
    """The connect deadline covers the proxy too."""

    def behave(peer: Peer) -> None:
        peer.send(told)
        silent(peer)

    timeouts = replace(PATIENT, connect=SHORT)
    with loopback_server(behave) as proxy:
        [(sent, recorded)] = over(
            ORIGIN, call.make, ca_file=authority.ca_file, environ=through(proxy), timeouts=timeouts
        )
    assert isinstance(sent, ConnectFailed)
    assert recorded == 0


@each_call
def test_an_open_tunnel_cut_after_every_byte(call: Call, authority: Authority) -> None:
    """However little of the proxy's consent comes, nothing was sent."""

    def behave(peer: Peer) -> None:
        peer.read_request()
        peer.send(OPEN[: peer.number])

    with loopback_server(behave) as proxy:
        environ = through(proxy)
        endings = in_turn(ORIGIN, [call.make] * len(OPEN), ca_file=authority.ca_file, environ=environ)
    assert [(type(sent), recorded) for sent, recorded in endings] == [(ConnectFailed, 0)] * len(OPEN)


@each_call
def test_a_proxy_cannot_pretend_to_be_the_platform(call: Call, authority: Authority, stranger: Authority) -> None:
    """TLS inside the tunnel is checked against the platform's name and our authorities."""
    for context in (stranger.server(NAME), authority.server("localhost"), authority.server(NAME, valid="expired")):

        def behave(peer: Peer, context: object = context) -> None:
            peer.read_request()
            peer.send(OPEN)
            peer.secure(context)  # type: ignore[arg-type]
            peer.read_to_end()

        with loopback_server(behave) as proxy:
            [(sent, recorded)] = over(ORIGIN, call.make, ca_file=authority.ca_file, environ=through(proxy))
        assert isinstance(sent, ConnectFailed)
        assert sent.trust
        assert recorded == 0
        assert KEY.encode() not in proxy.received[0]


def tunnelling(authority: Authority, then: Behaviour) -> Behaviour:
    """Opens the tunnel, and then is the platform itself."""

    def behave(peer: Peer) -> None:
        peer.read_request()
        peer.send(OPEN)
        peer.secure(authority.server(NAME))
        then(peer)

    return behave


def _reset_after_a_byte(peer: Peer) -> None:
    peer.read(1)
    peer.reset()


def _cut_reply(call: Call) -> Behaviour:
    return answering(reply_bytes(call.job())[:-3])


IN_THE_TUNNEL: dict[str, tuple[Callable[[Call], Behaviour], type, type, type]] = {
    "resets at once": (lambda call: Peer.reset, NoReply, Unknown, Unreachable),
    "resets after a byte": (lambda call: _reset_after_a_byte, NoReply, Unknown, Unreachable),
    "hangs up": (lambda call: lambda peer: (peer.read_request(), None)[1], NoReply, Unknown, Unreachable),
    "cuts the reply": (_cut_reply, Reply, Unknown, Unreadable),
    "redirects": (
        lambda call: answering(reply_bytes(b"", status="302 Found", headers=("Location: http://127.0.0.1/",))),
        Reply,
        Unknown,
        Unreadable,
    ),
}


@pytest.mark.parametrize("name", IN_THE_TUNNEL)
@each_call
def test_in_the_tunnel_there_is_doubt(call: Call, name: str, authority: Authority) -> None:
    """Once TLS through the proxy is up, a call that breaks is unknown, exactly as without a proxy."""
    then, kind, counts, answer = IN_THE_TUNNEL[name]
    with loopback_server(tunnelling(authority, then(call))) as proxy:
        [(sent, recorded)] = over(ORIGIN, call.make, ca_file=authority.ca_file, environ=through(proxy))
    assert isinstance(sent, kind)
    assert recorded == (call.operation is not None)
    assert isinstance(call.meaning(sent), answer if call.operation is None else counts)
    assert len(proxy.peers) == 1, "not tried again by itself"


@pytest.mark.parametrize(
    "no_proxy", ["*", "localhost", "localhost:{port}", ".localhost", "other.example.com, LOCALHOST"]
)
@each_call
def test_hosts_without_a_proxy(call: Call, no_proxy: str, authority: Authority) -> None:
    """What NO_PROXY names, and this machine in any case, is called directly."""
    for variable in ("no_proxy", "NO_PROXY", "unrelated"):
        with (
            loopback_server(silent) as proxy,
            loopback_server(answering(reply_bytes(call.job())), tls=authority.server()) as server,
        ):
            environ = {
                **through(proxy),
                "http_proxy": "http://127.0.0.1:1",
                variable: no_proxy.format(port=server.port),
            }
            origin = f"https://localhost:{server.port}"
            [(sent, _)] = over(origin, call.make, ca_file=authority.ca_file, environ=environ)
        assert isinstance(sent, Reply)
        assert proxy.peers == []
