"""What a run does beside single endings: locks, order, places, bookkeeping, decisions that come in between, and its end."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from reconciler.apply.decisions import By, Subject, adopt, forget, retry
from reconciler.apply.executor import run_plan
from reconciler.apply.journal import Journal
from reconciler.errors import AuthenticationError, GuardError, RunLockHeld, StateError, StateForeign, TlsTrustError
from reconciler.model.applied import Accepted, Live, NotSent, Situation, Unanswered, situation_of
from reconciler.model.events import Event, Happened
from reconciler.model.plan import Guard
from reconciler.model.records import (
    AttemptRecord,
    Decision,
    DecisionRecord,
    LockRecord,
    NotSentRecord,
    Quarantine,
    RawRecord,
    Record,
    Suspend,
)
from reconciler.model.resource import OnUnknown, RateLimit, Strategy
from reconciler.model.run import Ended
from reconciler.platform.api import ConnectFailed
from reconciler.state.store import DurabilityLost
from tests.support.estates import Estate, edited, holder, resource, resources
from tests.support.failpoints import Died, Fate, FatedStore
from tests.support.simulator import MemoryPlatform, scenario


def by(estate: Estate) -> By:
    return By(who="ada", why="because", at=estate.now())


def decide(estate: Estate, decision: Decision) -> None:
    Journal(estate.store).transact_now(lambda _: [by(estate).says(decision)])


def subject(name: str) -> Subject:
    return Subject(address=f"production/{name}", model_id=f"cm-{name}")


class Meddling(MemoryPlatform):
    """Somebody does something while a connection is made."""

    def __init__(self, estate: Estate, meddle: Any) -> None:
        super().__init__(estate.world, clock=lambda: estate.now().timestamp(), journal=estate.memory.journal)
        self._meddle = meddle
        estate.platform = self

    async def send(self, request: Any, before_first_byte: Any) -> Any:
        meddle, self._meddle = self._meddle, None
        if meddle is not None:
            meddle()
        return await super().send(request, before_first_byte)


# The whole path


def test_deploy() -> None:
    """A deployment is sent, followed to its end and recorded, and then there is nothing to do."""
    estate = Estate(resources(5))
    report = estate.apply()
    assert {result.ended for result in report.results} == {Ended.SUCCEEDED}
    assert all(result.dock_status_id and result.seconds for result in report.results)
    assert estate.plan().is_empty
    assert estate.applied.lock is None
    assert estate.records == (), "the log is folded into the snapshot"


def test_nothing_to_do() -> None:
    """A run with nothing to do calls nobody and writes nothing."""
    estate = Estate(resources(2))
    estate.apply()
    before, calls = estate.store.read(), len(estate.memory.journal.lines)
    report = estate.apply()
    assert report.results == ()
    assert (estate.store.read(), len(estate.memory.journal.lines)) == (before, calls)


def test_sent_as_planned() -> None:
    """What the platform gets is byte for byte what the plan said (P12)."""
    estate = Estate([resource("a", model_type="fineTune")])
    plan = estate.plan()
    estate.apply(plan)
    (call,) = estate.calls
    assert (call["path"], call["query"]) == ("/api/public/models/cm-a/deploy", "modelType=fineTune")
    assert call["body"] == plan.changes[0].body


def test_undeploy() -> None:
    """What has no manifest any more is undeployed after everything else, in reverse order of waves."""
    estate = Estate(
        [resource("a"), resource("b", wave=1), resource("c", wave=2)], platform_says=scenario(job_seconds=0)
    )
    estate.apply()
    estate.wanted = [resource("d", wave=5)]
    estate.apply()
    assert [(line["call"], line["modelId"]) for line in estate.calls[3:]] == [
        ("deploy", "cm-d"),
        ("undeploy", "cm-c"),
        ("undeploy", "cm-b"),
        ("undeploy", "cm-a"),
    ]
    assert all(estate.entry(name).live is None for name in "abc")


@pytest.mark.parametrize(
    ("strategy", "order"),
    [(Strategy.DEPLOY_FIRST, ["deploy", "undeploy"]), (Strategy.UNDEPLOY_FIRST, ["undeploy", "deploy"])],
)
def test_replace(strategy: Strategy, order: list[str]) -> None:
    """A replace runs in the order that its strategy says, and its undeploy needs no prune."""
    estate = Estate([resource("a")], prune=False, platform_says=scenario(job_seconds=5))
    estate.apply()
    estate.wanted = [resource("a", model_id="cm-new", strategy=strategy)]
    report = estate.apply()
    assert {result.ended for result in report.results} == {Ended.SUCCEEDED}
    assert [line["call"] for line in estate.calls[1:]] == order


def test_order() -> None:
    """A dependency's job succeeds before its dependant is sent, and a wave before the next one."""
    estate = Estate([resource("a", depends_on=("b",)), resource("b"), resource("c", wave=1)])
    estate.apply()
    ended = {n: estate.entry(n).last.ended_at for n in "abc"}  # type: ignore[union-attr]
    started = {n: estate.last(n).started_at for n in "abc"}
    assert ended["b"] is not None
    assert ended["a"] is not None
    assert ended["b"] <= started["a"]
    assert ended["a"] <= started["c"]


