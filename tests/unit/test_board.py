"""The board tells everybody, whatever one of them does with it."""

from __future__ import annotations

from structlog.testing import capture_logs

from reconciler.controller.board import Pass, PassEnd, View
from reconciler.model.events import Event, Happened
from tests.support.loops import Watched, some, watch


class Mistaken:
    """A listener with a mistake in it."""

    def __init__(self) -> None:
        self.told = 0

    def on_event(self, _: Event) -> None:
        self.told += 1
        raise KeyError("no such label")

    def on_pass(self, _: Pass, __: View) -> None:
        self.told += 1
        raise ZeroDivisionError("no pass")


def test_a_listener_with_a_mistake_fails_nothing() -> None:
    """Passes succeed, the other listeners are told everything, and each mistake is in the log once."""
    mistaken, later = Mistaken(), list[Event]()

    async def story(watched: Watched) -> None:
        watched.board.on_event(mistaken.on_event)
        watched.board.on_event(later.append)
        watched.board.on_pass(mistaken.on_pass)
        for name in some(6):
            watched.write(name)
        watched.ask()
        await watched.passes(1)
        watched.write("m000", 0)
        watched.ask()
        await watched.passes(1)

    with capture_logs() as lines:
        watched = watch(story)
    assert [done.end for done in watched.done] == [PassEnd.SUCCEEDED] * 2
    assert later == watched.events
    assert [event.happened for event in later].count(Happened.ENDED) == 7
    assert mistaken.told == len(watched.events) + 2
    details = [line["detail"] for line in lines if line["log_level"] == "error"]
    assert details == ["KeyError: 'no such label'", "ZeroDivisionError: no pass"]
    assert all(line["place"].startswith("test_board.py:") for line in lines)
