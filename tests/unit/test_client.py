"""What the client does before anything leaves, and how it keeps time; no sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import AuthenticationError, InvalidInput, ReconcilerError
from reconciler.platform.api import (
    Aborted,
    ConnectFailed,
    NoReply,
    Reply,
    Request,
    deploy_request,
    dock_status_path,
    undeploy_request,
)
from reconciler.platform.boundary import checked_key, checked_origin, checked_proxy, is_loopback, proxy_for, redacted
from reconciler.platform.client import HttpPlatform, Timeouts
from reconciler.simulator.world import World
from tests.support.simulator import AsgiPlatform, asgi_platform, scenario
from tests.support.vendor import SAMPLES, Sample
from tests.support.virtual_time import run_virtual

SECRET = "kg-0badc0de-0000-5000-8000-000000000000"
DEPLOY = deploy_request("cm-1", "openSource", json.dumps(SAMPLES[0].body))


async def at_once() -> None:
    """A record that takes no time."""


# The wire format


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.manifest)
def test_the_vendors_samples_are_accepted_as_sent(sample: Sample) -> None:
    """Each sample request of the vendor's page starts a job on a platform that is held to that page."""

    async def main() -> None:
        world = World(scenario(keys={sample.key: "*"}))
        platform = asgi_platform(world, key=sample.key)
        request = deploy_request(sample.model_id, sample.model_type, json.dumps(sample.body))
        assert request.path == sample.target
        sent = await platform.send(request, at_once)
        assert isinstance(sent, Reply)
        assert sent.status_code == 200
        [line] = platform.journal.lines
        assert f"{line['path']}?{line['query']}" == sample.target
        assert json.loads(line["body"]) == sample.body
        assert line["accepted"]

    run_virtual(main())


_HOSTILE = st.text(st.sampled_from("ab/?#%&;:@\\ \r\n\t\x00\x7fé\u202e.."), min_size=1, max_size=20)


@given(_HOSTILE, _HOSTILE)
def test_an_id_never_becomes_another_call(model_id: str, model_type: str) -> None:
    """Whatever an id holds, the path has its segments and the query its one parameter."""
    for request, call in (
        (deploy_request(model_id, model_type, "{}"), "deploy"),
        (undeploy_request(model_id), "undeploy"),
    ):
        path, _, query = request.path.partition("?")
        assert request.path.isascii()
        assert request.path.isprintable()
        assert " " not in request.path
        assert path.split("/")[:4] == ["", "api", "public", "models"]
        assert path.split("/")[5:] == [call]
        assert query.count("=") == query.count("modelType=") == (call == "deploy")
        assert not any(char in query for char in "&#;")


@given(_HOSTILE)
def test_an_id_of_the_platform_never_becomes_another_call(dock_status_id: str) -> None:
    """Whatever the platform calls a dock status, asking about it stays one question with one segment for it."""
    path = dock_status_path(dock_status_id)
    assert path.isascii()
    assert path.isprintable()
    assert not any(char in path for char in "?#& ")
    assert path.split("/")[:4] == ["", "api", "public", "dock-status"]
    assert len(path.split("/")) == 5


# Keys


@pytest.mark.parametrize("key", ["", "kg-1\n", "kg-1\r\nx-evil: 1", " kg-1", "kg 1", "kg-é", "kg-\x00", "kg-\u2028"])
def test_a_key_that_no_header_can_carry_is_refused(key: str) -> None:
    """A key with a line break or anything outside printable ASCII is refused before anything is sent, and not shown."""
    with pytest.raises(AuthenticationError) as caught:
        checked_key(key)
    assert not key or key.strip() not in str(caught.value)

    async def main() -> None:
        platform = asgi_platform(World(scenario()), key=key)
        with pytest.raises(AuthenticationError):
            await platform.send(DEPLOY, at_once)
        with pytest.raises(AuthenticationError):
            await platform.ask("ds-1")
        assert platform.journal.lines == []

    run_virtual(main())


def test_the_key_is_read_for_every_request() -> None:
    """A key that is rotated on disk is picked up without a restart."""
    keys = iter(["kg-first", "kg-second", "kg-third"])

    async def main() -> list[int]:
        inner = asgi_platform(World(scenario(keys={"kg-second": "*"})))
        platform = HttpPlatform(inner.origin, lambda: next(keys), transport=inner.carrier, environ={})
        return [sent.status_code for _ in range(3) if isinstance(sent := await platform.ask("ds-1"), Reply)]

    assert run_virtual(main()) == [401, 404, 401]


def test_the_key_is_redacted_wherever_it_comes_back() -> None:
    """A reply that echoes the key, whole or cut, is kept without it."""
    echo = {"match": {}, "answer": {"status": 400, "body": f"you sent {SECRET}", "headers": {"server": f"x {SECRET}"}}}
    cut = {"match": {}, "answer": {"status": 400, "body": f"you sent {SECRET}"}, "cutBody": 20}

    async def main() -> None:
        for rule in (echo, cut):
            sent = await asgi_platform(World(scenario(rule)), key=SECRET).send(DEPLOY, at_once)
            assert isinstance(sent, Reply)
            assert SECRET[:9] not in repr(sent)
            assert b"you sent [redacted]" in sent.body

    run_virtual(main())