def test_failure_stops_only_its_dependants() -> None:
    """A failed job stops what waits for it, later waves and undeploys, and nothing else (P9)."""
    estate = Estate([resource("gone")])
    estate.apply()
    estate.platform_says(scenario({"match": {"model": "cm-bad"}, "job": {"fails": True}}))
    estate.wanted = [
        resource("bad"),
        resource("child", depends_on=("bad",)),
        resource("fine"),
        resource("late", wave=1),
    ]
    report = estate.apply()
    assert estate.ends(report) == {
        "bad": "failed",
        "child": "skipped",
        "fine": "succeeded",
        "gone": "skipped",
        "late": "skipped",
    }


def test_retry_after_failure() -> None:
    """A confirmed failure is retried by the next run as a new generation."""
    estate = Estate(
        [resource("a")], platform_says=scenario({"match": {"operation": "deploy", "nth": 1}, "job": {"fails": True}})
    )
    assert estate.ends(estate.apply()) == {"a": "failed"}
    assert estate.ends(estate.apply()) == {"a": "succeeded"}
    assert [attempt.generation for attempt in estate.entry("a").attempts] == [1, 2]


def test_redeploy_waits_for_the_running_job() -> None:
    """A change to a model whose job runs is sent after that job has ended."""
    estate = Estate([resource("a")], platform_says=scenario(job_seconds=100, while_running="conflict"))
    estate.apply(wait=False)
    estate.wanted = [resource("a", temperature=0)]
    report = estate.apply()
    assert estate.ends(report) == {"a": "succeeded"}
    assert estate.accepted() == {"cm-a": 2}
    assert estate.plan().is_empty


@pytest.mark.parametrize("parallelism", [1, 4, 7])
def test_places(parallelism: int) -> None:
    """No more changes are in motion than there are places, and all places are used."""
    estate = Estate(resources(15))
    estate.apply(parallelism=parallelism)
    moving = most = 0
    for event in estate.events:
        moving += {Happened.STARTED: 1, Happened.ENDED: -1}.get(event.happened, 0)
        most = max(most, moving)
    assert most == parallelism


def test_many_jobs_are_followed_at_once() -> None:
    """Jobs that ran before are all followed at once, not as many as there are places."""
    estate = Estate(resources(60), platform_says=scenario(job_seconds=600))
    estate.apply(wait=False, parallelism=60)
    estate.apply()
    assert estate.plan().is_empty
    assert (estate.now() - estate.last("m000").started_at).total_seconds() < 700


def test_rate_limit() -> None:
    """Calls are spread so that no minute sees more than the limit, and the platform never has to say so."""
    told = scenario(job_seconds=0, per_minute=60, per_hour=1800)
    estate = Estate(resources(150), platform_says=told)
    report = estate.apply(rate_limit=RateLimit(per_minute=60, per_hour=1800))
    assert {result.ended for result in report.results} == {Ended.SUCCEEDED}
    assert len(estate.calls) == 150


# The run lock


def test_two_at_once() -> None:
    """Of two runs at once one sends, and the other says who holds the run lock; nothing is sent twice."""
    estate = Estate(resources(3))

    async def both() -> list[Any]:
        plan = estate.plan()
        return list(await asyncio.gather(estate.applying(plan), estate.applying(plan), return_exceptions=True))

    results = estate.run(both)
    (held,) = [result for result in results if isinstance(result, Exception)]
    assert isinstance(held, RunLockHeld)
    assert "ada@laptop" in str(held)
    assert set(estate.accepted().values()) == {1}


