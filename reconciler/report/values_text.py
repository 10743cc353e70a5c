"""`history --values`: each value that is live, where it is written, and who wrote it when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from reconciler.diagnostics import Position
from reconciler.model.values import Json
from reconciler.report.style import Style, safe, value_text
from reconciler.report.tables import NOTHING, fitted

VALUES_FORMAT = "reconciler/values/v1"
_HEADERS = ("FIELD", "VALUE", "LAYER", "WRITTEN IN", "COMMIT", "AUTHOR", "WHEN (UTC)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One live value. What is not known is None; `position` is in the file as `commit` of the deployment has it."""

    path: str
    value: Json
    layer: str | None = None
    position: Position | None = None
    commit: str | None = None
    author: str | None = None
    at: datetime | None = None


def values_text(address: str, live: str, values: Sequence[Value], style: Style) -> str:
    """A table; `live` says in a clause what is live and since when."""
    rows = [
        (
            one.path,
            value_text(one.value),
            one.layer or NOTHING,
            f"{one.position.file}:{one.position.line}" if one.position else NOTHING,
            one.commit[:12] if one.commit else NOTHING,
            one.author or NOTHING,
            f"{one.at:%Y-%m-%d %H:%M}" if one.at else NOTHING,
        )
        for one in values
    ]
    return f"{safe(address)}: {safe(live)}\n\n" + fitted(
        _HEADERS, rows, style, below=("COMMIT", "AUTHOR", "WHEN (UTC)")
    )


def values_json(address: str, values: Sequence[Value]) -> dict[str, Json]:
    """The same facts as JSON values."""
    return {"format": VALUES_FORMAT, "address": address, "values": [_value(one) for one in values]}


def _value(one: Value) -> dict[str, Json]:
    return {
        "path": one.path,
        "value": one.value,
        "layer": one.layer,
        "file": one.position.file if one.position else None,
        "line": one.position.line if one.position else None,
        "commit": one.commit,
        "author": one.author,
        "at": one.at.isoformat().replace("+00:00", "Z") if one.at else None,
    }
