"""One history: an estate of manifests, a simulator and a state of its own, and every run of the program, however it ended.

    history = History(nursery, folder, told, [Wanted(name="a"), …])
    history.apply(Fault(at=17, how="torn"))
    history.judge()
    history.converge()

`judge` may be asked at any moment when no worker runs; it raises AssertionError naming the promise that is broken.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.errors import StateMissing
from reconciler.model.applied import Applied, Entry, Situation, situation_of
from reconciler.model.values import canonical
from reconciler.simulator.scenario import Scenario
from reconciler.state.file import FileStore
from reconciler.state.fold import fold
from reconciler.state.lease import Leased
from reconciler.state.store import Store
from tests.crash.injector import NO_FAULT, Fault
from tests.crash.judge import Evidence, Said, judge
from tests.crash.nursery import ForkedSimulator, Nursery, Order
from tests.support.simulator import scenario

ENVIRONMENT = "production"
KEY = "kg-3f1b6a52-canary-of-the-crash-tests"
APPLY = ("apply", "--yes", "--init-state", "--allow-mass-change")
PLAN = ("plan", "--detailed-exitcode")

_PROJECT = {
    "apiVersion": "reconciler/v1",
    "kind": "Project",
    "manifests": ["manifests/"],
    "environments": {
        ENVIRONMENT: {
            "host": "https://replaced.example.com/",
            "apiKey": {"env": "API_KEY"},
            "prune": True,
            "rateLimit": {"perMinute": 0, "perHour": 0},
        }
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One deployment as its manifest says."""

    name: str
    model_id: str = ""
    temperature: float = 1
    wave: int = 0
    depends_on: tuple[str, ...] = ()
    strategy: str = "DeployFirst"

    @property
    def model(self) -> str:
        return self.model_id or f"cm-{self.name}"

    @property
    def body(self) -> str:
        """What the platform is to receive."""
        return canonical({"name": self.name, "isDeployedPreviously": True, **self._fields()}).decode()

    def manifest(self) -> str:
        rollout = {"wave": self.wave, "dependsOn": self.depends_on, "strategy": self.strategy}
        spec = {"modelId": self.model, "modelType": "openSource", **self._fields(), "rollout": rollout}
        value = {
            "apiVersion": "reconciler/v1",
            "kind": "ModelDeployment",
            "metadata": {"name": self.name},
            "spec": spec,
        }
        return json.dumps(value)

    def _fields(self) -> dict[str, Any]:
        return {
            "hyperParameters": {"temperature": self.temperature, "maxTokens": 512, "topP": 1, "topK": 50},
            "deviceType": "g5.xlarge",
        }


def told(*rules: dict[str, Any], **behaviour: Any) -> Scenario:
    """A platform that knows the histories' key; jobs end at once where no rule says otherwise."""
    return scenario(*rules, **{"keys": {KEY: None}, "job_seconds": 0, **behaviour})


def write_project(folder: Path, wanted: Iterable[Wanted], **more: Any) -> Path:
    """A project that several histories may share, as long as none changes it. The folder may be a checkout.

    `more` are fields of the project file.
    """
    (folder / "manifests").mkdir(parents=True)
    (folder / "reconciler.yaml").write_text(json.dumps({**_PROJECT, **more}), encoding="utf-8")
    write_manifests(folder, wanted)
    return folder