def test_sixteen_at_once() -> None:
    """However many want to apply the same change, the platform sees it once."""
    estate = Estate([resource("a")])

    async def all_of_them() -> None:
        plan = estate.plan()
        await asyncio.gather(*(estate.applying(plan) for _ in range(16)), return_exceptions=True)

    estate.run(all_of_them)
    assert estate.accepted() == {"cm-a": 1}


def test_lock_is_released_while_polling() -> None:
    """Once nothing remains to be sent, another run may send, and decisions are never blocked."""
    estate = Estate([resource("a")], platform_says=scenario(job_seconds=600))

    async def second_merge() -> None:
        first = asyncio.create_task(estate.applying())
        await asyncio.sleep(60)
        assert estate.store.sender_is_dead()
        assert estate.applied.lock is None
        estate.wanted.append(resource("b"))
        await estate.applying()
        await first

    estate.run(second_merge)
    assert estate.accepted() == {"cm-a": 1, "cm-b": 1}
    assert estate.plan().is_empty


def test_lock_is_held_while_something_remains() -> None:
    """While a later wave is still to be sent the run lock stays taken, and who only polls or decides is not blocked."""
    estate = Estate([resource("a"), resource("b", wave=1)], platform_says=scenario(job_seconds=600))

    async def others() -> None:
        first = asyncio.create_task(estate.applying())
        await asyncio.sleep(60)
        with pytest.raises(RunLockHeld):
            await estate.applying()
        decide(estate, Suspend(model_id=None))
        report = await estate.following()
        assert estate.ends(report) == {"a": "succeeded"}
        assert estate.ends(await first) == {"a": "succeeded", "b": "skipped"}

    estate.run(others)
    assert "cm-b" not in estate.accepted()


def test_follow_takes_no_lock() -> None:
    """A run that has only jobs to follow neither takes the run lock nor writes that it did."""
    estate = Estate([resource("a")], platform_says=scenario(job_seconds=60))
    estate.apply(wait=False)
    lock = estate.store.lock_run(holder("other"))
    estate.apply()
    lock.release()
    assert estate.plan().is_empty
    assert estate.applied.epoch == 1


def test_dead_holder_is_noted() -> None:
    """A run lock that a dead run left in the log is taken over, with a word about it."""
    estate = Estate([resource("a")])
    fate = Fate(4)  # after LOCK is durable
    estate.store, kept = FatedStore(estate.store, fate), estate.store
    with pytest.raises(Died):
        estate.apply()
    fate.bury()
    estate.store = kept
    assert estate.applied.lock is not None
    report = estate.apply()
    assert "without releasing the run lock" in report.notes[0]
    assert estate.ends(report) == {"a": "succeeded"}


def test_another_epoch_stops_everything() -> None:
    """A run whose lock was taken over sends nothing more."""
    estate = Estate(resources(3))

    def take_over() -> None:
        journal = Journal(estate.store)
        record = LockRecord(event="taken", epoch=9, holder=holder("thief"), at=estate.now())  # type: ignore[arg-type]
        journal.transact_now(lambda _: [record])

    Meddling(estate, take_over)
    report = estate.apply(parallelism=1)
    assert {result.ended for result in report.results} == {Ended.SKIPPED}
    assert [problem.exit_code for problem in report.problems] == [6]
    assert not estate.calls


# Before anything is sent


@pytest.mark.parametrize("status", [401, 403])
def test_key_is_checked_first(status: int) -> None:
    """A key that the platform refuses stops the run before anything is written or sent."""
    told = scenario({"match": {"operation": "status"}, "answer": {"status": status, "message": "no such key"}})
    estate = Estate([resource("a")], platform_says=told)
    with pytest.raises(AuthenticationError, match="no such key"):
        estate.apply()
    assert not estate.calls
    assert not estate.records
    assert estate.store.sender_is_dead()


def test_key_check_needs_trust() -> None:
    """A certificate that is not trusted stops the run as well."""

    class Untrusted(MemoryPlatform):
        async def ask(self, dock_status_id: str) -> Any:
            return ConnectFailed(error="self-signed", trust=True)

    estate = Estate([resource("a")])
    estate.platform = Untrusted(estate.world)
    with pytest.raises(TlsTrustError, match="self-signed"):
        estate.apply()


