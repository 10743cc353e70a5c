"""Pipelines at one state: each in a process of its own, on a fresh clone, killed when a test says so; and their judge.

with pipelines(nursery, place, folder, 3) as estate:
    estate.run(*APPLY)
    estate.judge()
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from reconciler.errors import StateMissing
from reconciler.model.applied import MAX_ATTEMPTS, Accepted, Applied, NotProcessed, NotSent, Situation, situation_of
from reconciler.state.fold import fold
from reconciler.state.lease import Leased
from tests.crash.history import told
from tests.crash.nursery import ForkedSimulator, Nursery, Order
from tests.remote.places import ENVIRONMENT, Place
from tests.support.repositories import clean_environment, git, import_stream
from tests.support.tcp_proxy import Direction, Proxy, relay

KEY = "kg-3f1b6a52-canary-of-the-crash-tests"
APPLY = ("apply", "--yes", "--allow-mass-change")
FIRST_COMMIT = 1_900_000_000  # its committer's time, about
# Done or found done · the lock was held · found at the last moment that somebody else did it · something is in doubt · stopped
CODES = frozenset({0, 6, 7, 8, 9, 130, 143})
LATE = 5  # a newer commit was applied

# machine: everything on it dies at once. process: what it had started (git) goes on. signals: as a CI system cancels a job.
How = Literal["machine", "process", "signals"]
HOWS: tuple[How, ...] = get_args(How)
CANCEL = ((signal.SIGINT, 7.5), (signal.SIGTERM, 2.5), (signal.SIGKILL, 0.0))  # and the seconds until the next


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a pipeline ended, and what it said."""

    code: int
    text: str


