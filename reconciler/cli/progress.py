"""What one sees while a run goes on: a live table on a terminal, plain lines elsewhere, log lines where asked for.

A listener for `apply`'s events; it only ever shows what has happened.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from reconciler.cli.session import Session
from reconciler.model.events import Event, Happened, Listener
from reconciler.report.run_text import event_line
from reconciler.report.style import safe
from reconciler.settings import LogFormat, is_terminal

if TYPE_CHECKING:
    from rich.table import Table

_REFRESHES = 4  # a second
_ROWS = 12  # jobs that are shown at once; the rest are counted


@contextlib.contextmanager
def progress(session: Session) -> Iterator[Listener]:
    """The listener for one run."""
    settings = session.settings
    if settings.log_format is LogFormat.JSON or settings.log_level in {"debug", "info"}:
        from reconciler.cli.logs import log_event

        yield log_event
    elif is_terminal(sys.stderr) and settings.environ.get("TERM") != "dumb":
        with _Live(session) as live:
            yield live.listen
    else:
        style = session.style(sys.stderr)
        yield lambda event: session.say(event_line(event, style)) if _is_told(event) else None


def _is_told(event: Event) -> bool:
    """Plain output has a line for what is new, not for every poll."""
    return event.happened is not Happened.POLLED


@dataclass(slots=True)
class _Row:
    """What is known of a change that is under way. `since` is on the monotonic clock."""

    event: Event
    since: float
    status: str = ""
    waits: str = ""


class _Live:
    """A table of the changes under way, redrawn in place; what has ended scrolls by above it."""

    def __init__(self, session: Session) -> None:
        from rich.console import Console
        from rich.live import Live

        self._style = session.style(sys.stderr)
        self._rows: dict[str, _Row] = {}
        self._console = Console(stderr=True, no_color=not self._style.colour, highlight=False)
        self._live = Live(
            console=self._console, refresh_per_second=_REFRESHES, transient=True, get_renderable=self._table
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def listen(self, event: Event) -> None:
        if event.happened in {Happened.ENDED, Happened.ALARM}:
            self._print(event_line(event, self._style))
        if event.happened is Happened.ENDED:
            self._rows.pop(event.address, None)
            return
        row = self._rows.setdefault(event.address, _Row(event=event, since=time.monotonic()))
        row.event = event
        row.waits = event.detail if event.happened is Happened.WAITING else ""
        row.status = _status(event) or row.status

    def _print(self, line: str) -> None:
        from rich.text import Text

        self._console.print(Text.from_ansi(line), soft_wrap=True)

    def _table(self) -> Table:
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        table: Any = Table.grid(padding=(0, 2))
        for address, row in list(self._rows.items())[:_ROWS]:
            told = f"waits: {safe(row.waits)}" if row.waits else row.status
            elapsed = _elapsed(time.monotonic() - row.since)
            id_text = row.event.dock_status_id or ""
            table.add_row(
                Spinner("dots"), Text(address), Text(str(row.event.action)), Text(told), Text(id_text), Text(elapsed)
            )
        if len(self._rows) > _ROWS:
            table.add_row("", Text(f"and {len(self._rows) - _ROWS} more"))
        return table  # type: ignore[no-any-return] # a Table


def _status(event: Event) -> str:
    match event.happened:
        case Happened.SENDING:
            return "sending"
        case Happened.ACCEPTED:
            return "accepted"
        case Happened.POLLED:
            percent = f" {event.percent:.0f} %" if event.percent is not None else ""
            return f"{safe(event.status or '')}{percent}"
        case _:
            return ""


def _elapsed(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
