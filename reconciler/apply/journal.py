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

from reconciler.model.applied import Applied
from reconciler.model.records import Record
from reconciler.state.fold import fold
from reconciler.state.store import Conflict, Store

# Looks at the state as it is now and says what to append; raises to append nothing.
Decide = Callable[[Applied], Sequence[Record]]


@dataclass(slots=True)
class _Asked:
    decide: Decide
    done: asyncio.Future[Applied]


class Journal:
    """One store, read once and kept up to date by every append of ours and of others."""

    def __init__(self, store: Store) -> None:
        self._store = store
        stored = store.read()
        self._applied = fold(stored.snapshot, stored.records)
        self._seq = stored.seq
        self._asked: deque[_Asked] = deque()
        self._busy = False

    @property
    def applied(self) -> Applied:
        """The state as of the last append or `refresh`."""
        return self._applied

    @property
    def store(self) -> Store:
        return self._store

    def refresh(self) -> Applied:
        """Reads what others appended."""
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
                self._commit(records)
            except Conflict:
                self.refresh()
                continue
            return self._applied

    async def transact(self, decide: Decide) -> Applied:
        """As `transact_now`, sharing one sync with whatever else is asked for meanwhile.

        Once the append has begun it is carried through, also when the caller is cancelled.
        """
        asked = _Asked(decide=decide, done=asyncio.get_running_loop().create_future())
        self._asked.append(asked)
        if not self._busy:
            self._busy = True
            await asyncio.sleep(0)  # let the other tasks that are ready join this append
            await self._drain()
        return await asked.done

    def compact(self) -> None:
        """Folds the log into the snapshot, so that the file a person opens shows everything."""
        while True:
            try:
                self._store.compact(self._seq, self._applied)
            except Conflict:
                self.refresh()
                continue
            return

    async def _drain(self) -> None:
        try:
            while self._asked:
                batch = list(self._asked)
                self._asked.clear()
                if self._store.is_local:
                    self._append_batch(batch)
                else:
                    await asyncio.shield(asyncio.to_thread(self._append_batch, batch))
        finally:
            self._busy = False

    def _append_batch(self, batch: list[_Asked]) -> None:
        """One append for all. Each decision sees what those before it in the batch decided."""
        while batch:
            records, answered = self._decide_all(batch)
            try:
                if records:
                    self._commit(records)
            except Conflict:
                self.refresh()
                batch = [asked for asked in batch if not asked.done.done()]
                continue
            except Exception as error:  # noqa: BLE001 - whoever asked must hear of it, whatever it is
                _fail(answered, error)
                return
            _succeed(answered, self._applied)
            return

    def _decide_all(self, batch: list[_Asked]) -> tuple[list[Record], list[_Asked]]:
        state, records, answered = self._applied, [], []
        for asked in batch:
            try:
                decided = tuple(asked.decide(state))
            except Exception as error:  # noqa: BLE001 - a refusal belongs to the one who asked
                _fail([asked], error)
                continue
            state = fold(state, decided) if decided else state
            records.extend(decided)
            answered.append(asked)
        return records, answered

    def _commit(self, records: Sequence[Record]) -> None:
        self._seq = self._store.append(self._seq, records)
        self._applied = fold(self._applied, records)


def _fail(asked: list[_Asked], error: Exception) -> None:
    for one in asked:
        if not one.done.done():
            one.done.set_exception(error)


def _succeed(asked: list[_Asked], applied: Applied) -> None:
    for one in asked:
        if not one.done.done():
            one.done.set_result(applied)
