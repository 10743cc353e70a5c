"""Reading a reply: bytes of unknown origin become a few checked facts. Pure and total: no bytes make it raise.

`endings` decides what the facts mean. Everything that comes out as text has lost its control characters and is bounded, but
it still is somebody else's text: it is escaped again where it is shown.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import unescape
from typing import Any

from reconciler.model.text import one_line
from reconciler.platform.api import MAX_REPLY

MAX_DEPTH = 50  # levels of nesting; documented replies have two
MAX_COLLECTIONS = 20_000  # objects and lists; a mebibyte of them takes seconds to read
MAX_TEXT = 2000  # characters of a message that are kept
MAX_HEADER = 1000  # characters of a header that are kept
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

# The headers that mean something to us or help whoever asks the platform's support.
KEPT_HEADERS = frozenset(
    {"content-type", "content-encoding", "content-length", "date", "location", "retry-after", "server", "via"}
    | {"x-request-id", "x-correlation-id", "request-id", "traceparent"}
)

# The next bracket outside of strings, or the end. A string is as JSON spells it, closed or not: an open one reaches to the end
# of the text, because looking again behind every quote inside it would take quadratic time.
_BRACKET = re.compile(r'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+"?)*+([\[\]{}]|\Z)', re.DOTALL)
_QUOTED_ID = re.compile(r'"(ds-[A-Za-z0-9._-]{1,125})"')
# An id at the very end of a cut reply may itself be cut: only one of the full documented length counts.
_ID_AT_END = re.compile(r'"(ds-[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})\Z')
_TAGS = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)|<[^<>]*>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a reply's body says, as far as it says it.

    `ids` are the different values under any spelling of the dock status id, whether or not they are well formed (`valid_id`);
    empty where there is none. `status` is in capitals. `percent` is from 0 to 100. `message` is the platform's own words
    when the body is an error, `response` the job's own words. `problem` says why the body could not be read; the other
    fields are then empty, except `message`.
    """

    ids: tuple[str, ...] = ()
    status: str | None = None
    percent: float | None = None
    message: str = ""
    response: str | None = None
    model_id: str | None = None
    problem: str | None = None


class _Pairs(dict[str, Any]):
    """An object that remembers keys that occur twice: the last one wins, except that two ids are never one."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def read_body(body: bytes) -> Facts:
    """The facts of a reply's body; `problem` is set for what is not one JSON object."""
    try:
        value = parse_json(body)
    except ValueError as error:
        return Facts(problem=str(error), message=plain_text(body))
    if not isinstance(value, _Pairs):
        return Facts(problem=f"the reply is JSON but not an object: {clean(body[:80])}", message=clean(value, MAX_TEXT))
    status = value.get("status")
    model_id = value.get("modelId")
    return Facts(
        ids=_ids(value),
        status=clean(status, 100).upper() or None if isinstance(status, str) else None,
        percent=_percent(value.get("percentageComplete")),
        message=error_text(value),
        response=_response_text(value.get("response")),
        model_id=model_id if isinstance(model_id, str) and valid_id(model_id) else None,
    )


def parse_json(body: bytes) -> Any:
    """Strict JSON within bounds; objects remember their pairs. Raises ValueError with a sentence for anything else."""
    if not body.strip():
        raise ValueError("the reply is empty")
    if len(body) > MAX_REPLY:
        raise ValueError(f"the reply is larger than {MAX_REPLY} bytes")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("the reply is not UTF-8") from error
    if text.lstrip().startswith("<"):
        raise ValueError("the reply is HTML, not JSON")
    depth, collections = _measure(text)
    if depth > MAX_DEPTH:
        raise ValueError(f"the reply is nested deeper than {MAX_DEPTH} levels")
    if collections > MAX_COLLECTIONS:
        raise ValueError(f"the reply holds more than {MAX_COLLECTIONS} objects and lists")
    try:
        return json.loads(text, object_pairs_hook=_Pairs, parse_constant=_refuse_constant)
    except ValueError as error:
        raise ValueError(f"the reply is not JSON ({clean(str(error), 200)})") from error


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not a JSON number")


