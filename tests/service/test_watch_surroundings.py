"""What `watch` has around its loop, as a process: page, probes, metrics, notifications and systemd."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench.visitors import SECRET
from tests.service.conftest import SimulatedPlatform
from tests.support.loopback import answering, loopback_server, reply_bytes
from tests.support.project import ProjectFolder

ROOT = Path(__file__).resolve().parents[2]

PROJECT = """\
apiVersion: reconciler/v1
kind: Project
environments:
  production: {host: "http://127.0.0.1:9", apiKey: {env: PRODUCTION_API_KEY}}
notifications:
  - {name: ops, type: webhook, url: {env: OPS_URL}, on: [refused]}
"""
MANIFEST = """\
apiVersion: reconciler/v1
kind: ModelDeployment
metadata: {name: chat}
spec:
  modelId: cm-1
  modelType: openSource
  hyperParameters: {temperature: 1, maxTokens: 512, topP: 1, topK: 50}
  deviceType: g5.xlarge
  rollout: {adopt: true}
"""


def test_everything_around_the_loop(tmp_path: Path) -> None:
    """It tells systemd that it is ready, answers probes and scrapes, tells a channel what is wrong, and ends in order."""
    (tmp_path / "manifests").mkdir()
    manifest = tmp_path / "manifests" / "chat.yaml"
    manifest.write_text(MANIFEST, encoding="utf-8")
    (tmp_path / "reconciler.yaml").write_text(PROJECT, encoding="utf-8")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        loopback_server(answering(reply_bytes(b""))) as receiver,
    ):
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(120)
        environ = {
            **os.environ,
            "PRODUCTION_API_KEY": "kg-0123456789-canary",
            "OPS_URL": f"{receiver.origin}/secret-canary",
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "CI": "",
        }
        command = [sys.executable, "-m", "reconciler", "-C", str(tmp_path), "--log-format", "json", "watch"]
        command += ["--init-state", "--settle", "0.1", "--listen", "127.0.0.1:0"]
        with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            seen: list[str] = []
            try:
                ready = manager.recv(4096).decode()
                assert ready.startswith("READY=1\nSTATUS=watching ")
                (address,) = re.findall(r"http://127\.0\.0\.1:\d+", ready)
                _until(lines, seen, event="pass", end="succeeded")
                assert _read(f"{address}/healthz") == _read(f"{address}/readyz") == "ok\n"
                scrape = _read(f"{address}/metrics")
                assert 'reconciler_passes_total{end="succeeded",environment="production"}' in scrape
                assert 'reconciler_notifications_total{channel="ops",ended="sent"} 0.0' in scrape
                manifest.write_text(MANIFEST.replace("temperature: 1", "temperature: 9"), encoding="utf-8")
                _until(lines, seen, event="pass", end="waiting")
            finally:
                process.send_signal(signal.SIGTERM)
                seen += lines
            assert process.wait(120) == 0
        assert manager.recv(4096).decode() == "STOPPING=1"
    (message,) = receiver.received
    assert b'"outcome":"refused"' in message
    assert "canary" not in "".join(seen)


def test_one_deploy_by_one_pass_id(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """The id of a pass finds a deploy in log, notification, page, API, status and history; the metrics count the same events."""
    with loopback_server(answering(reply_bytes(b""))) as ops, loopback_server(answering(GONE)) as gone:
        project.init(*"abcd")
        usual = {"type": "webhook", "on": ["succeeded"]}
        channels = [{"name": name, "url": {"env": name.upper()}, **usual} for name in ("ops", "gone")]
        project.write_project({**json.loads((project.root / "reconciler.yaml").read_text()), "notifications": channels})
        flags = ("--settle", "0.1", "--log-format", "json", "--listen", "127.0.0.1:0")
        watch = project.start("watch", *flags, OPS=ops.origin, GONE=gone.origin)
        (address,) = re.findall(r"http://127\.0\.0\.1:\d+", watch.wait_for("the page is at"))
        first = json.loads(watch.wait_for('"event": "pass"'))["run"]
        before = _counted(address)
        project.deploy("a", temperature=0)
        identity = json.loads(watch.wait_for('"event": "pass"'))["run"]
        assert identity != first
        status = json.loads(_read(f"{address}/api/v1/status"))
        assert status["environments"][0]["lastPass"]["id"] == identity
        assert [one["run"] for one in status["deployments"]] == [identity, first, first, first]
        assert f">{identity}<" in _read(f"{address}/")
        assert re.findall(r"<dt>run</dt><dd>(\w+)</dd>", _read(f"{address}/d/production/a")) == [identity, first]
        assert _counted(address) - before == {"requests redeploy": 1, "attempts redeploy": 1, "passes": 1}
        while identity not in watch.wait_for('"channel": "gone"'):
            pass
        watch.signal(signal.SIGTERM)
        log = [json.loads(line) for line in watch.end().ended(0).err.splitlines()]
    attempts = project.run("history", "production/a", "-o", "json").ended(0).json["attempts"]
    (attempt,) = [one for one in attempts if one["run"] == identity]
    assert attempt["attempt"].startswith(identity)
    assert attempt["attempt"] in project.run("history").ended(0).out
    assert project.run("status", "-o", "json").ended(0).json["deployments"][0]["run"] == identity
    (fact,) = [fact for fact in _facts(ops.received) if fact["pass"] == identity]
    told = [line for line in log if line["run"] == identity]
    assert [line["event"] for line in told if line["event"] not in {"waiting", "polled"}] == [
        *("started", "sending", "accepted", "ended", "pass", "notification")
    ]
    ended = next(line for line in told if line["event"] == "ended")
    same = ("address", "digest", "dockStatusId")
    assert {key: ended[key] for key in same} == {key: fact[key] for key in same} == {key: attempt[key] for key in same}
    assert ended["attempt"] == attempt["attempt"]


def test_a_lock_that_git_left_behind_is_shown_everywhere(project: ProjectFolder) -> None:
    """Page, API, probe and metrics say that the manifests are not read, why and what to do; without the lock it goes on."""
    project.init(*"abcd")
    subprocess.run(["git", "init", "-q"], cwd=project.root, check=True)
    lock = project.write(".git/index.lock", b"")
    watch = project.start("watch", "--settle", "0.1", "--log-format", "json", "--listen", "127.0.0.1:0")
    (address,) = re.findall(r"http://127\.0\.0\.1:\d+", watch.wait_for("the page is at"))
    watch.wait_for('"event": "pass"')
    assert (
        f"production: no pass has succeeded yet; the last one: refused: Git is at work in the checkout: {lock} is"
        in (_read_refusal(f"{address}/readyz", 503))
    )
    status = json.loads(_read(f"{address}/api/v1/status"))
    said = status["environments"][0]["heldUp"]
    assert f"{lock} is there since" in said
    assert said.endswith("remove it.")
    assert said == status["environments"][0]["lastPass"]["detail"]
    assert str(lock) in _read(f"{address}/")
    assert 'reconciler_held_up{environment="production"} 1.0' in _read(f"{address}/metrics")
    lock.unlink()
    watch.wait_for('"end": "succeeded"')
    assert _read(f"{address}/readyz") == "ok\n"
    lock.write_bytes(b"")
    project.deploy("a", temperature=0)
    watch.wait_for('"end": "refused"')
    assert _read(f"{address}/readyz") == "ok\n"
    assert str(lock) in _read(f"{address}/")
    lock.unlink()
    watch.wait_for('"end": "succeeded"')
    assert 'reconciler_held_up{environment="production"} 0.0' in _read(f"{address}/metrics")
    watch.signal(signal.SIGTERM)
    watch.end().ended(0)


def test_commits_are_links_to_the_forge(project: ProjectFolder) -> None:
    """In a checkout whose origin is known the page links each commit, without the password that the origin holds."""
    project.init(*"abcd")
    for command in (
        ("init", "-q"),
        ("remote", "add", "origin", "https://ada:canary@git.example.com/support/models.git"),
        ("add", "manifests", "reconciler.yaml"),
        ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false", "commit", "-qm", "first"),
    ):
        subprocess.run(["git", *command], cwd=project.root, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project.root, check=True, capture_output=True, text=True)
    watch = project.start("watch", "--settle", "0.1", "--log-format", "json", "--listen", "127.0.0.1:0")
    (address,) = re.findall(r"http://127\.0\.0\.1:\d+", watch.wait_for("the page is at"))
    watch.wait_for('"event": "pass"')
    pages = [_read(f"{address}{path}") for path in ("/", "/d/production/a", "/api/v1/status")]
    watch.signal(signal.SIGTERM)
    watch.end().ended(0)
    link = f'href="https://git.example.com/support/models/commit/{head.stdout.strip()}"'
    assert [page.count(link) for page in pages[:2]] == [
        5,
        2,
    ]  # of the pass and of each deployment; of the timeline and the facts
    assert json.loads(pages[2])["remote"] == "https://git.example.com/support/models.git"
    assert json.loads(pages[2])["source"] == str(project.root)
    assert "canary" not in "".join(pages)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--trusted-proxy", "10.0.0.0/8"), "--trusted-proxy needs --user-header"),
        (("--user-header", "X-User", "--trusted-proxy", "10.0.0.1/8"), "'10.0.0.1/8' is no network such as 10.0.0.0/8"),
        (("--listen", "0.0.0.0:0"), "open to everybody"),
    ],
)
def test_a_door_that_cannot_be_meant_so(project: ProjectFolder, flags: tuple[str, ...], said: str) -> None:
    """Options of the page that leave it open, or say half of what they need, end the program before anything is done."""
    project.init("a")
    assert said in project.process("watch", "--listen", "127.0.0.1:0", *flags).ended(64).err


def test_nothing_secret_is_logged(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """What opens the page, the webhook and a channel is taken out of the log, also where the platform quotes it."""
    secrets = {
        "PAGE": "canary-of-the-page",
        "HOOK": "canary-of-the-webhook",
        "CHAT": "slack://canary-A/canary-B/canary-C",
        "SIGN": "canary-of-the-signature",
    }
    channel = {"name": "ops", "type": "webhook", "url": {"env": "CHAT"}, "secret": {"env": "SIGN"}}
    project.init(*"abcd")
    project.write_project({**json.loads((project.root / "reconciler.yaml").read_text()), "notifications": [channel]})
    platform.plays({"answer": {"status": 400, "message": f"no room: {' '.join(secrets.values())}"}})
    flags = ("--settle", "0.1", "--log-format", "json", "--listen", "127.0.0.1:0")
    watch = project.start("watch", *flags, "--token", "env:PAGE", "--webhook-secret", "env:HOOK", **secrets)
    said = watch.wait_for('"ended": "refused"')
    watch.signal(signal.SIGTERM)
    shown = watch.end().ended(0)
    assert "no room: [redacted]" in said
    assert "canary" not in shown.out + shown.err


def _until(lines: Iterator[str], seen: list[str], **fields: str) -> None:
    """Reads the log up to the line with these fields."""
    for line in lines:
        seen.append(line)
        if fields.items() <= json.loads(line).items():
            return
    raise AssertionError("".join(seen))


GONE = reply_bytes(b"", status="410 Gone")


def _counted(address: str) -> Counter[str]:
    """What /metrics has counted of redeploys and passes."""
    scrape = _read(f"{address}/metrics")
    found = re.findall(r'^reconciler_(requests|attempts)_total\{action="(\w+)",.*\} (\S+)$', scrape, re.MULTILINE)
    passes = re.findall(r"^reconciler_passes_total\{.*\} (\S+)$", scrape, re.MULTILINE)
    counted = Counter({f"{what} {action}": int(float(count)) for what, action, count in found})
    return counted + Counter(passes=sum(int(float(count)) for count in passes))


def _facts(received: Iterable[bytes]) -> list[dict[str, Any]]:
    """What a channel was told."""
    return [fact for message in received for fact in json.loads(message.partition(b"\r\n\r\n")[2])["facts"]]


def _read(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=60) as answer:
        return str(answer.read().decode())


def _read_refusal(url: str, code: int) -> str:
    with pytest.raises(urllib.error.HTTPError) as refused:
        _read(url)
    assert refused.value.code == code
    return str(refused.value.read().decode())


def test_saves_are_sent_in_a_crowd(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """While many ask for every address, and slow clients hold connections, each manifest that is saved is deployed once."""
    names = [f"m{number}" for number in range(8)]
    project.init(*names)
    flags = ("--settle", "0.1", "--log-format", "json", "--listen", "127.0.0.1:0", "--webhook-secret", "env:HOOK")
    watch = project.start("watch", *flags, HOOK=SECRET)
    (address,) = re.findall(r"http://127\.0\.0\.1:\d+", watch.wait_for("the page is at"))
    watch.wait_for('"event": "pass"')
    command = [sys.executable, "-m", "tests.bench.visitors", address, "60", "3", "16"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as crowd:
        for name in names:
            project.deploy(name, temperature=0)
            watch.wait_for('"ended": "succeeded"')
        said = json.loads(crowd.communicate(timeout=120)[0])
    assert set(said["answers"]) <= {"200", "202", "404", "503"}, said["answers"]
    assert said["answers"]["202"] == 18
    assert platform.posts[len(names) :] == [("deploy", f"cm-{name}") for name in names]
    watch.signal(signal.SIGTERM)
    watch.end().ended(0)