@pytest.mark.parametrize("status", [404, 500, 429])
def test_key_check_goes_on(status: int) -> None:
    """Any other answer to the made-up question is good enough to go on."""
    told = scenario({"match": {"operation": "status", "nth": 1}, "answer": {"status": status}}, job_seconds=0)
    estate = Estate([resource("a")], platform_says=told)
    assert estate.ends(estate.apply()) == {"a": "succeeded"}


@pytest.mark.parametrize(
    "field", [{"lineage": "another"}, {"environment": "staging"}, {"origin": "https://elsewhere.example.com"}]
)
def test_foreign_plan(field: dict[str, Any]) -> None:
    """A plan of another state, environment or host is refused."""
    estate = Estate([resource("a")])
    plan = replace(estate.plan(), **field)
    with pytest.raises(StateForeign, match="The plan was made for"):
        estate.apply(plan)
    assert not estate.calls


def test_guarded_plan() -> None:
    """A plan with a guard that nobody lifted is refused."""
    estate = Estate([resource("a")])
    plan = replace(estate.plan(), guards=(Guard(code="x", message="too much", flag="--allow"),))
    with pytest.raises(GuardError, match="too much"):
        estate.apply(plan)


# What others do meanwhile


MEDDLES = [
    pytest.param(Suspend(model_id="cm-a"), "suspended", [], id="entry-suspended"),
    pytest.param(Suspend(model_id=None), "suspended", [], id="environment-suspended"),
    pytest.param("quarantine", "quarantined", [], id="quarantined"),
    pytest.param("adopt", "changed by somebody else", [7], id="adopted"),
]


@pytest.mark.parametrize(("decision", "why", "codes"), MEDDLES)
def test_decisions_are_read_before_every_send(decision: Any, why: str, codes: list[int]) -> None:
    """What somebody decides while a change is on its way is heeded before its first byte."""
    told = scenario({"match": {"operation": "deploy", "nth": 1}, "answer": {"status": 429}})
    estate = Estate([resource("a")], platform_says=told)

    def meddle(event: Event) -> None:
        if event.happened is Happened.WAITING:
            wanted = estate.wanted[0]
            match decision:
                case "quarantine":
                    decide(estate, Quarantine(model_id="cm-a", digest=wanted.digest))
                case "adopt":
                    Journal(estate.store).transact_now(lambda a: [adopt(a, wanted, by(estate), commit=None)])
                case _:
                    decide(estate, decision)

    report = estate.apply(listener=meddle)
    (result,) = report.results
    assert result.ended is Ended.SKIPPED
    assert why in result.detail
    assert [problem.exit_code for problem in report.problems] == codes
    assert len(estate.calls) == 1, "the rate-limited one"


def test_entry_moved_since_the_plan() -> None:
    """A plan whose entry has had another attempt since is not carried out for that entry."""
    estate = Estate(resources(2), platform_says=scenario(job_seconds=0))
    plan = estate.plan()
    other = replace(plan, changes=plan.changes[:1])
    estate.apply(other)
    report = estate.apply(plan)
    assert estate.ends(report) == {"m000": "skipped", "m001": "succeeded"}
    assert [problem.exit_code for problem in report.problems] == [7]
    assert set(estate.accepted().values()) == {1}


def test_another_version_since_the_plan() -> None:
    """A plan made before somebody else deployed another version does not put its own in the place of that one."""
    estate = Estate([resource("a")], platform_says=scenario(job_seconds=0))
    estate.apply()
    estate.wanted = [resource("a", temperature=0)]
    early = estate.plan()
    estate.wanted = [resource("a", temperature=0.5)]
    estate.apply()
    report = estate.apply(early)
    assert estate.ends(report) == {"a": "skipped"}
    assert [problem.exit_code for problem in report.problems] == [7]
    assert len(estate.calls) == 2


def test_forgotten_since_the_plan() -> None:
    """A plan about an entry that was forgotten since sends nothing for it."""
    estate = Estate([resource("a")], platform_says=scenario(job_seconds=0))
    estate.apply()
    estate.wanted = [resource("a", temperature=0)]
    plan = estate.plan()
    Journal(estate.store).transact_now(lambda a: [forget(a, subject("a"), by(estate), has_manifest=False)])
    assert estate.ends(estate.apply(plan)) == {"a": "skipped"}
    assert len(estate.calls) == 1


