"""How the simulated platform spells what it answers: ids, errors, Retry-After."""

from __future__ import annotations

import json
import uuid
from email.utils import formatdate
from html import escape
from typing import Any

from reconciler.simulator.scenario import Shape

RATE_LIMIT_MESSAGE = "Rate limit for this API has been reached. Please try again later"
JSON = "application/json; charset=utf-8"


def error_body(shape: Shape, status: int, message: str) -> tuple[bytes, str]:
    """An error's body and content type."""
    match shape:
        case Shape.ERRORS:
            return to_json({"errors": [{"msg": message, "code": status}]}), JSON
        case Shape.MESSAGE:
            return to_json({"message": message}), JSON
        case Shape.ERROR:
            return to_json({"error": message}), JSON
        case Shape.TEXT:
            return message.encode(), "text/plain; charset=utf-8"
        case Shape.HTML:
            page = f"<html>\r\n<head><title>{status} {escape(message)}</title></head>\r\n<body>\r\n"
            page += (
                f"<center><h1>{status} {escape(message)}</h1></center>\r\n<hr><center>gateway</center></body></html>"
            )
            return page.encode(), "text/html"
        case Shape.EMPTY:
            return b"", "text/plain"


def id_fields(id_key: str, dock_status_id: str) -> dict[str, Any]:
    if id_key == "none":
        return {}
    if id_key == "two":
        return {"dock-statusId": dock_status_id, "_id": f"ds-{uuid.uuid5(uuid.NAMESPACE_OID, dock_status_id)}"}
    return {id_key: dock_status_id}


def retry_after_header(how: str | float | None, now: float) -> tuple[tuple[str, str], ...]:
    if how is None:
        return ()
    word, _, seconds = str(how).partition(":")
    if word == "date" and seconds.isdigit():
        return (("retry-after", formatdate(now + int(seconds), usegmt=True)),)
    return (("retry-after", f"{how:g}" if isinstance(how, float) else str(how)),)


def to_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
