"""Dock statuses that misbehave over time, story by story: whatever is heard, only a whole SUCCESS or FAILED ends a job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, cycle, repeat
from typing import Any

import pytest

from reconciler.model.applied import Accepted
from reconciler.model.events import Happened
from reconciler.platform.api import ConnectFailed, NoReply, Reply, Sent
from tests.support.estates import Estate, resource
from tests.support.simulator import MemoryPlatform, scenario

TIMEOUT = 2700  # seconds; more than ninety polls


def word(status: Any, **more: Any) -> Sent:
    return Reply(status_code=200, headers=(), body=json.dumps({"status": status, **more}).encode())


def code(status_code: int, body: bytes = b'{"message": "no"}') -> Sent:
    return Reply(status_code=status_code, headers=(), body=body)


def at(percent: Any) -> Sent:
    return word("IN_PROGRESS", percentageComplete=percent)


RUNNING, DONE, BROKEN = word("IN_PROGRESS"), word("SUCCESS"), word("FAILED", response={"message": "no capacity"})
LOST: Sent = NoReply(error="reset")
HTML = code(200, b"<html><body>Please wait</body></html>")
ODD = [
    word(one)
    for one in ("QUEUED", "RUNNING", "COMPLETED", "SUCCEEDED", "DONE", "success!", "FAILURE", "ERROR", "CANCELLED")
]
NO_WORDS: list[Sent] = [
    word(one) for one in (None, "", 7, True, [], {}, ["SUCCESS"], {"status": "SUCCESS"}, "\u202eSSECCUS")
]

# What is heard, one after the other -> how the change ends. Then the last is heard for ever; where it has timed out, all again.
STORIES: dict[str, tuple[list[Sent], str]] = {
    "404 for minutes, then there": ([*repeat(code(404), 25), RUNNING, DONE], "succeeded"),
    "404 for minutes, then over": ([*repeat(code(404), 25), BROKEN], "failed"),
    "410 for minutes, then there": ([*repeat(code(410), 25), DONE], "succeeded"),
    "404 for ever": ([code(404)], "timedOut"),
    "404 in between": ([RUNNING, code(404), RUNNING, code(404), code(404), DONE], "succeeded"),
    "runs for ever": ([RUNNING], "timedOut"),
    "backwards": ([at(90), at(50), at(10), at(0), at(99), DONE], "succeeded"),
    "backwards for ever": ([at(90), at(10)], "timedOut"),
    "more than all": ([at(100), at(101), at(-1), at(1e300), at("50"), at(None), DONE], "succeeded"),
    "all, and still running": ([at(100)], "timedOut"),
    "every word but the two": ([*ODD, DONE], "succeeded"),
    "changes its words for ever": (ODD, "timedOut"),
    "no word": ([*NO_WORDS, DONE], "succeeded"),
    "never a word": (NO_WORDS, "timedOut"),
    "in small letters": ([word("in_progress"), word("success")], "succeeded"),
    "with blanks": ([word(" FAILED\r\n")], "failed"),
    "a page for minutes": ([*repeat(HTML, 25), DONE], "succeeded"),
    "out of order for minutes": ([*[code(500), code(502), code(503), code(504)] * 6, BROKEN], "failed"),
    "limited for minutes": ([*repeat(code(429), 25), DONE], "succeeded"),
    "lost for minutes": ([*repeat(LOST, 25), DONE], "succeeded"),
    "nobody there for minutes": ([*repeat(ConnectFailed(error="refused"), 25), DONE], "succeeded"),
    "all of it": ([*[LOST, HTML, code(404), code(500), *ODD, at(5)] * 3, DONE], "succeeded"),
    "a success that is no success": (
        [code(404, b'{"status": "SUCCESS"}'), code(500, b'{"status": "FAILED"}')],
        "timedOut",
    ),
    "half a success": ([Reply(status_code=200, headers=(), body=b'{"status": "SUCCESS"}', error="cut")], "timedOut"),
    "over, and then not": ([DONE, RUNNING, BROKEN], "succeeded"),
    "failed, and then not": ([BROKEN, RUNNING, DONE], "failed"),
}


class Telling(MemoryPlatform):
    """Answers questions as the story has it."""

    story: Iterator[Sent] = iter(())
    asked = 0

    async def ask(self, dock_status_id: str) -> Sent:
        if dock_status_id not in self.world.jobs:
            return await super().ask(dock_status_id)  # is the key good?
        self.asked += 1
        return next(self.story)


def told(name: str) -> tuple[Estate, Telling]:
    estate = Estate([resource("a", timeout=TIMEOUT)], platform_says=scenario(job_seconds=9e9))
    platform = Telling(estate.world, clock=lambda: estate.now().timestamp())
    story, ends = STORIES[name]
    platform.story = cycle(story) if ends == "timedOut" else chain(story, repeat(story[-1]))
    estate.platform = estate.memory = platform
    return estate, platform


@pytest.mark.parametrize("name", STORIES)
def test_a_story(name: str) -> None:
    """The job ends as its story has it, in its time, and is never sent again because of it."""
    estate, platform = told(name)
    ends = STORIES[name][1]
    assert estate.ends(estate.apply()) == {"a": ends}
    assert len(estate.calls) == 1
    outcome = estate.last("a").outcome
    assert isinstance(outcome, Accepted)
    assert outcome.timed_out == (ends == "timedOut")
    assert (outcome.status in {"SUCCESS", "FAILED"}) == (ends != "timedOut")
    if ends == "timedOut":
        assert (estate.now() - estate.last("a").started_at).total_seconds() == pytest.approx(TIMEOUT, abs=1)
        assert 90 <= platform.asked <= 110, "as often as polling asks, whatever is answered"
    assert not [event for event in estate.events if "\u202e" in event.detail or "\u202e" in (event.status or "")]


@pytest.mark.parametrize("name", [name for name, (_, ends) in STORIES.items() if ends == "timedOut"])
def test_after_a_timeout_it_may_still_end_well(name: str) -> None:
    """Whatever kept a job from being heard of, the next apply asks again and believes its success; nothing is sent again."""
    estate, platform = told(name)
    estate.apply()
    platform.story = repeat(DONE)
    assert estate.ends(estate.apply()) == {"a": "succeeded"}
    assert len(estate.calls) == 1
    assert estate.plan().is_empty


def test_steps_back_are_alarms() -> None:
    """Going back, or away after having been there, is told as an alarm, each time."""
    estate, _ = told("404 in between")
    estate.apply()
    alarms = [event.detail for event in estate.events if event.happened is Happened.ALARM]
    assert len(alarms) == 2
    assert all("any more" in alarm for alarm in alarms)
