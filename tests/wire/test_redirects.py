"""Redirects of each kind to each kind of place, for every call: nobody else learns the key, and no call is made twice.

The host answers with the redirect, and a second server stands where it leads. What both of them received is the judge: not one
connection elsewhere, exactly one request here.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from reconciler.model.applied import NotProcessed, Operation, RefusalKind, Unknown
from reconciler.platform.endings import Unreadable
from tests.support.certificates import Authority
from tests.support.loopback import Behaviour, LoopbackServer, Peer, loopback_server, reply_bytes
from tests.wire.calls import KEY, Call, each_call, over

CODES = ("300 Multiple Choices", "301 Moved", "302 Found", "303 See Other", "304 Not Modified", "305 Use Proxy")
CERTAIN = ("307 Temporary Redirect", "308 Permanent Redirect")


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """The host that is configured, and another server."""

    here: LoopbackServer
    there: LoopbackServer


# Where it may lead: the header's value, or None for no header.
PLACES: dict[str, Callable[[Servers], str | None]] = {
    "same host, other path": lambda s: f"{s.here.origin}/elsewhere",
    "same host, same path": lambda s: f"{s.here.origin}/api/public/models/cm-1/deploy?modelType=openSource",
    "path": lambda s: "/api/public/models/cm-2/deploy?modelType=openSource",
    "relative path": lambda s: "undeploy",
    "query alone": lambda s: "?modelType=fineTune",
    "other port": lambda s: f"{s.there.origin}/api/public/models/cm-1/deploy",
    "other host name": lambda s: f"http://localhost:{s.there.port}/",
    "to https": lambda s: f"https://127.0.0.1:{s.there.port}/",
    "protocol-relative": lambda s: f"//127.0.0.1:{s.there.port}/x",
    "backslashes": lambda s: f"\\\\127.0.0.1:{s.there.port}\\x",
    "with a user": lambda s: f"http://user:password@127.0.0.1:{s.there.port}/",
    "user that looks like the host": lambda s: f"http://127.0.0.1:{s.here.port}@127.0.0.1:{s.there.port}/",
    "none": lambda s: None,
    "empty": lambda s: "",
    "malformed": lambda s: "http://[::1",
    "a port that is none": lambda s: "http://127.0.0.1:port/",
    "not ASCII": lambda s: "http://b\xfccher.example/",
    "other scheme": lambda s: "file:///etc/passwd",
    "script": lambda s: "javascript:alert(1)",
    "escape codes": lambda s: f"{s.there.origin}/\x1b[2J",
    "very long": lambda s: f"{s.there.origin}/{'a' * 20_000}",
}


def redirecting(code: str, location: str | None, body: bytes) -> Behaviour:
    """Answers every request on a connection so; a client that follows would come back."""
    headers = () if location is None else (f"Location: {location}",)

    def behave(peer: Peer) -> None:
        while peer.read_request():
            peer.send(raw)

    raw = reply_bytes(body, status=code, headers=tuple(headers))
    raw = raw.decode("utf-8").encode("latin-1", "replace") if location and not location.isascii() else raw
    return behave


@contextmanager
def two_servers(code: str, place: str, body: bytes, tls: ssl.SSLContext | None = None) -> Iterator[Servers]:
    """The first one redirects to the place; the second one would answer with a good reply."""

    def here(peer: Peer) -> None:
        redirecting(code, PLACES[place](servers), body)(peer)

    def there(peer: Peer) -> None:
        peer.read_request()
        peer.send(reply_bytes(body))

    with loopback_server(there) as second, loopback_server(here, tls=tls) as first:
        servers = Servers(here=first, there=second)
        yield servers


def assert_nobody_else_heard(servers: Servers) -> None:
    assert servers.there.received == [], "a second server was asked"
    [request] = servers.here.received
    assert request.count(b" HTTP/1.1\r\n") == 1, "asked twice"
    assert request.count(KEY.encode()) == 1


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("code", [*CODES, *CERTAIN])
@each_call
def test_redirects_lead_nowhere(call: Call, code: str, place: str) -> None:
    """Not one byte leaves for anywhere else, the call is made once, and what it means is what its row says."""
    with two_servers(code, place, b"" if code.startswith("304") else call.job("SUCCESS")) as servers:
        [(sent, recorded)] = over(servers.here.origin, call.make)
    assert_nobody_else_heard(servers)
    meaning = call.meaning(sent)
    if call.operation is None:
        assert isinstance(meaning, Unreadable)
        return
    assert recorded == 1
    if code in CERTAIN:
        assert isinstance(meaning, NotProcessed)
        assert meaning.kind is RefusalKind.REDIRECTED
        assert "\x1b" not in meaning.message
        assert len(meaning.message) < 1000
    else:
        assert isinstance(meaning, Unknown)


@pytest.mark.parametrize("code", ["302 Found", *CERTAIN])
@each_call
def test_from_https_to_http(call: Call, code: str, authority: Authority) -> None:
    """A redirect out of TLS gives the key to nobody either."""
    with two_servers(code, "other port", call.job("SUCCESS"), tls=authority.server("127.0.0.1")) as servers:
        origin = f"https://127.0.0.1:{servers.here.port}"
        [(sent, _)] = over(origin, call.make, ca_file=authority.ca_file)
    assert_nobody_else_heard(servers)
    assert isinstance(call.meaning(sent), Unreadable | Unknown | NotProcessed)
    assert call.operation is not Operation.DEPLOY or servers.there.origin in repr(sent)
