"""The loop in virtual time: one pass at a time, the newest wins, nothing is tried too often, a person decides the rest."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

from reconciler.apply.decisions import suspend
from reconciler.apply.journal import Journal
from reconciler.controller.board import PassEnd
from reconciler.controller.supervisor import Supervisor
from reconciler.errors import NotAtRest, SourceError
from reconciler.model.applied import Accepted
from reconciler.model.records import Allow, RawRecord, Record, Retry, Suspend
from reconciler.model.snapshot import NO_PROVENANCE
from reconciler.platform.api import ConnectFailed
from reconciler.state.memory import MemoryStore
from reconciler.state.store import DurabilityLost, Stored
from tests.support.failpoints import Fate, FatedStore
from tests.support.loops import NAME, Watched, as_person, new_store, some, watch
from tests.support.simulator import scenario
from tests.support.virtual_time import START, run_virtual

HOUR = 3600


async def _began(watched: Watched, count: int = 5) -> None:
    """Everything is deployed."""
    for name in some(count):
        watched.write(name)
    watched.ask()
    await watched.passes(1)
    assert watched.done[-1].end is PassEnd.SUCCEEDED, watched.done[-1]


def test_deploys_what_is_written() -> None:
    """What is saved is deployed, and a pass that finds nothing to do sends nothing."""

    async def story(watched: Watched) -> None:
        await _began(watched)
        assert sum(watched.accepted().values()) == 5
        watched.ask()
        await watched.passes(1)
        assert sum(watched.accepted().values()) == 5
        watched.write("m001", 0)
        watched.ask()
        await watched.passes(1)
        assert watched.accepted()["cm-m001"] == 2
        assert watched.view.plan is not None
        assert watched.view.plan.is_empty
        assert watched.view.last_success_at is not None

    watch(story)


def test_triggers_during_a_pass_mean_one_more() -> None:
    """However often somebody asks while a pass goes on, exactly one more follows."""

    async def story(watched: Watched) -> None:
        await _began(watched)
        watched.write("m000", 0)
        watched.ask()
        await watched.until(lambda: watched.view.running is not None and len(watched.calls) == 6)
        before = len(watched.done)
        for _ in range(50):
            watched.ask("again and again")
        await watched.passes(2)
        await asyncio.sleep(200)
        assert len(watched.done) == before + 2

    watch(story)


def test_environments_side_by_side() -> None:
    """A job that takes its time in one environment holds up no other."""

    async def story(watched: Watched) -> None:
        long = {"job": {"seconds": 2000}, "match": {"model": "cm-slow*"}}
        watched.says(scenario(long, job_seconds=5))
        both = "environments: {one: {}, two: {modelId: cm-quick}}"
        watched.write("a", model_id="cm-slow", more=both)
        watched.ask()
        await watched.until(lambda: any(d.environment == "two" for d in watched.done))
        assert asyncio.get_running_loop().time() < 60
        assert watched.board.views["one"].running is not None

    watch(story, environments=("one", "two"))


def test_running_job_does_not_hold_up_a_change() -> None:
    """While a run only follows a job, something newer is sent at once, and the job is followed on."""

    async def story(watched: Watched) -> None:
        await _began(watched)
        watched.says(scenario({"job": {"seconds": 2400}, "match": {"model": "cm-m000"}}, job_seconds=5))
        watched.write("m000", 0)
        watched.ask()
        await watched.until(lambda: watched.accepted()["cm-m000"] == 2)
        await asyncio.sleep(100)
        since = asyncio.get_running_loop().time()
        watched.write("m001", 0)
        watched.ask()
        await watched.until(lambda: watched.accepted()["cm-m001"] == 2)
        assert asyncio.get_running_loop().time() - since < 1
        await watched.until(lambda: watched.entry("m000").live is not None and watched.view.running is None)
        assert watched.accepted()["cm-m000"] == 2
        assert watched.view.plan is not None
        assert watched.view.plan.is_empty

    watch(story)


def test_newest_wins() -> None:
    """Of ten commits that come while a job runs, the job is followed to its end and then only the newest is sent."""

    async def story(watched: Watched) -> None:
        await _began(watched)
        watched.says(scenario(job_seconds=600))
        watched.write("m000", 0)
        watched.ask()
        await watched.until(lambda: watched.accepted()["cm-m000"] == 2)
        for number in range(1, 11):
            watched.write("m000", number / 10)
            watched.ask()
            await asyncio.sleep(20)
        await watched.until(lambda: watched.accepted()["cm-m000"] == 3)
        await watched.until(
            lambda: watched.view.running is None and watched.view.plan is not None and watched.view.plan.is_empty
        )
        bodies = [line["body"] for line in watched.calls if line["modelId"] == "cm-m000"]
        assert '"temperature":1,' in bodies[-1].replace(" ", "") or '"temperature":1.0' in bodies[-1]
        assert len(bodies) == 3

    watch(story)


def test_newest_wins_while_a_call_is_in_flight() -> None:
    """Of several commits that come while a call waits for its reply only the newest is sent after it."""

    async def story(watched: Watched) -> None:
        watched.says(scenario({"delay": 40, "match": {"operation": "deploy"}}, job_seconds=5))
        watched.write("m000")
        watched.ask()
        await watched.until(lambda: len(watched.calls) == 1)
        for temperature in (0.25, 0.5, 0.75):
            watched.write("m000", temperature)
            watched.ask()
            await asyncio.sleep(5)
        await watched.until(lambda: len(watched.calls) == 2)
        await watched.until(lambda: watched.view.running is None)
        assert '"temperature":0.75' in watched.calls[-1]["body"].replace(" ", "")
        assert len(watched.calls) == 2

    watch(story)


def test_unsent_changes_are_superseded() -> None:
    """What is not sent yet when a newer digest comes is never sent."""

    async def story(watched: Watched) -> None:
        watched.says(scenario(job_seconds=600))
        for name in some(8):
            watched.write(name)
        watched.ask()
        await watched.until(lambda: len(watched.calls) == 4)
        for name in some(8)[4:]:
            watched.write(name, 0)
        watched.ask()
        await watched.passes(1)
        assert watched.done[-1].end is PassEnd.SUPERSEDED
        await watched.until(lambda: len(watched.accepted()) == 8 and watched.view.running is None)
        for line in watched.calls[4:]:
            assert '"temperature":0' in line["body"].replace(" ", "")
        assert set(watched.accepted().values()) == {1}

    watch(story)


def test_failed_job_is_tried_again_and_then_left_alone() -> None:
    """A job that fails is sent again after 5 and 20 minutes; then its digest is quarantined, and another one lifts that."""

    async def story(watched: Watched) -> None:
        await _began(watched)
        await asyncio.sleep(HOUR)  # the first deploy counts for the limit too
        fails = {"job": {"fails": True, "seconds": 10, "response": {"why": "no room"}}, "match": {"model": "cm-m000"}}
        watched.says(scenario(fails, job_seconds=5))
        watched.write("m000", 0)
        watched.ask()
        await watched.until(lambda: watched.entry("m000").quarantine is not None)
        assert watched.accepted()["cm-m000"] == 4
        tried = [a.started_at for a in watched.entry("m000").attempts[-3:]]
        waits = [(b - a).total_seconds() for a, b in pairwise(tried)]
        assert 300 <= waits[0] < 345
        assert 1200 <= waits[1] < 1245
        quarantine = watched.entry("m000").quarantine
        assert quarantine is not None
        assert quarantine.who == "reconciler watch"
        await asyncio.sleep(3 * HOUR)
        assert watched.accepted()["cm-m000"] == 4
        assert any(w.address == f"{NAME}/m000" and w.until is None for w in watched.view.waits)
        watched.says(scenario(job_seconds=5))
        watched.write("m000", 0.5)
        watched.ask()
        await watched.until(lambda: watched.accepted()["cm-m000"] == 5)
        assert watched.entry("m000").quarantine is None

    watch(story)


def test_waiting_outlives_a_restart() -> None:
    """A loop that starts in the middle of a back-off goes on waiting: what it waits for stands in the state."""
    stores = {}

    async def before(watched: Watched) -> None:
        await _began(watched)
        watched.says(scenario({"job": {"fails": True}, "match": {"model": "cm-m000"}}, job_seconds=5))
        watched.write("m000", 0)
        watched.ask()
        await watched.until(lambda: watched.done[-1].end is PassEnd.FAILED)
        stores.update(watched.stores)

    first = watch(before)

    async def after(watched: Watched) -> None:
        watched.stores, watched.manifests = stores, first.manifests
        failed_at = watched.last("m000").ended_at
        assert failed_at is not None
        watched.ask("the start")
        await watched.passes(1)
        assert not watched.calls
        assert watched.view.next_look is not None
        assert (watched.view.next_look - failed_at).total_seconds() == 300

    watch(after)


def test_three_deploys_an_hour() -> None:
    """However many commits come, an entry is deployed three times an hour at most, and then the newest."""

    async def story(watched: Watched) -> None:
        await _began(watched)
        for number in range(20):
            watched.write("m000", number / 20)
            watched.ask()
            await asyncio.sleep(120)
        await asyncio.sleep(HOUR)
        starts = sorted(a.started_at for a in watched.entry("m000").attempts)
        for first, fourth in zip(starts, starts[3:], strict=False):
            assert (fourth - first).total_seconds() >= HOUR
        assert watched.view.plan is not None
        assert watched.view.plan.is_empty

    watch(story)


def test_refused_digest_is_quarantined_at_once() -> None:
    """A call that the platform refuses is not made twice; a person can ask for it all the same."""

    async def story(watched: Watched) -> None:
        await _began(watched)
        watched.says(scenario({"answer": {"status": 400, "message": "no such device"}, "match": {"model": "cm-m000"}}))
        watched.write("m000", 0)
        watched.ask()
        await watched.passes(1)
        await asyncio.sleep(2 * HOUR)
        assert len([line for line in watched.calls if line["modelId"] == "cm-m000"]) == 2
        quarantine = watched.entry("m000").quarantine
        assert quarantine is not None
        assert "no such device" in quarantine.why
        watched.says(scenario(job_seconds=5))
        watched.decide(Retry(model_id="cm-m000"))
        await watched.until(lambda: watched.view.plan is not None and watched.view.plan.is_empty)
        assert asyncio.get_running_loop().time() < 3 * HOUR

    watch(story)


def test_refused_key_opens_a_breaker() -> None:
    """A key that is refused is tried every five minutes by a question, and nothing is sent until it is taken."""

    async def story(watched: Watched) -> None:
        await _began(watched)
        watched.memory._key = "kg-wrong"
        watched.write("m000", 0)
        watched.ask()
        await watched.passes(1)
        assert watched.done[-1].end is PassEnd.FAILED
        asked = len(watched.memory.journal.lines)
        for _ in range(30):
            watched.ask("somebody who is impatient")
            await asyncio.sleep(60)
        assert len(watched.calls) == 5
        assert len(watched.memory.journal.lines) - asked <= 7
        assert watched.view.held_up is not None
        assert "refuses the API key" in watched.view.held_up
        watched.memory._key = "kg-simulator"
        await watched.until(lambda: watched.accepted()["cm-m000"] == 2)

    watch(story)


def test_key_refused_for_deploying_only() -> None:
    """Where asking is allowed and deploying is not, the call itself is what is refused, and it too is made every 5 min."""

    async def story(watched: Watched) -> None:
        await _began(watched)
        watched.says(scenario({"answer": {"status": 403, "message": "no scope"}, "match": {"operation": "deploy"}}))
        watched.write("m000", 0)
        for _ in range(30):
            watched.ask("somebody who is impatient")
            await asyncio.sleep(60)
        assert 6 <= len(watched.calls) - 5 <= 7

    watch(story)


def test_unreachable_is_tried_for_ever() -> None:
    """A host that cannot be reached is tried for ever, every three minutes in the end, and found when it is back."""

    async def story(watched: Watched) -> None:
        await _began(watched)
        gone = ConnectFailed(error="connection refused", trust=False)
        watched.memory.connect_failures.extend([gone] * 100)
        watched.write("m000", 0)
        watched.ask()
        await watched.until(lambda: watched.accepted()["cm-m000"] == 2)
        took = asyncio.get_running_loop().time()
        assert 100 * 30 < took < 100 * 200

    watch(story)


def test_mass_change_waits_for_a_person() -> None:
    """A change of a large share waits and says so; a person's word lets it through, once."""

    async def story(watched: Watched) -> None:
        await _began(watched, 10)
        for name in some(10):
            watched.write(name, 0)
        watched.ask()
        await watched.passes(1)
        await asyncio.sleep(2 * HOUR)
        assert watched.done[-1].end is PassEnd.WAITING
        assert len(watched.calls) == 10
        assert watched.view.held_up is not None
        assert "--allow-mass-change" in watched.view.held_up
        watched.decide(Allow())
        await watched.until(lambda: len(watched.calls) == 20)
        await watched.until(lambda: watched.view.running is None)
        assert not watched.applied().allow_mass_change
        for name in some(10):
            watched.write(name, 0.5)
        watched.ask()
        await watched.passes(1)
        assert len(watched.calls) == 20

    watch(story)


