"""Laws of applying, over random estates, faults, edits, deaths and signals.

Whatever happened before: with the platform in order again, and a person who resolves what is in doubt, the estate converges;
and at no moment was anything sent twice, undeployed without having been applied, or called "not sent" falsely.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.apply.decisions import By, Subject, resolve_as_accepted, resolve_as_not_happened
from reconciler.apply.journal import Journal
from reconciler.model.applied import (
    Accepted,
    Applied,
    NotProcessed,
    NotSent,
    Operation,
    Situation,
    Unanswered,
    Unknown,
    situation_of,
)
from reconciler.model.plan import Action
from reconciler.model.records import AttemptRecord, Record
from reconciler.model.resource import Strategy
from tests.support.estates import Estate, new_store, resource
from tests.support.failpoints import Died, Fate, FatedPlatform, FatedStore
from tests.support.simulator import scenario

NAMES = ("a", "b", "c", "d")

FAULTS: tuple[dict[str, Any], ...] = (
    {"answer": {"status": 429, "retryAfter": "7"}},
    {"answer": {"status": 400}},
    {"answer": {"status": 409}},
    {"answer": {"status": 502, "accepted": True}},
    {"answer": {"status": 503}},
    {"answer": {"status": 308}},
    {"answer": {"status": 303, "accepted": True}},
    {"lost": "after"},
    {"lost": "before"},
    {"cutBody": 20},
    {"cutBody": 64},
    {"reply": {"idKey": "none"}},
    {"reply": {"idKey": "two"}},
    {"job": {"fails": True, "seconds": 3}},
    {"job": {"seconds": 0}},
    {"job": {"stuck": True}},
    {"delay": 4},
    {"delay": 200},
)

rules = st.builds(
    lambda fault, model, operation, nth: {
        **fault,
        "match": {"model": f"cm-{model}*", "operation": operation, "nth": nth},
    },
    st.sampled_from(FAULTS),
    st.sampled_from((*NAMES, "*")),
    st.sampled_from(("deploy", "undeploy")),
    st.integers(1, 3),
)

wanted = st.fixed_dictionaries(
    {
        "temperature": st.integers(0, 1),
        "wave": st.integers(0, 1),
        "model": st.sampled_from(("", "2")),
        "strategy": st.sampled_from(Strategy),
    }
)
manifests = st.dictionaries(st.sampled_from(NAMES), wanted, min_size=0, max_size=4)

steps = st.one_of(
    st.tuples(st.just("apply"), st.integers(1, 4)),
    st.tuples(st.just("send"), st.integers(1, 4)),
    st.tuples(st.just("die"), st.integers(1, 60)),
    st.tuples(st.just("stop"), st.floats(0, 40)),
    st.tuples(st.just("wait"), st.integers(1, 100)),
    st.tuples(st.just("edit"), manifests),
)


class Remembering(FatedStore):
    """Keeps every record that was ever appended."""

    def __init__(self) -> None:
        super().__init__(new_store(), Fate())
        self.written: list[Record] = []

    def append(self, seq: int, records: Sequence[Record]) -> int:
        moved = super().append(seq, records)
        self.written.extend(records)
        return moved


class Story:
    """An estate and what happens to it."""

    def __init__(self, told: list[dict[str, Any]]) -> None:
        self.store = Remembering()
        self.estate = Estate(platform_says=scenario(*told, job_seconds=10), store=self.store)

    def happen(self, what: str, how: Any) -> None:
        estate = self.estate
        match what:
            case "apply":
                estate.apply(parallelism=how)
            case "send":
                estate.apply(parallelism=how, wait=False)
            case "die":
                self._die(how)
            case "stop":
                estate.run(lambda: self._stopped(how))
            case "wait":
                estate.pass_time(how)
            case "edit":
                self._edit(how)
        self.judge()

    def _edit(self, how: dict[str, dict[str, Any]]) -> None:
        self.estate.wanted = [
            resource(
                name,
                model_id=f"cm-{name}{fields['model']}",
                temperature=fields["temperature"],
                wave=fields["wave"],
                strategy=fields["strategy"],
                timeout=60,
            )
            for name, fields in sorted(how.items())
        ]

    def _die(self, at: int) -> None:
        fate, platform = Fate(at), self.estate.platform
        self.estate.store, self.estate.platform = FatedStore(self.store, fate), FatedPlatform(platform, fate)
        try:
            self.estate.apply()
        except (Died, BaseExceptionGroup):
            if not fate.dead:
                raise
        finally:
            self.estate.store, self.estate.platform = self.store, platform
            fate.bury()

    async def _stopped(self, after: float) -> None:
        task = asyncio.create_task(self.estate.applying())
        await asyncio.sleep(after)
        self.estate.stop.request(2)
        since = asyncio.get_running_loop().time()
        await task
        assert asyncio.get_running_loop().time() - since <= 7

    def judge(self) -> None:
        """The promises that hold at any moment."""
        estate = self.estate
        seen, attempts = defaultdict(list), defaultdict(list)
        for line in estate.calls:
            seen[line["modelId"]].append(line)
        for record in self.store.written:
            if isinstance(record, AttemptRecord):
                attempts[record.model_id].append(record)
        for model_id, lines in seen.items():
            assert len(lines) <= len(attempts[model_id]), "a request without ATTEMPT (P1)"
            deployed = sum(line["accepted"] for line in lines if line["call"] == "deploy")
            deploys = {a.generation for a in attempts[model_id] if a.operation is Operation.DEPLOY}
            assert deployed <= len(deploys), "two deploys of one generation (P4)"
            applied = any(line["call"] == "deploy" and line["accepted"] for line in lines)
            assert applied or all(line["call"] == "deploy" for line in lines), "undeployed without having been applied"
        for entry in estate.applied.entries.values():
            possible = [a.generation for a in entry.attempts if isinstance(a.outcome, Accepted | Unknown | Unanswered)]
            assert len(possible) == len(set(possible)), "two possibly processed attempts of one generation (P4)"
            denied = sum(isinstance(a.outcome, NotSent | NotProcessed) and not a.decided for a in entry.attempts)
            started = sum(line["accepted"] for line in seen[entry.model_id])
            assert started <= len(attempts[entry.model_id]) - denied, "a started call that is denied (P5)"
        assert estate.store.sender_is_dead()

    def resolve_all(self) -> None:
        """A person looks into the platform's console and says what became of every doubtful call."""
        estate = self.estate
        for entry in estate.applied.entries.values():
            last = entry.last
            if last is None or situation_of(entry) is not Situation.UNKNOWN:
                continue
            known = {
                a.outcome.dock_status_id
                for e in estate.applied.entries.values()
                for a in e.attempts
                if isinstance(a.outcome, Accepted)
            }
            jobs = [
                line["dockStatusId"]
                for line in estate.calls
                if line["accepted"]
                and line["modelId"] == entry.model_id
                and line["call"] == last.operation
                and line["dockStatusId"] not in known
                and line["body"] == (last.body or "")
            ]
            self._say(entry.model_id, jobs[-1] if jobs else None)

    def _say(self, model_id: str, job: str | None) -> None:
        estate = self.estate
        subject, by = Subject(address=model_id, model_id=model_id), By(who="ada", why="looked", at=estate.now())

        def decide(applied: Applied) -> list[Record]:
            if job is None:
                return [resolve_as_not_happened(applied, subject, by, sender_is_dead=True)]
            status = estate.world.jobs[job].status(estate.now().timestamp())
            return [resolve_as_accepted(applied, subject, by, dock_status_id=job, status=status, sender_is_dead=True)]

        Journal(estate.store).transact_now(decide)

    def settle(self) -> None:
        """The platform is in order again, stuck jobs have ended, and somebody cares."""
        estate = self.estate
        estate.platform_says(scenario(job_seconds=10))
        for _ in range(4):
            for job in estate.world.jobs.values():
                if job.ends is None:
                    self._end(job.id)
            self.resolve_all()
            estate.apply()
            self.judge()
            estate.pass_time(60)

    def _end(self, job_id: str) -> None:
        job = self.estate.world.jobs[job_id]
        self.estate.world.jobs[job_id] = replace(job, ends=job.starts)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(rules, max_size=4), manifests, st.lists(steps, min_size=1, max_size=6))
