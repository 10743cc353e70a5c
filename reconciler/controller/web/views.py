"""What the page shows, as values: rows, sections and details, made from the board. Pure; `pages` turns them into HTML.

Problems first: `Attention` says how much a deployment needs a person, and everything is sorted by it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Literal
from urllib.parse import quote, urlsplit

from reconciler.controller.board import PassEnd, View
from reconciler.controller.policy import Wait
from reconciler.model.applied import Applied, Attempt, Entry, Hold
from reconciler.model.events import Event, Happened
from reconciler.model.plan import Action, Change, Reason
from reconciler.model.values import Json
from reconciler.report.plan_text import summary
from reconciler.report.style import duration, value_text
from reconciler.status import (
    DeploymentStatus,
    Explanation,
    Health,
    Loop,
    Phase,
    Sync,
    event_of,
    explain,
    phase_of,
    statuses,
)

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
# Where the page of a commit lies, by what the host's name says; the others do as GitHub does.
_COMMIT_PATHS = (("gitlab", "/-/commit/"), ("bitbucket", "/commits/"))


class Attention(IntEnum):
    """How much a deployment needs a person; the order of the page."""

    PROBLEM = 0  # something failed, or a person must decide
    NOTICE = 1  # not as the manifests say, and nothing is done about it
    BUSY = 2  # on its way
    CALM = 3


_PROBLEMS = {Phase.FAILED, Phase.TIMED_OUT, Phase.UNKNOWN}
_STUCK = {Reason.BROKEN, Reason.QUARANTINED}
_LEFT_ALONE = {Reason.ORPHAN, Reason.PROTECTED, Reason.SUSPENDED}


def attention(status: DeploymentStatus) -> Attention:
    """Read top-down, first match."""
    if status.action is Action.HOLD or status.health is Health.DEGRADED or status.reason in _STUCK:
        return Attention.PROBLEM
    if status.operation in _PROBLEMS or status.error is not None:
        return Attention.PROBLEM
    if status.reason in _LEFT_ALONE or status.health is Health.SUSPENDED:
        return Attention.NOTICE
    if status.operation in {Phase.PENDING, Phase.RUNNING} or status.health is Health.PROGRESSING:
        return Attention.BUSY
    return Attention.CALM if status.sync is Sync.SYNCED else Attention.NOTICE


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One deployment in the table. `search` is everything that the search looks at, in lower case.

    `note` says why nothing is done, where a person may wonder; `again_at` is when the loop tries again by itself.
    """

    status: DeploymentStatus
    attention: Attention
    note: str | None
    device: str | None
    replicas: str | None
    labels: tuple[tuple[str, str], ...]
    search: str
    again_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One environment."""

    view: View
    rows: tuple[Row, ...]
    summary: str | None

    def count(self, *levels: Attention) -> int:
        return sum(row.attention in levels for row in self.rows)


def section_of(view: View) -> Section:
    """The environment as the last pass left it; no rows before a plan was made."""
    if view.plan is None or view.applied is None:
        return Section(view=view, rows=(), summary=None)
    applied = view.applied
    pairs = zip(view.plan.changes, statuses(view.plan, applied), strict=True)
    waits = {wait.address: wait for wait in view.waits}
    rows = [
        _row(change, status, applied.entries.get(change.model_id), waits.get(change.address))
        for change, status in pairs
    ]
    rows.sort(key=lambda row: (row.attention, row.status.address))
    return Section(
        view=view, rows=tuple(rows), summary=summary(view.plan).removeprefix(f"Plan: {view.plan.environment}: ")
    )


def _row(change: Change, status: DeploymentStatus, entry: Entry | None, wait: Wait | None) -> Row:
    body = desired_body(change, entry) or _json(entry.live.body if entry and entry.live else None)
    device, labels = _text(body.get("deviceType")), change.metadata.labels
    words = [status.address, status.model_id, device, status.dock_status_id, status.dock_status, status.commit]
    words += [status.author, status.manifest, status.error, *(f"{key}={value}" for key, value in labels)]
    level = attention(status)
    return Row(
        status=status,
        attention=level,
        note=_note(status, entry) if level <= Attention.NOTICE else None,
        device=device,
        replicas=_replicas(body.get("scalingParameters")),
        labels=labels,
        search=" ".join(word for word in words if word).lower(),
        again_at=wait.until if wait is not None else None,
    )


def _note(status: DeploymentStatus, entry: Entry | None) -> str:
    if entry is not None and entry.suspension is not None:
        return entry.suspension.in_words("suspended")
    if status.health is Health.SUSPENDED and status.sync is Sync.SYNCED:
        return ""  # all of the environment is: its head says so
    return status.detail


def _replicas(scaling: Json) -> str | None:
    if not isinstance(scaling, dict):
        return None
    low, high = scaling.get("minReplicas"), scaling.get("maxReplicas")
    if low == high or high is None or low is None:
        return _text(high if low is None else low)
    return f"{low}–{high}"  # noqa: RUF001 - a range


def _text(value: Json) -> str | None:
    return None if value is None else str(value)


def _json(body: str | None) -> dict[str, Json]:
    value = json.loads(body) if body is not None else {}
    return value if isinstance(value, dict) else {}


def desired_body(change: Change, entry: Entry | None) -> dict[str, Json] | None:
    """What the manifest says; None without a manifest. A change that sends nothing has no body: it is then the one of
    that digest that the state remembers, or what was last applied with the plan's field changes laid over it.
    """
    if change.body is not None:
        return _json(change.body)
    if change.digest is None:
        return None
    known = _known_bodies(entry)
    if change.digest in known:
        return _json(known[change.digest])
    body = _json(next(iter(known.values()), None))
    for field in change.fields:
        _put(body, field.path.split("."), field.after)
    return body


def _known_bodies(entry: Entry | None) -> dict[str, str]:
    """By digest, the latest first."""
    if entry is None:
        return {}
    known = {a.digest: a.body for a in reversed(entry.attempts) if a.digest is not None and a.body is not None}
    return known if entry.live is None else {**known, entry.live.digest: entry.live.body}


def _put(body: dict[str, Json], path: list[str], value: Json) -> None:
    *folders, last = path
    for folder in folders:
        inner = body.get(folder)
        body[folder] = body = dict(inner) if isinstance(inner, dict) else {}
    if value is None:
        body.pop(last, None)
    else:
        body[last] = value


# Filters


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What the address of the page asks for; an empty word asks for everything."""

    words: tuple[str, ...] = ()
    show: str = ""
    environment: str = ""
    sync: str = ""
    health: str = ""
    operation: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filter:
        """Words that no filter knows are as if they were not there."""
        return cls(
            words=tuple(query.get("q", "")[:200].lower().split()),
            show=_known(query.get("show", ""), SHOWS),
            environment=query.get("env", "")[:100],
            sync=_known(query.get("sync", ""), Sync),
            health=_known(query.get("health", ""), Health),
            operation=_known(query.get("op", ""), Phase),
        )

    def keeps(self, row: Row) -> bool:
        status = row.status
        asked = (
            (self.environment, status.environment),
            (self.sync, status.sync),
            (self.health, status.health),
            (self.operation, status.operation),
        )
        fits = all(not wanted or wanted == is_so for wanted, is_so in asked)
        is_shown = not self.show or row.attention is SHOWS[self.show]
        return fits and is_shown and all(word in row.search for word in self.words)


