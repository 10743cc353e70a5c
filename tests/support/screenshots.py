"""The pictures of docs/images, made anew: `python -m tests.support.screenshots` (Debian's Chromium)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, expect

from reconciler.controller.web.options import Options
from reconciler.controller.web.server import serve
from tests.support import boards
from tests.support.browser import chromium

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
DESK, PHONE = {"width": 1360, "height": 900}, {"width": 390, "height": 844}
PICTURES: dict[str, tuple[str, Any, Any]] = {
    "page": ("/", "light", DESK),
    "page-dark": ("/", "dark", DESK),
    "page-phone": ("/", "light", PHONE),
    "page-details": ("/d/production/llama-3-70b", "dark", DESK),
}


async def main() -> None:
    now = datetime.now(UTC)
    board = boards.board(now)
    async with serve(board, Options(port=0)) as address, chromium() as browser:
        board.tell(boards.polled("production/mistral-7b", now))
        for name in PICTURES:
            await _picture(browser, address, name)


async def _picture(browser: Browser, address: str, name: str) -> None:
    path, scheme, size = PICTURES[name]
    context = await browser.new_context(color_scheme=scheme, viewport=size, reduced_motion="reduce")
    page = await context.new_page()
    await page.goto(address + path)
    await expect(page.locator("#connection-word")).to_have_text("live")
    await page.screenshot(path=IMAGES / f"{name}.png")
    await context.close()


if __name__ == "__main__":
    asyncio.run(main())