def test_broken_manifest_holds_up_only_itself() -> None:
    """The rest goes on; what was last good stays, and nothing is undeployed meanwhile."""

    async def story(watched: Watched) -> None:
        await _began(watched)
        watched.spoil("m000")
        del watched.manifests["manifests/m004.yaml"]
        watched.write("m001", 0)
        watched.ask()
        await watched.passes(1)
        assert [line["call"] for line in watched.calls[5:]] == ["deploy"]
        assert watched.accepted()["cm-m001"] == 2
        assert watched.done[-1].end is PassEnd.WAITING
        assert watched.view.diagnostics
        watched.write("m000", 1)
        watched.ask()
        await watched.passes(1)
        assert [line["call"] for line in watched.calls[6:]] == ["undeploy"]

    watch(story, prune=True)


def test_nothing_changes_without_a_source() -> None:
    """Manifests that cannot be read change nothing; running jobs are followed to their end all the same."""

    async def story(watched: Watched) -> None:
        await _began(watched)
        watched.says(scenario(job_seconds=900))
        watched.write("m000", 0)
        watched.ask()
        await watched.until(lambda: watched.accepted()["cm-m000"] == 2)
        watched.problem = SourceError("the folder is gone")
        watched.ask()
        await watched.until(lambda: len(watched.done) == 3)
        assert watched.done[-1].end is PassEnd.REFUSED
        words = "the folder is gone. Check the path; nothing was changed, because absence is not evidence."
        assert watched.view.held_up == words
        assert len(watched.calls) == 6
        assert watched.entry("m000").live is not None
        outcome = watched.last("m000").outcome
        assert isinstance(outcome, Accepted)
        assert outcome.status == "SUCCESS"

    watch(story, prune=True)


