"""`reconciler health` as a container's health check runs it: a process, over a real socket."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.loopback import Peer, answering, loopback_server, reply_bytes


def health(*arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "reconciler", "health", *arguments]
    environ = {"http_proxy": "http://127.0.0.1:1", "PATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environ)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(("flags", "path"), [((), "/healthz"), (("--ready",), "/readyz")])
def test_well(flags: tuple[str, ...], path: str) -> None:
    """A loop that is well ends it with 0; the proxy of the environment is not asked."""
    with loopback_server(answering(reply_bytes(b"ok\n"))) as server:
        assert health(server.origin, *flags) == (0, "ok\n", "")
    assert server.received[0].startswith(f"GET {path} HTTP/1.1\r\n".encode())


def test_not_well() -> None:
    """A loop that gives no sign of life ends it with 1, and its words are shown without their escape sequences."""
    reply = reply_bytes(b"no \x1b[31msign\x1b[0m of life\n", status="503 Unavailable")
    with loopback_server(answering(reply)) as server:
        assert health(server.origin) == (1, "", "no sign of life\n")


def _silent(peer: Peer) -> None:
    peer.read_request()
    peer.read_to_end()


def test_no_answer() -> None:
    """Nobody there, nobody answering, and no address at all end it with 1 and without a traceback."""
    with loopback_server(_silent) as server:
        code, out, told = health(server.origin, "--timeout", "0.2")
    assert (code, out) == (1, "")
    assert "does not answer" in told
    for address in ("http://127.0.0.1:1", "127.0.0.1:8080", "http://[", "file:///etc/passwd"):
        code, out, told = health(address)
        assert (code, out, len(told.splitlines())) == (1, "", 1)