SHOWS = {
    "problems": Attention.PROBLEM,
    "notices": Attention.NOTICE,
    "busy": Attention.BUSY,
    "calm": Attention.CALM,
}


def _known(word: str, words: Iterable[str]) -> str:
    return word if word in tuple(words) else ""


# One deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRow:
    """One field, as the manifest says and as it was last applied; None is what is not there."""

    path: str
    desired: str | None
    applied: str | None

    @property
    def differs(self) -> bool:
        return self.desired != self.applied


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One line of the timeline. `facts` are pairs of a word and a value."""

    at: datetime
    title: str
    outcome: str
    mood: Literal["good", "bad", "busy", "notice", "quiet"]
    facts: tuple[tuple[str, str], ...] = ()
    commit: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """Everything that the page of one deployment shows. `wait` is what the loop waits for, and `held_up` why nothing at all is
    sent, each where nothing else says it.
    """

    row: Row
    change: Change
    explanation: Explanation
    fields: tuple[FieldRow, ...]
    has_manifest: bool
    has_live: bool
    timeline: tuple[Moment, ...]
    holds: tuple[tuple[str, Hold], ...]
    labels: tuple[tuple[str, str], ...]
    wait: Wait | None
    held_up: str | None

    @property
    def differing(self) -> int:
        return sum(field.differs for field in self.fields)


def details_of(view: View, name: str) -> Details | None:
    """None where the environment has no such deployment, or no plan was made yet. A replaced one is `name@model`."""
    plan, applied = view.plan, view.applied
    if plan is None or applied is None:
        return None
    address = f"{view.environment.name}/{name}"
    change = next((one for one in plan.changes if one.address == address), None)
    wait = next((one for one in view.waits if one.address == address), None)
    if change is None:
        return None
    explanation = explain(plan, applied, address, _loop(view, wait))
    return _details(change, applied, explanation, wait, view.held_up)


def _loop(view: View, wait: Wait | None) -> Loop:
    return Loop(
        at=wait.until if wait is not None else None,
        needs_a_person=wait is not None and wait.until is None,
        held_up=view.held_up is not None,
        outdated=view.last is not None and view.last.end is PassEnd.REFUSED,
        dry_run=view.dry_run,
    )


def _details(
    change: Change, applied: Applied, explanation: Explanation, wait: Wait | None, held_up: str | None
) -> Details:
    entry = applied.entries.get(change.model_id)
    desired = desired_body(change, entry)
    live = _json(entry.live.body) if entry and entry.live else None
    return Details(
        row=_row(change, explanation.status, entry, wait),
        change=change,
        explanation=explanation,
        fields=tuple(_field_rows(desired, live)),
        has_manifest=desired is not None,
        has_live=live is not None,
        timeline=timeline_of(entry, change.environment, change.address),
        holds=tuple(_holds(entry, applied)),
        labels=change.metadata.labels,
        wait=wait if wait is not None and wait.why != change.detail else None,
        held_up=held_up if wait is None or wait.why != held_up else None,
    )


def _field_rows(desired: dict[str, Json] | None, live: dict[str, Json] | None) -> Iterator[FieldRow]:
    left, right = (dict(_leaves("", body)) if body is not None else {} for body in (desired, live))
    for path in sorted({*left, *right}):
        yield FieldRow(path=path, desired=left.get(path), applied=right.get(path))


def _leaves(prefix: str, value: Json) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(f"{prefix}.{key}" if prefix else key, item)
    elif prefix:
        yield prefix, value_text(value)


def _holds(entry: Entry | None, applied: Applied) -> Iterator[tuple[str, Hold]]:
    if applied.suspension is not None:
        yield "The environment is suspended", applied.suspension
    if entry is not None and entry.suspension is not None:
        yield "Suspended", entry.suspension
    if entry is not None and entry.quarantine is not None:
        yield "Quarantined", entry.quarantine


def timeline_of(entry: Entry | None, environment: str, address: str) -> tuple[Moment, ...]:
    """What the state remembers, the latest first."""
    if entry is None:
        return ()
    moments = [
        _attempt(event_of(attempt, environment=environment, address=address), attempt, is_last=attempt is entry.last)
        for attempt in entry.attempts
    ]
    if entry.live is not None and entry.live.how == "adopted":
        moments.append(
            Moment(at=entry.live.since, title="adopt", outcome="Recorded as live, without a call", mood="good")
        )
    return tuple(sorted(moments, key=lambda moment: moment.at, reverse=True))


_MOODS: Mapping[Phase, Literal["good", "bad", "busy", "notice"]] = {
    Phase.SUCCEEDED: "good",
    Phase.FAILED: "bad",
    Phase.TIMED_OUT: "bad",
    Phase.RUNNING: "busy",
    Phase.PENDING: "busy",
    Phase.UNKNOWN: "notice",
}


def _attempt(event: Event, attempt: Attempt, *, is_last: bool) -> Moment:
    phase = phase_of(attempt, is_last=is_last)
    return Moment(
        at=attempt.started_at,
        title=str(event.action),
        outcome=phase,
        mood=_MOODS.get(phase, "quiet"),
        facts=tuple(_facts(event, attempt)),
        commit=event.commit,
        error=event.detail or None,
    )


def _facts(event: Event, attempt: Attempt) -> Iterator[tuple[str, str]]:
    if event.dock_status_id and event.status:
        yield "job", event.dock_status_id
        yield "dock status", event.status
    if event.seconds is not None:
        yield "took", duration(event.seconds)
    yield "generation", str(attempt.generation)
    if attempt.provenance.author:
        yield "author", attempt.provenance.author
    if attempt.decided:
        yield "decided by", attempt.decided
    yield "run", event.run
    yield "attempt", attempt.id


# What happens at this moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """What the pass under way does with a deployment, as a clause."""

    text: str
    dock_status_id: str | None
    is_over: bool


_NOW = {
    Happened.STARTED: "taken up",
    Happened.WAITING: "waits",
    Happened.SENDING: "sending",
    Happened.ACCEPTED: "accepted, the job starts",
    Happened.POLLED: "the job runs",
    Happened.ALARM: "alarm",
    Happened.ENDED: "ended",
    Happened.QUARANTINED: "given up",
}


def now_of(event: Event) -> Now:
    """`the job runs: OPTIMIZING, 40 %`."""
    said = event.ended if event.ended is not None else _NOW[event.happened]
    percent = f"{event.percent:.0f} %" if event.percent is not None else None
    rest = ", ".join(part for part in (event.status, percent, event.detail) if part)
    text = f"{event.action}: {said}{f': {rest}' if rest else ''}"
    return Now(
        text=text, dock_status_id=event.dock_status_id, is_over=event.happened in {Happened.ENDED, Happened.QUARANTINED}
    )


class Activity:
    """The last event of each address in the pass under way; what a finished pass did is in its view."""

    def __init__(self) -> None:
        self._now: dict[str, dict[str, Event]] = {}

    def on_event(self, event: Event) -> None:
        self._now.setdefault(event.environment, {})[event.address] = event

    def on_pass(self, view: View) -> None:
        self._now.pop(view.environment.name, None)

    def of(self, environment: str) -> Mapping[str, Event]:
        return self._now.get(environment, {})


# Small words


def counts(sections: Sequence[Section]) -> Counter[Attention]:
    return Counter(row.attention for section in sections for row in section.rows)


def age_text(at: datetime | None, now: datetime) -> str:
    """`now`, `5m`, `3h`, `12d`: one unit, because it stands in a column. app.js says the same."""
    if at is None:
        return "–"  # noqa: RUF001 - nothing to say
    seconds = max(0, int((now - at).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return "now"


def until_text(at: datetime, now: datetime) -> str:
    """`in 40s`."""
    return f"in {duration((at - now).total_seconds())}" if at > now else "now"


def commit_address(remote: str | None, commit: str | None) -> str | None:
    """The page of a commit: only where the remote is plain https and the commit is one."""
    if remote is None or commit is None or not _COMMIT.fullmatch(commit):
        return None
    try:
        parts = urlsplit(remote)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme != "https" or not host or not re.fullmatch(r"[a-z0-9.-]+", host):
        return None
    path = quote(parts.path.rstrip("/").removesuffix(".git"), safe="/~._-%")
    folder = next((way for word, way in _COMMIT_PATHS if word in host), "/commit/")
    return f"https://{host}{f':{port}' if port else ''}{path}{folder}{commit}"


def detail_path(address: str) -> str:
    """Where the page of a deployment lies."""
    environment, _, name = address.partition("/")
    return f"/d/{quote(environment, safe='')}/{quote(name, safe='@')}"