def _measure(text: str) -> tuple[int, int]:
    """The deepest nesting of brackets outside strings, and how many open, for texts whose brackets need not match; no further
    than to the first that is too many.
    """
    deepest = depth = opened = 0
    for found in _BRACKET.finditer(text):
        match found[1]:
            case "[" | "{":
                depth, opened = depth + 1, opened + 1
                deepest = max(deepest, depth)
                if depth > MAX_DEPTH or opened > MAX_COLLECTIONS:
                    break
            case "]" | "}":
                depth -= 1
    return deepest, opened


def valid_id(text: str) -> bool:
    """Whether a text may be an id of the platform: it goes into paths, so little is allowed."""
    return ID.fullmatch(text) is not None


def _is_id_key(key: str) -> bool:
    """`dock-statusId`, `dockStatusId`, `dockstatusId`, `dock_status_id`, …, and `_id` as in the dock status itself."""
    return key.lower() == "_id" or key.lower().replace("-", "").replace("_", "").replace(" ", "") == "dockstatusid"


def _ids(value: _Pairs) -> tuple[str, ...]:
    found = [item for key, item in value.pairs if _is_id_key(key) and item is not None]
    # The blank keeps a number, true or a list from passing for an id; the documented type is a string.
    texts = [item if isinstance(item, str) else f"JSON {json.dumps(item)}" for item in found]
    return tuple(dict.fromkeys(texts))


def _percent(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # An int of hundreds of digits has no float, so it is compared before it is converted.
    return float(value) if number and 0 <= value <= 100 else None  # noqa: PLR2004  # per cent


def _response_text(value: Any) -> str | None:
    """The `response` of a job: its message where it has one, else its JSON."""
    if value is None or value in ({}, [], ""):
        return None
    if isinstance(value, str):
        return clean(value, MAX_TEXT)
    return error_text(value) or clean(json.dumps(value, ensure_ascii=False), MAX_TEXT)


# Under which keys errors were seen on the vendor's APIs and their gateways, the most telling first.
_MESSAGE_KEYS = ("errors", "error", "message", "msg", "detail", "error_description", "reason", "title")


def error_text(value: Any) -> str:
    """The platform's words out of any error shape that was seen; empty where there are none."""
    return clean("; ".join(dict.fromkeys(_messages(value))), MAX_TEXT)


def _messages(value: Any) -> Iterable[str]:
    # Depth is bounded by parse_json.
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _messages(item)
    elif isinstance(value, Mapping):
        for key in _MESSAGE_KEYS:
            yield from _messages(value.get(key))


def plain_text(body: bytes) -> str:
    """A body that is not JSON as one short line: the words of a page without its tags."""
    text = body[: 16 * MAX_TEXT].decode("utf-8", "replace")
    if text.lstrip().startswith("<"):
        text = unescape(_TAGS.sub(" ", text))
    return clean(text, MAX_TEXT)


def clean(value: Any, limit: int = MAX_TEXT) -> str:
    """Outside text on one line: white space is one blank, control, format and bidi characters are gone, the rest is bounded."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False)
    return one_line(value, limit)


def salvage(body: bytes) -> str | None:
    """The one dock status id that a damaged reply names; None when it names none or several."""
    text = body.decode("utf-8", "replace")
    found = {*_QUOTED_ID.findall(text), *_ID_AT_END.findall(text)}
    return found.pop() if len(found) == 1 else None


def keep_headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Those that are worth keeping, names in lower case, values made harmless."""
    lowered = ((name.lower(), value) for name, value in headers)
    return tuple((name, clean(value, MAX_HEADER)) for name, value in lowered if name in KEPT_HEADERS)


def decode_content(encoding: str, body: bytes) -> tuple[bytes, str | None]:
    """A body decoded although `identity` was asked for: at most MAX_REPLY bytes, and what is wrong with it, if anything."""
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"}:
        return body, None
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        return body, f"the reply is encoded as {clean(encoding, 40)}, which was not asked for"
    decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # 32: the header tells gzip from zlib
    try:
        decoded = decoder.decompress(body, MAX_REPLY)
    except zlib.error:
        return body, f"the reply says it is {encoding} and is not"
    if decoder.unconsumed_tail:
        return decoded, f"the reply is larger than {MAX_REPLY} bytes and was cut"
    return decoded, None if decoder.eof else "the reply's compressed body is cut"
