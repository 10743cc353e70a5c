"""Jobs are followed to their end: waits, deadlines, odd answers, and what is recorded."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from reconciler.apply.docks import status_of
from reconciler.apply.journal import Journal
from reconciler.errors import AuthenticationError, PlatformUnreachable, ReconcilerError, TlsTrustError, UsageError
from reconciler.model.applied import Accepted
from reconciler.model.events import Happened
from reconciler.model.records import StatusRecord
from reconciler.platform.api import ConnectFailed, NoReply, Reply, Sent
from reconciler.simulator.scenario import Scenario
from tests.support.estates import Estate, resource, resources
from tests.support.simulator import MemoryPlatform, scenario


def about_status(**rule: Any) -> dict[str, Any]:
    return {"match": {"operation": "status"}, **rule}


def running(told: Scenario | None = None, *, timeout: int = 2700) -> Estate:
    """An estate whose one job runs and was not followed yet; then the platform behaves as told."""
    estate = Estate([resource("a", timeout=timeout)], platform_says=scenario(job_seconds=100))
    estate.apply(wait=False)
    if told is not None:
        estate.platform_says(told)
    estate.events.clear()
    estate.memory.journal.lines.clear()
    return estate


def outcome(estate: Estate) -> Accepted:
    found = estate.last("a").outcome
    assert isinstance(found, Accepted)
    return found


def alarms(estate: Estate) -> list[str]:
    return [event.detail for event in estate.events if event.happened is Happened.ALARM]


def test_only_the_end_is_recorded() -> None:
    """However often a job is asked about, the log gets one record."""
    estate = running()
    seq = estate.store.read().seq
    estate.apply()
    assert estate.store.read().seq == seq + 1
    assert outcome(estate).status == "SUCCESS"


def test_polls_grow_apart() -> None:
    """The waits between polls grow from 2 s to 30 s and stay within the platform's limit for one id."""
    told = scenario(job_seconds=3000, status_per_minute=60, status_per_hour=1800)
    estate = Estate([resource("a", timeout=4000)], platform_says=told)
    estate.apply(random=random.Random(1).random)
    polls = [event.at for event in estate.events if event.happened is Happened.POLLED]
    waits = [(b - a).total_seconds() for a, b in pairwise(polls)]
    assert 1.8 <= waits[0] <= 2.2
    assert max(waits) <= 30
    assert len({round(wait, 3) for wait in waits}) > 20, "jitter"
    assert not [line for line in estate.memory.journal.lines if line["status"] == 429]


def test_many_jobs_ask_at_a_bounded_rate() -> None:
    """However many jobs there are, the host is asked at most ten times in any second."""
    estate = Estate(resources(40), platform_says=scenario(job_seconds=50))
    estate.apply(wait=False, parallelism=40)
    estate.memory.journal.lines.clear()
    estate.apply()
    times = [line["time"] for line in estate.memory.journal.lines]
    assert max(Counter(time[:19] for time in times).values()) <= 10


def test_deadline() -> None:
    """A job that outlives its timeout is given up as timed out, never as failed, at its deadline."""
    estate = running(timeout=600)
    estate.world.jobs = {}
    report = estate.apply()
    assert estate.ends(report) == {"a": "timedOut"}
    assert (outcome(estate).status, outcome(estate).timed_out) == ("IN_PROGRESS", True)
    took = (estate.now() - estate.last("a").started_at).total_seconds()
    assert took == pytest.approx(600, abs=1)


def test_following_goes_on_after_a_timeout() -> None:
    """A job that was given up is followed by the next run, and its success counts."""
    estate = running(timeout=10)
    assert estate.ends(estate.apply()) == {"a": "timedOut"}
    seq = estate.store.read().seq
    assert estate.ends(estate.apply()) == {"a": "timedOut"}
    assert estate.store.read().seq == seq, "nothing new, nothing written"
    estate.pass_time(100)
    assert estate.ends(estate.apply()) == {"a": "succeeded"}
    assert not outcome(estate).timed_out
    assert estate.plan().is_empty
    assert len(estate.accepted()) == 0, "nothing was sent again"


