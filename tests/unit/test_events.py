"""One event, told as it happens and remembered by the state: the same of both, tied by the id of the run or pass."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.model.events import Event, Happened
from reconciler.model.plan import Action
from reconciler.model.run import Ended
from reconciler.status import event_of, standing_of
from tests.support.estates import NAME, Estate, resource
from tests.support.loops import Watched, watch
from tests.support.simulator import scenario

# How a deploy ends -> what the platform does.
ENDINGS: dict[Ended, dict[str, Any]] = {
    Ended.SUCCEEDED: {"job": {"seconds": 3}},
    Ended.FAILED: {"job": {"fails": True, "seconds": 3, "response": {"why": "no GPU"}}},
    Ended.REFUSED: {"answer": {"status": 400, "message": "no such device"}},
    Ended.UNAUTHORIZED: {"answer": {"status": 401}, "match": {"operation": "deploy"}},
    Ended.UNKNOWN: {"answer": {"status": 500}, "match": {"operation": "deploy"}},
    Ended.TIMED_OUT: {"job": {"seconds": 10_000}},
}

OVER = (Happened.ENDED, Happened.QUARANTINED)


def ends(events: list[Event]) -> list[Event]:
    return [event for event in events if event.happened is Happened.ENDED]


@pytest.mark.parametrize("ended", ENDINGS)
def test_the_state_remembers_what_was_told(ended: Ended) -> None:
    """What an event told of the end of a deploy is what history makes of the record: who, what, how, and in which run."""
    estate = Estate([resource("a")], platform_says=scenario(ENDINGS[ended]))
    report = estate.apply()
    (told,) = ends(estate.events)
    remembered = event_of(estate.last("a"), environment=NAME, address=f"{NAME}/a")
    same = ("run", "environment", "address", "action", "happened", "attempt", "dock_status_id", "digest", "ended")
    assert {name: getattr(remembered, name) for name in same} == {name: getattr(told, name) for name in same}
    assert (told.ended, told.run, told.digest) == (ended, report.run, estate.wanted[0].digest)


def test_every_event_of_a_call_names_its_attempt() -> None:
    """From the moment it is sent, attempt, digest and, once known, the dock status id are in every event."""
    estate = Estate([resource("a")])
    estate.apply()
    sent = [event for event in estate.events if event.attempt is not None]
    assert [event.happened for event in sent][:2] == [Happened.SENDING, Happened.ACCEPTED]
    assert {event.attempt for event in sent} == {estate.last("a").id}
    assert {event.dock_status_id is None for event in sent[1:]} == {False}
    assert {event.digest for event in estate.events} == {estate.wanted[0].digest}


def test_the_end_of_an_earlier_job_is_told() -> None:
    """What waits for a running job follows it first: how that one ended is an event of its own, about what it was sent for."""
    estate = Estate([resource("a")], platform_says=scenario(job_seconds=100, while_running="conflict"))
    estate.apply(wait=False)
    estate.events.clear()
    estate.wanted = [resource("a", temperature=0)]
    estate.apply()
    first, second = estate.entry("a").attempts
    told = [(e.action, e.ended, e.attempt, e.digest, e.dock_status_id) for e in ends(estate.events)]
    jobs = [event_of(one, environment=NAME, address=f"{NAME}/a").dock_status_id for one in (first, second)]
    assert told == [
        (Action.FOLLOW, Ended.SUCCEEDED, first.id, first.digest, jobs[0]),
        (Action.DEPLOY, Ended.SUCCEEDED, second.id, second.digest, jobs[1]),
    ]


def test_what_is_given_up_is_an_event_of_the_pass() -> None:
    """The pass that quarantines a digest tells it, once; afterwards the state makes the same event of it."""

    async def story(watched: Watched) -> None:
        watched.says(scenario({"answer": {"status": 400, "message": "no such device"}}))
        watched.write("m000")
        watched.ask()
        await watched.until(lambda: bool(watched.done) and watched.entry("m000").quarantine is not None)
        watched.ask()
        await watched.passes(1)
        refused, given_up = [event for event in watched.events if event.attempt and event.happened in OVER]
        assert (refused.ended, given_up.happened) == (Ended.REFUSED, Happened.QUARANTINED)
        assert (refused.run, refused.attempt, refused.digest) == (given_up.run, given_up.attempt, given_up.digest)
        assert "no such device" in given_up.detail
        plan = watched.view.plan
        assert plan is not None
        standing = standing_of(plan.changes[0], watched.entry("m000"), run=given_up.run, at=given_up.at)
        assert standing == given_up

    watch(story)
