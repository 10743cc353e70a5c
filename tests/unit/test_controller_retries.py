"""A late retry can never land after a newer generation: what waits to be sent again is dropped when something newer comes."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.platform.api import ConnectFailed
from tests.support.loops import Watched, some, watch
from tests.support.simulator import scenario

HOUR = 3600
RETRY_AFTER = 300
OLD, NEW = '"temperature":0.25', '"temperature":0.5'


async def _began(watched: Watched) -> None:
    for name in some(5):
        watched.write(name)
    watched.ask()
    await watched.passes(1)


def _sent(watched: Watched) -> list[tuple[str, bool]]:
    """What was sent about m000 after the beginning, and whether the platform took it."""
    calls = [line for line in watched.calls[5:] if line["modelId"] == "cm-m000"]
    return [(OLD if OLD in line["body"].replace(" ", "") else NEW, line["accepted"]) for line in calls]


async def _newer_comes(watched: Watched) -> None:
    """Only the newer one is sent from now on, and hours later nothing else was."""
    watched.write("m000", 0.5)
    watched.ask()
    await watched.until(lambda: watched.accepted()["cm-m000"] == 2)
    for _ in range(24):
        await asyncio.sleep(HOUR / 4)
        watched.ask()
    assert watched.view.plan is not None
    assert watched.view.plan.is_empty


@pytest.mark.parametrize("waited", [1, RETRY_AFTER - 1])
def test_a_retry_that_waits_is_dropped_for_what_is_newer(waited: float) -> None:
    """The platform asks to wait five minutes; what comes meanwhile is sent in place of what was refused."""

    async def story(watched: Watched) -> None:
        await _began(watched)
        watched.says(scenario({"answer": {"status": 429, "retryAfter": str(RETRY_AFTER)}}))
        watched.write("m000", 0.25)
        watched.ask()
        await watched.until(lambda: len(watched.calls) == 6)
        watched.says(scenario())
        await asyncio.sleep(waited)
        await _newer_comes(watched)
        assert _sent(watched) == [(OLD, False), (NEW, True)]

    watch(story)


@pytest.mark.parametrize("waited", [1, 6, 100])
def test_a_connection_that_failed_is_not_tried_again_for_what_is_old(waited: float) -> None:
    """The host cannot be reached; what comes meanwhile is sent in place of what could not be."""

    async def story(watched: Watched) -> None:
        await _began(watched)
        gone = ConnectFailed(error="connection refused", trust=False)
        watched.memory.connect_failures.extend([gone] * 100)
        watched.write("m000", 0.25)
        watched.ask()
        await watched.until(lambda: len(watched.memory.connect_failures) < 100)
        await asyncio.sleep(waited)
        watched.memory.connect_failures.clear()
        await _newer_comes(watched)
        assert _sent(watched) == [(NEW, True)]

    watch(story)
