"""A deploy call that a team already sends -> what a manifest needs of it.

Understood are the body as JSON, and a file that holds the whole curl command as the vendor's page shows it. The key of a
curl command is never read.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import unquote, urlsplit

from reconciler.errors import UsageError

_CALL = re.compile(r"/models/:?(?P<model>[^/?\s'\"]+)/deploy(?:\?(?P<query>[^\s'\"]*))?")
_DATA = frozenset({"-d", "--data", "--data-raw", "--data-binary", "--data-ascii", "--json"})
_URL = re.compile(r"https?://[^\s'\"]+")
_EXAMPLE_HOST = "{host}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """One deploy call. `model_id`, `model_type` and `host` are None where the file does not say them."""

    body: dict[str, Any]
    model_id: str | None = None
    model_type: str | None = None
    host: str | None = None


def read_payload(data: bytes, where: str) -> Payload:
    """Raises UsageError, naming the file, for what is neither."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{where} is not UTF-8 text.", next_step="Save it as UTF-8.") from error
    if text.lstrip().startswith("{"):
        return _from_body(_object(text, where))
    return _from_curl(text, where)


def _from_body(body: dict[str, Any]) -> Payload:
    return Payload(body=body, model_id=body.pop("modelId", None), model_type=body.pop("modelType", None))


def _from_curl(text: str, where: str) -> Payload:
    words = _words(text, where)
    call = _CALL.search(text)
    if call is None:
        raise UsageError(
            f"{where} is neither a deploy body (JSON) nor a curl command that calls …/models/ID/deploy.",
            next_step="Give the JSON body with --model-id and --model-type, or the whole curl command.",
        )
    data = [value for name, value in pairwise(words) if name in _DATA]
    data += [word.partition("=")[2] for word in words if word.partition("=")[0] in _DATA and "=" in word]
    if len(data) != 1:
        raise UsageError(
            f"{where} holds {len(data)} bodies.", next_step="One curl command a file, with its body after --data."
        )
    query = dict(part.partition("=")[::2] for part in (call["query"] or "").split("&"))
    body = _from_body(_object(data[0], where))
    return Payload(
        body=body.body, model_id=unquote(call["model"]), model_type=query.get("modelType"), host=_host_of(text)
    )


def _words(text: str, where: str) -> list[str]:
    try:
        return shlex.split(text.replace("\\\n", " "))
    except ValueError as error:
        raise UsageError(f"{where} cannot be read as a command: {error}.", next_step="Check its quotes.") from error


def _host_of(text: str) -> str | None:
    found = _URL.search(text)
    if found is None or _EXAMPLE_HOST in found[0]:
        return None
    parts = urlsplit(found[0])
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"The body in {where} is not JSON: {error}.", next_step="Check it with a JSON linter."
        ) from error
    if not isinstance(value, dict):
        raise UsageError(f"The body in {where} is not a JSON object.", next_step='It looks like {"name": …}.')
    return value
