"""What the page shows of a board: the order, the filters, both sides of a deployment, and what is never shown."""

from __future__ import annotations

import asyncio
import gzip
from dataclasses import replace

from reconciler.controller.web.api import StatusApi
from reconciler.controller.web.auth import ANYBODY
from reconciler.controller.web.pages import Pages
from reconciler.controller.web.views import Attention, Filter, details_of, section_of
from tests.support import boards
from tests.support.virtual_time import run_virtual

KEY = "kg-0123456789abcdef"


def test_problems_first() -> None:
    """Rows are sorted by how much they need a person, then by address."""
    rows = section_of(boards.production(boards.NOW)).rows
    order = [(row.attention, row.status.address) for row in rows]
    assert order == sorted(order)
    assert {row.attention for row in rows} == set(Attention)


def test_filters_ignore_words_that_they_do_not_know() -> None:
    """A filter keeps what fits all that is asked; an unknown word asks for nothing."""
    rows = section_of(boards.production(boards.NOW)).rows

    def kept(**query: str) -> list[str]:
        return [row.status.name for row in rows if Filter.of(query).keeps(row)]

    assert len(kept(health="Broken", show="'", sync="<")) == len(rows)
    assert kept(health="Degraded") == ["embed-small", "flan-t5"]
    assert kept(health="Degraded", q="P4D capacity flan") == ["flan-t5"]
    assert kept(env="staging") == []


def test_both_sides_of_every_condition() -> None:
    """Desired is what the manifest says, also where the plan sends nothing; what needs no change shows no difference."""
    view = boards.production(boards.NOW)
    differing = {
        row.status.name: found.differing
        for row in section_of(view).rows
        if (found := details_of(view, row.status.name))
    }
    assert differing["llama-3-70b"] == 2
    assert differing["summarise"] == differing["sentiment"] == differing["mistral-7b"] == 0
    gone = details_of(view, "old-bot")
    assert gone is not None
    assert not gone.has_manifest
    assert details_of(view, "nobody") is None
    assert details_of(boards.sandbox(boards.NOW), "flan-t5") is None


def test_no_key_on_any_page() -> None:
    """A key that somebody wrote where none belongs is on no page and in no answer."""
    board = boards.board()
    view = board.views["staging"]
    assert view.last is not None
    board.publish(replace(view, held_up=f"see {KEY}", last=replace(view.last, cause=KEY)))

    async def story() -> list[bytes]:
        pages = Pages(board, lambda: boards.NOW)
        return [(await pages.index({}, ANYBODY)).packed, StatusApi(board, pages).status().packed]

    for packed in run_virtual(story()):
        text = gzip.decompress(packed).decode()
        assert "kg-[redacted]" in text
        assert KEY not in text


def test_a_page_is_made_when_there_is_something_new() -> None:
    """The same page is given again until the board moves, and then at most twice a second."""
    board = boards.board()

    async def story() -> None:
        pages = Pages(board, lambda: boards.NOW)
        first = await pages.index({}, ANYBODY)
        board.tell(boards.polled("production/mistral-7b", percent=61))
        assert await pages.index({}, ANYBODY) is first
        await asyncio.sleep(1)
        second = await pages.index({}, ANYBODY)
        assert "61 %" in gzip.decompress(second.packed).decode()
        await asyncio.sleep(5)
        assert await pages.index({}, ANYBODY) is second

    run_virtual(story())
