"""The loop over many passes with a platform that misbehaves at random: it converges, or says why not, and does not grow.

`SOAK=1` runs the long form: 2,000 passes over 500 deployments.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import tracemalloc
from typing import Any

from reconciler.model.applied import Accepted, Situation, Unanswered, Unknown, situation_of
from reconciler.model.records import Allow, Resolve
from tests.support.loops import NAME, Watched, some, watch
from tests.support.simulator import scenario

LONG = bool(os.environ.get("SOAK"))
PASSES, DEPLOYMENTS = (2000, 500) if LONG else (60, 40)
HOUR = 3600.0

FAULTS: tuple[dict[str, Any], ...] = (
    {"job": {"fails": True}},
    {"answer": {"status": 429, "retryAfter": "7"}},
    {"answer": {"status": 400}},
    {"answer": {"status": 503}},
    {"lost": "after"},
    {"lost": "before"},
    {"job": {"seconds": 2000}},
    {"delay": 20},
)


def _judge(watched: Watched) -> None:
    """At most one possibly processed call a generation, and three an hour."""
    for entry in watched.applied().entries.values():
        possible = [a for a in entry.attempts if isinstance(a.outcome, Accepted | Unknown | Unanswered)]
        generations = [a.generation for a in possible]
        assert len(generations) == len(set(generations))
        for first, fourth in zip(possible, possible[3:], strict=False):
            assert (fourth.started_at - first.started_at).total_seconds() >= HOUR


def _care(watched: Watched) -> None:
    """A person looks in now and then: says what became of doubtful calls, and lets a mass change through."""
    for entry in watched.applied().entries.values():
        last = entry.last
        if last is not None and situation_of(entry) is Situation.UNKNOWN and not isinstance(last.outcome, Unanswered):
            watched.decide(Resolve(model_id=entry.model_id, attempt=last.id, verdict="happened"))
    if watched.view.plan is not None and watched.view.plan.guards:
        watched.decide(Allow())


def test_soak() -> None:
    """Every entry converges, or is held or quarantined with a reason; memory does not grow with the passes."""
    chance = random.Random(11)  # a seeded choice
    sizes: list[int] = []

    async def story(watched: Watched) -> None:
        names = some(DEPLOYMENTS)
        for name in names:
            watched.write(name)
        turn = 0
        while len(watched.done) < PASSES:
            turn += 1
            rules = [{**fault, "match": {"model": f"cm-{chance.choice(names)}"}} for fault in chance.sample(FAULTS, 3)]
            watched.says(scenario(*rules, job_seconds=30))
            for name in chance.sample(names, 4):
                watched.write(name, round(chance.random(), 3))
            watched.ask(f"turn {turn}")
            await asyncio.sleep(chance.choice((5, 60, 400, 2000)))
            _care(watched)
            watched.events.clear()
            watched.memory.journal.lines.clear()
            if turn % 10 == 0:
                _judge(watched)
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
        watched.says(scenario(job_seconds=5))
        watched.ask("the end")
        for _ in range(12):
            await asyncio.sleep(HOUR)
            _care(watched)
        _judge(watched)
        plan = watched.view.plan
        assert plan is not None
        reasons = {wait.address: wait.why for wait in watched.view.waits}
        for change in plan.changes:
            live = watched.applied().entries[change.model_id].live
            settled = live is not None and live.digest == change.digest
            assert settled or reasons.get(change.address), (NAME, change.address, change.action, change.detail)

    if LONG:  # it costs two thirds of the time
        tracemalloc.start()
    try:
        watch(story)
    finally:
        tracemalloc.stop()
    half = sizes[len(sizes) // 2 :]
    first, last = half[: len(half) // 2], half[len(half) // 2 :]
    if LONG:
        assert sum(last) / len(last) < sum(first) / len(first) * 1.05