def test_job_is_followed_while_there_is_no_source() -> None:
    """A loop that starts without a source follows what runs."""
    stores = {}

    async def before(watched: Watched) -> None:
        watched.says(scenario(job_seconds=900))
        watched.write("m000")
        watched.ask()
        await watched.until(lambda: watched.accepted()["cm-m000"] == 1)
        stores.update(watched.stores)

    first = watch(before)

    async def after(watched: Watched) -> None:
        watched.stores, watched.world, watched.problem = stores, first.world, SourceError("no folder")
        watched.memory.world = first.world
        watched.ask()
        await watched.passes(1)
        assert watched.entry("m000").live is not None

    watch(after)


def test_what_keeps_files_from_being_read_is_told_and_passes() -> None:
    """While files are not at rest every environment says why, and what runs is followed; then all goes on by itself."""

    async def story(watched: Watched) -> None:
        await _began(watched)
        watched.says(scenario(job_seconds=900))
        watched.write("m000", 0)
        watched.ask()
        await watched.until(lambda: watched.accepted()["cm-m000"] == 2)
        watched.busy = NotAtRest("Git is at work.", since=START, next_step="Remove the lock.")
        watched.at_rest.clear()
        watched.write("m001", 0)
        watched.ask()
        await watched.until(lambda: watched.view.held_up is not None)
        outcome = watched.last("m000").outcome
        assert isinstance(outcome, Accepted)
        assert outcome.status != "SUCCESS"  # it is told while the job runs
        await watched.until(lambda: watched.done[-1].end is PassEnd.REFUSED)
        assert watched.view.held_up == watched.done[-1].detail == "Git is at work. Remove the lock."
        assert watched.done[-1].cause == "the files are not at rest"
        assert watched.entry("m000").live is not None
        assert watched.accepted()["cm-m001"] == 1
        watched.busy = None
        watched.at_rest.set()
        await watched.until(lambda: watched.accepted()["cm-m001"] == 2)
        await watched.passes(1)
        assert watched.done[-1].end is PassEnd.SUCCEEDED
        assert watched.view.held_up is None

    watch(story)


