"""The least that could be done instead of `watch`: `python -m tests.bench.bare FOLDER SETTLE URL`.

The same library for events, the same settle time, the same client for HTTP; nothing is parsed, compared or written down.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import httpx
from watchfiles import awatch


async def main(folder: str, settle: float, url: str) -> None:
    """A POST with a manifest's bytes once it was left alone for so long."""
    print("watching", flush=True)
    async for changes in awatch(folder, step=50, debounce=200):
        await asyncio.sleep(settle - 0.05)  # the first event waited for 50 ms
        async with httpx.AsyncClient(verify=False) as client:
            for _, path in changes:
                body = await asyncio.to_thread(Path(path).read_bytes)
                await client.post(url, content=body, headers={"x-api-key": "kg-simulator"})


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), sys.argv[3]))
