"""The API key in the spellings in which a reply may give it back. Pure; `boundary` takes out what is found here.

A platform that quotes the request in an error, and the gateways before it, spell it as their format wants: percent signs,
escapes of JSON or HTML, base64 of a header, a dump in hex. What is not looked for: compressed or encrypted bytes, and keys
that somebody has cut into pieces.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

LEAST = 8  # characters: a shorter key is a test's, and less of a longer one is no key
_LONGEST = 16  # bytes that one character may take

# What may stand between two characters: the other halves of UTF-16, and where mail breaks its lines.
_BETWEEN = rb"(?:\x00|\\u0000|=?\r?\n|=?(?:\\r)?\\n){0,4}"
_BETWEEN_HEX = rb"[ :]{0,1}"
# A character in any spelling of `_letter`: its number in hex, or in HTML as a decimal one.
_ESCAPED = re.compile(
    rb"(?:%(?:25){0,3}|\\{1,8}(?:u00|x))([0-9a-f]{2})|&(?:amp;){0,3}#(?:0{0,4}([1-9][0-9]{0,2})|x0{0,4}([0-9a-f]{2}));?|=([0-9a-f]{2})",
    re.IGNORECASE,
)
# A character that was cut in its middle.
_PIECE = rb"[%\\&#=xu0-9a-f]{0,9}\Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spelling:
    """A key as a sequence of patterns, one for each character or digit."""

    units: Sequence[bytes]
    between: bytes = _BETWEEN
    cased: bool = False

    def whole(self) -> bytes:
        return self._flagged(self.between.join(self.units))

    def begun(self) -> bytes:
        """A body that ends within the key, from LEAST characters on."""
        rest = b""
        for unit in reversed(self.units[LEAST:]):
            rest = b"(?:" + self.between + unit + rest + b")?"
        return self._flagged(self.between.join(self.units[:LEAST]) + rest + self.between + _PIECE)

    def _flagged(self, pattern: bytes) -> bytes:
        return pattern if self.cased else b"(?i:" + pattern + b")"


class Disguises:
    """What is looked for in the replies to one key.

    The exact patterns take a tenth of a second to make, so that they are made when something looks like the key's beginning.
    """

    def __init__(self, key: str) -> None:
        self._spellings = tuple(_spellings(key.encode()))
        self._tail = _LONGEST * len(key)
        letters, digits = key.encode()[:LEAST].lower(), key.encode().hex()[: 2 * LEAST].encode()
        self._any_case = (letters, key.encode()[: -LEAST - 1 : -1].lower(), digits)
        self._this_case = tuple(_base64(key.encode(), shift)[:LEAST] for shift in range(3))

    def taken_out(self, body: bytes, instead: bytes) -> bytes:
        """The body with something else wherever the key stood, also where the body ends inside it."""
        if not self._may_be_in(body):
            return body
        body = self._whole.sub(lambda _: instead, body)
        start = max(0, len(body) - self._tail)
        begun = self._begun.search(body, start)
        return body if begun is None else body[: begun.start()] + instead

    def _may_be_in(self, body: bytes) -> bool:
        plain = _ESCAPED.sub(_letter_of, body).translate(None, b"\x00\r\n= :").replace(b"\\n", b"").replace(b"\\r", b"")
        lowered, digits = plain.lower(), plain.replace(b"-", b"+").replace(b"_", b"/")
        return any(text in lowered for text in self._any_case) or any(text in digits for text in self._this_case)

    @cached_property
    def _whole(self) -> re.Pattern[bytes]:
        return re.compile(b"|".join(spelling.whole() for spelling in self._spellings))

    @cached_property
    def _begun(self) -> re.Pattern[bytes]:
        return re.compile(b"|".join(spelling.begun() for spelling in self._spellings))


@lru_cache(maxsize=8)
def disguises_of(key: str) -> Disguises | None:
    """None for what is too short to be a key."""
    return Disguises(key) if len(key) >= LEAST else None


def _letter_of(match: re.Match[bytes]) -> bytes:
    number = int(match[2]) if match[2] else int(match[1] or match[3] or match[4], 16)
    return bytes([number]) if number < 256 else b""  # noqa: PLR2004 - a byte


def _spellings(key: bytes) -> Iterator[_Spelling]:
    letters = [_letter(byte) for byte in key]
    yield _Spelling(units=letters)
    yield _Spelling(units=letters[::-1])
    yield _Spelling(units=[b"%02x" % byte for byte in key], between=_BETWEEN_HEX)
    for shift in range(3):
        yield _Spelling(units=[_digit(digit) for digit in _base64(key, shift)], cased=True)


def _letter(byte: int) -> bytes:
    """Itself, and in URLs, JSON (and JSON in JSON), HTML and mail. All bounded: a reply may be made to cost time."""
    code = b"%02x" % byte
    number = b"(?:0{0,4}%d|x0{0,4}%s)" % (byte, code)
    ways = (
        re.escape(bytes([byte])),
        rb"%(?:25){0,3}" + code,
        rb"\\{1,8}(?:u00|x)" + code,
        rb"&(?:amp;){0,3}#" + number + b";?",
        b"=" + code,
    )
    return b"(?:" + b"|".join(ways) + b")"


def _base64(key: bytes, shift: int) -> bytes:
    """The digits that depend on the key alone, where it begins `shift` bytes after a multiple of three."""
    text = b64encode(bytes(shift) + key).rstrip(b"=")
    ends_inside = (shift + len(key)) % 3 != 0
    return text[(0, 2, 3)[shift] : -1 if ends_inside else None]


def _digit(digit: int) -> bytes:
    return {ord("+"): rb"[+-]", ord("/"): rb"[/_]"}.get(digit, re.escape(bytes([digit])))