def test_a_single_pass_waits_until_files_are_at_rest() -> None:
    """With --once nothing is refused meanwhile: it waits, and does its one pass."""

    async def told() -> Watched:
        watched = Watched()
        watched.write("m000")
        watched.busy = NotAtRest("Git is at work.", since=START, next_step="Remove the lock.")
        watched.at_rest.clear()
        asyncio.get_running_loop().call_later(60, watched.at_rest.set)
        await Supervisor(watched.read, watched.means(once=True), watched._settled().environments).run()
        return watched

    watched = run_virtual(told())
    assert [done.end for done in watched.done] == [PassEnd.SUCCEEDED]


class _LosingReplies(FatedStore):
    """The disk does not confirm what comes back from the platform."""

    def append(self, seq: int, records: Sequence[Record]) -> int:
        if any(isinstance(record, RawRecord) for record in records):
            raise DurabilityLost("the disk did not confirm it")
        return super().append(seq, records)


def test_a_disk_that_confirms_nothing_ends_it() -> None:
    """After a sync that failed this process sends nothing more: it ends, and says why."""

    async def story(watched: Watched) -> None:
        watched.stores[NAME] = _LosingReplies(watched.stores[NAME], Fate())
        for name in some(6):
            watched.write(name)
        watched.ask()
        await watched.passes(1)
        await watched.stop.sleep(1)
        assert watched.stop.requested, "at once, and not when it is tried again"
        assert watched.supervisor is not None
        assert isinstance(watched.supervisor.fatal, DurabilityLost)
        assert len(watched.calls) == 4

    watch(story)