def test_converges(told: list[dict[str, Any]], first: dict[str, Any], story: list[tuple[str, Any]]) -> None:
    """From whatever happened, the estate converges to what the manifests say, and an empty plan."""
    estate = Story(told)
    estate.happen("edit", first)
    for what, how in story:
        estate.happen(what, how)
    estate.settle()
    plan = estate.estate.plan()
    assert plan.is_empty, [(change.address, change.action, change.detail) for change in plan.pending]
    for wished in estate.estate.wanted:
        live = estate.estate.applied.entries[wished.model_id].live
        assert live is not None
        assert live.digest == wished.digest
    calls = len(estate.estate.calls)
    estate.estate.apply()
    assert len(estate.estate.calls) == calls, "an empty plan sends nothing"


@settings(max_examples=40, deadline=None)
@given(manifests, manifests)
def test_plan_after_apply_is_empty(first: dict[str, Any], second: dict[str, Any]) -> None:
    """After a complete apply there is nothing to do, and every call was in the plan before it."""
    story = Story([])
    for manifest in (first, second):
        story.happen("edit", manifest)
        planned = {(c.model_id, c.action is Action.UNDEPLOY) for c in story.estate.plan().changes if c.action.sends}
        before = len(story.estate.calls)
        story.happen("apply", 4)
        sent = {(line["modelId"], line["call"] == "undeploy") for line in story.estate.calls[before:]}
        assert sent == planned
        assert story.estate.plan().is_empty