@dataclass
class Pipelines:
    """One repository, one platform, one state."""

    nursery: Nursery
    place: Place
    folder: Path
    simulator: ForkedSimulator
    platform: Proxy
    runs: int = 0
    commits: int = 0
    said: list[Ended] = field(default_factory=list)
    wanted: dict[str, float] = field(default_factory=dict)

    # What is wanted

    def commit(self, wanted: dict[str, float]) -> str:
        """The manifests of these models with these temperatures, as the newest commit, whose name it gives.

        Every second model goes a wave later. Each commit is a minute younger than the one before it.
        """
        self.wanted = dict(wanted)
        project = {
            "apiVersion": "reconciler/v1",
            "kind": "Project",
            "environments": {
                ENVIRONMENT: {
                    "host": "https://replaced.example.com/",
                    "apiKey": {"env": "API_KEY"},
                    "rateLimit": {"perMinute": 0, "perHour": 0},
                }
            },
        }
        files = {"reconciler.yaml": json.dumps(project)}
        for wave, (name, temperature) in enumerate(wanted.items()):
            files[f"manifests/{name}.yaml"] = json.dumps(_manifest(name, temperature, wave // 2))
        self.commits += 1
        when = f"{FIRST_COMMIT + 60 * self.commits} +0000"
        head = (
            f"commit refs/heads/main\ncommitter Ada <ada@example.com> {when}\ndata 6\nwanted\nfrom refs/heads/main^0\n"
        )
        import_stream(self.place.origin, head + _import(files), dates="raw")
        return git(self.place.origin, "rev-parse", "main").strip()

    # Pipelines

    def start(
        self, *commands: Sequence[str], gate: Path | None = None, checkout: Path | None = None
    ) -> tuple[int, Order]:
        """In a process of its own, on a fresh clone; it begins when nobody locks the gate any more."""
        self.runs += 1
        home = self.folder / f"run{self.runs}"
        home.mkdir()
        environ = {
            "RECONCILER_HOST": f"http://127.0.0.1:{self.platform.port}",
            "RECONCILER_STATE": self.place.state,
            "API_KEY": KEY,
            "CI": "true",
            "PATH": os.environ["PATH"],
            "USER": f"runner{self.runs}",
            "HOME": str(home),
            "TMPDIR": str(home),
            **self.place.variables,
            **{key: value for key, value in clean_environment().items() if key.startswith("GIT_CONFIG")},
        }
        order = Order(
            commands=tuple(map(tuple, commands)),
            environ=environ,
            folder=checkout or self.place.checkout(home / "clone"),
            out=home / "said",
            gate=gate,
        )
        return self.nursery.start(order), order

    def ended(self, started: tuple[int, Order]) -> Ended:
        pid, order = started
        return self._told(self.nursery.wait(pid), order)

    def _told(self, code: int, order: Order) -> Ended:
        text = "".join(Path(f"{order.out}{end}").read_text(encoding="utf-8") for end in (".out", ".err"))
        self.said.append(Ended(code=code, text=text))
        return self.said[-1]

    def run(self, *commands: Sequence[str]) -> Ended:
        """One pipeline, to its end."""
        return self.ended(self.start(*commands))

    def at_once(self, commands: Sequence[Sequence[str]], *, checkouts: Sequence[Path] = ()) -> list[Ended]:
        """A pipeline a command, all set off in the same moment. `checkouts` are theirs, one each, or one for all."""
        with self.gate() as gate:
            shared = checkouts or [self.place.checkout(self.folder / f"clone{self.runs}")]
            started = [
                self.start(command, gate=gate, checkout=shared[number % len(shared)])
                for number, command in enumerate(commands)
            ]
        return [self.ended(one) for one in started]

    @contextlib.contextmanager
    def gate(self) -> Iterator[Path]:
        """Whoever is started with it begins when the block ends."""
        path = self.folder / "gate"
        with path.open("a", encoding="utf-8") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield path

    def struck(self, at: int, how: How, *commands: Sequence[str]) -> bool:
        """A pipeline that is struck at the `at`th piece between it and its servers. False when it ended before."""
        strike = _Strike(at, how, (self.place.proxy, self.platform))
        with self.gate() as gate:
            pid, order = self.start(*commands, gate=gate)
            strike.begin(pid)
        end = self.ended((pid, order))
        strike.end()
        if how == "signals" and strike.done:
            assert end.code != -signal.SIGKILL, f"it had to be killed: {end.text}"
            assert end.code in CODES, end
        return strike.done

    def overtaken(self, at: int, late: Path, other: Path) -> tuple[bool, Ended, Ended]:
        """An apply in `late` sleeps from its `at`th piece on while one in `other` runs from beginning to end.

        Whether it slept, and how both ended.
        """
        strike = _Strike(at, "process", (self.place.proxy, self.platform), signal.SIGSTOP)
        with self.gate() as gate:
            pid, order = self.start(APPLY, gate=gate, checkout=late)
            strike.begin(pid)
        code = self.nursery.wait_or_stopped(pid)
        strike.end()
        other_end = self.ended(self.start(APPLY, checkout=other))
        if code is None:
            os.kill(pid, signal.SIGCONT)
            return True, self._told(self.nursery.wait(pid), order), other_end
        return False, self._told(code, order), other_end

    def outslept(self) -> tuple[Ended, Ended]:
        """A pipeline sleeps with its lease, before its first call; somebody breaks that, and another one does everything.

        How the sleeper ended, awake again, and the other one.
        """
        strike = _Strike(1, "process", (self.platform,), signal.SIGSTOP)  # the key is being checked
        with self.gate() as gate:
            pid, order = self.start(APPLY, gate=gate)
            strike.begin(pid)
        assert self.nursery.wait_or_stopped(pid) is None, self._told(0, order).text
        strike.end()
        unlocking = self._unlocking()
        assert unlocking, "it sleeps without a lease"
        other = self.run(*unlocking, APPLY)
        os.kill(pid, signal.SIGCONT)
        return self._told(self.nursery.wait(pid), order), other

    def pieces(self, *commands: Sequence[str]) -> int:
        """How often a pipeline could have been struck."""
        strike = _Strike(0, "machine", (self.place.proxy, self.platform))
        with self.gate() as gate:
            pid, order = self.start(*commands, gate=gate)
            strike.begin(pid)
        assert self.ended((pid, order)).code == 0
        return strike.count

    # What came of it

    @property
    def applied(self) -> Applied | None:
        try:
            stored = self.place.store().read()
        except StateMissing:
            return None
        return fold(stored.snapshot, stored.records)

    @property
    def posts(self) -> list[dict[str, Any]]:
        """The calls that the platform took."""
        return [line for line in self.simulator.lines if line.get("method") == "POST" and line["accepted"]]

    def judge(self) -> None:
        """What holds at any moment: no call without its record, nothing called undone that was done, no key anywhere."""
        applied = self.applied
        assert applied is not None
        for model, count in Counter(line["modelId"] for line in self.posts).items():
            entry = applied.entries.get(model)
            assert entry is not None, f"{model} was called and nothing is recorded (P1)"
            assert count <= entry.generation, (
                f"{model} was started {count} times in {entry.generation} generations (P4)"
            )
            if len(entry.attempts) < MAX_ATTEMPTS:  # else the oldest are gone
                undone = [
                    a for a in entry.attempts if isinstance(a.outcome, NotSent | NotProcessed) and a.decided is None
                ]
                assert count <= len(entry.attempts) - len(undone), f"{model} was taken and is called undone (P5)"
        for end in self.said:
            assert KEY not in end.text, "the key was printed (P11)"
            assert "Traceback" not in end.text, end.text

    def converge(self, runs: int = 6) -> None:
        """Pipeline after pipeline on fresh clones, until nothing remains. A dead runner's lock is broken by its id."""
        for _ in range(runs):
            self.judge()
            end = self.run(*self._unlocking(), *self._resolving(), APPLY)
            if end.code == 0:
                break
            assert end.code in CODES, end.text
        else:
            raise AssertionError(f"not converged: {self.said[-1].text}")
        self.judge()
        self.exactly_once()

    def exactly_once(self) -> None:
        """Every generation was started once, is live, and has the id that the platform gave it."""
        applied = self.applied
        assert applied is not None
        assert applied.lock is None
        for name in self.wanted:
            entry = applied.entries[f"cm-{name}"]
            jobs = [line["dockStatusId"] for line in self.posts if line["modelId"] == entry.model_id]
            assert len(jobs) == entry.generation - _undone(entry.attempts), f"{name}: {len(jobs)} posts for {entry}"
            assert entry.live is not None
            assert entry.live.dock_status_id == jobs[-1], f"{name}: the id is lost"

    def _unlocking(self) -> tuple[tuple[str, ...], ...]:
        store = self.place.store()
        assert isinstance(store, Leased)
        lease = store.lease()
        return (("state", "unlock", "-e", ENVIRONMENT, "--id", lease.id),) if lease is not None else ()

    def _resolving(self) -> tuple[tuple[str, ...], ...]:
        """What a person would say who looks into the platform's console."""
        applied, commands = self.applied, []
        for entry in applied.entries.values() if applied else ():
            if situation_of(entry) is not Situation.UNKNOWN:
                continue
            known = {a.outcome.dock_status_id for a in entry.attempts if isinstance(a.outcome, Accepted)}
            jobs = [one["dockStatusId"] for one in self.posts if one["modelId"] == entry.model_id]
            new = [job for job in jobs if job not in known]
            how = ("--dock-status-id", new[0]) if new else ("--it-did-not",)
            commands.append(("resolve", f"{ENVIRONMENT}/{entry.name}", *how, "--reason", "console"))
        return tuple(commands)


class _Strike:
    """Counts what passes several relays, and strikes a process at one piece."""

    def __init__(self, at: int, how: How, proxies: Sequence[Proxy], signum: int = signal.SIGKILL) -> None:
        self._signum = signum
        self.count = 0
        self.done = False
        self._at = at
        self._how = how
        self._proxies = proxies
        self._mutex = threading.Lock()
        self._over = threading.Event()
        self._cancelling: threading.Thread | None = None

    def begin(self, pid: int) -> None:
        self._pid = pid
        for proxy in self._proxies:
            proxy.begin(self._passes)

    def end(self) -> None:
        """The process has ended, by itself or not."""
        self._over.set()
        if self._cancelling is not None:
            self._cancelling.join()
        for proxy in self._proxies:
            proxy.begin()

    def _passes(self, _: int, __: Direction) -> bool:
        with self._mutex:
            self.count += 1
            if self.count == self._at:
                self.done = True
                self._strike()
            return not (self.done and self._how == "machine")

    def _strike(self) -> None:
        if self._how == "signals":
            self._cancelling = threading.Thread(target=self._cancel, daemon=True)
            self._cancelling.start()
        else:
            os.kill(self._pid, self._signum)

    def _cancel(self) -> None:
        for number, patience in CANCEL:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)
            if self._over.wait(patience):
                return


@contextlib.contextmanager
def pipelines(nursery: Nursery, place: Place, folder: Path, models: int = 3) -> Iterator[Pipelines]:
    """With a state that was made, and nothing deployed."""
    folder.mkdir()
    simulator = ForkedSimulator(nursery, folder, told())
    parts = urlsplit(simulator.origin)
    try:
        with relay((parts.hostname or "", parts.port or 0)) as platform:
            estate = Pipelines(nursery=nursery, place=place, folder=folder, simulator=simulator, platform=platform)
            estate.commit({f"m{number}": 1.0 for number in range(models)})
            made = estate.run(("init",))
            assert made.code == 0, made.text
            yield estate
    finally:
        simulator.stop()


def _undone(attempts: Sequence[Any]) -> int:
    """Generations that a person said had not happened."""
    return sum(attempt.decided is not None and isinstance(attempt.outcome, NotSent) for attempt in attempts)


def _manifest(name: str, temperature: float, wave: int) -> dict[str, Any]:
    return {
        "apiVersion": "reconciler/v1",
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {
            "modelId": f"cm-{name}",
            "modelType": "openSource",
            "hyperParameters": {"temperature": temperature, "maxTokens": 512, "topP": 1, "topK": 50},
            "deviceType": "g5.xlarge",
            "rollout": {"wave": wave},
        },
    }


def _import(files: dict[str, str]) -> str:
    return "".join(f"M 100644 inline {path}\ndata {len(text)}\n{text}\n" for path, text in files.items())