def test_retry_asked() -> None:
    """`retry` sends an unchanged spec once more, as a new generation, and then never again."""
    estate = Estate([resource("a")], platform_says=scenario(job_seconds=0))
    estate.apply()
    Journal(estate.store).transact_now(lambda a: [retry(a, subject("a"), by(estate))])
    assert estate.ends(estate.apply()) == {"a": "succeeded"}
    assert estate.plan().is_empty
    assert estate.last("a").generation == 2


def test_lapsed_suspension() -> None:
    """A suspension that has lapsed holds nothing back."""
    estate = Estate([resource("a")], platform_says=scenario(job_seconds=0))
    record = DecisionRecord(decision=Suspend(model_id=None), who="ada", why="x", at=estate.now(), until=estate.now())
    Journal(estate.store).transact_now(lambda _: [record])
    assert estate.ends(estate.apply()) == {"a": "succeeded"}


# Unknown outcomes


def test_unknown_is_held() -> None:
    """An unknown outcome holds its entry and its dependants, and nothing else, until somebody resolves it."""
    estate = Estate(
        [resource("a"), resource("b", depends_on=("a",)), resource("c")],
        platform_says=scenario({"match": {"model": "cm-a"}, "lost": "after"}, job_seconds=0),
    )
    assert estate.ends(estate.apply()) == {"a": "unknown", "b": "skipped", "c": "succeeded"}
    assert estate.ends(estate.apply()) == {"a": "unknown", "b": "skipped"}
    assert estate.accepted() == {"cm-a": 1, "cm-c": 1}


def test_send_again() -> None:
    """Where the manifest accepts a duplicate, an unknown deploy is sent again as a new generation and the decision is written."""
    told = scenario({"match": {"operation": "deploy", "nth": 1}, "lost": "after"}, job_seconds=0)
    estate = Estate([resource("a", on_unknown=OnUnknown.SEND_AGAIN)], platform_says=told)
    assert estate.ends(estate.apply()) == {"a": "unknown"}
    assert estate.ends(estate.apply()) == {"a": "succeeded"}
    first, second = estate.entry("a").attempts
    assert first.decided == "rollout.onUnknown"
    assert (first.generation, second.generation) == (1, 2)


def test_send_again_never_undeploys() -> None:
    """An unknown undeploy is held whatever the manifest said."""
    estate = Estate([resource("a", on_unknown=OnUnknown.SEND_AGAIN)], platform_says=scenario(job_seconds=0))
    estate.apply()
    estate.platform_says(scenario({"match": {"operation": "undeploy"}, "lost": "after"}, job_seconds=0))
    estate.wanted = []
    assert estate.ends(estate.apply()) == {"a": "unknown"}
    estate.wanted = [resource("a", on_unknown=OnUnknown.SEND_AGAIN)]
    assert estate.ends(estate.apply()) == {"a": "unknown"}
    assert len(estate.calls) == 2


def test_salvage_waits_for_the_dock_status() -> None:
    """A damaged reply's id is asked about more than once, because a new dock status may be hidden at first."""
    told = scenario({"match": {"operation": "deploy"}, "cutBody": 65}, job_seconds=20, hidden_seconds=5)
    estate = Estate([resource("a")], platform_says=told)
    assert estate.ends(estate.apply()) == {"a": "succeeded"}


def test_salvage_by_the_next_run() -> None:
    """What could not be found by the run that sent it is found by the next one, and followed."""
    told = scenario({"match": {"operation": "deploy"}, "cutBody": 65}, job_seconds=200, hidden_seconds=100)
    estate = Estate([resource("a"), resource("b", depends_on=("a",))], platform_says=told)
    assert estate.ends(estate.apply()) == {"a": "unknown", "b": "skipped"}
    estate.pass_time(120)
    estate.platform_says(scenario(job_seconds=5))
    report = estate.apply()
    assert estate.ends(report) == {"a": "succeeded", "b": "succeeded"}
    assert "found again" in report.notes[0]
    assert estate.accepted() == {"cm-a": 1, "cm-b": 1}
    first = estate.entry("a").attempts[0]
    assert first.decided == "reconciler"


