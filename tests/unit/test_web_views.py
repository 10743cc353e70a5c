"""What the page shows of a board: the order, the filters, both sides of a deployment, and what is never shown."""

from __future__ import annotations

import asyncio
import gzip
import json
from dataclasses import replace
from datetime import timedelta

from reconciler.controller.policy import Wait
from reconciler.controller.web.api import StatusApi
from reconciler.controller.web.auth import ANYBODY
from reconciler.controller.web.kept import Kept, Rendered, TooBusy
from reconciler.controller.web.pages import Pages
from reconciler.controller.web.views import Attention, Filter, details_of, section_of
from reconciler.model.applied import Hold
from tests.support import boards
from tests.support.virtual_time import run_virtual

KEY = "kg-01234567-0000-5000-8000-ca4a2900beef"


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
    assert kept(health="Degraded", q="G5.X capacity flan") == ["flan-t5"]
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


def test_next_is_what_the_loop_does() -> None:
    """The page of a deployment says when the loop takes the next step; after a refused pass it does not promise a time."""
    at = boards.NOW + timedelta(minutes=4)
    wait = Wait(address="production/flan-t5", why="its job failed", until=at)
    view = replace(boards.production(boards.NOW), waits=(wait,), last=None)
    found = details_of(view, "flan-t5")
    assert found is not None
    assert found.explanation.next_step.startswith("At 2030-01-02 12:04:00 UTC the loop sends it again.")
    assert (found.explanation.command, found.held_up) == (None, None)
    refused = boards.sandbox(boards.NOW)
    found = details_of(replace(view, last=refused.last, held_up="No folder."), "flan-t5")
    assert found is not None
    assert found.explanation.next_step.startswith("Once nothing stands in the way any more, the loop sends it again.")
    assert found.held_up == "No folder."


def test_what_is_suspended_for_a_while_goes_on_by_itself() -> None:
    """The page of what is suspended with an end names it, and nowhere says that it waits for a person; so does the API."""
    until = boards.NOW + timedelta(hours=4)
    board = boards.board()
    before = board.views["production"]
    assert before.applied is not None
    entries = {
        model: replace(one, suspension=replace(one.suspension, until=until)) if one.suspension is not None else one
        for model, one in before.applied.entries.items()
    }
    applied = replace(before.applied, entries=entries)
    wait = Wait(address="production/summarise", why="suspended", until=until, on_purpose=True)
    board.publish(replace(before, applied=applied, waits=(wait,)))

    async def story() -> None:
        kept = Kept(board)
        pages = Pages(board, kept, lambda: boards.NOW)
        page = await pages.details("production", "summarise", ANYBODY)
        assert page is not None
        text = gzip.decompress(page.packed).decode()
        assert "It goes on by itself at 2030-01-02 16:00 UTC." in text
        assert "person" not in text
        status = json.loads(gzip.decompress((await StatusApi(board, pages, kept).status()).packed))
        [waits] = [one["waits"] for one in status["environments"] if one["name"] == "production"]
        assert [one["until"] for one in waits] == ["2030-01-02T16:00:00Z"]

    run_virtual(story())


def test_what_the_loop_waits_for() -> None:
    """Page, row and API say when a failed one is tried again and why not now, and the row is made anew when that changes."""
    wait = Wait(address="production/flan-t5", why="its job failed; try 2 of 3", until=boards.NOW + timedelta(minutes=4))
    person = Wait(address="production/old-bot", why="the platform refused it", until=None)
    board = boards.board()

    async def story() -> None:
        kept = Kept(board)
        pages, api = (
            Pages(board, kept, lambda: boards.NOW),
            StatusApi(board, Pages(board, kept, lambda: boards.NOW), kept),
        )
        assert "tried again at" not in gzip.decompress((await pages.index({}, ANYBODY)).packed).decode()
        board.publish(replace(board.views["production"], waits=(wait, person)))
        await asyncio.sleep(1)
        assert gzip.decompress((await pages.index({}, ANYBODY)).packed).decode().count("tried again at 12:04 UTC") == 1
        for name, said in (
            ("flan-t5", "By itself at 2030-01-02 12:04:00 UTC: its job failed; try 2 of 3"),
            ("old-bot", "It waits for a person: the platform refused it"),
        ):
            page = await pages.details("production", name, ANYBODY)
            assert page is not None
            assert said in gzip.decompress(page.packed).decode()
        [waits] = [
            one["waits"]
            for one in json.loads(gzip.decompress((await api.status()).packed))["environments"]
            if one["name"] == "production"
        ]
        assert waits[0] == {"address": wait.address, "why": wait.why, "until": "2030-01-02T12:04:00Z"}
        assert waits[1]["until"] is None

    run_virtual(story())


def test_no_key_on_any_page() -> None:
    """A key that somebody wrote where none belongs is on no page and in no answer."""
    board = boards.board()
    view = board.views["staging"]
    assert view.last is not None
    board.publish(replace(view, held_up=f"see {KEY}", last=replace(view.last, cause=KEY)))

    async def story() -> list[bytes]:
        kept = Kept(board)
        pages = Pages(board, kept, lambda: boards.NOW)
        return [(await pages.index({}, ANYBODY)).packed, (await StatusApi(board, pages, kept).status()).packed]

    for packed in run_virtual(story()):
        text = gzip.decompress(packed).decode()
        assert "kg-[redacted]" in text
        assert KEY not in text


