"""Scalars -> values, by YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema), as far as JSON can hold them.

Called by `yaml` for every scalar. What cannot be read raises Refused, which becomes a diagnostic at the scalar's place.
"""

from __future__ import annotations

import re
from functools import lru_cache

from reconciler.model.values import Json

CORE = "tag:yaml.org,2002:"
_MAX_DIGITS = 400  # beyond any number that JSON readers agree on; int() refuses 4,300
_SHORT = 64  # longer texts are not worth a place in the cache
_SHOWN = 40

_WORDS: dict[str, Json] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL = re.compile(r"0o[0-7]+\Z")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")
_SURROGATE = re.compile("[\ud800-\udfff]")

_EXPECTED: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "null": (type(None),),
}


class Refused(Exception):
    """A value that cannot be read."""

    def __init__(self, code: str, message: str, allowed: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.allowed = code, message, allowed


def plain(text: str) -> Json:
    """A scalar without quotes and tag. Manifests repeat themselves, so a cache saves most of the work."""
    return _plain(text) if len(text) <= _SHORT else _read(text)


def quoted(text: str) -> str:
    """A scalar in quotes, or a block scalar. libyaml refuses escaped surrogates itself; PyYAML's own scanner lets them by."""
    if not text.isascii() and _SURROGATE.search(text):
        raise Refused("RC205", "an escape names a surrogate, which is half a character", "\\U and eight digits")
    return text


def tagged(tag: str, text: str) -> Json:
    """A scalar with a tag written out, as `!!str 12`."""
    kind = tag.removeprefix(CORE)
    if kind == "str":
        return quoted(text)
    if kind in {"map", "seq"}:
        raise Refused("RC212", f"a single value cannot be read as !!{kind}")
    if kind not in _EXPECTED:
        raise unknown_tag(tag)
    value = plain(text)
    fits = isinstance(value, _EXPECTED[kind]) and (isinstance(value, bool) == (kind == "bool"))
    if not fits:
        raise Refused("RC212", f"{text[:_SHOWN]!r} cannot be read as !!{kind}")
    return float(value) if kind == "float" else value


def unknown_tag(tag: str) -> Refused:
    name = tag.replace(CORE, "!!", 1)
    return Refused("RC208", f"unknown tag {name[:_SHOWN]}", "!!str, !!int, !!float, !!bool, !!null, !!map, !!seq")


def kind_of(value: Json) -> str:
    """What a scalar was read as, in words."""
    names = {bool: "a boolean", int: "an integer", float: "a float", type(None): "null"}
    return names.get(type(value), "something else")


def _read(text: str) -> Json:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in "+-.0123456789":
        return _number(text)
    return text


_plain = lru_cache(maxsize=8192)(_read)


def _number(text: str) -> Json:
    if _INTEGER.match(text):
        return _integer(text, 10)
    if _FLOAT.match(text):
        value = float(text)
        if value in {float("inf"), float("-inf")}:
            raise Refused("RC211", f"{text[:_SHOWN]} is larger than any number that JSON readers hold")
        return value
    if _OCTAL.match(text):
        return _integer(text[2:], 8)
    if _HEXADECIMAL.match(text):
        return _integer(text[2:], 16)
    if _NOT_FINITE.match(text):
        raise Refused("RC211", f"{text} is not a JSON number")
    return text


def _integer(digits: str, base: int) -> int:
    if len(digits) > _MAX_DIGITS:
        raise Refused("RC211", f"a number of {len(digits):,} digits")
    return int(digits, base)
