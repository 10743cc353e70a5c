"""HTML from values, and as rarely as possible: rows are kept until they change, pages until the board does (`kept`).

Many rows are made in slices, between which the loop turns. Every string goes through `report.style.safe` and is then
escaped; no template has a script or a style of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from reconciler.controller.board import Board, Pass, View
from reconciler.controller.web import views
from reconciler.controller.web.auth import Visitor
from reconciler.controller.web.kept import Kept, Rendered
from reconciler.controller.web.views import SHOWS, Activity, Attention, Details, Filter, Row, Section
from reconciler.model.events import Event
from reconciler.report.style import duration, safe
from reconciler.status import Health, Phase, Sync

_HERE = Path(__file__).parent
_SLICE = 25  # rows that are made at a stretch: some 4 ms
_MAX_TEXT = 200  # characters of a search

# The sign and the mood of each word on the three axes; the mood is a class of app.css.
SIGNS = {
    Health.HEALTHY: ("check", "good"),
    Health.PROGRESSING: ("busy", "busy"),
    Health.DEGRADED: ("bad", "bad"),
    Health.MISSING: ("missing", "quiet"),
    Health.SUSPENDED: ("pause", "quiet"),
    Health.UNKNOWN: ("unknown", "notice"),
}
MOODS: Mapping[str, str] = {
    Sync.SYNCED: "calm",
    Sync.OUT_OF_SYNC: "warn",
    Sync.UNKNOWN: "notice",
    Phase.PENDING: "warn",
    Phase.RUNNING: "busy",
    Phase.SUCCEEDED: "calm",
    Phase.FAILED: "bad",
    Phase.TIMED_OUT: "bad",
    Phase.SUPERSEDED: "quiet",
    Phase.CANCELLED: "quiet",
}
ENDS = {"succeeded": "good", "waiting": "warn", "failed": "bad", "refused": "bad", "superseded": "quiet"}
TABS = (
    ("", "All", None),
    ("problems", "Problems", Attention.PROBLEM),
    ("notices", "Left alone", Attention.NOTICE),
    ("busy", "In progress", Attention.BUSY),
    ("calm", "As they should be", Attention.CALM),
)


class Pages:
    """All pages of one server. Belongs to one event loop."""

    def __init__(self, board: Board, kept: Kept, now: Callable[[], datetime]) -> None:
        self._board, self._kept, self._now = board, kept, now
        self._activity = Activity()
        self._sections: dict[str, Section] = {}
        self._rows: dict[str, tuple[tuple[Any, ...], Markup]] = {}
        board.on_event(self._activity.on_event)
        board.on_pass(self._on_pass)

    async def index(self, query: Mapping[str, str], visitor: Visitor) -> Rendered:
        wanted, text = Filter.of(query), query.get("q", "")[:_MAX_TEXT]
        key = ("index", repr(wanted), text, repr(visitor))
        return await self._kept.get(key, lambda: self._index(wanted, text, visitor))

    async def details(self, environment: str, name: str, visitor: Visitor) -> Rendered | None:
        """None where there is no such deployment."""
        key = ("details", environment, name, repr(visitor))
        known = self._kept.good(key)
        view = self._board.views.get(environment)
        if known is not None or view is None:
            return known
        found = views.details_of(view, name)
        return await self._kept.get(key, lambda: self._details(view, found, visitor)) if found is not None else None

    def sections(self) -> list[Section]:
        """Every environment, by name; made anew only where its view is a new one."""
        known = {name: self._section(view) for name, view in self._board.views.items()}
        self._sections = known
        return list(known.values())

    def login(self, *, next_path: str, wrong: bool, has_token: bool) -> str:
        return _template("login.html").render(next_path=next_path, wrong=wrong, has_token=has_token)

    def message(self, title: str, text: str, visitor: Visitor) -> str:
        return _template("message.html").render(title=title, text=text, **self._frame(visitor))

    def _on_pass(self, _: Pass, view: View) -> None:
        self._activity.on_pass(view)

    def _section(self, view: View) -> Section:
        """A view is a new one at each step of a pass, its plan and state seldom are."""
        known = self._sections.get(view.environment.name)
        if known is None or known.view.plan is not view.plan or known.view.applied is not view.applied:
            return views.section_of(view)
        if known.view.waits != view.waits:
            return views.section_of(view)
        return known if known.view is view else replace(known, view=view)

    async def _index(self, wanted: Filter, text: str, visitor: Visitor) -> str:
        now = self._now()
        frame = self._frame(visitor)  # before: a page must not say that it is newer than its rows
        sections = self.sections()
        self._forget_rows(sections)
        counted = views.counts(sections)
        shown = [(section, *await self._section_rows(section, wanted, now)) for section in sections]
        return _template("index.html").render(
            **frame,
            now=now,
            wanted=wanted,
            text=text,
            sections=shown,
            tabs=[
                (key, word, counted[level] if level is not None else counted.total(), level)
                for key, word, level in TABS
            ],
            total=counted.total(),
            problems=counted[Attention.PROBLEM],
            matches=sum(number for _, _, number in shown),
            axes=(("sync", "Sync", Sync), ("health", "Health", Health), ("op", "Operation", Phase)),
            chosen={"sync": wanted.sync, "health": wanted.health, "op": wanted.operation},
        )

    async def _section_rows(self, section: Section, wanted: Filter, now: datetime) -> tuple[Markup, int]:
        """What the filter leaves out is not there: a script fetches the page of all rows, which is the same for everybody."""
        happening = self._activity.of(section.view.environment.name)
        parts = []
        for row in filter(wanted.keeps, section.rows):
            parts.append(self._row(row, happening.get(row.status.address), now))
            if len(parts) % _SLICE == 0:
                await asyncio.sleep(0)
        return Markup("").join(parts), len(parts)

    def _row(self, row: Row, event: Event | None, now: datetime) -> Markup:
        key = (row, event, views.age_text(row.status.since, now))
        known = self._rows.get(row.status.address)
        if known is None or known[0] != key:
            html = _template("row.html").render(
                row=row,
                status=row.status,
                happening=views.now_of(event) if event is not None else None,
                now=now,
                remote=self._board.remote,
            )
            known = self._rows[row.status.address] = (key, Markup(html.strip()))  # noqa: S704 - our template escaped it
        return known[1]

    def _forget_rows(self, sections: Iterable[Section]) -> None:
        there = {row.status.address for section in sections for row in section.rows}
        if len(self._rows) > len(there):
            self._rows = {address: kept for address, kept in self._rows.items() if address in there}

    async def _details(self, view: View, found: Details, visitor: Visitor) -> str:
        event = self._activity.of(view.environment.name).get(found.row.status.address)
        return _template("details.html").render(
            **self._frame(visitor),
            now=self._now(),
            view=view,
            found=found,
            row=found.row,
            status=found.row.status,
            happening=views.now_of(event) if event is not None else None,
        )

    def _frame(self, visitor: Visitor) -> dict[str, Any]:
        board = self._board
        return {
            "source": board.source,
            "remote": board.remote,
            "visitor": visitor,
            "version": board.version,
            "instance": self._kept.instance,
        }


def _shown(value: Any) -> Any:
    """What stands in a page: nothing for None, no control character, no key."""
    if value is None:
        return ""
    return safe(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(
        age=views.age_text, until=views.until_text, iso=_iso, moment=_moment, hour=_hour, took=duration
    )
    environment.globals.update(
        signs=SIGNS,
        moods=MOODS,
        ends=ENDS,
        shows=SHOWS,
        asset=asset_path,
        commit_address=views.commit_address,
        detail_path=views.detail_path,
    )
    return environment


def _template(name: str) -> jinja2.Template:
    return _environment().get_template(name)


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _hour(at: datetime) -> str:
    return f"{at:%H:%M} UTC"


# Static files

_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One static file, in memory; `mark` changes with its bytes."""

    data: bytes
    content_type: str
    mark: str


@cache
def assets() -> Mapping[str, Asset]:
    """By file name."""
    files = sorted((_HERE / "static").iterdir())
    return {path.name: _asset(path) for path in files if path.suffix in _TYPES}


def _asset(path: Path) -> Asset:
    data = path.read_bytes()
    return Asset(data=data, content_type=_TYPES[path.suffix], mark=hashlib.sha256(data).hexdigest()[:12])


def asset_path(name: str) -> str:
    """The address of a static file; another one whenever its bytes change."""
    return f"/static/{name}?v={assets()[name].mark}"
