"""The loop over many passes with a platform that misbehaves at random: it converges, or says why not, and does not grow.

`SOAK=1` runs the long form: 2,000 passes over 500 deployments, and prints what it measured.
Whether anything is left behind is counted to the object where all turns are alike.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from reconciler.model.applied import MAX_ATTEMPTS, Accepted, Entry, Situation, Unanswered, Unknown, situation_of
from reconciler.model.records import Allow, Resolve
from reconciler.platform.endings import TERMINAL
from reconciler.state.format import decode_snapshot, encode_snapshot
from tests.support.loops import NAME, Watched, some, watch
from tests.support.simulator import scenario
from tests.support.virtual_time import wall_clock

LONG = bool(os.environ.get("SOAK"))
PASSES, DEPLOYMENTS = (2000, 500) if LONG else (60, 40)
OFTEN = 10 if LONG else 2  # turns between looks
HOUR = 3600.0
GROWTH = 1.01  # of the objects in the third quarter; what is under way differs from turn to turn
TURNS = 14  # in which all is counted; half of them are enough to have ten attempts each

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


@dataclass(slots=True)
class _Seen:
    """What was counted: passes by their end, calls, and at every look the objects and the memory in MiB."""

    passes: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    objects: list[int] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)

    def take(self, watched: Watched) -> None:
        """Count what was told, and forget it: what a test remembers must not look like a leak."""
        mistakes = [done.detail for done in watched.done if "unexpected error" in done.detail]
        assert not mistakes, mistakes
        self.passes.update(str(done.end) for done in watched.done)
        self.calls += len(watched.calls)
        watched.done.clear()
        watched.events.clear()
        watched.memory.journal.lines.clear()
        _forget_jobs(watched)

    def weigh(self) -> None:
        gc.collect()
        self.objects.append(sys.getallocatedblocks())
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)

    def growth(self) -> float:
        """The last quarter's objects over those of the quarter before."""
        half = self.objects[len(self.objects) // 2 :]
        first, last = half[: len(half) // 2], half[len(half) // 2 :]
        return (sum(last) / len(last)) / (sum(first) / len(first))

    def __str__(self) -> str:
        at = [self.memory[round((len(self.memory) - 1) * part / 4)] for part in range(5)]
        return (
            f"{self.passes.total()} passes {dict(self.passes)}, {self.calls} calls, in the end {dict(self.ends)}; "
            f"objects of the last quarter over the third {self.growth():.4f}; "
            f"MiB at the quarters {', '.join(f'{mib:.0f}' for mib in at)}"
        )


def _forget_jobs(watched: Watched) -> None:
    """The platform remembers every job for ever; here, of those that nobody asks for any more, only the ids."""
    running = {
        attempt.outcome.dock_status_id
        for entry in watched.applied().entries.values()
        for attempt in entry.attempts
        if isinstance(attempt.outcome, Accepted) and attempt.outcome.status not in TERMINAL
    }
    world = watched.world
    for model in world.models.values():
        model.jobs[:] = model.jobs[-10:]
    past = wall_clock().timestamp() - HOUR  # what was sent just now may be unknown to the state still
    over = {name: job for name, job in world.jobs.items() if job.ends is not None and job.ends < past}
    if over:
        world.jobs.update(dict.fromkeys(over.keys() - running, next(iter(over.values()))))


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


def _grow_old(watched: Watched) -> None:
    """As after months: every entry has the ten attempts that are kept, so that no more come to be remembered."""
    watched.decide(Allow())  # a record that the loop has not seen makes it read the snapshot
    applied = watched.applied()
    entries = {model: _with_past(entry) for model, entry in applied.entries.items()}
    grown = decode_snapshot(
        encode_snapshot(replace(applied, entries=entries)), where="memory"
    )  # nothing in it is shared
    watched.stores[NAME].compact(applied.seq, grown)


def _with_past(entry: Entry) -> Entry:
    last = entry.last
    assert last is not None
    assert isinstance(last.outcome, Accepted)
    past = tuple(
        replace(
            last,
            id=f"{last.id}-{number}",
            generation=number,
            started_at=last.started_at - timedelta(days=MAX_ATTEMPTS - number),
            outcome=replace(last.outcome, dock_status_id=f"{last.outcome.dock_status_id}-{number}"),
        )
        for number in range(1, MAX_ATTEMPTS)
    )
    return replace(entry, generation=MAX_ATTEMPTS, attempts=(*past, replace(last, generation=MAX_ATTEMPTS)))


async def _misfortunes(watched: Watched, seen: _Seen, chance: random.Random, names: list[str]) -> None:
    """Turn after turn some manifests change, and the platform fails in other ways."""
    turn = 0
    while seen.passes.total() + len(watched.done) < PASSES:
        turn += 1
        changed = chance.sample(names, 4)
        struck = chance.sample(changed, 2)
        rules = [{**chance.choice(FAULTS), "match": {"model": f"cm-{name}"}} for name in struck]
        watched.says(scenario(*rules, job_seconds=1))
        for name in changed:
            watched.write(name, round(chance.random(), 3))
        watched.ask(f"turn {turn}")
        await asyncio.sleep(chance.choice((5, 60, 400, 2000)))
        _care(watched)
        if turn % OFTEN == 0:
            _judge(watched)
            seen.take(watched)
            seen.weigh()


def _come_to_rest(watched: Watched) -> Counter[str]:
    """How every deployment ended: as its manifest says, or with a reason why not."""
    plan = watched.view.plan
    assert plan is not None
    reasons = {wait.address: wait.why for wait in watched.view.waits}
    ends: Counter[str] = Counter()
    for change in plan.changes:
        live = watched.applied().entries[change.model_id].live
        settled = live is not None and live.digest == change.digest
        assert settled or reasons.get(change.address), (change.address, change.action, change.detail)
        ends["as the manifest says" if settled else str(change.reason)] += 1
    return ends


def test_soak() -> None:
    """Every entry converges, or is held or quarantined with a reason; memory does not grow with the passes."""
    chance = random.Random(11)  # a seeded choice
    seen, began = _Seen(), time.monotonic()

    async def story(watched: Watched) -> None:
        names = some(DEPLOYMENTS)
        for name in names:
            watched.write(name)
        watched.ask("the start")
        await watched.passes(1)
        _grow_old(watched)
        await _misfortunes(watched, seen, chance, names)
        watched.says(scenario(job_seconds=5))
        watched.ask("the end")
        for _ in range(12):
            await asyncio.sleep(HOUR)
            _care(watched)
        _judge(watched)
        seen.take(watched)
        seen.ends = _come_to_rest(watched)
        assert seen.ends.total() == DEPLOYMENTS

    watch(story, says=scenario(job_seconds=0), patience=PASSES * HOUR)
    print(f"\n{DEPLOYMENTS} deployments, {time.monotonic() - began:.0f} s: {seen}")
    if LONG:
        assert seen.growth() < GROWTH


def test_no_pass_leaves_anything_behind() -> None:
    """Once the entries have as many attempts as are kept, passes with refusals, retries and failures leave no object behind."""
    objects: list[int] = []
    refuses = {"answer": {"status": 400}, "match": {"model": "cm-m000"}}
    waits = {"answer": {"status": 429, "retryAfter": "7"}, "match": {"model": "cm-m001"}}
    fails = {"job": {"fails": True}, "match": {"model": "cm-m002"}}

    async def story(watched: Watched) -> None:
        for name in some(10):
            watched.write(name)
        watched.ask("the start")
        await watched.passes(1)
        for turn in range(TURNS):
            for told, value in ((scenario(refuses, waits, fails), 0.25), (scenario(), 0.5)):
                watched.says(told)
                for name in some(3):
                    watched.write(name, value + turn / 1000)
                watched.ask(f"turn {turn}")
                await asyncio.sleep(HOUR)
            _Seen().take(watched)
            gc.collect()
            objects.append(len(gc.get_objects()))

    watch(story)
    half = objects[len(objects) // 2 :]
    assert half[-1] - half[0] < len(half), objects