def test_salvage_wants_the_right_model() -> None:
    """An id that turns out to be another model's is not taken."""
    told = scenario(
        {"match": {"operation": "deploy"}, "cutBody": 65},
        {"match": {"operation": "status"}, "reply": {"extra": {"modelId": "cm-other"}}},
    )
    estate = Estate([resource("a")], platform_says=told)
    assert estate.ends(estate.apply()) == {"a": "unknown"}


# Bookkeeping


def test_adopt() -> None:
    """Adopting records the manifest as live without a call or a run lock."""
    estate = Estate([resource("a", adopt=True)])
    report = estate.apply()
    assert estate.ends(report) == {"a": "succeeded"}
    live = estate.entry("a").live
    assert isinstance(live, Live)
    assert (live.how, live.digest) == ("adopted", estate.wanted[0].digest)
    assert not estate.memory.journal.lines
    assert estate.plan().is_empty
    assert estate.applied.epoch == 0


def test_rename_and_describe_are_one_append() -> None:
    """Renames and changed labels are bookkeeping, written together, and then there is nothing to do."""
    estate = Estate(resources(4), platform_says=scenario(job_seconds=0))
    estate.apply()
    first, second, *rest = estate.wanted
    estate.wanted = [edited(first, name="renamed"), edited(second, labels=(("team", "x"),)), *rest]
    seq = estate.store.read().seq
    report = estate.apply()
    assert estate.ends(report) == {"renamed": "succeeded"}
    assert estate.store.read().seq == seq + 2
    assert estate.applied.entries["cm-m001"].metadata.labels == (("team", "x"),)
    assert estate.plan().is_empty
    assert not any(change.records for change in estate.plan().changes)
    estate.apply()
    assert estate.store.read().seq == seq + 2
    assert len(estate.calls) == 4


def test_quarantined_and_suspended_are_told() -> None:
    """What is quarantined or suspended is in the report with who did it, and only a quarantine counts as a failure."""
    estate = Estate([resource("a"), resource("b")], platform_says=scenario(job_seconds=0))
    estate.apply()
    estate.wanted = [resource("a", temperature=0), resource("b", temperature=0)]
    decide(estate, Quarantine(model_id="cm-a", digest=estate.wanted[0].digest))
    decide(estate, Suspend(model_id="cm-b"))
    report = estate.apply()
    assert estate.ends(report) == {"a": "refused", "b": "skipped"}
    assert all("ada" in result.detail for result in report.results)


# --no-wait


def test_no_wait() -> None:
    """Without waiting, what is ready is sent and not followed, and what waits for a job is listed; the next run goes on."""
    estate = Estate([resource("a"), resource("b", depends_on=("a",)), resource("c"), resource("d", wave=1)])
    report = estate.apply(wait=False)
    assert estate.ends(report) == {"a": "running", "b": "waiting", "c": "running", "d": "waiting"}
    assert not [event for event in estate.events if event.happened is Happened.POLLED]
    estate.pass_time(60)
    again = estate.apply()
    assert {result.ended for result in again.results} == {Ended.SUCCEEDED}
    assert estate.plan().is_empty
    assert set(estate.accepted().values()) == {1}


def test_no_wait_with_a_running_job() -> None:
    """Without waiting, a change whose entry has a running job waits for it."""
    estate = Estate([resource("a")], platform_says=scenario(job_seconds=600))
    estate.apply(wait=False)
    assert estate.ends(estate.apply(wait=False)) == {"a": "running"}
    estate.wanted = [resource("a", temperature=0)]
    assert estate.ends(estate.apply(wait=False)) == {"a": "waiting"}
    assert len(estate.calls) == 1


# The end of a run


def test_stop_while_polling() -> None:
    """A signal ends the polling at once; jobs go on, what was not tried is said, and the next run finishes."""
    estate = Estate([resource("a"), resource("b", wave=1)], platform_says=scenario(job_seconds=600))

    async def interrupted() -> Any:
        task = asyncio.create_task(estate.applying())
        await asyncio.sleep(100)
        asked = asyncio.get_running_loop().time()
        estate.stop.request(signal.SIGTERM)
        report = await task
        assert asyncio.get_running_loop().time() - asked < 1
        return report

    report = estate.run(interrupted)
    assert report.interrupted == signal.SIGTERM
    assert estate.ends(report) == {"a": "running", "b": "skipped"}
    estate.pass_time(1000)
    assert estate.ends(estate.apply()) == {"a": "succeeded", "b": "succeeded"}


