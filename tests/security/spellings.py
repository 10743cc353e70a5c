"""A canary in twelve spellings, and where one of them stands. Written apart from the program's own list, which it judges."""

from __future__ import annotations

import base64
import json
import quopri
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote_from_bytes


def _all_percent(key: str) -> str:
    return "".join(f"%{byte:02X}" for byte in key.encode())


def _inside_base64(key: str, shift: int, *, urlsafe: bool = False) -> str:
    """The part of the base64 of something that holds the key which is the same whatever stands around it."""
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    found = [encode(b * shift + key.encode() + b * (-(shift + len(key)) % 3)).decode() for b in (b"\x00", b"\xff")]
    same = [one == other for one, other in zip(*found, strict=True)]
    begin = same.index(True)
    return found[0][begin : len(same) - same[::-1].index(True)]


# Name -> how it is spelled. A sink that shows any of these has shown the key.
SPELLINGS: Mapping[str, Callable[[str], str]] = {
    "plain": lambda key: key,
    "base64": lambda key: _inside_base64(key, 0),
    "base64 one byte on": lambda key: _inside_base64(key, 1),
    "base64 two bytes on": lambda key: _inside_base64(key, 2, urlsafe=True),
    "hex": lambda key: key.encode().hex(),
    "HEX": lambda key: key.encode().hex().upper(),
    "percent-encoded": _all_percent,
    "JSON escapes": lambda key: "".join(f"\\u{ord(char):04x}" for char in key),
    "HTML entities": lambda key: "".join(f"&#{ord(char)};" for char in key),
    "reversed": lambda key: key[::-1],
    "UTF-16": "\0".join,
    "quoted-printable": lambda key: "".join(f"={byte:02X}" for byte in key.encode()),
}


def spelled(key: str) -> dict[str, str]:
    """The canary in each spelling."""
    return {name: spell(key) for name, spell in SPELLINGS.items()}


def found_in(data: bytes, key: str) -> list[str]:
    """The spellings in which the canary stands in some bytes, of letters in either case where that means the same."""
    lowered = data.lower()
    return [name for name, text in spelled(key).items() if text.encode() in data or _same(name, text) in lowered]


def echoes(key: str) -> str:
    """All of them in one text, as an error might quote them; none is a part of a longer one."""
    return " | ".join(f"{name}: {text}" for name, text in spelled(key).items())


def variants(key: str) -> Iterator[tuple[str, bytes]]:
    """More that a reply may hold: the same spellings as real libraries write them, mixed, nested and broken into lines."""
    raw = key.encode()
    mixed = "".join(quote_from_bytes(char.encode()) if at % 2 else f"%{ord(char):02x}" for at, char in enumerate(key))
    yield "mixed", mixed.encode()
    yield "twice percent-encoded", _all_percent(key).replace("%", "%25").encode()
    yield "JSON in JSON", json.dumps(json.dumps({"k": SPELLINGS["JSON escapes"](key)})).encode()
    yield "escaped dashes", key.replace("-", "\\u002d").encode()
    yield "HTML in HTML", SPELLINGS["HTML entities"](key).replace("&", "&amp;").encode()
    yield "HTML in hex", "".join(f"&#x{ord(char):x};" for char in key).encode()
    yield "lines of base64", base64.encodebytes(b"x-api-key: " + raw + b"\r\nAccept: */*" + b"." * 40)
    yield "a header in base64", base64.urlsafe_b64encode(b"{" + raw + b"}")
    yield "lines of mail", quopri.encodestring(b"y" * 60 + raw)
    yield "a dump", raw.hex(" ").encode()
    yield "bytes of Python", "".join(f"\\x{byte:02x}" for byte in raw).encode()
    yield "UTF-16, little", key.encode("utf-16-le")
    yield "UTF-16, big", key.encode("utf-16-be")
    yield "capitals", raw.upper()


def _same(name: str, text: str) -> bytes:
    return b"\xff never" if name.startswith("base64") else text.lower().encode()
