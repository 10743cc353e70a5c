"""One history of a contender: a misfortune, then as many runs as it needs, then the judge.

The judge sees what any program leaves: the platform's log, the files under `state/`, the exit codes. It counts

- duplicates: jobs beyond the first for a model that no failed job called for (each is a second paid deployment);
- lost: dock status ids of jobs that did not fail, which the platform gave out and which are in no file of the state;
- untrue: exit code 0 although a model's last job did not succeed, or there is none;
- stuck: no exit code 0 after `MOST_RUNS` runs;
- asked: calls in doubt that a person had to look up. Only a program that knows it does not know can ask.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from reconciler.errors import StateMissing
from reconciler.model.applied import Situation, situation_of
from reconciler.state.file import FileStore
from reconciler.state.fold import fold
from tests.crash.history import KEY, Wanted, told, write_manifests, write_project
from tests.crash.tally import Counts
from tests.peers.contender import ROOT, Contender
from tests.support.simulator import RunningSimulator, running_simulator
from tests.support.tcp_proxy import Direction, Proxy, relay

MOST_RUNS = 5  # after the misfortune
SECONDS = 60  # that one run may take; three models are deployed in two

WANTED = tuple(Wanted(name=f"m{number}") for number in range(3))
FAILING = {"match": {"model": "cm-m1", "nth": 1}, "job": {"statuses": ["FAILED"]}}

# What the platform and the network do to the first deploy of one model, and whether that starts a job.
MISFORTUNES: dict[str, dict[str, Any]] = {
    "the reply is lost": {"lost": "after"},
    "the reply is lost, and the connection closed in order": {"lost": "after", "lostBy": "eof"},
    "the request is lost": {"lost": "before"},
    "the reply is cut": {"cutBody": 25},
    "a gateway answers 502 for a job that was started": {"answer": {"status": 502, "message": "no", "accepted": True}},
    "503, and nothing was started": {"answer": {"status": 503, "message": "no"}},
    "the rate limit": {
        "answer": {"status": 429, "message": "Rate limit for this API has been reached.", "retryAfter": 1}
    },
}

# process: it dies, and what it has sent arrives. machine: the piece that it was about to send or to get is lost too.
How = Literal["process", "machine"]


@dataclass(slots=True, kw_only=True)
class Verdict(Counts):
    """Counts, over one history or many."""

    histories: int = 0
    runs: int = 0
    duplicates: int = 0
    lost: int = 0
    untrue: int = 0
    stuck: int = 0
    asked: int = 0


class Trial:
    """`folder` is empty and its own; `simulator` is reached through `proxy`."""

    def __init__(self, contender: Contender, folder: Path, simulator: RunningSimulator, proxy: Proxy) -> None:
        self.verdict = Verdict(histories=1)
        self.folder = folder
        self._contender = contender
        self._simulator = simulator
        self._proxy = proxy
        self._environ = _prepare(folder, f"http://127.0.0.1:{proxy.port}")
        self._wanted: tuple[Wanted, ...] = ()
        self.want(*WANTED)

    def want(self, *wanted: Wanted) -> None:
        """These models and no others, as manifests and as requests."""
        self._wanted = wanted
        write_manifests(self.folder, wanted)
        for path in (self.folder / "payloads").iterdir():
            path.unlink()
        for one in wanted:
            request = {"modelId": one.model, "modelType": "openSource", "body": json.loads(one.body)}
            (self.folder / "payloads" / f"{one.name}.json").write_text(json.dumps(request), encoding="utf-8")

    def start(self, *before: str) -> subprocess.Popen[bytes]:
        """One run; `before` is a command that runs it."""
        self.verdict.runs += 1
        with self.said.open("wb") as log:
            return subprocess.Popen(
                (*before, *self._contender.command),
                cwd=self.folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> Path:
        """What the newest run says."""
        return self.folder / f"run{self.verdict.runs}.log"

    def killed(self, at: int, how: How) -> bool:
        """One run that dies, with all that it has started, at the `at`th piece of its traffic. False when it ended before."""
        struck: list[int] = []
        held: list[subprocess.Popen[bytes]] = []

        def passes(number: int, _: Direction) -> bool:
            if number == at:
                struck.append(number)
                os.killpg(held[0].pid, signal.SIGKILL)
            return not (struck and how == "machine")

        with self._proxy.mutex:  # nothing passes before we know whom to kill
            held.append(self.start())
            self._proxy.pieces, self._proxy.on_piece = 0, passes
        ended(held[0])
        self._proxy.begin()
        return bool(struck)

    def to_the_end(self) -> Verdict:
        """Runs until one says that all is done, and judges."""
        for _ in range(MOST_RUNS):
            done = ended(self.start()) == 0
            if done:
                break
            self._answer()
        else:
            self.verdict.stuck += 1
        return self._judge(done=done)

    def at_once(self, count: int) -> None:
        """Several runs together."""
        for one in [self.start() for _ in range(count)]:
            ended(one)

    def _answer(self) -> None:
        """What a person does whom the program asks: look into the platform's console."""
        if not self._contender.asks:
            return
        for name, model in self._in_doubt():
            self.verdict.asked += 1
            known = self.state()
            new = [job for _, of, job in self.calls if of == model and job not in known]
            how = ("--dock-status-id", new[0]) if new else ("--it-did-not",)
            plain = any(wanted.model == model for wanted in self._wanted)
            address = f"production/{name}" if plain else f"production/{name}@{model}"
            command = (*self._contender.command[:3], "resolve", address, *how, "--reason", "console")
            done = subprocess.run(
                command, cwd=self.folder, env=self._environ, capture_output=True, timeout=SECONDS, check=False
            )
            assert done.returncode == 0, done.stderr.decode()

    def _in_doubt(self) -> Iterable[tuple[str, str]]:
        try:
            stored = FileStore(self.folder / "state", "production").read()
        except StateMissing:
            return []
        entries = fold(stored.snapshot, stored.records).entries.values()
        return [(entry.name, entry.model_id) for entry in entries if situation_of(entry) is Situation.UNKNOWN]

    # The judge

    def _judge(self, *, done: bool) -> Verdict:
        jobs, verdict, state = self._jobs(), self.verdict, self.state()
        for wanted in self._wanted:
            mine = jobs[wanted.model]
            failed = [job for job in mine if self._fails(job)]
            verdict.duplicates += max(0, len(mine) - 1 - len(failed))
            verdict.lost += sum(job not in state for job in mine if job not in failed)
            verdict.untrue += done and (not mine or mine[-1] in failed)
        return verdict

    def _jobs(self) -> dict[str, list[str]]:
        """The dock status ids of the jobs that were started, by model id."""
        found: dict[str, list[str]] = {wanted.model: [] for wanted in self._wanted}
        for call, model, job in self.calls:
            if call == "deploy":
                found.setdefault(model, []).append(job)
        return found

    @property
    def calls(self) -> list[tuple[str, str, str]]:
        """What started a job: the call, the model id, the dock status id."""
        return [(line["call"], line["modelId"], line["dockStatusId"]) for line in self._simulator.accepted]

    def _fails(self, job: str) -> bool:
        return self._simulator.world.jobs[job].rule.job.statuses[-1:] == ("FAILED",)

    def state(self) -> str:
        files = (path for path in (self.folder / "state").rglob("*") if path.is_file())
        return "".join(path.read_text(encoding="utf-8", errors="replace") for path in files)