@pytest.mark.parametrize(("delay", "ended"), [(4, "running"), (6, "unknown")])
def test_stop_in_flight(delay: float, ended: str) -> None:
    """A request in flight gets 5 s to be answered, and its reply is recorded; after that its outcome is unknown."""
    told = scenario({"match": {"operation": "deploy"}, "delay": delay})
    estate = Estate(resources(6), platform_says=told)

    async def interrupted() -> Any:
        task = asyncio.create_task(estate.applying(parallelism=1))
        await asyncio.sleep(0.001)
        estate.stop.request(signal.SIGINT)
        return await task

    report = estate.run(interrupted)
    assert estate.ends(report) == {"m000": ended} | {f"m00{n}": "skipped" for n in range(1, 6)}
    assert estate.now().timestamp() - estate.last("m000").started_at.timestamp() <= 7
    assert len(estate.calls) == 1
    assert not isinstance(estate.last("m000").outcome, Unanswered)


@pytest.mark.parametrize("moment", [0, 0.5, 3, 7, 11.5, 16, 21, 23.4, 60, 200])
def test_stop_at_any_moment(moment: float) -> None:
    """Whenever the signal comes, the run is out within 7 s, nothing is unanswered, and another run converges."""
    told = scenario(
        {"match": {"model": "cm-m002", "operation": "deploy", "nth": 1}, "answer": {"status": 429, "retryAfter": "50"}},
        {"match": {"operation": "deploy"}, "delay": 3},
    )
    estate = Estate([*resources(9), resource("w", wave=1)], platform_says=told)

    async def interrupted() -> float:
        task = asyncio.create_task(estate.applying(parallelism=2))
        await asyncio.sleep(moment)
        estate.stop.request(signal.SIGINT)
        since = asyncio.get_running_loop().time()
        await task
        return asyncio.get_running_loop().time() - since

    assert estate.run(interrupted) <= 7
    assert estate.store.sender_is_dead()
    assert estate.applied.lock is None
    outcomes = [a.outcome for e in estate.applied.entries.values() for a in e.attempts]
    assert not any(isinstance(outcome, Unanswered) for outcome in outcomes)
    estate.pass_time(100)
    estate.apply()
    assert estate.plan().is_empty
    assert set(estate.accepted().values()) == {1}


def test_stop_before_the_beginning() -> None:
    """A run that is stopped before it begins sends nothing and writes nothing."""
    estate = Estate(resources(2))

    async def stopped() -> Any:
        context = estate.context()
        context.stop.request(signal.SIGINT)
        return await run_plan(estate.plan(), estate.platform, Journal(estate.store), context=context)

    report = estate.run(stopped)
    assert set(estate.ends(report).values()) == {"skipped"}
    assert not estate.memory.journal.lines
    assert estate.store.read().seq == 0


# When things of ours break


class Broken(FatedStore):
    """A store whose appends of one kind of record raise; `after` writes them all the same."""

    def __init__(self, estate: Estate, kind: type[Record], error: Exception, *, after: bool = False) -> None:
        super().__init__(estate.store, Fate())
        self._kind, self._error, self._after = kind, error, after
        estate.store = self

    def append(self, seq: int, records: Sequence[Record]) -> int:
        if any(isinstance(record, self._kind) for record in records):
            if self._after:
                super().append(seq, records)
            raise self._error
        return super().append(seq, records)


def test_durability_lost_at_raw() -> None:
    """A reply that cannot be recorded ends the run with its record on a RECOVERY line, and nothing more is sent."""
    estate = Estate(resources(6))
    Broken(estate, RawRecord, DurabilityLost("fsync failed"))
    report = estate.apply(parallelism=2)
    ends = estate.ends(report)
    assert list(ends.values()).count("unknown") == 2
    assert list(ends.values()).count("skipped") == 4
    assert len(estate.calls) == 2
    assert [problem.exit_code for problem in report.problems] == [9]
    line = json.loads(report.recovery[0].removeprefix("RECOVERY "))
    assert line["environment"] == "production"
    assert line["record"]["outcome"]["dockStatusId"] in {call["dockStatusId"] for call in estate.calls}
    assert estate.store.sender_is_dead()