@given(st.binary(max_size=60), st.integers(8, len(SECRET)))
def test_redaction_leaves_no_cut_key(before: bytes, length: int) -> None:
    """A body that ends inside the key loses what there is of it, from eight characters on."""
    body = before + SECRET.encode()[:length]
    assert not redacted(body, SECRET).endswith(SECRET.encode()[:length])
    assert SECRET.encode() not in redacted(body + b"x" + SECRET.encode(), SECRET)


def test_errors_do_not_show_the_platform() -> None:
    """The platform's representation names the host and nothing else."""
    assert (
        repr(HttpPlatform("https://a.example.com", lambda: SECRET, environ={}))
        == "HttpPlatform('https://a.example.com')"
    )


# Hosts


@pytest.mark.parametrize(
    "origin",
    [
        "https://agent-platform.example.com",
        "https://agent-platform.example.com/",
        "https://agent-platform.example.com:8443",
        "http://localhost:8080",
        "http://127.0.0.1:8080",
        "http://[::1]:8080",
        "http://simulator.localhost",
        "https://[2001:db8::1]:443",
    ],
)
def test_hosts_that_may_be_called(origin: str) -> None:
    """TLS goes anywhere, plain http only to this machine."""
    assert checked_origin(origin) == origin.rstrip("/")


@pytest.mark.parametrize(
    ("origin", "error"),
    [
        ("http://agent-platform.example.com", AuthenticationError),
        ("http://127.0.0.1.example.com", AuthenticationError),
        ("http://localhost.example.com", AuthenticationError),
        ("http://10.0.0.1", AuthenticationError),
        ("http://0.0.0.0:80", AuthenticationError),
        ("ftp://agent-platform.example.com", InvalidInput),
        ("agent-platform.example.com", InvalidInput),
        ("https://", InvalidInput),
        ("https://user@agent-platform.example.com", InvalidInput),
        ("https://agent-platform.example.com/path", InvalidInput),
        ("https://agent-platform.example.com?x", InvalidInput),
        ("https://agent-platform.example.com#x", InvalidInput),
        ("https://agent-platform.example.com:99999", InvalidInput),
        ("https://agent-platform.example.com:0", InvalidInput),
        ("https://[::1", InvalidInput),
        ("https://a b", InvalidInput),
        ("https://a\r\nb", InvalidInput),
        ("", InvalidInput),
    ],
)
def test_hosts_that_may_not_be_called(origin: str, error: type[ReconcilerError]) -> None:
    """Anything else is refused with a sentence before a key is read."""
    with pytest.raises(error):
        HttpPlatform(origin, lambda: pytest.fail("the key was read"), environ={})


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.1.2.3", "::1", "a.localhost"])
def test_loopback_names(host: str) -> None:
    """Names that can only mean this machine."""
    assert is_loopback(host)


