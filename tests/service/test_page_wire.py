"""What the server answers over a real socket: probes, the API, headers, caps, and a crowd of visitors."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import hmac
import ipaddress
import json
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from reconciler.controller.board import Board
from reconciler.controller.web.options import Hands, Options
from reconciler.controller.web.server import CROWD, TIDY_EVERY, serve, tidying
from tests.support import boards
from tests.support.openapi import Description
from tests.support.virtual_time import run_virtual

SECRET = "0123456789abcdef-secret"
ROOM = 64  # visitors that may wait for a page at once
DESCRIPTION = Description(Path(__file__).parents[2] / "schemas" / "status-api.openapi.yaml")

Story = Callable[[httpx.AsyncClient, Board], Awaitable[None]]


def run(story: Story, board: Board | None = None, *, hands: Hands | None = None, **options: Any) -> None:
    made = board or boards.board()

    async def whole() -> None:
        async with (
            serve(made, Options(port=0, **options), hands or Hands(now=lambda: boards.NOW)) as address,
            httpx.AsyncClient(base_url=address, trust_env=False, timeout=30) as client,
        ):
            await story(client, made)

    asyncio.run(whole())


def test_probes_say_why_not() -> None:
    """/healthz tells whether the loop turns, /readyz whether a first pass succeeded, and where it did not."""

    async def story(client: httpx.AsyncClient, board: Board) -> None:
        assert (await client.get("/healthz")).status_code == 503
        board.alive()
        assert (await client.get("/healthz")).text == "ok\n"
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.text.startswith(
            "sandbox: no pass has succeeded yet; the last one: refused: The state of sandbox belongs"
        )
        board.publish(replace(board.views["sandbox"], last=None, held_up="Git is at work."))
        answer = await client.get("/readyz")
        assert answer.text == "sandbox: no pass has succeeded yet; none has ended: Git is at work.\n"
        board.publish(replace(board.views["sandbox"], last_success_at=boards.NOW))
        assert (await client.get("/readyz")).status_code == 200

    run(story)


def test_a_loop_that_stands_still_is_not_healthy() -> None:
    """A beat that is too old fails the probe."""

    async def story(client: httpx.AsyncClient, board: Board) -> None:
        board.beat = asyncio.get_running_loop().time() - 120
        assert "no sign of life for 120 s" in (await client.get("/healthz")).text

    run(story)


def test_the_api_is_as_described() -> None:
    """The status is JSON as its OpenAPI description says, for all environments and for one."""

    async def story(client: httpx.AsyncClient, board: Board) -> None:
        answer = await client.get("/api/v1/status")
        schema = DESCRIPTION.document["paths"]["/api/v1/status"]["get"]["responses"]["200"]["content"]
        assert DESCRIPTION.mistakes(schema["application/json"]["schema"], answer.json()) == []
        assert len(answer.json()["deployments"]) == 39
        one = (await client.get("/api/v1/status?environment=staging")).json()
        assert [found["name"] for found in one["environments"]] == ["staging"]
        assert (await client.get("/api/v1/status?environment=nowhere")).status_code == 404
        same = await client.get("/api/v1/status", headers={"if-none-match": answer.headers["etag"]})
        assert same.status_code == 304

    run(story)


def test_the_description_lists_the_fields_of_the_status_schema() -> None:
    """A deployment in the API is the one of schemas/status.json."""
    status = json.loads((Path(__file__).parents[2] / "schemas" / "status.json").read_text())
    known = status["$defs"]["DeploymentStatus"]["properties"]
    assert set(DESCRIPTION.schema("Deployment")["properties"]) == set(known)


def test_every_answer_has_the_headers_and_foreign_names_get_none() -> None:
    """The policy stands on every answer; a name that is not ours is refused before anything is looked at."""

    async def story(client: httpx.AsyncClient, _: Board) -> None:
        for path in ("/", "/d/production/flan-t5", "/nowhere", "/healthz", "/static/app.js", "/login"):
            answer = await client.get(path)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert (await client.get("/", headers={"host": "evil.example.net"})).status_code == 421
        assert (await client.post("/")).status_code == 405

    run(story)


@pytest.mark.parametrize(
    "host",
    ["evil.example.net", "localhost.evil.example.net", "127.0.0.1.evil.example.net:80", "0x7f000001", "@localhost", ""],
)
def test_a_name_that_somebody_points_here_reads_nothing(host: str) -> None:
    """Under any name but ours every address answers 421, and no delivery is heard: a page elsewhere cannot rebind its name."""
    looks: list[str] = []

    async def story(client: httpx.AsyncClient, _: Board) -> None:
        for path in (
            "/",
            "/d/production/flan-t5",
            "/events",
            "/api/v1/status",
            "/metrics",
            "/readyz",
            "/static/app.js",
        ):
            answer = await client.get(path, headers={"host": host})
            assert (answer.status_code, "flan" in answer.text) == (421, False), path
        answer = await client.post("/webhook", headers={"host": host, "x-gitlab-token": SECRET})
        assert (answer.status_code, looks) == (421, [])

    run(story, hands=Hands(look=looks.append, now=lambda: boards.NOW), webhook_secret=SECRET)


def test_forged_replayed_and_flooding_deliveries() -> None:
    """A flood of forged deliveries and a replayed one ask for nothing, and the genuine one among them is heard."""
    looks: list[str] = []

    async def story(client: httpx.AsyncClient, _: Board) -> None:
        body = b'{"ref": "refs/heads/main"}' * 100
        right = {"x-hub-signature-256": f"sha256={hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}"}
        wrong = f"sha256={hmac.new(b'another', body, hashlib.sha256).hexdigest()}"
        forged = (
            {"x-hub-signature-256": wrong},
            {"x-gitlab-token": "another-token-of-some-length"},
            {"x-reconciler-signature": wrong, "x-reconciler-timestamp": str(int(boards.NOW.timestamp()))},
            {"x-reconciler-signature": right["x-hub-signature-256"], "x-reconciler-timestamp": "0"},
        )
        flood = [client.post("/webhook", content=body, headers=forged[number % 4]) for number in range(100)]
        genuine, *answers = await asyncio.gather(client.post("/webhook", content=body, headers=right), *flood)
        assert genuine.status_code == 202
        assert {answer.status_code for answer in answers} == {401}
        replayed = await client.post("/webhook", content=body, headers=right)
        assert (replayed.status_code, looks) == (200, ["webhook from GitHub"])

    run(story, hands=Hands(look=looks.append, now=lambda: boards.NOW), webhook_secret=SECRET)


def test_strangers_learn_nothing() -> None:
    """With a token set, all but the probes, the webhook and the door wants it."""

    async def story(client: httpx.AsyncClient, _: Board) -> None:
        for path in ("/", "/d/production/flan-t5", "/events", "/metrics", "/api/v1/status"):
            assert (await client.get(path)).status_code == 401, path
            page = await client.get(path, headers={"accept": "text/html"})
            assert (page.status_code, page.headers["location"].partition("?")[0]) == (303, "/login")
        assert (await client.get("/", headers={"authorization": "Bearer a-token-of-some-length"})).status_code == 200
        assert (await client.get("/readyz")).text == "sandbox: no pass has succeeded yet; the last one: refused.\n"
        elsewhere = await client.post("/login", data={"token": "a-token-of-some-length", "next": "//evil.example.net"})
        assert elsewhere.headers["location"] == "/"

    run(story, token="a-token-of-some-length")


def test_a_proxys_word_counts_from_its_networks_alone() -> None:
    """The header that names a person opens the page to a peer in the named networks, and to nobody else."""
    header = {"x-user": "ada"}

    async def let_in(client: httpx.AsyncClient, _: Board) -> None:
        assert (await client.get("/")).status_code == 401
        assert "ada" in (await client.get("/", headers=header)).text

    async def kept_out(client: httpx.AsyncClient, _: Board) -> None:
        assert (await client.get("/", headers={**header, "x-forwarded-for": "10.1.2.3"})).status_code == 401

    run(let_in, user_header="X-User")
    run(kept_out, user_header="X-User", trusted_proxies=(ipaddress.ip_network("10.0.0.0/8"),))


def test_webhook_bodies_are_capped_and_signed_ones_ask_for_a_look() -> None:
    """A signed delivery asks for a look; one over a mebibyte is not read, with or without a length."""
    looks: list[str] = []

    async def parts() -> Any:
        for _ in range(33):
            yield b"x" * 32768

    async def story(client: httpx.AsyncClient, _: Board) -> None:
        body = b'{"ref": "refs/heads/main"}'
        signature = f"sha256={hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}"
        answer = await client.post("/webhook", content=body, headers={"x-hub-signature-256": signature})
        assert (answer.status_code, looks) == (202, ["webhook from GitHub"])
        assert (await client.post("/webhook", content=body)).status_code == 401
        assert (await client.post("/webhook", content=parts())).status_code == 413

    run(story, hands=Hands(look=looks.append, now=lambda: boards.NOW), webhook_secret=SECRET)


def test_a_crowd_and_slow_clients_hold_nothing_up() -> None:
    """With 64 clients that send half a request and a crowd on every page, the loop still turns and every page is served."""

    async def story(client: httpx.AsyncClient, board: Board) -> None:
        host, port = str(client.base_url.host), int(client.base_url.port or 0)
        slow = [await asyncio.open_connection(host, port) for _ in range(64)]
        for _reader, writer in slow:
            writer.write(b"GET / HTTP/1.1\r\nHost: loc")
        paths = ["/", "/api/v1/status", "/?q=flan", "/d/production/flan-t5"]
        served = dict.fromkeys(paths, 0)
        seen_at: list[int] = []
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                board.alive()
                await asyncio.sleep(0)

        async def visit(path: str) -> None:
            answer = await client.get(path)
            assert answer.status_code in {200, 503}, answer.text
            served[path] += answer.status_code == 200
            seen_at.append(turns)

        loop = asyncio.create_task(turn())
        visits = []
        for number, path in enumerate(paths * 25):
            board.tell(boards.polled("production/mistral-7b", percent=number))
            visits.append(visit(path))
        await asyncio.gather(*visits)
        loop.cancel()
        assert all(served.values()), served
        assert sum(served.values()) >= ROOM
        assert seen_at[-1] - seen_at[0] > len(visits)
        assert (await client.get("/healthz")).status_code == 200
        for _reader, writer in slow:
            writer.close()

    run(story)


def test_what_a_crowd_leaves_behind_is_given_back() -> None:
    """After many requests, and only then, circles of objects that are no longer needed are collected."""

    class Circle:
        def __init__(self) -> None:
            self.me = self

    async def story() -> None:
        server = uvicorn.Server(uvicorn.Config("nothing:app"))
        tidies = asyncio.create_task(tidying(server))
        circle = weakref.ref(Circle())
        await asyncio.sleep(2 * TIDY_EVERY)
        assert circle() is not None
        server.server_state.total_requests = CROWD
        await asyncio.sleep(2 * TIDY_EVERY)
        assert circle() is None
        tidies.cancel()

    gc.disable()
    try:
        run_virtual(story())
    finally:
        gc.enable()


def test_a_full_house_still_answers() -> None:
    """More silent connections than there is room for make room for one that asks."""

    async def story(client: httpx.AsyncClient, _: Board) -> None:
        host, port = str(client.base_url.host), int(client.base_url.port or 0)
        silent = [await asyncio.open_connection(host, port) for _ in range(300)]
        assert (await client.get("/")).status_code == 200
        for _reader, writer in silent:
            writer.close()

    run(story)


def test_a_page_may_be_asked_for_unpacked() -> None:
    """A client that cannot unpack gets the same bytes, with their number; one that has the page already gets none."""

    async def story(client: httpx.AsyncClient, board: Board) -> None:
        board.publish(boards.many(200))
        packed = await client.get("/", headers={"accept-encoding": "gzip"})
        plain = await client.get("/", headers={"accept-encoding": "identity"})
        assert packed.headers["content-encoding"] == "gzip"
        assert plain.content == packed.content
        assert int(plain.headers["content-length"]) == len(plain.content)
        assert (await client.head("/", headers={"accept-encoding": "identity"})).content == b""
        again = await client.get("/", headers={"if-none-match": plain.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")

    run(story)
