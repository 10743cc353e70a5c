"""The canary in what `watch` has around its loop: page, API, metrics, notifications, log, and its line among the processes."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.canary import echoing, look_through
from tests.security.spellings import found_in
from tests.support.loopback import LoopbackServer, answering, loopback_server, reply_bytes
from tests.support.project import KEY, ProjectFolder, Running
from tests.support.simulator import running_simulator, scenario

PAGES = (
    "/",
    "/?show=problems",
    "/api/v1/status",
    "/metrics",
    "/readyz",
    *(f"/d/production/{name}" for name in ("a", "b", "c")),
)


@pytest.fixture
def watched(project: ProjectFolder) -> Iterator[ProjectFolder]:
    """Three deployments on a platform that quotes the key: one job fails, one call is refused, one answer is in doubt."""
    told = scenario(
        {"match": {"model": "cm-a"}, "job": {"statuses": ["FAILED"]}},
        {"match": {"model": "cm-b", "operation": "deploy"}, "answer": {"status": 422, "message": "no"}},
        {"match": {"model": "cm-c", "operation": "deploy"}, "answer": {"status": 500, "message": "no"}},
        keys={KEY: None},
        job_seconds=0,
    )
    with running_simulator(echoing(told, KEY)) as server, loopback_server(answering(reply_bytes(b""))) as receiver:
        project.host = server.origin
        channel = {"name": "ops", "type": "webhook", "url": {"env": "OPS_URL"}}
        environment = {"host": server.origin, "apiKey": {"env": "PRODUCTION_API_KEY"}}
        project.write_project({"environments": {"production": environment}, "notifications": [channel]})
        for name in ("a", "b", "c"):
            project.deploy(name)
        project.environ["OPS_URL"] = f"{receiver.origin}/hook"
        yield project
        check_messages(receiver)


def check_messages(receiver: LoopbackServer) -> None:
    """What the channel got, whole, says how each ended and holds no key."""
    sent = b"".join(receiver.received)
    assert sent.count(b"production/") >= 3
    assert found_in(sent, KEY) == []


def read(address: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=60) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:  # /readyz says why not
        with error:
            return error.read()


def after_the_first_pass(running: Running) -> str:
    """The address of the page, once everything was tried and told."""
    line = running.wait_for("the page is at")
    running.wait_for('"event": "pass"')
    address = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert address is not None, line
    return address[0]


def test_the_key_is_nowhere_around_the_loop(watched: ProjectFolder) -> None:
    """A platform that quotes the key in twelve spellings brings it to no page, answer, metric, message, log, file or argument."""
    said = ("--log-format", "json", "--log-level", "debug")
    options = ("--init-state", "--settle", "0.1", "--listen", "127.0.0.1:0")
    running = watched.start(*said, "watch", *options)
    address = after_the_first_pass(running)
    for page in PAGES:
        text = read(address + page)
        assert found_in(text, KEY) == [], page
        assert text
    status = json.loads(read(f"{address}/api/v1/status"))
    assert "[redacted]" in json.dumps(status), "the platform's words are shown"
    assert found_in(Path(f"/proc/{running.pid}/cmdline").read_bytes(), KEY) == []
    running.signal(15)
    shown = running.end()
    assert found_in((shown.out + shown.err).encode(), KEY) == []
    assert look_through(watched.root, KEY).files > 5