def write_manifests(project: Path, wanted: Iterable[Wanted]) -> None:
    """These and no others."""
    for path in (project / "manifests").iterdir():
        path.unlink()
    for one in wanted:
        (project / "manifests" / f"{one.name}.yaml").write_text(one.manifest(), encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where a state lies: what the program is told of that, and a handle of the judge's own. `folder` is None elsewhere."""

    state: str
    store: Callable[[], Store]
    folder: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


def in_folder(folder: Path) -> Home:
    return Home(state=str(folder), store=lambda: FileStore(folder, ENVIRONMENT), folder=folder)


class History:
    """`folder` is its own and empty, `project` holds the manifests; the state lies in `folder` where no `home` is given."""

    def __init__(
        self, nursery: Nursery, folder: Path, project: Path, platform_says: Scenario, home: Home | None = None
    ) -> None:
        self.nursery = nursery
        self.folder = folder
        self.project = project
        self.witness = folder / "witness"
        self.attic = folder / "attic"
        self.attic.mkdir()
        self.simulator = ForkedSimulator(nursery, folder, platform_says)
        self.home = home or in_folder(folder / "state")
        self.said: list[Said] = []
        self.environ: dict[str, str] = {}  # beside those that every run has
        self._lineage: str | None = None

    def close(self) -> None:
        self.simulator.stop()

    # Runs

    def order(
        self,
        *commands: tuple[str, ...],
        fault: Fault | None = NO_FAULT,
        gate: Path | None = None,
        leaps: bool = True,
    ) -> Order:
        environ = {
            "RECONCILER_HOST": self.simulator.origin,
            "RECONCILER_STATE": self.home.state,
            "API_KEY": KEY,
            "PATH": "/nowhere",  # no git: where manifests come from is not what is tested here
            "USER": "ada",
            **self.home.variables,
            **self.environ,
        }
        return Order(
            commands=commands,
            environ=environ,
            folder=self.project,
            out=self.folder / f"run{len(self.said)}",
            fault=fault,
            witness=self.witness,
            attic=self.attic,
            gate=gate,
            leaps=leaps,
            elsewhere=self.home.folder is None,
        )

    def run(self, *commands: tuple[str, ...], fault: Fault | None = NO_FAULT) -> Said:
        """Commands one after the other in one process, until one does not end with 0."""
        pid = self.start(*commands, fault=fault)
        said = self.ended(pid)
        said.alone = APPLY in commands
        return said

    def start(
        self,
        *commands: tuple[str, ...],
        fault: Fault | None = NO_FAULT,
        gate: Path | None = None,
        leaps: bool = True,
    ) -> int:
        """As `run`, and gives the process id at once; `ended` waits."""
        order = self.order(*commands, fault=fault, gate=gate, leaps=leaps)
        pid = self.nursery.start(order)
        self.said.append(Said(pid=pid, out=order.out))
        return pid

    def ended(self, pid: int) -> Said:
        said = next(said for said in self.said if said.pid == pid and said.code is None)
        said.code = self.nursery.wait(pid)
        return said

    def apply(self, fault: Fault = NO_FAULT) -> Said:
        return self.run(APPLY, fault=fault)

    # What came of it

    @property
    def applied(self) -> Applied | None:
        """What the state says; None when there is none yet."""
        try:
            stored = self.home.store().read()
        except StateMissing:
            return None
        return fold(stored.snapshot, stored.records)

    def evidence(self) -> Evidence:
        return Evidence.of(
            witness=self.witness,
            simulator=self.simulator,
            said=self.said,
            applied=self.applied,
            state=self.home.folder,
            key=KEY,
        )

    def judge(self) -> Evidence:
        """Everything that RELIABILITY.md promises at any moment."""
        evidence = self.evidence()
        judge(evidence)
        if evidence.applied is not None:
            assert self._lineage in {None, evidence.applied.lineage}, "the lineage has changed (P7)"
            self._lineage = evidence.applied.lineage
        return evidence

    def unlock(self) -> tuple[tuple[str, ...], ...]:
        """The command that breaks a dead process's lease, where a run lock is one and was not given back."""
        store = self.home.store()
        lease = store.lease() if isinstance(store, Leased) and store.exists() else None
        return (("state", "unlock", "-e", ENVIRONMENT, "--id", lease.id),) if lease is not None else ()

    def resolve(self, evidence: Evidence) -> tuple[tuple[str, ...], ...]:
        """The commands of a person who looks up in the platform's console what became of the calls in doubt.

        One for each name: resolving one entry can change the address of another one of that name.
        """
        commands: dict[str, tuple[str, ...]] = {}
        applied = evidence.applied
        for entry in applied.entries.values() if applied else ():
            if situation_of(entry) is not Situation.UNKNOWN or entry.last is None:
                continue
            call = next((call for call in evidence.calls if call.attempt == entry.last.id), None)
            job = call.job if call is not None else None
            how = ("--it-did-not",) if job is None else ("--dock-status-id", job)
            address = _address(self.project, entry, applied) if applied else ""
            commands.setdefault(entry.name, ("resolve", address, *how, "--reason", "console"))
        return tuple(commands.values())

    def converge(self, runs: int = 8) -> Evidence:
        """Apply, and resolve what is in doubt, until nothing remains and the plan is empty."""
        for _ in range(runs):
            evidence = self.judge()
            said = self.run(*self.unlock(), *self.resolve(evidence), APPLY, PLAN)
            assert said.code in {0, 8, 9}, said
            if said.code == 0:
                evidence = self.judge()
                assert not self.resolve(evidence), "something is in doubt and the plan is empty"
                return evidence
        raise AssertionError(f"not converged after {runs} runs: {self.said[-1]}")


def _address(project: Path, entry: Entry, applied: Applied) -> str:
    """The address of an entry: its name, with its model id where the name means, or may mean, another model."""
    manifest = project / "manifests" / f"{entry.name}.yaml"
    if manifest.exists():
        plain = json.loads(manifest.read_text())["spec"]["modelId"] == entry.model_id
    else:
        same = [other for other in applied.entries.values() if other.name == entry.name]
        plain = sum(situation_of(other) is not Situation.ABSENT for other in same) == 1
    return f"{ENVIRONMENT}/{entry.name}" + ("" if plain else f"@{entry.model_id}")
