"""The status page in a real Chromium, served over a real socket from a board filled by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import product
from typing import Any, Literal

import pytest
from axe_playwright_python.base import AXE_FILE_PATH  # type: ignore[import-untyped] # it has none
from playwright.async_api import Browser, Page, expect

from reconciler.controller.board import Board, PassEnd
from reconciler.controller.policy import Wait
from reconciler.controller.web.options import Hands, Options
from reconciler.controller.web.server import serve
from reconciler.diagnostics import Diagnostic, Position
from reconciler.model.applied import Accepted, Hold, NotProcessed, Outcome, RefusalKind, Unknown
from reconciler.model.events import Event
from tests.support import boards
from tests.support.browser import chromium, needs_chromium

pytestmark = needs_chromium

HOSTILE = '</script><img src=x onerror="window.hurt=1">\'"><svg onload=window.hurt=1>{{7*7}}javascript:window.hurt=1'


@asynccontextmanager
async def opened(board: Board, **options: Any) -> AsyncIterator[tuple[str, Browser]]:
    async with (
        serve(board, Options(port=0, **options), Hands(now=lambda: boards.NOW)) as address,
        chromium() as browser,
    ):
        yield address, browser


def shown(page: Page) -> Any:
    return page.locator("tr.row:visible")


def run(story: Callable[[str, Browser, Board], Awaitable[None]], board: Board | None = None, **options: Any) -> None:
    made = board or boards.board()

    async def whole() -> None:
        async with opened(made, **options) as (address, browser):
            await story(address, browser, made)

    asyncio.run(whole())


def test_problems_stand_first_and_nothing_else_is_asked_of_any_host() -> None:
    """The first view shows every deployment, problems first, without a console message or a request to another host."""

    async def story(address: str, browser: Browser, _: Board) -> None:
        page = await browser.new_page()
        asked: list[str] = []
        said: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        await page.goto(address)
        await expect(page.locator("#connection-word")).to_have_text("live")
        await expect(shown(page)).to_have_count(39)
        levels = await page.locator("section.env >> nth=0 >> tr.row").evaluate_all(
            "rows => rows.map(r => r.dataset.show)"
        )
        assert levels == sorted(levels)
        assert levels[0] == "0"
        assert all(url.startswith(address) for url in asked)
        assert said == []

    run(story)


def test_live_update_keeps_the_focus() -> None:
    """What the loop publishes appears by itself, and the link that had the focus has it still."""

    async def story(address: str, browser: Browser, board: Board) -> None:
        page = await browser.new_page()
        await page.goto(address)
        await expect(page.locator("#connection-word")).to_have_text("live")
        row = page.locator('tr[data-key="production/mistral-7b"]')
        await row.locator("a").first.focus()
        board.tell(boards.polled("production/mistral-7b", status="OPTIMIZING", percent=85))
        await expect(row).to_contain_text("OPTIMIZING, 85 %")
        await expect(row.locator("a").first).to_be_focused()
        view = board.views["staging"]
        board.publish(replace(view, held_up="A mass change waits for a person."))
        await expect(page.locator("text=A mass change waits for a person.")).to_be_visible()

    run(story)


def test_what_holds_an_environment_up_is_a_problem() -> None:
    """A calm environment that is held up stays under the problems, with its reason and without its rows."""

    async def story(address: str, browser: Browser, board: Board) -> None:
        view = board.views["staging"]
        board.publish(replace(view, last=board.views["sandbox"].last, held_up="Git is at work."))
        page = await browser.new_page()
        bare = await (await browser.new_context(java_script_enabled=False)).new_page()
        await page.goto(address)
        await page.click("#tabs a[data-show=problems]")
        await bare.goto(f"{address}/?show=problems")
        for one in (page, bare):
            await expect(one.locator("section.env[data-env=staging] [data-held]")).to_have_text("Git is at work.")
            await expect(one.locator("section.env[data-env=staging] table")).to_be_hidden()
            await expect(one.locator("section.env[data-env=production] table")).to_be_visible()
        await bare.goto(f"{address}/d/staging/flan-t5")
        await expect(bare.locator(".banner")).to_have_text("Git is at work.")
        await expect(bare.locator(".next")).to_have_text("Next. Nothing was to be done at the last look.")

    run(story)


def test_filters_act_at_once_and_without_a_script() -> None:
    """Tabs, search and axes narrow the table; the address says the same, also to a browser that runs no script."""

    async def story(address: str, browser: Browser, _: Board) -> None:
        page = await browser.new_page()
        await page.goto(address)
        await page.keyboard.press("/")
        await page.keyboard.type("flan team=support")
        await expect(shown(page)).to_have_count(2)
        assert "q=flan" in page.url
        await page.keyboard.press("ArrowDown")
        await expect(page.locator("tr.row:visible a").first).to_be_focused()
        await page.goto(address)
        await page.click("#tabs a[data-show=problems]")
        await expect(shown(page)).to_have_count(8)
        await page.select_option("select[name=health]", "Degraded")
        await expect(shown(page)).to_have_count(2)

        bare = await (await browser.new_context(java_script_enabled=False)).new_page()
        await bare.goto(page.url)
        await expect(shown(bare)).to_have_count(2)
        await page.reload()
        await expect(shown(page)).to_have_count(2)
        await page.click("#tabs a[data-show='']")
        await page.select_option("select[name=health]", "")
        await expect(shown(page)).to_have_count(39)
        assert await page.locator("tr.fresh").count() == 0
        await bare.fill("input[name=q]", "flan")
        await bare.click("button:has-text('Filter')")
        await expect(shown(bare)).to_have_count(1)
        await bare.click("tr.row:visible .c-name a")
        await expect(bare.locator("h1")).to_have_text("flan-t5")

    run(story)


def test_details_show_both_sides_the_timeline_and_the_gates() -> None:
    """The page of a deployment shows desired against applied, what was tried, and what explain says."""

    async def story(address: str, browser: Browser, board: Board) -> None:
        page = await browser.new_page()
        await page.goto(f"{address}/d/production/llama-3-70b")
        await expect(page.locator("tr.differs")).to_have_count(2)
        await expect(page.locator(".timeline li")).to_have_count(2)
        await expect(page.locator(".next")).to_have_text("Next. The loop does it: redeploy.")
        await expect(page.locator(".gates li")).to_have_count(10)
        commit = page.locator(".facts a").first
        assert (await commit.get_attribute("href") or "").startswith("https://git.example.com/support/models/commit/")
        board.tell(boards.polled("production/llama-3-70b", percent=12))
        await expect(page.locator(".banner").first).to_contain_text("12 %")

    run(story)


SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def test_axe_finds_nothing() -> None:
    """No accessibility rule is broken on any page, in both palettes, wide and on a phone; nothing runs over the edge."""
    token = "a-token-of-some-length"

    async def story(address: str, browser: Browser, _: Board) -> None:
        for scheme, width in product(SCHEMES, (1360, 390)):
            context = await browser.new_context(
                color_scheme=scheme,
                viewport={"width": width, "height": 800},
                reduced_motion="reduce",
                bypass_csp=True,
                extra_http_headers={"authorization": f"Bearer {token}"},
            )
            page = await context.new_page()
            for path in ("/", "/?q=zzzzzz", "/d/production/flan-t5", "/login", "/nowhere"):
                await page.goto(address + path)
                if path not in {"/login", "/nowhere"}:
                    await expect(page.locator("#connection-word")).to_have_text("live")
                await page.evaluate(AXE_FILE_PATH.read_text())
                found = await page.evaluate("axe.run({resultTypes: ['violations']})")
                broken = [f"{one['id']}: {one['nodes'][0]['html'][:150]}" for one in found["violations"]]
                assert broken == [], "\n".join([f"{path} {scheme} {width}", *broken])
                assert await page.evaluate("document.documentElement.scrollWidth") <= width
            await context.close()

    run(story, token=token)


def test_by_keyboard_alone() -> None:
    """The way leads from the skip link over tabs and filters to the deployments; the focus is seen, and what changes is said."""

    async def story(address: str, browser: Browser, board: Board) -> None:
        page = await browser.new_page()
        await page.goto(address)
        await expect(page.locator("#connection-word")).to_have_text("live")
        stops = []
        for _ in range(15):
            await page.keyboard.press("Tab")
            here = page.locator(":focus")
            style = await here.evaluate("e => getComputedStyle(e).outlineStyle + getComputedStyle(e).outlineWidth")
            assert style == "solid2px", await here.evaluate("e => e.outerHTML")
            stops.append(await here.evaluate("e => e.className.split(' ')[0] || e.name || e.tagName"))
        assert stops[:8] == ["skip", "brand", "t-all", "t-problems", "t-notices", "t-busy", "t-calm", "q"]
        assert stops[8:] == ["env", "sync", "health", "op", "mono", "SUMMARY", "A"]
        await page.keyboard.press("Enter")
        await expect(page.locator("h1")).to_be_visible()
        assert "/d/" in page.url
        await page.goto(address)
        await expect(page.locator("#connection-word")).to_have_text("live")
        board.tell(boards.polled("production/mistral-7b", percent=77))
        await expect(page.locator("#announcer")).to_have_text("production/mistral-7b: Progressing, Running")

    run(story)


def test_hostile_strings_run_no_script() -> None:
    """Whatever stands in any field that came from outside, then or later, it is text on the page and nothing more."""

    async def story(address: str, browser: Browser, board: Board) -> None:
        page = await (await browser.new_context(extra_http_headers={"X-User": HOSTILE})).new_page()
        for path in ("/", "/d/staging/flan-t5", f"/?q={HOSTILE}&env={HOSTILE}&show={HOSTILE}"):
            await page.goto(address + path)
            await expect(page.locator("#connection-word")).to_have_text("live")
            board.tell(happening(HOSTILE))
            if path.endswith("flan-t5"):
                await expect(page.locator(".banner.m-busy")).to_contain_text("onerror")
            assert await page.evaluate("window.hurt") is None
            assert await page.locator("img").count() == 0
            assert await page.locator("a[href^='javascript']").count() == 0
        await page.goto(f"{address}/d/staging/flan-t5")
        shown = await page.inner_text("body")
        assert shown.count("onerror") >= 15, "a field is missing"

    run(story, hostile(HOSTILE), user_header="X-User")


@pytest.mark.parametrize("width", [1360, 390])
def test_long_words_stay_within_the_page(width: int) -> None:
    """A word of 300 characters in every field makes no page wider than the window."""

    async def story(address: str, browser: Browser, board: Board) -> None:
        page = await browser.new_page(viewport={"width": width, "height": 800})
        for path in ("/", "/d/staging/flan-t5"):
            await page.goto(address + path)
            await expect(page.locator("#connection-word")).to_have_text("live")
            board.tell(happening(LONG))
            await expect(page.locator(".m-busy", has_text="WWWW").first).to_be_visible()
            assert await page.evaluate("document.documentElement.scrollWidth") <= width

    run(story, hostile(LONG))


LONG = "W" * 300


def happening(text: str) -> Event:
    """What the platform says of a job while a pass is under way."""
    return replace(boards.polled("staging/flan-t5", status=text), dock_status_id=text, detail=text)


def hostile(text: str) -> Board:
    """The same text in all that the platform, a manifest, git or a person could have written."""
    clean = boards.staging(boards.NOW)
    assert clean.applied is not None
    assert clean.plan is not None
    assert clean.last is not None
    name = "cm-00000000-0000-5000-8000-000000000007"
    entry = clean.applied.entries[name]
    [attempt] = entry.attempts
    ends: tuple[Outcome, ...] = (
        Accepted(dock_status_id=text, status=text, detail=text),
        NotProcessed(kind=RefusalKind.REFUSED, message=text, status_code=400),
        Unknown(reason=text),
        Accepted(dock_status_id=text, status="FAILED", detail=text),
    )
    provenance = replace(attempt.provenance, commit=text, author=text)
    attempts = tuple(
        replace(attempt, id=f"{text}{number}", provenance=provenance, outcome=end, decided=text, manifest=text)
        for number, end in enumerate(ends)
    )
    hold = Hold(who=text, why=text, since=boards.NOW)
    bad = replace(entry, attempts=attempts, suspension=hold, quarantine=replace(hold, digest=attempt.digest))
    applied = replace(clean.applied, entries={**clean.applied.entries, name: bad}, suspension=hold)
    [first] = [one for one in clean.plan.changes if one.name == "flan-t5"]
    wrong = replace(
        first,
        detail=text,
        hint=text,
        model_type=text,
        body=json.dumps({"deviceType": text, text: text}),
        metadata=replace(first.metadata, labels=((text, text),), manifest=text),
    )
    plan = replace(clean.plan, changes=tuple(wrong if one is first else one for one in clean.plan.changes))
    mistake = Diagnostic(code=text, message=text, position=Position(file=text), path=text, suggestion=text)
    last = replace(clean.last, end=PassEnd.FAILED, detail=text, cause=text, commit=text)
    board = Board(source=text, remote=f"javascript:{text}")
    waits = (Wait(address=wrong.address, why=f"{text}!", until=boards.NOW),)
    board.publish(
        replace(clean, plan=plan, applied=applied, diagnostics=(mistake,), held_up=f"{text} ", last=last, waits=waits)
    )
    return board


def test_the_door() -> None:
    """A person types the token once, comes back to the page asked for, and can leave."""

    async def whole() -> None:
        token = "a-token-of-some-length"
        async with opened(boards.board(), token=token) as (address, browser):
            page = await browser.new_page()
            await page.goto(f"{address}/d/production/flan-t5")
            await page.fill("#token", "not the token at all")
            await page.click("button")
            await expect(page.locator("#wrong")).to_be_visible()
            await page.fill("#token", token)
            await page.click("button")
            await expect(page.locator("h1")).to_have_text("flan-t5")
            await page.click("text=Sign out")
            await expect(page.locator("#token")).to_be_visible()

    asyncio.run(whole())
