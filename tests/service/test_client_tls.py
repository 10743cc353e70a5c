"""TLS and proxies over real sockets: whom the client trusts, and that the key goes nowhere else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from reconciler.errors import InvalidInput
from reconciler.platform.api import ConnectFailed, Reply, Sent, deploy_request
from reconciler.platform.client import HttpPlatform, Timeouts
from tests.support.certificates import OPENSSL, Authority, make_authority
from tests.support.loopback import Behaviour, LoopbackServer, Peer, answering, loopback_server, reply_bytes, silent
from tests.support.vendor import REPLY, SAMPLES

pytestmark = pytest.mark.skipif(
    OPENSSL is None, reason="the openssl program, which makes the certificates, is not there"
)

KEY = "kg-0badc0de-0000-5000-8000-000000000000"
DEPLOY = deploy_request("cm-1", "openSource", json.dumps(SAMPLES[0].body))
OK = reply_bytes(json.dumps(REPLY).encode())
NAME = "platform.example.com"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that only `ca_file` makes trusted."""
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Another authority, of the same name."""
    return make_authority(tmp_path_factory.mktemp("stranger"))


def send(
    origin: str, *, ca_file: str | None, environ: Mapping[str, str] = {}, connect: float = 60.0
) -> tuple[Sent, int]:
    """Send one deploy; gives its ending and how often a record was asked for."""
    records = []

    async def record() -> None:
        records.append(1)

    async def main() -> Sent:
        timeouts = Timeouts(connect=connect, write=60.0, read=60.0, reply=60.0)
        platform = HttpPlatform(origin, lambda: KEY, ca_file=ca_file, environ=environ, timeouts=timeouts)
        try:
            return await platform.send(DEPLOY, record)
        finally:
            await platform.close()

    return asyncio.run(main()), len(records)


def https(server: LoopbackServer, host: str = "localhost") -> str:
    return f"https://{host}:{server.port}"


def test_a_trusted_authority(authority: Authority) -> None:
    """A server with a certificate of the authority in caFile gets the request, key and all."""
    with loopback_server(answering(OK), tls=authority.server()) as server:
        sent, records = send(https(server), ca_file=authority.ca_file)
    assert isinstance(sent, Reply)
    assert records == 1
    assert KEY.encode() in server.received[0]


def test_an_address_needs_a_certificate_for_it(authority: Authority) -> None:
    """A certificate for a name does not prove an address; one for the address does."""
    for name, proven in (("localhost", False), ("127.0.0.1", True)):
        with loopback_server(answering(OK), tls=authority.server(name)) as server:
            sent, _ = send(https(server, "127.0.0.1"), ca_file=authority.ca_file)
        assert isinstance(sent, Reply) is proven


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"\xff"])
def test_a_ca_file_that_cannot_be_used(tmp_path: Path, content: bytes | None) -> None:
    """A caFile that is missing or holds no certificate is refused when the platform is made, by its name."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"ca\.pem"):
        HttpPlatform(f"https://{NAME}", lambda: KEY, ca_file=str(path), environ={})


# Proxies


def tunnelling(authority: Authority, told: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> Behaviour:
    """A proxy that answers CONNECT, and then is the platform itself."""

    def behave(peer: Peer) -> None:
        peer.read_request()
        peer.send(told)
        if b" 200 " in told:
            peer.secure(authority.server(NAME))
            answering(OK)(peer)

    return behave


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "all_proxy"])
def test_a_tunnel_through_a_proxy(authority: Authority, variable: str) -> None:
    """The proxy is asked for a tunnel without the key; the record is made once TLS through it is up."""
    with loopback_server(tunnelling(authority)) as server:
        environ = {variable: f"http://user:hunter2@127.0.0.1:{server.port}"}
        sent, records = send(f"https://{NAME}", ca_file=authority.ca_file, environ=environ)
    assert isinstance(sent, Reply)
    assert records == 1
    asked, _, request = server.received[0].partition(b"\r\n\r\n")
    assert asked.startswith(f"CONNECT {NAME}:443 HTTP/1.1\r\n".encode())
    assert b"Proxy-Authorization: Basic " in asked
    assert b"x-api-key" not in asked.lower()
    assert request.startswith(b"POST /api/public/models/cm-1/deploy?modelType=openSource HTTP/1.1\r\n")
    assert b"proxy-authorization" not in request.lower()
    assert KEY.encode() in request


def test_a_proxy_over_tls(authority: Authority) -> None:
    """A proxy may itself be reached over TLS, checked against the same authorities."""
    with loopback_server(answering(b""), tls=authority.server()) as server:
        environ = {"https_proxy": f"https://localhost:{server.port}"}
        sent, records = send(f"https://{NAME}", ca_file=authority.ca_file, environ=environ)
    assert isinstance(sent, ConnectFailed)
    assert records == 0
    assert server.received[0].startswith(f"CONNECT {NAME}:443".encode())


@pytest.mark.parametrize("no_proxy", ["*", "localhost", "localhost:{port}", "other.example.com,localhost"])
def test_hosts_without_a_proxy(authority: Authority, no_proxy: str) -> None:
    """This machine and what no_proxy names are called directly."""
    with loopback_server(silent) as proxy, loopback_server(answering(OK), tls=authority.server()) as server:
        environ = {
            "https_proxy": f"http://127.0.0.1:{proxy.port}",
            "no_proxy": no_proxy.format(port=server.port),
        }
        sent, _ = send(https(server), ca_file=authority.ca_file, environ=environ)
    assert isinstance(sent, Reply)
    assert proxy.peers == []
