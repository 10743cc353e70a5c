"""One environment under test: resources, a store, a simulated platform, and time that goes on between runs.

    estate = Estate([resource("a"), resource("b", depends_on=("a",))], platform_says=scenario(job_seconds=20))
    report = estate.apply()
    assert estate.plan().is_empty

Plans are made from values, by the real diff and plan. Every run is one virtual event loop; the estate's clock carries on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from reconciler.apply.context import RunContext, Stop
from reconciler.apply.executor import follow_only, run_plan
from reconciler.apply.journal import Journal
from reconciler.apply.recover import as_of_now, running_jobs
from reconciler.diff import diff
from reconciler.model.applied import Applied, Attempt, Binding, Entry, Holder
from reconciler.model.events import Event
from reconciler.model.plan import Plan
from reconciler.model.records import Record
from reconciler.model.resource import Blame, Desired, Environment, KeyReference, Origin, RateLimit, Resource, Rollout
from reconciler.model.run import RunReport
from reconciler.model.values import canonical, digest_of
from reconciler.plan.build import Choices, build_plan
from reconciler.platform.api import Platform
from reconciler.simulator.scenario import Scenario
from reconciler.simulator.world import World
from reconciler.state.memory import MemoryStore
from reconciler.state.store import Store
from tests.support.simulator import ORIGIN, MemoryPlatform, scenario
from tests.support.virtual_time import START, run_virtual

T = TypeVar("T")

NAME = "production"
NO_LIMIT = RateLimit(per_minute=0, per_hour=0)


def resource(
    name: str, *, temperature: float = 1, model_id: str = "", model_type: str = "openSource", **rollout: Any
) -> Resource:
    """A small valid resource; `rollout` are fields of Rollout. Its body differs by name and temperature."""
    body = {
        "name": name,
        "isDeployedPreviously": True,
        "hyperParameters": {"temperature": temperature, "maxTokens": 512, "topP": 1, "topK": 50},
        "deviceType": "g5.xlarge",
    }
    return Resource(
        environment=NAME,
        name=name,
        labels=(),
        model_id=model_id or f"cm-{name}",
        model_type=model_type,
        body=canonical(body).decode(),
        digest=digest_of(model_type, body),
        rollout=Rollout(**rollout),
        origin=Origin(file=f"manifests/{name}.yaml", document=0, line=1),
    )


def resources(count: int, **rollout: Any) -> list[Resource]:
    return [resource(f"m{number:03}", **rollout) for number in range(count)]


def new_store() -> MemoryStore:
    store = MemoryStore(NAME)
    store.create(Applied(environment=NAME, lineage="a-lineage", binding=Binding(origin=ORIGIN, api_key="env:KEY")))
    return store


def holder(run: str) -> Holder:
    return Holder(user="ada", host="laptop", pid=1, operation="apply", run=run)


class Estate:
    """`platform` carries the calls; replace it, or `store`, by a wrapper to see what happens then."""

    def __init__(
        self,
        wanted: Iterable[Resource] = (),
        *,
        platform_says: Scenario | None = None,
        prune: bool = True,
        store: Store | None = None,
    ) -> None:
        self.wanted = list(wanted)
        self.world = World(platform_says or scenario())
        self.memory = MemoryPlatform(self.world, clock=lambda: self.now().timestamp())
        self.platform: Platform = self.memory
        self.store: Store = store or new_store()
        self.prune = prune
        self.events: list[Event] = []
        self.stop = Stop()
        self._since = START
        self._runs = 0

    # Time

    def now(self) -> datetime:
        """The wall clock, inside and between runs."""
        try:
            return self._since + timedelta(seconds=asyncio.get_running_loop().time())
        except RuntimeError:
            return self._since

    def pass_time(self, seconds: float) -> None:
        self._since += timedelta(seconds=seconds)

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Something asynchronous, on a virtual loop; the clock goes on afterwards."""

        async def timed() -> T:
            loop = asyncio.get_running_loop()
            try:
                return await work()
            finally:
                self._after = loop.time()

        self._after = 0.0
        try:
            return run_virtual(timed())
        finally:
            self.pass_time(self._after)

    # Runs

    def plan(self, **choices: Any) -> Plan:
        desired = Desired(environment=NAME, resources=tuple(sorted(self.wanted, key=lambda r: r.name)))
        applied = as_of_now(Journal(self.store).applied, self.store)
        changes = diff(
            desired, applied, prune=self.prune, now=self.now(), locate=lambda *_: Blame(layer="spec", position=None)
        )
        environment = Environment(
            name=NAME,
            origin=ORIGIN,
            api_key=KeyReference(kind="env", value="KEY"),
            state="",
            prune=self.prune,
            defaults={},
        )
        return build_plan(changes, applied, environment, choices=Choices(**{"allow_mass_change": True, **choices}))

    def context(self, **options: Any) -> RunContext:
        self._runs += 1
        run = f"run{self._runs}"
        self.stop = Stop()
        usual: dict[str, Any] = {
            "run": run,
            "holder": holder(run),
            "now": self.now,
            "random": lambda: 0.5,
            "stop": self.stop,
            "rate_limit": NO_LIMIT,
            "listener": self.events.append,
        }
        return RunContext(**{**usual, **options})

    def apply(self, plan: Plan | None = None, **options: Any) -> RunReport:
        return self.run(lambda: self.applying(plan, **options))

    async def applying(self, plan: Plan | None = None, **options: Any) -> RunReport:
        """`apply` for those who are on a loop already."""
        plan = plan or self.plan()
        return await run_plan(plan, self.platform, Journal(self.store), context=self.context(**options))

    def follow(self, **options: Any) -> RunReport:
        return self.run(lambda: self.following(**options))

    async def following(self, **options: Any) -> RunReport:
        journal = Journal(self.store)
        return await follow_only(running_jobs(journal.applied), self.platform, journal, context=self.context(**options))

    def platform_says(self, told: Scenario) -> None:
        """From now on the platform behaves like this; its rules count anew."""
        self.world.scenario = told
        self.world._turns = [0] * len(told.rules)

    # What came of it

    @property
    def applied(self) -> Applied:
        return Journal(self.store).applied

    def entry(self, name: str) -> Entry:
        return self.applied.entries[f"cm-{name}"]

    def last(self, name: str) -> Attempt:
        last = self.entry(name).last
        assert last is not None
        return last

    @property
    def records(self) -> tuple[Record, ...]:
        return self.store.read().records

    @property
    def calls(self) -> list[dict[str, Any]]:
        """What the platform saw of calls that change something."""
        return [line for line in self.memory.journal.lines if line["method"] == "POST"]

    def accepted(self) -> Counter[str]:
        """How many jobs the platform started, by model id."""
        return Counter(line["modelId"] for line in self.calls if line["accepted"])

    def ends(self, report: RunReport) -> dict[str, str]:
        """How each change ended, by name."""
        return {result.address.partition("/")[2]: str(result.ended) for result in report.results}


def edited(wanted: Resource, **fields: Any) -> Resource:
    """The same resource with another rollout or name; the body stays."""
    return replace(wanted, **fields)
