"""The log, on stderr: structlog, pretty on a terminal, JSON elsewhere, one run id, nothing secret.

Only commands that run something set it up; commands that only read are quiet.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any

import structlog

from reconciler.model.events import Event, Happened
from reconciler.platform.boundary import redacted_text
from reconciler.report.style import safe
from reconciler.settings import LogFormat, Settings, is_terminal, wants_colour

# What deserves more than `info`.
_LEVELS = {Happened.ALARM: "error", Happened.POLLED: "debug", Happened.QUARANTINED: "warning"}

Processor = Callable[[Any, str, MutableMapping[str, Any]], MutableMapping[str, Any]]


def set_up(settings: Settings, *, run: str, secrets: Iterable[str] = ()) -> None:
    """Configure the log for one run. `secrets` are texts that must never stand in it."""
    as_json = settings.log_format is LogFormat.JSON or (
        settings.log_format is LogFormat.AUTO and not is_terminal(sys.stderr)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            redactor(tuple(secrets)),
            structlog.processors.JSONRenderer()
            if as_json
            else structlog.dev.ConsoleRenderer(colors=wants_colour(settings, sys.stderr)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level.upper()]),
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),  # as it is now, not as it was at set-up
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(run=run)


def log_event(event: Event) -> None:
    """One event, one line."""
    level = _LEVELS.get(event.happened, "info")
    fields = {
        "run": event.run,  # in `watch` each pass is one
        "environment": event.environment,
        "address": event.address,
        "action": str(event.action),
        "attempt": event.attempt,
        "dockStatusId": event.dock_status_id,
        "status": event.status,
        "percent": event.percent,
        "seconds": None if event.seconds is None else round(event.seconds, 3),
        "ended": None if event.ended is None else str(event.ended),
        "detail": event.detail,
        "digest": event.digest,
        "commit": event.commit,
    }
    getattr(structlog.get_logger(), level)(
        str(event.happened), **{k: v for k, v in fields.items() if v not in {None, ""}}
    )


def redactor(secrets: tuple[str, ...]) -> Processor:
    """Takes secrets, control characters and escape sequences out of everything that is logged."""

    def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {key: _harmless(value, secrets) for key, value in event.items()}

    return redact


def _harmless(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = redacted_text(value, secret)
        return safe(value)
    if isinstance(value, Mapping):
        return {key: _harmless(item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_harmless(item, secrets) for item in value]
    return value