def test_suspension_holds_until_it_lapses() -> None:
    """A suspended environment is left alone, and taken up again by itself when the suspension has lapsed."""

    async def story(watched: Watched) -> None:
        await _began(watched)
        by = as_person("migration")
        Journal(watched.stores[NAME]).transact_now(lambda a: [suspend(a, None, by, until=by.at + timedelta(hours=4))])
        watched.write("m000", 0)
        watched.ask()
        await watched.passes(1)
        assert watched.accepted()["cm-m000"] == 1
        assert (watched.done[-1].end, watched.done[-1].detail) == (PassEnd.SUCCEEDED, "1 suspended")
        assert [(wait.address, wait.until) for wait in watched.view.waits] == [
            (f"{NAME}/m000", by.at + timedelta(hours=4))
        ]
        await asyncio.sleep(4 * HOUR - 60)
        assert watched.accepted()["cm-m000"] == 1
        assert watched.view.applied is not None
        assert watched.view.applied.suspension is not None
        await asyncio.sleep(120)
        assert watched.accepted()["cm-m000"] == 2
        assert watched.view.applied.suspension is None  # nobody is shown what is over

    watch(story)


def test_suspended_on_purpose_is_success() -> None:
    """A pass over what a person has suspended has succeeded, also the first one after a restart."""

    async def before(watched: Watched) -> None:
        await _began(watched)
        watched.decide(Suspend(model_id=None))
        watched.write("m000", 0)

    first = watch(before)

    async def after(watched: Watched) -> None:
        watched.stores, watched.manifests = first.stores, first.manifests
        watched.ask("the start")
        await watched.passes(1)
        assert (watched.done[-1].end, watched.done[-1].detail) == (PassEnd.SUCCEEDED, "1 suspended")
        assert watched.view.last_success_at is not None
        assert not watched.calls

    watch(after)


def test_suspending_in_the_middle_of_a_run() -> None:
    """A suspension that is recorded while a run sends stops it before its next send."""

    async def story(watched: Watched) -> None:
        watched.says(scenario(job_seconds=60))
        for name in some(8):
            watched.write(name)
        watched.ask()
        await watched.until(lambda: len(watched.calls) == 4)
        watched.decide(Suspend(model_id=None))
        await asyncio.sleep(HOUR)
        assert len(watched.calls) == 4

    watch(story)