@pytest.mark.parametrize(
    ("error", "code"), [(DurabilityLost("fsync failed"), 9), (StateError("No space left on device"), 6)]
)
@pytest.mark.parametrize("after", [False, True])
def test_state_broken_at_attempt(error: Any, code: int, *, after: bool) -> None:
    """When ATTEMPT cannot be written, nothing is sent."""
    estate = Estate(resources(3))
    Broken(estate, AttemptRecord, error, after=after)
    report = estate.apply()
    assert set(estate.ends(report).values()) == {"skipped"}
    assert [problem.exit_code for problem in report.problems] == [code]
    assert not estate.calls


def test_state_broken_at_lock() -> None:
    """When the run lock cannot be recorded, the run is refused and the lock given back."""
    estate = Estate(resources(3))
    Broken(estate, LockRecord, StateError("read-only"))
    with pytest.raises(StateError, match="read-only"):
        estate.apply()
    assert estate.store.sender_is_dead()


def test_too_late() -> None:
    """A sender that slept between its ATTEMPT and its first byte does not send, and says so in the log."""
    estate = Estate([resource("a")], platform_says=scenario(job_seconds=0))

    class Slow(FatedStore):
        slept = False

        def append(self, seq: int, records: Sequence[Record]) -> int:
            if isinstance(records[-1], AttemptRecord) and not self.slept:
                self.slept = True
                asyncio.get_running_loop().advance(6)  # type: ignore[attr-defined]
            return super().append(seq, records)

    estate.store = Slow(estate.store, Fate())
    report = estate.apply()
    assert estate.ends(report) == {"a": "succeeded"}
    first, second = estate.entry("a").attempts
    assert isinstance(first.outcome, NotSent)
    assert isinstance(second.outcome, Accepted)
    assert (first.generation, second.generation) == (1, 1)
    assert len(estate.calls) == 1


def test_slow_remote_store() -> None:
    """A store that is not local is called beside the event loop, and the run ends as usual."""

    class Remote(FatedStore):
        @property
        def is_local(self) -> bool:
            return False

    estate = Estate(resources(6), platform_says=scenario(job_seconds=0))
    estate.store = Remote(estate.store, Fate())
    assert set(estate.ends(estate.apply()).values()) == {"succeeded"}


def test_a_listener_disturbs_nothing() -> None:
    """Whatever a listener raises, the run goes on."""

    def broken(_: Event) -> None:
        raise RuntimeError("pipe closed")

    estate = Estate(resources(2))
    assert set(estate.ends(estate.apply(listener=broken)).values()) == {"succeeded"}


def test_nothing_is_told_before_it_is_durable() -> None:
    """When the listener hears of a sending or an id, the log has it already (P6)."""
    estate = Estate(resources(3))

    def check(event: Event) -> None:
        applied = Journal(estate.store).applied
        attempts = {a.id: a for e in applied.entries.values() for a in e.attempts}
        if event.happened is Happened.SENDING:
            heard.append(event.attempt in attempts)
        if event.happened is Happened.ACCEPTED:
            outcome = attempts[event.attempt or ""].outcome
            heard.append(isinstance(outcome, Accepted) and outcome.dock_status_id == event.dock_status_id)
        if event.happened is Happened.ENDED:
            heard.append(situation_of(applied.entries[f"cm-{event.address.partition('/')[2]}"]) is Situation.LIVE)

    heard: list[bool] = []
    estate.apply(listener=check)
    assert heard == [True] * 9


def test_an_error_of_ours_ends_the_run_in_order() -> None:
    """An unexpected exception ends the run, and what others have in flight is still recorded."""

    class Bug(MemoryPlatform):
        async def send(self, request: Any, before_first_byte: Any) -> Any:
            if "m001" in request.path:
                await asyncio.sleep(1)
                raise ZeroDivisionError("a bug")
            return await super().send(request, before_first_byte)

    estate = Estate(resources(5), platform_says=scenario({"match": {"operation": "deploy"}, "delay": 2}))
    estate.platform = Bug(estate.world, journal=estate.memory.journal)
    report = estate.apply(parallelism=2)
    assert [problem.exit_code for problem in report.problems] == [1]
    assert estate.ends(report)["m000"] == "running"
    assert isinstance(estate.last("m000").outcome, Accepted)
    assert not [record for record in estate.records if isinstance(record, NotSentRecord)]
