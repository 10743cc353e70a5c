"""What the changes of one run share (`Run`), and one change under way (`Work`).

`executor` makes them; `send`, `docks` and `recover` work with them. The decisions stand there; here are only the gates that
everybody passes: the stops, the pacers, and the one place where events are told.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from reconciler.apply.context import Pace, RunContext, Stop
from reconciler.apply.journal import Journal
from reconciler.errors import ReconcilerError
from reconciler.model.applied import Accepted, Applied, Attempt, Entry, Situation, situation_of
from reconciler.model.events import Event, Happened
from reconciler.model.plan import Action, Change
from reconciler.model.run import Ended, Result
from reconciler.platform.api import Platform
from reconciler.platform.pacing import Pacer

INTERRUPTED = "the run was stopped"
SUPERSEDED = "something newer is due"


class Run:
    """One run in one environment.

    `stop` ends everything, `sends` only the sending, `follows` only the following; `stop` asks for the others too.
    """

    def __init__(
        self, platform: Platform, journal: Journal, context: RunContext, *, stop: Stop, sends: Stop, follows: Stop
    ) -> None:
        pace = context.pace or Pace.of(context.rate_limit)
        self.platform = platform
        self.journal = journal
        self.context = context
        self.stop = stop
        self.sends = sends
        self.follows = follows
        self.posts = pace.posts
        self.polls = pace.polls
        self.known = KnownIds(journal)
        self.epoch = 0
        self.host_is_down = False  # some change gave up connecting, and nothing has connected since
        self.problems: list[ReconcilerError] = []
        self.notes: list[str] = []
        self.recovery: list[str] = []
        self._closed: str | None = None
        self._attempts = 0

    @property
    def closed(self) -> str:
        """Why nothing more is sent, as a clause."""
        return self._closed or INTERRUPTED

    def close(self, why: str) -> None:
        """Nothing more is sent in this run; what was sent is followed."""
        self._closed = self._closed or why
        self.sends.request()

    def make_room(self) -> None:
        """Nothing more is sent, and jobs are left to whoever comes next; what is in flight is read in its own time."""
        self.close(SUPERSEDED)
        self.follows.request()

    def fail(self, error: ReconcilerError) -> None:
        """Nothing can be recorded any more, or something of ours is broken: the run ends, what is in flight is read."""
        self.complain(error)
        self._closed = self._closed or str(error)
        self.stop.request()

    def complain(self, error: ReconcilerError) -> None:
        """Something that counts for the exit code, said once."""
        if str(error) not in map(str, self.problems):
            self.problems.append(error)

    def new_attempt(self) -> str:
        """An id that no other run has: the epoch is taken by one run alone."""
        self._attempts += 1
        return f"{self.context.run}-{self.epoch}-{self._attempts}"

    async def turn(self, pacer: Pacer, stop: Stop, work: Work | None = None) -> bool:
        """Waits for the pacer's leave. True: go now. False: the stop was asked for."""
        loop = asyncio.get_running_loop()
        delay = pacer.reserve(loop.time())
        while delay > 0:
            if work is not None:
                work.tell(Happened.WAITING, detail="the rate limit", seconds=delay)
            if not await stop.sleep(delay):
                return False
            delay = pacer.confirm(loop.time())
        return not stop.requested


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What an entry looked like when it was last known to be ours to change: its last attempt and its row of the table."""

    attempt: str | None
    situation: Situation

    @classmethod
    def of(cls, entry: Entry | None) -> Expected:
        last = entry.last if entry is not None else None
        return cls(attempt=last.id if last is not None else None, situation=situation_of(entry))


class Work:
    """One change under way. `expected` is what its entry must still be when it is sent."""

    def __init__(self, run: Run, change: Change) -> None:
        entry = run.journal.applied.entries.get(change.model_id)
        self.run = run
        self.change = change
        self.expected = Expected(attempt=change.attempt, situation=situation_of(entry))
        self.about_what_is_sent()
        self._since = asyncio.get_running_loop().time()
        self._sent_at: float | None = None

    def about_what_is_sent(self) -> None:
        """From here on events tell of the change's own call."""
        change = self.change
        self.attempt: str | None = None
        self.dock_status_id: str | None = None
        self.status: str | None = None
        self._digest = None if change.action is Action.UNDEPLOY else change.digest
        self._commit = change.commit or self.run.context.provenance.commit

    def about_job(self, dock_status_id: str, attempt: str) -> None:
        """From here on events tell of this job, which an earlier run may have started."""
        self.attempt, self.dock_status_id = attempt, dock_status_id
        sent = find_attempt(self.run.journal.applied, self.change.model_id, attempt)
        if sent is not None:
            self._digest, self._commit = sent.digest, sent.provenance.commit

    def expect(self, applied: Applied) -> None:
        """The entry is now as our own records made it."""
        self.expected = Expected.of(applied.entries.get(self.change.model_id))

    def tell(  # the fields of an event
        self,
        happened: Happened,
        *,
        action: Action | None = None,
        detail: str = "",
        attempt: str | None = None,
        percent: float | None = None,
        seconds: float | None = None,
        ended: Ended | None = None,
    ) -> None:
        """Tells the listener, who must not disturb the run: whatever a listener raises is its own affair."""
        now = asyncio.get_running_loop().time()
        if happened is Happened.SENDING and self._sent_at is None:
            self._sent_at = now
        self.attempt = attempt or self.attempt
        context, change = self.run.context, self.change
        event = Event(
            run=context.run,
            environment=change.environment,
            address=change.address,
            action=action or change.action,
            happened=happened,
            at=context.now(),
            detail=detail,
            attempt=self.attempt,
            dock_status_id=self.dock_status_id,
            status=self.status,
            percent=percent,
            seconds=now - self._since if seconds is None else seconds,
            ended=ended,
            digest=self._digest,
            commit=self._commit,
        )
        with contextlib.suppress(Exception):
            context.listener(event)

    def result(self, ended: Ended, detail: str = "") -> Result:
        now = asyncio.get_running_loop().time()
        return Result(
            address=self.change.address,
            action=self.change.action,
            ended=ended,
            detail=detail,
            dock_status_id=self.dock_status_id,
            status=self.status,
            seconds=None if self._sent_at is None else now - self._sent_at,
        )


