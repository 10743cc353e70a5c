"""The simulator's own log: what the platform saw, so that a test can judge the client by it.

One JSON object a line, written before the reply is sent. Keys appear as fingerprints, other headers by name only.

    {"time": "2030-01-01T00:00:00.000000Z", "method": "POST", "path": …, "query": …, "headers": ["host", …],
     "key": "1f0c…", "body": "{…}", "call": "deploy", "modelId": …, "accepted": true, "reason": "",
     "dockStatusId": …, "version": …, "status": 200, "lost": null}

`accepted` is true when the call started a job; `status` is null when no reply was sent. A request of which only a part
arrived has `"accepted": false`, `"reason": "incomplete request"` and the number of `bytes` that came.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, TextIO

from reconciler.simulator.world import Request, Response, fingerprint


def describe(request: Request, response: Response, now: float) -> dict[str, Any]:
    """The line for one whole request."""
    judgement = response.judgement
    key = request.headers.get("x-api-key")
    return {
        "time": _time(now),
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "headers": sorted(request.headers),
        "key": None if key is None else fingerprint(key),
        "body": request.body.decode("utf-8", "backslashreplace"),
        "call": judgement.call,
        "modelId": judgement.model_id,
        "accepted": judgement.accepted,
        "reason": judgement.reason,
        "dockStatusId": judgement.dock_status_id,
        "version": judgement.version,
        "status": None if response.delivery.lost else response.status,
        "lost": response.delivery.lost,
    }


def describe_part(received: int, now: float) -> dict[str, Any]:
    """The line for a connection that ended inside a request."""
    return {"time": _time(now), "accepted": False, "reason": "incomplete request", "bytes": received, "status": None}


class Journal:
    """Appends to a stream, or keeps the lines in memory when there is none; either way `lines` counts on being complete."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.lines: list[dict[str, Any]] = []
        self._stream = stream

    def write(self, line: dict[str, Any]) -> None:
        if self._stream is None:
            self.lines.append(line)
            return
        self._stream.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
        self._stream.flush()


def _time(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