def ended(process: subprocess.Popen[bytes]) -> int:
    """The exit code; a run that does not end is killed."""
    try:
        return process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def kills(contender: Contender, scratch: Path, *, most: int | None = None) -> Iterator[Verdict]:
    """Killed at each piece of its first run's traffic, in both ways; at the first `most` pieces only where that is said."""
    for how in get_args(How):
        for at in itertools.count(1) if most is None else range(1, most + 1):
            with trial(contender, scratch) as one:
                if not one.killed(at, how):
                    break
                yield one.to_the_end()


def misfortunes(contender: Contender, scratch: Path, names: Iterable[str] = tuple(MISFORTUNES)) -> Iterator[Verdict]:
    """Each misfortune for the first, the second and the last of the models, and nobody dies."""
    for name, wanted in itertools.product(names, WANTED):
        rule = {"match": {"model": wanted.model, "operation": "deploy", "nth": 1}, **MISFORTUNES[name]}
        with trial(contender, scratch, rule) as one:
            yield one.to_the_end()


def races(contender: Contender, scratch: Path, *, processes: int, rounds: int) -> Iterator[Verdict]:
    """Several begin at once."""
    for _ in range(rounds):
        with trial(contender, scratch) as one:
            one.at_once(processes)
            yield one.to_the_end()


@contextlib.contextmanager
def trial(contender: Contender, scratch: Path, *rules: dict[str, Any]) -> Iterator[Trial]:
    """A platform and a folder, both new."""
    with (
        tempfile.TemporaryDirectory(dir=scratch) as folder,
        running_simulator(told(*rules, FAILING)) as simulator,
        relay(_address(simulator)) as proxy,
    ):
        yield Trial(contender, Path(folder), simulator, proxy)


def _address(simulator: RunningSimulator) -> tuple[str, int]:
    parts = urlsplit(simulator.origin)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def _prepare(folder: Path, host: str) -> dict[str, str]:
    """Gives the environment of a run."""
    write_project(folder, ())
    (folder / "state").mkdir()
    (folder / "payloads").mkdir()
    ours = {"RECONCILER_HOST": host, "RECONCILER_STATE": str(folder / "state")}
    there = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    plain = {"HOME": str(folder), "PWD": str(folder), "PYTHONPATH": str(ROOT), "ANSIBLE_LOCALHOST_WARNING": "False"}
    return {**there, **plain, **ours, "HOST": host, "API_KEY": KEY}
