"""A run that makes room for a newer plan: nothing more is sent, what is in flight is read, jobs are left alone."""

from __future__ import annotations

import asyncio
from typing import Any

from reconciler.apply.context import Pace, Stop
from reconciler.model.applied import Accepted
from reconciler.model.resource import RateLimit
from reconciler.model.run import RunReport
from tests.support.estates import Estate, resources
from tests.support.simulator import scenario


async def _with_room(estate: Estate, after: float, **options: Any) -> RunReport:
    room = Stop()
    run = asyncio.create_task(estate.applying(room=room, **options))
    await asyncio.sleep(after)
    room.request()
    return await run


def test_room_is_made_while_jobs_run() -> None:
    """What is not sent yet is skipped and names why; what runs is left running, and nobody waits for it."""
    estate = Estate(resources(6), platform_says=scenario(job_seconds=2400))
    report = estate.run(lambda: _with_room(estate, 60, parallelism=4))
    ends = estate.ends(report)
    assert sorted(ends.values()) == ["running"] * 4 + ["skipped"] * 2
    assert all("something newer is due" in r.detail for r in report.results if r.ended == "skipped")
    assert report.interrupted is None
    assert estate.store.sender_is_dead()


def test_reply_in_flight_is_read() -> None:
    """A reply that takes longer than a stop's grace is waited for: making room is no interruption."""
    slow = {"delay": 40, "match": {"operation": "deploy"}}
    estate = Estate(resources(1), platform_says=scenario(slow, job_seconds=2400))
    estate.run(lambda: _with_room(estate, 1))
    assert isinstance(estate.last("m000").outcome, Accepted)


def test_room_before_anything_is_sent() -> None:
    """A run that is asked to make room before it began sends nothing and takes no lock."""
    estate = Estate(resources(2))
    report = estate.run(lambda: _with_room(estate, 0))
    assert estate.calls == []
    assert len(report.results) == 2


def test_pace_outlives_a_run() -> None:
    """Runs that share a pace keep to the rate together."""
    limit = RateLimit(per_minute=2, per_hour=0)
    estate = Estate(resources(2), platform_says=scenario(job_seconds=0))

    async def both() -> float:
        pace = Pace.of(limit)
        await estate.applying(pace=pace, rate_limit=limit)
        estate.wanted += resources(5)[2:]
        began = asyncio.get_running_loop().time()
        await estate.applying(pace=pace, rate_limit=limit)
        return asyncio.get_running_loop().time() - began

    assert estate.run(both) > 60