def test_odd_words_mean_running() -> None:
    """A word that nobody documented is still running, and is shown as it is."""
    estate = running()
    job = next(iter(estate.world.jobs))
    statuses = ("QUEUED", "DOING_MAGIC", "SUCCESS")
    rule = scenario({"job": {"statuses": statuses}}).rules[0]
    estate.world.jobs[job] = replace(estate.world.jobs[job], rule=rule)
    assert estate.ends(estate.apply()) == {"a": "succeeded"}
    told = [event.status for event in estate.events if event.happened is Happened.POLLED]
    assert told == ["QUEUED", "DOING_MAGIC"]


def test_hidden_at_first() -> None:
    """A dock status that is not found for a while is asked for until it appears."""
    estate = Estate([resource("a")], platform_says=scenario(job_seconds=100, hidden_seconds=40))
    assert estate.ends(estate.apply()) == {"a": "succeeded"}
    assert alarms(estate) == []


@pytest.mark.parametrize(
    "rule",
    [
        {"answer": {"status": 500}},
        {"answer": {"status": 503, "shape": "html"}},
        {"answer": {"status": 404}},
        {"answer": {"status": 429, "retryAfter": "60"}},
        {"answer": {"status": 403, "message": "Rate limit for this API has been reached. Please try again later"}},
        {"answer": {"status": 200, "body": "[]"}},
        {"answer": {"status": 302}},
        {"lost": "after"},
        {"cutBody": 30},
        {"delay": 120},
        {"reply": {"idKey": "two"}},
        {"reply": {"id": "ds-another"}},
    ],
)
def test_trouble_while_asking(rule: dict[str, Any]) -> None:
    """Asking is harmless, so whatever goes wrong with it, it is done again until the job's end is heard."""
    estate = running(scenario({"match": {"operation": "status", "nth": [1, 2, 3, 4]}, **rule}, job_seconds=100))
    assert estate.ends(estate.apply()) == {"a": "succeeded"}


def test_trouble_without_end() -> None:
    """When nothing is heard until the deadline, the job has timed out."""
    estate = running(scenario(about_status(lost="after")), timeout=300)
    assert estate.ends(estate.apply()) == {"a": "timedOut"}


@pytest.mark.parametrize("status", [401, 403])
def test_unauthorized(status: int) -> None:
    """A key that may not ask ends the following; the job is neither failed nor forgotten."""
    estate = running(scenario(about_status(answer={"status": status})))
    assert estate.ends(estate.apply()) == {"a": "unauthorized"}
    assert outcome(estate).status == "IN_PROGRESS"
    estate.platform_says(scenario())
    assert estate.ends(estate.apply()) == {"a": "succeeded"}


def test_untrusted() -> None:
    """A certificate that is not trusted ends the following as well."""

    class Untrusted(MemoryPlatform):
        async def ask(self, dock_status_id: str) -> Sent:
            return ConnectFailed(error="self-signed", trust=True)

    estate = running()
    estate.platform = Untrusted(estate.world)
    assert estate.ends(estate.apply()) == {"a": "unauthorized"}


def test_step_backwards() -> None:
    """A job that goes back, or disappears, is an alarm and goes on being followed."""
    percents = iter([50, 10, 0, 11])

    class Back(MemoryPlatform):
        async def ask(self, dock_status_id: str) -> Sent:
            percent = next(percents, None)
            if percent is None:
                return await super().ask(dock_status_id)
            body = b'{"status": "IN_PROGRESS", "percentageComplete": %d}' % percent
            return Reply(status_code=200 if percent else 404, headers=(), body=body)

    estate = running()
    estate.platform = Back(estate.world, clock=lambda: estate.now().timestamp())
    assert estate.ends(estate.apply()) == {"a": "succeeded"}
    assert len(alarms(estate)) == 2
    assert "50 % to 10 %" in alarms(estate)[0]
    assert "any more" in alarms(estate)[1]


