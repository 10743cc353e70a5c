"""What one sees while a run goes on: a live table on a terminal, plain lines elsewhere, log lines where asked for.

A listener for `apply`'s events; it only ever shows what has happened.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from reconciler.cli.session import Session
from reconciler.model.events import Event, Happened, Listener
from reconciler.model.plan import Action, Change
from reconciler.report.run_text import event_line
from reconciler.report.style import count, duration, safe
from reconciler.settings import LogFormat, is_terminal

if TYPE_CHECKING:
    from rich.console import RenderableType

_REFRESHES = 4  # a second
_ROWS = 12  # changes that are shown at once; the rest are counted
_AROUND = 4  # lines of a terminal that are left to what stands above
_GAP = 2


@contextlib.contextmanager
def progress(session: Session, changes: Iterable[Change]) -> Iterator[Listener]:
    """The listener for one run of these changes."""
    settings = session.settings
    if settings.log_format is LogFormat.JSON or settings.log_level in {"debug", "info"}:
        from reconciler.cli.logs import log_event

        yield log_event
    elif is_terminal(sys.stderr) and settings.environ.get("TERM") != "dumb":
        with _without_echoed_signals(), _Live(session, changes) as live:
            yield live.listen
    else:
        style = session.style(sys.stderr)
        yield lambda event: session.say(event_line(event, style)) if _is_told(event) else None


def _is_told(event: Event) -> bool:
    """Plain output has a line for what is new, not for every poll."""
    return event.happened is not Happened.POLLED


@contextlib.contextmanager
def _without_echoed_signals() -> Iterator[None]:
    """The terminal would write `^C` into the table, and the line that it stands in would be left over."""
    import termios

    try:
        before = termios.tcgetattr(sys.stdin)
    except (termios.error, ValueError, OSError):  # stdin is something else
        yield
        return
    quiet = [*before]
    quiet[3] &= ~termios.ECHOCTL
    termios.tcsetattr(sys.stdin, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


@dataclass(slots=True)
class _Row:
    """A change under way, or yet to come while `since` (on the monotonic clock) is None."""

    address: str
    action: Action
    told: str
    since: float | None = None
    dock_status_id: str = ""

    @property
    def elapsed(self) -> str:
        return "" if self.since is None else duration(time.monotonic() - self.since)


class _Live:
    """A table of the changes under way and to come, redrawn in place; what has ended scrolls by above it."""

    def __init__(self, session: Session, changes: Iterable[Change]) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner

        self._style = session.style(sys.stderr)
        self._rows = {row.address: row for row in _to_come(tuple(changes))}
        self._spinner = Spinner("dots")
        self._console = Console(stderr=True, no_color=not self._style.colour, highlight=False)
        self._live = Live(
            console=self._console, refresh_per_second=_REFRESHES, transient=True, get_renderable=self._table
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.clear()
        self._live.stop()

    def listen(self, event: Event) -> None:
        if event.happened is Happened.ALARM:
            self._print(event_line(event, self._style))
        if event.happened is Happened.ENDED:
            # The report at the end names every dock status id; here it would only break the line.
            self._print(event_line(replace(event, dock_status_id=None), self._style))
            self._rows.pop(event.address, None)
            return
        row = self._rows.setdefault(event.address, _Row(address=event.address, action=event.action, told=""))
        if row.since is None:
            row.since, row.told = time.monotonic(), ""
        row.dock_status_id = event.dock_status_id or row.dock_status_id
        row.told = _told(event) or row.told

    def _print(self, line: str) -> None:
        from rich.text import Text

        self._console.print(Text.from_ansi(line), soft_wrap=True)

    def _table(self) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        width, height = self._console.size
        rows = sorted(self._rows.values(), key=lambda row: row.since is None)
        shown = rows[: max(1, min(_ROWS, height - _AROUND))]
        with_ids = _width(shown, with_ids=True) <= width
        table: Any = Table.grid(padding=(0, _GAP, 0, 0))
        for column in ("sign", "address", "action", "told", "elapsed", "id")[: 6 if with_ids else 5]:
            table.add_column(no_wrap=True, overflow="ellipsis", ratio=1 if column == "told" else None)
        for row in shown:
            dim = "dim" if row.since is None and self._style.colour else ""
            texts = (safe(row.address), str(row.action), row.told, row.elapsed, row.dock_status_id)
            cells = [Text(text, style=dim) for text in texts[: 5 if with_ids else 4]]
            table.add_row(self._spinner if row.since is not None else Text("·", style=dim), *cells)
        if len(rows) > len(shown):
            table.add_row("", Text(f"and {count(len(rows) - len(shown), 'more', 'more')}"))
        return table  # type: ignore[no-any-return] # a Table


def _to_come(changes: Sequence[Change]) -> Iterator[_Row]:
    """What will be sent, and what each waits for."""
    sending = sorted((c for c in changes if c.action.sends), key=lambda c: (c.rollout.wave, bool(c.waits_for)))
    waves = sorted({change.rollout.wave for change in sending})
    for change in sending:
        wave = change.rollout.wave
        edges = ", ".join(safe(edge.address) for edge in change.waits_for)
        if edges:
            waits = f"waits for {edges}"
        elif change.action is Action.UNDEPLOY:
            waits = "waits for the deploys"
        else:
            waits = f"waits for wave {waves[waves.index(wave) - 1]}" if wave != waves[0] else "waits for its turn"
        yield _Row(address=change.address, action=change.action, told=waits)


def _width(rows: Sequence[_Row], *, with_ids: bool) -> int:
    """Columns that the rows need."""
    lines = [(row.address, str(row.action), row.told, row.elapsed, row.dock_status_id) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)] if lines else [0]
    return 1 + sum(width + _GAP for width in (widths if with_ids else widths[:-1]))


def _told(event: Event) -> str:
    match event.happened:
        case Happened.WAITING:
            wait = f" {duration(event.seconds)}" if event.seconds is not None else ""
            return f"waits{wait}: {safe(event.detail)}" if event.detail else f"waits{wait}"
        case Happened.SENDING:
            return "sending"
        case Happened.ACCEPTED:
            return "accepted"
        case Happened.POLLED:
            percent = f" {event.percent:.0f} %" if event.percent is not None else ""
            return f"{safe(event.status or event.detail)}{percent}"
        case _:
            return ""
