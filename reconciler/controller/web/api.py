"""`/api/v1/status`: the board as JSON (schemas/status-api.openapi.yaml). A field once given stays; new ones may come."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime

from reconciler.controller.board import Board, Pass, View
from reconciler.controller.web.kept import Kept, Rendered
from reconciler.controller.web.pages import Pages
from reconciler.controller.web.views import Section
from reconciler.diagnostics import Diagnostic
from reconciler.model.applied import Hold
from reconciler.model.text import without_keys
from reconciler.model.values import Json
from reconciler.report.status_text import status_json

FORMAT = "reconciler/watch/v1"


class StatusApi:
    """Belongs to one event loop."""

    def __init__(self, board: Board, pages: Pages, kept: Kept) -> None:
        self._board, self._pages, self._kept = board, pages, kept

    async def status(self, environment: str | None = None) -> Rendered:
        """All environments, or one that is on the board."""
        return await self._kept.get(("status", environment or ""), lambda: self._text(environment))

    async def _text(self, environment: str | None) -> str:
        sections = [one for one in self._pages.sections() if environment in {None, one.view.environment.name}]
        await asyncio.sleep(0)
        value = status_value(self._board, sections)
        await asyncio.sleep(0)
        return without_keys(json.dumps(value, separators=(",", ":"))) + "\n"


def status_value(board: Board, sections: list[Section]) -> dict[str, Json]:
    """The whole answer. `deployments` are as in `reconciler status -o json`, sorted by address."""
    rows = sorted((row.status for section in sections for row in section.rows), key=lambda status: status.address)
    return {
        "format": FORMAT,
        "version": board.version,
        "source": board.source,
        "remote": board.remote,
        "environments": [_environment(section.view) for section in sections],
        "deployments": status_json(rows)["deployments"],
    }


def _environment(view: View) -> dict[str, Json]:
    return {
        "name": view.environment.name,
        "host": view.environment.origin,
        "dryRun": view.dry_run,
        "runningPass": view.running,
        "heldUp": view.held_up,
        "suspension": _hold(view.applied.suspension) if view.applied and view.applied.suspension else None,
        "nextLook": _time(view.next_look),
        "waits": [{"address": one.address, "why": one.why, "until": _time(one.until)} for one in view.waits],
        "lastSuccessAt": _time(view.last_success_at),
        "lastPass": _pass(view.last) if view.last is not None else None,
        "diagnostics": [_diagnostic(one) for one in view.diagnostics],
    }


def _pass(done: Pass) -> dict[str, Json]:
    return {
        "id": done.id,
        "cause": done.cause,
        "startedAt": _time(done.started_at),
        "seconds": round(done.seconds, 3),
        "end": str(done.end),
        "detail": done.detail,
        "commit": done.commit,
    }


def _hold(hold: Hold) -> dict[str, Json]:
    return {"who": hold.who, "why": hold.why, "since": _time(hold.since), "until": _time(hold.until)}


def _diagnostic(one: Diagnostic) -> dict[str, Json]:
    return {
        "code": one.code,
        "severity": str(one.severity),
        "message": one.message,
        "position": str(one.position) if one.position is not None else None,
        "path": one.path,
        "suggestion": one.suggestion,
    }


def _time(at: datetime | None) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at is not None else None
