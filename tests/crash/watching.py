"""Random histories of a watch: manifests change while it runs, and it is killed, terminated, or loses power, at any call.

Time is the real one here, as the loop needs it, and nothing waits for it: a change follows when a pass is over, and a death
comes at the nth system call that matters. Everything is chosen by a seed; how many passes see a change is the machine's.

The platform quotes the API key in its replies, spelled in twelve ways, and what the loop serves and sends is looked through
for it: page, API, metrics, probes and answers to webhooks after each pass, notifications, log, and every file in the end.
"""

from __future__ import annotations

import json
import os
import random
import re
import select
import signal
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

from tests.crash.campaign import check_end, check_reasons
from tests.crash.history import KEY, PLAN, History, Wanted, told, write_project
from tests.crash.injector import MESSAGES, NO_FAULT, Fault, How
from tests.crash.judge import KILLED
from tests.crash.nursery import Nursery
from tests.crash.tally import Counts
from tests.security.canary import check_the_look, echoing, look_through
from tests.security.spellings import found_in
from tests.support.loopback import answering, loopback_server, reply_bytes

KINDS: tuple[How, ...] = ("kill", "kill", "torn", "power", "power-some", "term", "term")
LOG = ("--log-format", "json", "--log-level", "debug")
WATCH = (*LOG, "watch", "--init-state", "--settle", "0.05", "--listen", "127.0.0.1:0")
CHANNEL = {"name": "ops", "type": "webhook", "url": {"env": "MESSAGES_URL"}}
PAGES = (
    "/",
    "/?show=problems",
    "/d/production/m00",
    "/d/production/m05",
    "/api/v1/status",
    "/metrics",
    "/readyz",
    "/webhook",
)
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
# In the beginning some calls end in doubt, and the platform's words are shown until a person has looked.
MISFORTUNES: tuple[dict[str, Any], ...] = (
    {"match": {"model": "cm-m0[0-2]", "nth": 1}, "answer": {"status": 503, "message": "no", "accepted": True}},
    {"match": {"model": "cm-m0[3-5]", "nth": 1}, "reply": {"idKey": "none"}},
)
SLOW = {"match": {"model": "cm-m*", "operation": "deploy", "nth": 2}, "delay": 0.02}
ANY = {"match": {"model": "cm-m*"}}
NAMES = 30
CHANGES = 2  # of one deployment: with its first deploy, what the loop allows itself in an hour
PATIENCE = 120.0  # seconds without a word from a watch, after which it is called hung
MOST_LIVES = 40  # until what is left is done, once nothing changes any more


@dataclass(slots=True, kw_only=True)
class Tally(Counts):
    """What happened in all, for the report."""

    passes: int = 0
    changes: int = 0
    killed: int = 0
    terminated: int = 0
    resolved: int = 0
    calls: int = 0
    jobs: int = 0
    visits: int = 0
    messages: int = 0
    quoted: int = 0  # visits that were shown what the platform says, without the key


@dataclass(slots=True)
class _Story:
    """One history as it is being made up."""

    chance: random.Random
    project: Path
    wanted: dict[str, Wanted]
    tally: Tally = field(default_factory=Tally)
    changed: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)  # model id -> how many deploys have a reason
    removals: Counter[str] = field(default_factory=Counter)


def play(nursery: Nursery, folder: Path, seed: int, passes: int) -> Tally:
    """One history of at least so many passes, if the manifests can change so often. Raises AssertionError."""
    chance = random.Random(seed)
    wanted = {name: Wanted(name=name) for name in (f"m{number:02}" for number in range(NAMES))}
    story = _Story(chance=chance, project=folder / "project", wanted=wanted)
    write_project(story.project, wanted.values(), notifications=[CHANNEL])
    story.reasons.update(one.model for one in wanted.values())
    history = History(nursery, folder, story.project, echoing(told(*MISFORTUNES, SLOW, ANY), KEY))
    try:
        with loopback_server(answering(reply_bytes(b""))) as receiver:
            history.environ["MESSAGES_URL"] = receiver.origin + MESSAGES
            while story.tally.passes < passes and _free(story):
                _live(history, story, _death(chance))
                _look(history, story)
            _settle(history, story)
        _look_for_the_key(history, story, receiver.received)
        return story.tally
    finally:
        history.close()


def _look_for_the_key(history: History, story: _Story, messages: list[bytes]) -> None:
    """P11, over all that was sent to people and all that is left."""
    story.tally.messages = len(messages)
    for message in messages:
        assert found_in(message, KEY) == [], "the key is in a notification (P11)"
    check_the_look(history.folder, KEY)
    look_through(history.folder, KEY)


def _death(chance: random.Random) -> Fault:
    how = chance.choice(KINDS)
    return Fault(at=chance.randint(1, chance.choice((15, 40, 120))), how=how, seed=chance.getrandbits(30))