def test_dry_run_writes_nothing() -> None:
    """What would be done stands in the view; neither platform nor state are touched."""

    async def story(watched: Watched) -> None:
        for name in some(3):
            watched.write(name)
        watched.ask()
        await watched.passes(1)
        assert watched.view.plan is not None
        assert len(watched.view.plan.pending) == 3
        assert watched.view.dry_run
        assert not watched.memory.journal.lines
        assert watched.applied().seq == 0

    watch(story, options={"dry_run": True})


def test_stop_in_the_middle() -> None:
    """A stop ends a run that sends and follows within seconds, and nothing new is sent; the next start goes on."""

    async def story(watched: Watched) -> None:
        watched.says(scenario({"delay": 3, "match": {"operation": "deploy"}}, job_seconds=600))
        for name in some(8):
            watched.write(name)
        watched.ask()
        await watched.until(lambda: len(watched.calls) == 4)

    watched = watch(story)
    assert len(watched.calls) == 4
    assert all(isinstance(e.last.outcome, Accepted) for e in watched.applied().entries.values() if e.last)


def test_environment_that_goes_and_comes() -> None:
    """An environment that the project drops ends its worker; one that is new begins."""

    async def story(watched: Watched) -> None:
        watched.write("a", more="environments: {one: {}}")
        watched.ask()
        await watched.passes(2)
        watched.names = ("one", "three")
        watched.stores["three"] = new_store("three")
        watched.write("a", more="environments: {one: {}, three: {modelId: cm-b}}")
        watched.ask()
        await watched.until(lambda: watched.accepted()["cm-b"] == 1)
        assert watched.supervisor is not None
        assert sorted(watched.supervisor.workers) == ["one", "three"]

    watch(story, environments=("one", "two"))


class _Elsewhere(MemoryStore):
    """A state that answers only when the loop has had its turn meanwhile."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name)
        self._loop = loop

    @property
    def is_local(self) -> bool:
        return False

    def read(self) -> Stored:
        self._wait_for_the_loop()
        return super().read()

    def read_since(self, seq: int) -> tuple[tuple[Record, ...], int] | None:
        self._wait_for_the_loop()
        return super().read_since(seq)

    def _wait_for_the_loop(self) -> None:
        turned = threading.Event()
        self._loop.call_soon_threadsafe(turned.set)
        assert turned.wait(30), "the loop stands still while the state is asked"


def test_a_state_elsewhere_does_not_stop_the_loop() -> None:
    """Whatever is read from a state that is not on this machine, signals, the page and other environments go on meanwhile."""

    async def told() -> None:
        watched = Watched()
        empty = watched.stores[NAME].read().snapshot
        loop = asyncio.get_running_loop()
        far = _Elsewhere(NAME, loop)
        far.create(empty)
        watched.stores[NAME] = far

        async def story(watched: Watched) -> None:
            for name in some(5):
                watched.write(name)
            watched.ask()
            await watched.passes(1)
            watched.write("m000", 0)
            watched.ask()
            await watched.passes(1)

        await watched.run(story, now=lambda: START + timedelta(seconds=loop.time()))  # threads ask for it too
        assert [str(done.end) for done in watched.done] == ["succeeded", "succeeded"], watched.done[-1].detail

    run_virtual(told())


def test_what_it_writes_itself_is_no_news() -> None:
    """The commit that a pass without changes records asks for no further pass; what somebody else decides does."""

    async def story(watched: Watched) -> None:
        await _began(watched)
        watched.provenance = replace(NO_PROVENANCE, commit="c" * 40)
        watched.ask()
        await watched.passes(1)
        commit = watched.applied().commit
        assert commit is not None
        assert commit.commit == "c" * 40
        await asyncio.sleep(60)
        assert len(watched.done) == 2
        watched.decide(Suspend(model_id=None))
        await watched.passes(1)
        assert watched.done[-1].cause == "somebody wrote to the state"

    watch(story)


def test_once() -> None:
    """One pass of every environment, to its end."""

    async def told() -> Watched:
        watched = Watched()
        for name in some(3):
            watched.write(name)
        supervisor = Supervisor(watched.read, watched.means(once=True), watched._settled().environments)
        await supervisor.run()
        assert all(code == 0 for worker in supervisor.workers.values() for code in worker.exit_codes())
        return watched

    watched = run_virtual(told())
    assert len(watched.done) == 1
    assert all(entry.live for entry in watched.applied().entries.values())