def test_terminal_is_sticky() -> None:
    """What was recorded as the end stays the end, whatever is heard later; the contradiction is an alarm."""
    estate = running()
    attempt = estate.last("a")
    dock_status_id = outcome(estate).dock_status_id or ""

    async def somebody_else_hears_of_a_failure() -> Any:
        task = asyncio.create_task(estate.applying())
        await asyncio.sleep(50)
        record = StatusRecord(
            attempt=attempt.id, dock_status_id=dock_status_id, status="FAILED", detail="oom", at=estate.now()
        )
        Journal(estate.store).transact_now(lambda _: [record])
        return await task

    report = estate.run(somebody_else_hears_of_a_failure)
    assert estate.ends(report) == {"a": "failed"}
    assert outcome(estate).status == "FAILED"
    assert "recorded as FAILED" in alarms(estate)[0]


def test_another_models_job_is_an_alarm() -> None:
    """An answer that names another model is told once, and the job is followed all the same."""
    estate = running(scenario(about_status(reply={"extra": {"modelId": "cm-internal"}}), job_seconds=100))
    assert estate.ends(estate.apply()) == {"a": "succeeded"}
    assert len(alarms(estate)) == 1


def test_two_follow_the_same_job() -> None:
    """Two runs that follow one job record its end once."""
    estate = running()
    seq = estate.store.read().seq

    async def both() -> None:
        await asyncio.gather(estate.applying(), estate.following())

    estate.run(both)
    assert estate.store.read().seq == seq + 1


def test_failure_says_why() -> None:
    """The platform's own words about a failed job are kept and told."""
    told = scenario({"job": {"fails": True, "response": {"message": "no capacity"}}}, job_seconds=5)
    estate = Estate([resource("a")], platform_says=told)
    report = estate.apply()
    assert "no capacity" in report.results[0].detail
    assert outcome(estate).detail == "no capacity"


def test_follow_only() -> None:
    """Following alone sends nothing, even where a plan would, and records every end."""
    estate = Estate(resources(3), platform_says=scenario(job_seconds=60))
    estate.apply(wait=False)
    estate.wanted.append(resource("new"))
    report = estate.follow()
    assert set(estate.ends(report).values()) == {"succeeded"}
    assert "cm-new" not in estate.accepted()


ANSWERS = [
    pytest.param({"answer": {"status": 404}}, UsageError, id="no-such-job"),
    pytest.param({"reply": {"extra": {"modelId": "cm-b"}}}, UsageError, id="another-model"),
    pytest.param({"answer": {"status": 401}}, AuthenticationError, id="key"),
    pytest.param({"answer": {"status": 500}}, PlatformUnreachable, id="500"),
    pytest.param({"lost": "after"}, PlatformUnreachable, id="lost"),
    pytest.param({"cutBody": 5}, PlatformUnreachable, id="cut"),
]


@pytest.mark.parametrize(("rule", "error"), ANSWERS)
def test_status_of_raises(rule: dict[str, Any], error: type[ReconcilerError]) -> None:
    """What a person names as the job of a call is believed only when the platform confirms it."""
    estate = running(scenario(about_status(**rule)))
    named = outcome(estate).dock_status_id or ""
    with pytest.raises(error):
        estate.run(lambda: status_of(estate.platform, named, model_id="cm-a", now=estate.now()))


def test_status_of() -> None:
    """A job that the platform confirms has a status."""
    estate = running()
    named = outcome(estate).dock_status_id or ""
    assert estate.run(lambda: status_of(estate.platform, named, model_id="cm-a", now=estate.now())) == "IN_PROGRESS"
    estate.pass_time(200)
    assert estate.run(lambda: status_of(estate.platform, named, model_id="cm-a", now=estate.now())) == "SUCCESS"


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (ConnectFailed(error="expired", trust=True), TlsTrustError),
        (ConnectFailed(error="refused"), PlatformUnreachable),
        (NoReply(error="reset"), PlatformUnreachable),
    ],
)
def test_status_of_without_an_answer(sent: Sent, error: type[ReconcilerError]) -> None:
    """Without an answer nothing is believed."""

    class Silent(MemoryPlatform):
        async def ask(self, dock_status_id: str) -> Sent:
            return sent

    estate = running()
    with pytest.raises(error):
        estate.run(lambda: status_of(Silent(estate.world), "ds-1", model_id="cm-a", now=estate.now()))