def test_outside_text_is_no_element() -> None:
    """Text from outside, what a visitor looks for included, is text on the page and nothing more."""
    hurt = "<img src=x onerror=hurt()>"
    board = boards.board()
    view = board.views["staging"]
    assert view.last is not None
    board.publish(replace(view, held_up=hurt, last=replace(view.last, cause=hurt)))

    async def story() -> bytes:
        return (await Pages(board, Kept(board), lambda: boards.NOW).index({"q": hurt}, ANYBODY)).packed

    text = gzip.decompress(run_virtual(story())).decode()
    assert text.count("&lt;img src=x") >= 2
    assert "<img src=x" not in text


def test_a_page_is_made_when_there_is_something_new() -> None:
    """The same page is given again until the board moves, and then at most twice a second."""
    board = boards.board()

    async def story() -> None:
        kept = Kept(board)
        pages = Pages(board, kept, lambda: boards.NOW)
        first = await pages.index({}, ANYBODY)
        board.tell(boards.polled("production/mistral-7b", percent=61))
        assert await pages.index({}, ANYBODY) is first
        await asyncio.sleep(1)
        second = await pages.index({}, ANYBODY)
        assert "61 %" in gzip.decompress(second.packed).decode()
        await asyncio.sleep(5)
        assert await pages.index({}, ANYBODY) is second

    run_virtual(story())


def test_many_rows_are_made_in_slices() -> None:
    """While a page of many rows is made the loop turns at least every 25 rows."""
    board = boards.board()
    board.publish(boards.many(300))
    turns = 0

    async def turning() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def story() -> int:
        others = asyncio.create_task(turning())
        pages = Pages(board, Kept(board), lambda: boards.NOW)
        html = await pages._index(Filter(), "", ANYBODY)
        others.cancel()
        return html.count("<tr ")

    assert asyncio.run(story()) > 300
    assert turns >= 300 // 25


def test_a_search_makes_only_the_rows_that_it_finds() -> None:
    """What a filter leaves out is not on the page."""
    board = boards.board()

    async def story() -> str:
        pages = Pages(board, Kept(board), lambda: boards.NOW)
        return gzip.decompress((await pages.index({"q": "flan"}, ANYBODY)).packed).decode()

    page = run_virtual(story())
    assert page.count('data-key="production/') == 1
    assert "mistral" not in page


def test_other_steps_of_a_pass_make_no_rows_anew() -> None:
    """A view with the same plan and state has the same rows."""
    board = boards.board()
    pages = Pages(board, Kept(board), lambda: boards.NOW)
    before = {section.view.environment.name: section.rows for section in pages.sections()}
    board.publish(replace(board.views["staging"], running="another pass"))
    after = {section.view.environment.name: section for section in pages.sections()}
    assert all(after[name].rows is rows for name, rows in before.items())
    assert after["staging"].view.running == "another pass"


def test_who_does_not_unpack_gets_it_in_parts() -> None:
    """A page is unpacked while it is read, at most 64 KiB at a time."""
    data = bytes(range(256)) * 1024
    packed = gzip.compress(data)
    page = Rendered(version=1, made_at=0, etag="", packed=packed, size=len(data))

    async def story() -> list[bytes]:
        return [part async for part in page.unpacked()]

    parts = asyncio.run(story())
    assert b"".join(parts) == data
    assert max(map(len, parts)) <= 65536


def test_a_crowd_beyond_the_waiting_room_is_sent_away() -> None:
    """Pages are made one at a time; the sixty-fifth who waits is told to come again, the others get theirs."""
    board = boards.board()

    async def story() -> list[object]:
        pages = Pages(board, Kept(board), lambda: boards.NOW)
        asked = (pages.index({"q": f"search {number}"}, ANYBODY) for number in range(80))
        return await asyncio.gather(*asked, return_exceptions=True)

    answers = run_virtual(story())
    assert sum(isinstance(one, TooBusy) for one in answers) == 16
    assert sum(isinstance(one, Rendered) for one in answers) == 64


def test_a_suspension_is_said_once() -> None:
    """Who suspended a deployment and why stands below it; who suspended all of an environment stands at its head alone."""
    rows = {row.status.name: row for row in section_of(boards.production(boards.NOW)).rows}
    assert rows["summarise"].note == "suspended by Grace: load test until Thursday"
    calm = boards.staging(boards.NOW)
    assert calm.applied is not None
    hold = Hold(who="Ada", why="the platform moves", since=boards.NOW)
    whole = replace(calm, applied=replace(calm.applied, suspension=hold))
    assert {row.note for row in section_of(whole).rows} == {""}
    board = boards.board()
    board.publish(whole)

    async def story() -> str:
        pages = Pages(board, Kept(board), lambda: boards.NOW)
        return gzip.decompress((await pages.index({}, ANYBODY)).packed).decode()

    assert run_virtual(story()).count("Suspended by Ada: the platform moves") == 1
