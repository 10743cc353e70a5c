"""A wall clock that jumps: waits and deadlines are on the monotonic clock, so it neither ends a job nor sends anything twice."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from reconciler.model.applied import Accepted, NotSent
from reconciler.model.events import Happened
from tests.support.estates import Estate, resource
from tests.support.simulator import scenario

DAY = timedelta(days=1)
JUMPS = {
    "a day back": [-DAY],
    "a day ahead": [DAY],
    "back and forth": [-DAY] * 20 + [DAY] * 20,
    "a second back each time": [-timedelta(seconds=step) for step in range(500)],
    "ten years ahead": [timedelta(days=3650)],
    "before 1970": [-timedelta(days=30_000)],
}


class Jumping(Estate):
    """Each look at the wall clock finds it moved by the next of `jumps`, over and over."""

    jumps: tuple[timedelta, ...] = ()
    looks = 0

    def now(self) -> datetime:
        if not self.jumps:
            return super().now()
        self.looks += 1
        return super().now() + self.jumps[self.looks % len(self.jumps)]


def jumping(estate: Jumping, name: str) -> Jumping:
    """From now on; the platform keeps the clock that it had."""
    estate.memory._clock = lambda: Estate.now(estate).timestamp()
    estate.jumps = tuple(JUMPS[name])
    return estate


@pytest.mark.parametrize("name", JUMPS)
def test_a_job_is_followed_to_its_end(name: str) -> None:
    """However the wall clock jumps, a job has the time that its timeout says, and its success is heard."""
    estate = jumping(Jumping([resource("a", timeout=600)], platform_says=scenario(job_seconds=500)), name)
    assert estate.ends(estate.apply()) == {"a": "succeeded"}


@pytest.mark.parametrize("name", JUMPS)
def test_a_job_is_given_up_when_its_time_is_over(name: str) -> None:
    """A clock that goes back gives a job no more time, and one that goes ahead no less."""
    estate = jumping(Jumping([resource("a", timeout=600)], platform_says=scenario(job_seconds=100_000)), name)
    assert estate.ends(estate.apply()) == {"a": "timedOut"}
    assert estate._after == pytest.approx(600, abs=40)


@pytest.mark.parametrize("name", JUMPS)
def test_one_post_whatever_the_clock_says(name: str) -> None:
    """One change is one accepted call, also over several runs and with a clock that jumps between ATTEMPT and the send."""
    estate = jumping(Jumping([resource(one) for one in "abc"], platform_says=scenario(job_seconds=5)), name)
    for _ in range(3):
        estate.apply()
    assert estate.plan().is_empty
    assert len(estate.accepted()) == 3
    for one in "abc":
        *before, last = estate.entry(one).attempts
        assert isinstance(last.outcome, Accepted)
        assert all(isinstance(attempt.outcome, NotSent) for attempt in before), "too late by the wall clock is not sent"


@pytest.mark.parametrize(("name", "longest"), [("a day back", 60), ("a day ahead", 60), ("back and forth", 600)])
def test_retry_after_a_date(name: str, longest: float) -> None:
    """A date in Retry-After counts from the reply's own Date; a clock that is wrong by a day makes it no longer."""
    told = scenario({"match": {"operation": "deploy", "nth": 1}, "answer": {"status": 429, "retryAfter": "date:40"}})
    estate = jumping(Jumping([resource("a")], platform_says=told), name)
    estate.apply()
    waits = [event.seconds for event in estate.events if event.happened is Happened.WAITING]
    assert waits
    assert all(wait is not None and 0 <= wait <= longest for wait in waits)
