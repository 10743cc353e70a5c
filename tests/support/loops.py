"""The loop of `watch` in virtual time: manifests in memory, stores in memory, a simulated platform, and a person's hands.

    async def story(watched: Watched) -> None:
        watched.write("a", temperature=1)
        await watched.passes(1)
        assert watched.entry("a").live
    watch(story)

`watch` starts the loop, tells the story and stops it. Reading takes no time and is always at rest; `watched.ask` is the
trigger.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any

from reconciler import pipeline
from reconciler.apply.context import Pace, Stop
from reconciler.apply.decisions import By
from reconciler.apply.journal import Journal
from reconciler.controller.board import Board, Pass, View
from reconciler.controller.loop import Means
from reconciler.controller.supervisor import Supervisor
from reconciler.errors import NotAtRest, ReconcilerError
from reconciler.load import Memo
from reconciler.load.project import Fallback, load_project
from reconciler.model.applied import Applied, Attempt, Binding, Entry, Holder
from reconciler.model.events import Event
from reconciler.model.records import Decision, DecisionRecord
from reconciler.model.resource import Environment, RateLimit
from reconciler.model.snapshot import NO_PROVENANCE, Snapshot, SourceFile
from reconciler.pipeline import Checked
from reconciler.platform.api import Platform
from reconciler.simulator.scenario import Scenario
from reconciler.simulator.world import World
from reconciler.state.memory import MemoryStore
from reconciler.state.store import Store
from tests.support.project import manifest
from tests.support.simulator import ORIGIN, MemoryPlatform, scenario
from tests.support.virtual_time import run_virtual, wall_clock

NAME = "production"
PATIENCE = 7 * 86400.0  # virtual seconds until a story is called stuck, unless it says how long it is
NO_LIMIT = RateLimit(per_minute=0, per_hour=0)


class Watched:
    """`manifests` are file names and texts. `problem` is raised instead of reading; `slow_reading` seconds pass meanwhile.
    `busy` is told before, and reading waits for `at_rest`.
    """

    def __init__(
        self,
        *,
        says: Scenario | None = None,
        environments: Iterable[str] = (NAME,),
        prune: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        self.world = World(says or scenario())
        self.memory = MemoryPlatform(self.world)
        self.platform: Platform = self.memory
        self.manifests: dict[str, bytes] = {}
        self.problem: ReconcilerError | None = None
        self.slow_reading = 0.0
        self.busy: NotAtRest | None = None
        self.at_rest = asyncio.Event()
        self.at_rest.set()
        self.provenance = NO_PROVENANCE
        self.readings = 0
        self.done: list[Pass] = []
        self.events: list[Event] = []
        self.stop = Stop()
        self.prune = prune
        self.patience = patience
        self.names = tuple(environments)
        self.stores: dict[str, Store] = {name: new_store(name) for name in self.names}
        self.memo = Memo()
        self.board = Board(source="memory")
        self.supervisor: Supervisor | None = None
        self._passed = asyncio.Event()
        self._paces: dict[str, Pace] = {}

    # Hands

    def write(self, name: str, temperature: float = 1, *, model_id: str = "", more: str = "") -> None:
        """Save a manifest."""
        self.manifests[f"manifests/{name}.yaml"] = manifest(name, temperature, model_id, more).encode()

    def spoil(self, name: str) -> None:
        """Save half a manifest."""
        self.manifests[f"manifests/{name}.yaml"] = b"apiVersion: reconciler/v1\nkind: [\n"

    def ask(self, cause: str = "a test") -> None:
        assert self.supervisor is not None
        self.supervisor.ask(cause)

    def decide(self, decision: Decision, *, name: str = NAME) -> None:
        """A person decides something with another process."""
        record = DecisionRecord(decision=decision, who="ada", why="because", at=wall_clock())
        Journal(self.stores[name]).transact_now(lambda _: [record])

    def says(self, told: Scenario) -> None:
        """From now on the platform behaves like this."""
        self.world.scenario = told
        self.world._turns = [0] * len(told.rules)

    async def passes(self, count: int) -> None:
        """Until that many more passes have ended."""
        wanted = len(self.done) + count
        await self.until(lambda: len(self.done) >= wanted)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Until something holds at the end of a pass or at an event."""
        while not holds():
            self._passed.clear()
            await self._passed.wait()

    # Eyes

    @property
    def view(self) -> View:
        return self.board.views[self.names[0]]

    def applied(self, name: str = NAME) -> Applied:
        return Journal(self.stores[name]).applied

    def entry(self, name: str) -> Entry:
        return self.applied().entries[f"cm-{name}"]

    def last(self, name: str) -> Attempt:
        last = self.entry(name).last
        assert last is not None
        return last

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Calls that change something, as the platform saw them."""
        return [line for line in self.memory.journal.lines if line["method"] == "POST"]

    def accepted(self) -> Counter[str]:
        return Counter(line["modelId"] for line in self.calls if line["accepted"])

    # What the loop is given

    async def read(self, busy: Callable[[NotAtRest], None]) -> Checked:
        self.readings += 1
        if self.busy is not None:
            busy(self.busy)
        await self.at_rest.wait()
        if self.slow_reading:
            await asyncio.sleep(self.slow_reading)
        if self.problem is not None:
            raise self.problem
        files = tuple(SourceFile(path=path, data=data) for path, data in sorted(self.manifests.items()))
        return pipeline.check(Snapshot(files=files, provenance=self.provenance), self._settled(), self.memo)

    def _settled(self) -> Any:
        lines = ["apiVersion: reconciler/v1", "kind: Project", "environments:"]
        more = f"host: '{ORIGIN}', apiKey: {{env: KEY}}, prune: {str(self.prune).lower()}"
        lines += [f"  {name}: {{{more}}}" for name in self.names]
        project, found = load_project(
            SourceFile(path="reconciler.yaml", data="\n".join(lines).encode()), Fallback(host=None)
        )
        assert project is not None, found
        return replace(project, environments=tuple(replace(e, rate_limit=NO_LIMIT) for e in project.environments))

    def means(self, **options: Any) -> Means:
        def passed(done: Pass, _: View) -> None:
            self.done.append(done)
            self._passed.set()

        def told(event: Event) -> None:
            self.events.append(event)
            self._passed.set()

        def pace(environment: Environment) -> Pace:
            known = self._paces.get(environment.origin)
            return known or self._paces.setdefault(environment.origin, Pace.of(environment.rate_limit))

        self.board.on_pass(passed)
        self.board.on_event(told)
        usual: dict[str, Any] = {
            "store": lambda environment: self.stores[environment.name],
            "platform": lambda _: self.platform,
            "refuse": lambda *_: None,
            "pace": pace,
            "holder": holder,
            "ask": lambda *_: None,
            "now": wall_clock,
            "random": lambda: 0.5,
            "board": self.board,
            "stop": self.stop,
        }
        return Means(**{**usual, **options})

    async def run(self, story: Callable[[Watched], Awaitable[None]], **options: Any) -> None:
        """The loop, while the story is told; then it is stopped, and must be out within 7 s."""
        self.supervisor = Supervisor(self.read, self.means(**options), self._settled().environments)
        loop = asyncio.create_task(self.supervisor.run())
        try:
            async with asyncio.timeout(self.patience):
                await story(self)
        finally:
            since = asyncio.get_running_loop().time()
            self.stop.request()
            await loop
            assert asyncio.get_running_loop().time() - since <= 7


def watch(
    story: Callable[[Watched], Awaitable[None]], *, options: dict[str, Any] | None = None, **fields: Any
) -> Watched:
    """Tell a story on a virtual loop; gives what was watched, to look at afterwards."""

    async def told() -> Watched:
        watched = Watched(**fields)
        await watched.run(story, **(options or {}))
        return watched

    return run_virtual(told())


def new_store(name: str = NAME) -> MemoryStore:
    store = MemoryStore(name)
    store.create(
        Applied(environment=name, lineage=f"lineage-{name}", binding=Binding(origin=ORIGIN, api_key="env:KEY"))
    )
    return store


def holder(run: str) -> Holder:
    return Holder(user="ada", host="machine", pid=1, operation="watch", run=run)


def as_person(why: str = "because") -> By:
    return By(who="ada", why=why, at=wall_clock())


def some(count: int) -> list[str]:
    """Names of deployments: enough of them that changing one is not a mass change."""
    return [f"m{number:03}" for number in range(count)]
