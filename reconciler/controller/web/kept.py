"""Answers that are dear to make: made one at a time, packed once, kept while they are as good as new.

`pages` and `api` say how one is made. However many ask, making them takes at most half of the loop's time, so that no
crowd of visitors can hold up a pass; who would wait too long for a turn is sent away.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import secrets
import time
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from reconciler.controller.board import Board

FRESH = 0.5  # seconds that an answer is as good as new
_AGES = 30.0  # seconds after which the ages on a page are written anew
_MAX_KEPT = 16
_MAX_WAITING = 64
_REST = 1.0  # times the time that making took, until the next is made
_MAX_REST = 0.25  # seconds: other work of the loop counts too, and must not make visitors wait for ever
_FAST = 1  # the level of compression: half a megabyte of rows takes 3 ms
_SMALL = 64 * 1024  # bytes that are packed at once; more than that goes to a thread
_CHUNK = 64 * 1024

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """An answer, packed. `version` is the board's when it was made, `size` what it has unpacked."""

    version: int
    made_at: float
    etag: str
    packed: bytes
    size: int

    async def unpacked(self) -> AsyncIterator[bytes]:
        """In parts: who reads slowly must not keep a whole page in memory."""
        rest, reader = self.packed, zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        while part := reader.decompress(rest, _CHUNK):
            yield part
            rest = reader.unconsumed_tail


class TooBusy(Exception):
    """More visitors wait for an answer than will ever get one in time."""


class Kept:
    """All such answers of one server. Belongs to one event loop."""

    def __init__(self, board: Board) -> None:
        self.instance = secrets.token_hex(4)
        self._board = board
        self._answers: OrderedDict[Key, Rendered] = OrderedDict()
        self._one_at_a_time = asyncio.Lock()
        self._waiting = 0
        self._rested_at = 0.0

    def good(self, key: Key) -> Rendered | None:
        """What was made before, if it still is as good as new."""
        known = self._answers.get(key)
        if known is None or not self._is_good(known):
            return None
        self._answers.move_to_end(key)
        return known

    async def get(self, key: Key, make: Callable[[], Awaitable[str]]) -> Rendered:
        """Raises TooBusy."""
        known = self.good(key)
        if known is not None:
            return known
        if self._waiting >= _MAX_WAITING:
            raise TooBusy
        self._waiting += 1
        try:
            async with self._one_at_a_time:
                return self.good(key) or await self._made(key, make)
        finally:
            self._waiting -= 1

    def _is_good(self, one: Rendered) -> bool:
        age = asyncio.get_running_loop().time() - one.made_at
        return age < FRESH or (one.version == self._board.version and age < _AGES)

    async def _made(self, key: Key, make: Callable[[], Awaitable[str]]) -> Rendered:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._rested_at - loop.time()))
        began = time.thread_time()  # not the clock: what took long because the machine is busy was not dear
        made = self._answers[key] = await self._render(make)
        while len(self._answers) > _MAX_KEPT:
            self._answers.popitem(last=False)
        self._rested_at = loop.time() + min(_REST * (time.thread_time() - began), _MAX_REST)
        return made

    async def _render(self, make: Callable[[], Awaitable[str]]) -> Rendered:
        version = self._board.version  # before: what comes meanwhile makes the answer old
        data = (await make()).encode()
        # hashing and packing let go of the interpreter, so that a thread costs the loop nothing
        mark, packed = await asyncio.to_thread(_pack, data) if len(data) > _SMALL else _pack(data)
        return Rendered(
            version=version,
            made_at=asyncio.get_running_loop().time(),
            etag=f'W/"{self.instance}-{mark}"',
            packed=packed,
            size=len(data),
        )


def _pack(data: bytes) -> tuple[str, bytes]:
    return hashlib.sha256(data).hexdigest()[:16], gzip.compress(data, _FAST, mtime=0)