# Proxies


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, None),
        ({"https_proxy": "http://p:1"}, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ({"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "http://p:1"),
        ({"https_proxy": " ", "ALL_PROXY": "p:1"}, "http://p:1"),
        ({"all_proxy": "socks5://p:1"}, "socks5://p:1"),
        ({"http_proxy": "http://p:1"}, None),
        ({"https_proxy": "http://p:1", "no_proxy": "*"}, None),
        ({"https_proxy": "http://p:1", "no_proxy": "example.com"}, None),
        ({"https_proxy": "http://p:1", "no_proxy": ".example.com"}, None),
        ({"https_proxy": "http://p:1", "no_proxy": "*.example.com"}, None),
        ({"https_proxy": "http://p:1", "NO_PROXY": "a, PLATFORM.example.com "}, None),
        ({"https_proxy": "http://p:1", "no_proxy": "platform.example.com:443"}, None),
        ({"https_proxy": "http://p:1", "no_proxy": "platform.example.com:8443"}, "http://p:1"),
        ({"https_proxy": "http://p:1", "no_proxy": "ample.com"}, "http://p:1"),
        ({"https_proxy": "http://p:1", "no_proxy": ",,"}, "http://p:1"),
    ],
)
def test_which_proxy(environ: dict[str, str], proxy: str | None) -> None:
    """The usual variables decide as they do for curl; lower case wins."""
    assert proxy_for("platform.example.com", 443, environ) == proxy


def test_no_proxy_for_this_machine() -> None:
    """A simulator on loopback is called directly."""
    assert proxy_for("127.0.0.1", 8080, {"all_proxy": "http://p:1"}) is None


@pytest.mark.parametrize("proxy", ["http://", "ftp://p:1", "http://p:99999", "http://[", "://"])
def test_a_bad_proxy_is_named_by_its_variable_only(proxy: str) -> None:
    """A proxy's address may hold a password, so the message does not repeat it."""
    with pytest.raises(InvalidInput) as caught:
        checked_proxy(proxy.replace("p:", "user:hunter2@p:"))
    assert "hunter2" not in str(caught.value)


# Time, and the moment before the first byte


def patient(**seconds: float) -> AsgiPlatform:
    """A platform whose latency is an hour, for a client with these timeouts."""
    return asgi_platform(World(scenario(latency=3600.0)), timeouts=Timeouts(**seconds))


def test_a_reply_that_takes_too_long_is_no_reply() -> None:
    """The deadline in all runs from the first byte and ends in NoReply, at its exact moment."""

    async def main() -> float:
        assert await patient(reply=90.0).send(DEPLOY, at_once) == NoReply(error="not finished in time")
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 90.0


def test_a_question_has_a_deadline_of_its_own() -> None:
    """Asking gives up sooner than sending."""

    async def main() -> float:
        assert await patient(answer=30.0).ask("ds-1") == NoReply(error="not finished in time")
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 30.0


class Dripping(httpx.AsyncBaseTransport):
    """Answers at once and then sends a byte an hour."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        named = SimpleNamespace(method=request.method.encode())
        await request.extensions["trace"]("http11.send_request_headers.started", {"request": named})
        await request.aread()

        async def drip() -> AsyncIterator[bytes]:
            for byte in b'{"dock-statusId"':
                yield bytes([byte])
                await asyncio.sleep(3600)

        return httpx.Response(200, content=drip())


def test_the_deadline_in_all_keeps_what_has_come() -> None:
    """A reply that drips past the deadline is a reply that is not whole."""

    async def main() -> None:
        platform = HttpPlatform("https://a.example.com", lambda: "kg-1", transport=Dripping(), environ={})
        sent = await platform.send(DEPLOY, at_once)
        assert sent == Reply(
            status_code=200,
            headers=(),
            body=b"{",
            error="the reply ended after 1 bytes of its body: not finished in time",
        )
        assert asyncio.get_running_loop().time() == Timeouts().reply

    run_virtual(main())


def test_recording_takes_the_time_that_it_takes() -> None:
    """Neither the connect deadline nor that of the reply runs while the attempt is being recorded."""

    async def main() -> None:
        async def slow_disk() -> None:
            await asyncio.sleep(86_400)

        sent = await asgi_platform(World(scenario()), timeouts=Timeouts(connect=1.0, reply=1.0)).send(DEPLOY, slow_disk)
        assert isinstance(sent, Reply)

    run_virtual(main())


@pytest.mark.parametrize(
    "objection", [Aborted("superseded"), KeyboardInterrupt(), OSError("disk full"), TimeoutError()]
)
def test_what_recording_raises_is_raised_on(objection: BaseException) -> None:
    """When the attempt cannot be recorded nothing leaves, and the reason comes out unchanged."""

    async def main() -> None:
        platform = asgi_platform(World(scenario()))

        async def object_to_it() -> None:
            raise objection

        with pytest.raises(type(objection)) as caught:
            await platform.send(DEPLOY, object_to_it)
        assert caught.value is objection
        assert platform.journal.lines == []

    run_virtual(main())


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("late"),
        httpx.ProxyError("407"),
        httpx.UnsupportedProtocol("x"),
    ],
)
def test_a_failed_connection_records_nothing(failure: httpx.TransportError) -> None:
    """Without a connection nobody is asked to record, and the ending is ConnectFailed."""

    async def main() -> None:
        platform = asgi_platform(World(scenario()))
        platform.carrier.connect_failures.append(failure)
        sent = await platform.send(DEPLOY, lambda: pytest.fail("asked to record"))
        assert isinstance(sent, ConnectFailed)
        assert not sent.trust

    run_virtual(main())


def test_a_transport_that_tells_no_steps_completes_no_request() -> None:
    """Should a version of httpx stop telling its steps, a request that nobody recorded is cut short with a clear error."""

    async def silent(request: httpx.Request) -> httpx.Response:
        await request.aread()
        return httpx.Response(200)

    async def main() -> None:
        platform = HttpPlatform(
            "https://a.example.com", lambda: "kg-1", transport=httpx.MockTransport(silent), environ={}
        )
        with pytest.raises(ReconcilerError, match="httpx"):
            await platform.send(DEPLOY, at_once)

    run_virtual(main())


def test_a_given_transport_is_left_open() -> None:
    """Closing twice, or closing what was given, does no harm."""

    async def main() -> None:
        platform = asgi_platform(World(scenario()))
        await platform.ask("ds-1")
        await platform.close()
        await platform.close()
        assert isinstance(await platform.send(DEPLOY, at_once), Reply)

    run_virtual(main())


def test_a_request_without_a_body_says_so() -> None:
    """Undeploy has no body: Content-Length 0 and no content type."""

    async def main() -> None:
        platform = asgi_platform(World(scenario()))
        await platform.send(undeploy_request("cm-1"), at_once)
        await platform.send(Request(method="POST", path="/api/public/models/cm-1/deploy", body=b"{}"), at_once)
        bare, full = platform.journal.lines
        assert "content-length" in bare["headers"]
        assert "content-type" not in bare["headers"]
        assert "content-type" in full["headers"]

    run_virtual(main())
