"""The log as a run sees it: decide on what is recorded, append, be durable, go on.

A transaction is a pure function from the folded state to records. When somebody else appended meanwhile, the tail is read
and the function decides again; so no decision is ever taken on a state that has moved. Transactions that are asked for
at the same time share one append and one sync.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from reconciler.model.applied import Applied
from reconciler.model.records import Record
from reconciler.state.fold import fold
from reconciler.state.store import Conflict, DurabilityLost, Store

# Looks at the state as it is now and says what to append; raises to append nothing.
Decide = Callable[[Applied], Sequence[Record]]

# Seconds from which an append is better made in a thread: requests and replies go on meanwhile, and share the next one. A
# quick disk syncs in a fraction of that, which a thread would only add to.
SLOW = 0.001


@dataclass(slots=True, eq=False)
class _Asked:
    decide: Decide
    done: asyncio.Future[Applied]


# What became of a transaction: the state with its records in it, or why there are none.
_Answer: TypeAlias = tuple[_Asked, Applied | BaseException]


class Journal:
    """One store, read once and kept up to date by every append of ours and of others."""

    def __init__(self, store: Store) -> None:
        self._store = store
        stored = store.read()
        self._applied = fold(stored.snapshot, stored.records)
        self._seq = stored.seq
        self._news = 0
        self._lost: DurabilityLost | None = None
        self._asked: deque[_Asked] = deque()
        self._busy = False
        self._took = 0.0  # seconds for the last append
        self._worker: asyncio.Task[None] | None = None

    @property
    def applied(self) -> Applied:
        """The state as of the last append or `refresh`."""
        return self._applied

    @property
    def news(self) -> int:
        """How often anything was read that others may have written."""
        return self._news

    @property
    def store(self) -> Store:
        return self._store

    def refresh(self) -> Applied:
        """Reads what others appended."""
        self._news += 1
        tail = self._store.read_since(self._seq)
        if tail is None:
            stored = self._store.read()
            self._applied, self._seq = fold(stored.snapshot, stored.records), stored.seq
        else:
            records, self._seq = tail
            self._applied = fold(self._applied, records)
        return self._applied

    def transact_now(self, decide: Decide) -> Applied:
        """For commands that decide one thing and end. Raises what `decide` raises, StateError, DurabilityLost."""
        while True:
            records = tuple(decide(self._applied))
            if not records:
                return self._applied
            try:
                self._commit(records, fold(self._applied, records))
            except Conflict:
                self.refresh()
                continue
            return self._applied

    async def transact(self, decide: Decide) -> Applied:
        """As `transact_now`, sharing one sync with whatever else is asked for meanwhile.

        A caller that is cancelled before the append begins appends nothing. Once it has begun it is carried through.
        """
        loop = asyncio.get_running_loop()
        asked = _Asked(decide=decide, done=loop.create_future())
        self._asked.append(asked)
        if not self._busy:
            # After the tasks that are ready now, so that they can join this append; and never within a caller, who may
            # be cancelled while others wait for the same append.
            self._busy = True
            if self._store.is_local and self._took < SLOW:
                loop.call_soon(self._drain, loop)
            else:
                self._worker = loop.create_task(self._drain_in_threads(loop))
        return await asked.done

    def compact(self) -> None:
        """Folds the log into the snapshot, so that the file a person opens shows everything; nothing where nothing is new."""
        while True:
            try:
                self._store.compact(self._seq, self._applied)
            except Conflict:
                self.refresh()
                continue
            return

    def _drain(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while batch := self._take():
                began = loop.time()
                _tell(self._append_batch(batch))
                self._took = loop.time() - began
        finally:
            self._busy = False

    async def _drain_in_threads(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while batch := self._take():
                began = loop.time()
                _tell(await asyncio.to_thread(self._append_batch, batch))
                self._took = loop.time() - began
        finally:
            self._busy = False

    def _take(self) -> list[_Asked]:
        batch = [asked for asked in self._asked if not asked.done.done()]
        self._asked.clear()
        return batch

    def _append_batch(self, batch: list[_Asked]) -> list[_Answer]:
        """One append for all. Each decision sees what those before it in the batch decided."""
        moved = False
        while True:
            try:
                if moved:
                    self.refresh()
                state, records, refused = self._decide_all(batch)
                if records:
                    self._commit(records, state)
            except Conflict:
                moved = True
            except BaseException as error:  # noqa: BLE001 - whoever asked must hear of it, whatever it is
                return [(asked, error) for asked in batch]
            else:
                return [(asked, refused.get(asked, state)) for asked in batch]

    def _decide_all(self, batch: list[_Asked]) -> tuple[Applied, list[Record], dict[_Asked, BaseException]]:
        state, records, refused = self._applied, list[Record](), dict[_Asked, BaseException]()
        for asked in batch:
            try:
                decided = tuple(asked.decide(state))
            except Exception as error:  # noqa: BLE001 - a refusal belongs to the one who asked
                refused[asked] = error
                continue
            state = fold(state, decided) if decided else state
            records.extend(decided)
        return state, records, refused

    def _commit(self, records: Sequence[Record], state: Applied) -> None:
        """Append `records`, which make `state` of what was applied."""
        if self._lost is not None:
            raise self._lost  # a failed sync is final: what the disk holds cannot be told any more
        try:
            self._seq = self._store.append(self._seq, records)
        except DurabilityLost as error:
            self._lost = error
            raise
        self._applied = state


def _tell(answers: list[_Answer]) -> None:
    for asked, answer in answers:
        if asked.done.done():
            continue
        if isinstance(answer, BaseException):
            asked.done.set_exception(answer)
        else:
            asked.done.set_result(answer)