def _live(history: History, story: _Story, fault: Fault) -> None:
    """One watch until it dies. While it lives, a change follows each pass, and in the end SIGTERM."""
    rounds = story.chance.randint(1, 8)
    with _heard(history, fault) as (pid, lines):
        address = None
        for line in lines:
            address = _address_in(line) or address
            if '"event": "pass"' not in line:
                continue
            if address is not None:
                _visit(address, story.tally)
            story.tally.passes += 1
            if rounds and _free(story):
                rounds -= 1
                _change(story)
            else:
                os.kill(pid, signal.SIGTERM)
    code = history.said[-1].code
    story.tally.killed += code == KILLED
    story.tally.terminated += code == 0


def _address_in(line: str) -> str | None:
    found = re.search(r"the page is at (http://[^/ \"]+)", line)
    return found[1] if found else None


def _visit(address: str, tally: Tally) -> None:
    """Somebody looks at everything that is served, and a forged webhook arrives. It may die meanwhile."""
    for path in PAGES:
        data = b"{}" if path == "/webhook" else None
        try:
            text = _read(urllib.request.Request(address + path, data=data))
        except (OSError, HTTPException):
            continue
        assert found_in(text, KEY) == [], f"the key is in {path} (P11)"
        tally.visits += 1
        tally.quoted += b"[redacted]" in text


def _read(request: urllib.request.Request) -> bytes:
    """What is answered, with the headers, whatever the status."""
    try:
        answer = OPENER.open(request, timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return str(answer.headers).encode() + bytes(answer.read())


@contextmanager
def _heard(history: History, fault: Fault) -> Iterator[tuple[int, Iterator[str]]]:
    """A watch and the lines of its log as it says them, until it has ended; then they lie where the judge looks for them."""
    ear = history.folder / f"run{len(history.said)}.err"
    os.mkfifo(ear)
    pid = history.start(WATCH, fault=fault, leaps=False)
    heard: list[str] = []
    with ear.open("rb", buffering=0) as stream:
        yield pid, _lines(stream.fileno(), heard)
    ear.unlink()
    ear.write_text("".join(heard), encoding="utf-8")
    history.ended(pid)


def _lines(fd: int, heard: list[str]) -> Iterator[str]:
    rest = b""
    while True:
        assert select.select([fd], [], [], PATIENCE)[0], f"it hangs: {heard[-3:]}"
        data = os.read(fd, 65536)
        if not data:
            heard.append(rest.decode())
            return
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            heard.append(f"{line.decode()}\n")
            yield heard[-1]


# Changes


def _free(story: _Story) -> list[str]:
    """The deployments that may still change."""
    return [name for name in sorted(story.wanted) if story.changed[name] < CHANGES]


def _change(story: _Story) -> None:
    """A person saves one or two manifests, or deletes one."""
    chance, free = story.chance, _free(story)
    story.tally.changes += 1
    if chance.random() < 0.1 and len(story.wanted) > NAMES // 2:
        gone = story.wanted.pop(chance.choice(free))
        story.removals[gone.model] += 1
        _path(story, gone).unlink()
        return
    for name in chance.sample(free, min(len(free), chance.randint(1, 2))):
        story.changed[name] += 1
        wanted = replace(story.wanted[name], temperature=story.changed[name] / 8)
        story.wanted[name] = wanted
        story.reasons[wanted.model] += 1
        _path(story, wanted).write_text(wanted.manifest(), encoding="utf-8")


def _path(story: _Story, wanted: Wanted) -> Path:
    return story.project / "manifests" / f"{wanted.name}.yaml"


# What came of it


def _look(history: History, story: _Story) -> None:
    """Every promise holds; and a person looks up what became of the calls in doubt."""
    evidence = history.judge()
    check_reasons(evidence, story.reasons, story.removals)
    commands = history.resolve(evidence)
    if commands:
        said = history.run(*commands)
        assert said.code == 0, said
        story.tally.resolved += len(commands)


def _settle(history: History, story: _Story) -> None:
    """Nothing changes and nothing dies any more: after some passes the platform is as the manifests say."""
    for _ in range(MOST_LIVES):
        with _heard(history, NO_FAULT) as (pid, lines):
            for line in lines:
                if '"event": "pass"' in line and json.loads(line)["end"] in {"succeeded", "waiting"}:
                    os.kill(pid, signal.SIGTERM)
        _look(history, story)
        said = history.run(PLAN)
        if said.code == 0:
            break
    else:
        raise AssertionError(f"not converged after {MOST_LIVES} lives: {said}")
    evidence = history.judge()
    check_reasons(evidence, story.reasons, story.removals)
    check_end(evidence, story.wanted.values())
    story.tally.calls, story.tally.jobs = len(evidence.lines), evidence.accepted.total()