class KnownIds:
    """Which attempt each dock status id in the state belongs to.

    Our own ids are claimed here as they come in; the state is looked through again only after others have written to it.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._owners: dict[str, str] = {}
        self._seen = -1

    def owner_of(self, applied: Applied, dock_status_id: str) -> str | None:
        """The attempt with that id, `live` when only what is live remembers it, None when nobody does."""
        if self._seen != self._journal.news:
            self._seen = self._journal.news
            for entry in applied.entries.values():
                self._owners |= owners_of(entry)
        return self._owners.get(dock_status_id)

    def claim(self, dock_status_id: str | None, attempt: str) -> None:
        """The id is that attempt's, unless somebody has it already."""
        if dock_status_id is not None:
            self._owners.setdefault(dock_status_id, attempt)


def owners_of(entry: Entry) -> dict[str, str]:
    """Every dock status id that an entry's history names as its own, and the attempt it belongs to."""
    live = entry.live.dock_status_id if entry.live is not None else None
    owners = {} if live is None else {live: "live"}
    for attempt in entry.attempts:
        match attempt.outcome:
            case Accepted(dock_status_id=str(known)):
                owners[known] = attempt.id
    return owners


def find_attempt(applied: Applied, model_id: str, attempt_id: str) -> Attempt | None:
    entry = applied.entries.get(model_id)
    attempts = entry.attempts if entry is not None else ()
    return next((attempt for attempt in reversed(attempts) if attempt.id == attempt_id), None)
