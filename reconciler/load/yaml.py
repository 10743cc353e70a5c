"""bytes -> documents: YAML 1.2's core schema over libyaml's parser, with places on demand.

Why not a ready loader: those that are fast read YAML 1.1 (`no` is false, `014` is 12) and take the last of two equal keys
in silence; those that read 1.2 with places manage 500 documents a second. Here the C parser composes nodes, and this module
gives them the core schema (https://yaml.org/spec/1.2.2/#103-core-schema), limits and diagnostics. No function here raises,
whatever the bytes. `edit` uses ruamel.yaml for what must keep comments; nothing else parses YAML.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml

from reconciler.diagnostics import Diagnostic, Position
from reconciler.model.values import Json

_Backend: Any
try:
    from yaml._yaml import CParser

    _Backend = CParser
except ImportError:  # PyYAML without its C extension: slower, the same answers
    from reconciler.load.pure_yaml import PureParser

    _Backend = PureParser

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 50
MAX_NODES = 20_000

# How deep the C parser may be sent: it has crashed at about 30,000 levels, and needs no more than MAX_DEPTH.
_PARSER_DEPTH = 500
_COMPACT_NESTING = re.compile(rb"(?:[-?:][ \t]+){%d}" % _PARSER_DEPTH)
_MAX_DIGITS = 400  # beyond any number that JSON readers agree on; int() refuses 4,300

_PLAIN, _QUOTED, _COLLECTION = "plain", "quoted", "collection"
_CORE = "tag:yaml.org,2002:"

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document: its value, its place in the file (from 0, empty documents counted) and the line of its content."""

    value: Json
    index: int
    line: int


class _Refused(Exception):
    """A value that cannot be read; becomes a diagnostic at the node's place."""

    def __init__(self, code: str, message: str, allowed: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.allowed = code, message, allowed


class _Parser(_Backend):  # type: ignore[misc]
    """The C parser's composer, told nothing about types: it only says whether a scalar was plain, quoted or tagged."""

    def resolve(self, kind: type, _value: object, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _QUOTED
        return _COLLECTION

    def descend_resolver(self, _parent: object, _index: object) -> None: ...

    def ascend_resolver(self) -> None: ...


def parse(data: bytes, file: str) -> tuple[tuple[Document, ...], tuple[Diagnostic, ...]]:
    """Every document that is not empty, and everything that is wrong. A document with an error is left out."""
    found: list[Diagnostic] = []
    documents = []
    for index, node in enumerate(_nodes(data, file, found)):
        if _is_empty(node):
            continue
        reader = _Reader(file)
        value = reader.read(node)
        found.extend(reader.found)
        if not reader.found:
            documents.append(Document(value=value, index=index, line=node.start_mark.line + 1))
    return tuple(documents), tuple(found)


class Marks:
    """Places in one file, found by composing it again; made only when somebody asks for a place."""

    def __init__(self, data: bytes, file: str) -> None:
        self._file = file
        self._roots = tuple(_nodes(data, file, []))

    def position(self, document: int, path: Sequence[str | int], *, key: bool = False) -> Position:
        """Where the value at `path` is written, or its key; of the deepest ancestor that exists when it does not."""
        if document >= len(self._roots):
            return Position(file=self._file)
        at = node = self._roots[document]
        for step in path:
            child = _child(node, step)
            if child is None:
                break
            at, node = (child[0] if key else child[1]), child[1]
        return _position(self._file, at)


def path_text(path: Sequence[str | int]) -> str:
    """`spec.hyperParameters.stopSequence[0]`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def _position(file: str, node: Any) -> Position:
    return Position(file=file, line=node.start_mark.line + 1, column=node.start_mark.column + 1)


def _child(node: Any, step: str | int, depth: int = 0) -> tuple[Any, Any] | None:
    """Key and value nodes one step down; through merge keys to where the value is really written."""
    if isinstance(step, int):
        inside = isinstance(node, yaml.SequenceNode) and step < len(node.value)
        return (node.value[step], node.value[step]) if inside else None
    if not isinstance(node, yaml.MappingNode) or depth > MAX_DEPTH:
        return None
    merged: list[Any] = []
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value == step:
            return key, value
        if _is_merge(key):
            merged.extend(value.value if isinstance(value, yaml.SequenceNode) else [value])
    return next((found for source in merged if (found := _child(source, step, depth + 1))), None)


def _is_merge(key: Any) -> bool:
    return isinstance(key, yaml.ScalarNode) and key.value == "<<" and key.tag == _PLAIN


def _is_empty(node: Any) -> bool:
    return node is None or (isinstance(node, yaml.ScalarNode) and node.tag == _PLAIN and node.value == "")


def _nodes(data: bytes, file: str, found: list[Diagnostic]) -> Iterator[Any]:
    """The root node of each document; stops at the first place that cannot be parsed and says why."""
    refusal = _unfit(data, file)
    if refusal is not None:
        found.append(refusal)
        return
    try:
        parser = _Parser(data.removeprefix(b"\xef\xbb\xbf"))
        while parser.check_node():
            yield parser.get_node()
    except yaml.YAMLError as error:
        found.append(_syntax(error, file))
    except RecursionError:
        found.append(_too_deep(file))


def _unfit(data: bytes, file: str) -> Diagnostic | None:
    """What the C parser must not be shown."""
    if len(data) > MAX_BYTES:
        message = f"the file has {len(data):,} bytes"
        return Diagnostic(
            code="RC202", message=message, position=Position(file=file), allowed=f"at most {MAX_BYTES:,} bytes"
        )
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        place = Position(file=file, line=line, column=column)
        shown = f"byte 0x{data[error.start]:02x}"
        return Diagnostic(
            code="RC201", message="the file is not UTF-8", position=place, value=shown, allowed="UTF-8 text"
        )
    return _too_deep(file) if _may_crash(data) else None


def _may_crash(data: bytes) -> bool:
    """Whether the text may nest deeper than the C parser survives; brackets in strings and comments count too.

    A file with this many brackets left open is no manifest, wherever they stand.
    """
    if _COMPACT_NESTING.search(data):
        return True
    if data.count(b"[") + data.count(b"{") <= _PARSER_DEPTH:
        return False
    depth = 0
    for match in re.finditer(rb"[\[\]{}]", data):
        depth = depth + 1 if match.group() in b"[{" else max(depth - 1, 0)
        if depth > _PARSER_DEPTH:
            return True
    return False


def _too_deep(file: str) -> Diagnostic:
    allowed = f"{MAX_DEPTH} levels"
    return Diagnostic(
        code="RC203", message="nested too deeply to be read", position=Position(file=file), allowed=allowed
    )


def _syntax(error: yaml.YAMLError, file: str) -> Diagnostic:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = Position(file=file, line=mark.line + 1, column=mark.column + 1) if mark else Position(file=file)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
    context = getattr(error, "context", None)
    message = f"not YAML: {problem}" + (f" ({context})" if context else "")
    hint = "YAML is indented with spaces, never tabs." if "character that cannot start any token" in message else None
    return Diagnostic(code="RC205", message=message, position=place, suggestion=hint)


class _Reader:
    """Reads one composed document, within the limits; collects what is wrong and goes on."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Diagnostic] = []
        self._left = MAX_NODES
        self._above: set[int] = set()

    def read(self, node: Any) -> Json:
        try:
            return self._read(node, 0)
        except _Refused as refused:
            self._say(node, refused)
            return None

    def _read(self, node: Any, depth: int) -> Json:
        self._left -= 1
        if self._left < 0:
            raise _Refused("RC204", "too many nodes once aliases are written out", f"at most {MAX_NODES:,}")
        if type(node) is yaml.ScalarNode:
            return self._scalar(node)
        if depth >= MAX_DEPTH:
            raise _Refused("RC203", "nested too deeply", f"{MAX_DEPTH} levels")
        if id(node) in self._above:
            raise _Refused("RC209", "an alias names a node that contains it")
        self._above.add(id(node))
        try:
            if type(node) is yaml.MappingNode:
                return self._mapping(node, depth + 1)
            self._tag_must_be(node, "seq")
            return [self._read(item, depth + 1) for item in node.value]
        finally:
            self._above.discard(id(node))

    def _mapping(self, node: Any, depth: int) -> dict[str, Json]:
        self._tag_must_be(node, "map")
        result: dict[str, Json] = {}
        merged: list[Any] = []
        for key_node, value_node in node.value:
            if _is_merge(key_node):
                merged.append(value_node)
                continue
            key = self._key(key_node)
            if key is None:
                continue
            if key in result:
                self._duplicate(node, key_node, key)
            result[key] = self._read(value_node, depth)
        for value_node in merged:
            self._merge(result, value_node, depth)
        return result

    def _merge(self, result: dict[str, Json], node: Any, depth: int) -> None:
        """What the mapping says itself wins; of several merged mappings the earlier (https://yaml.org/type/merge.html)."""
        if type(node) is yaml.ScalarNode:
            self._say(node, _Refused("RC210", "a merge key needs a mapping", "a mapping or a list of mappings"))
            return
        value = self._read(node, depth)
        for source in value if isinstance(value, list) else [value]:
            if not isinstance(source, dict):
                self._say(node, _Refused("RC210", "a merge key needs a mapping", "a mapping or a list of mappings"))
                return
            for key, item in source.items():
                result.setdefault(key, item)

    def _key(self, node: Any) -> str | None:
        self._left -= 1
        value = self._scalar(node) if type(node) is yaml.ScalarNode else node
        if type(value) is str:
            return sys.intern(value)
        shown = f"{node.value} (read as {_kind(value)})" if type(node) is yaml.ScalarNode else "a collection"
        self._say(
            node,
            _Refused("RC207", f"a key must be text, not {shown}", f'"{node.value}"' if value is not node else None),
        )
        return None

    def _duplicate(self, mapping: Any, node: Any, key: str) -> None:
        first = next(k for k, _ in mapping.value if type(k) is yaml.ScalarNode and k.value == node.value)
        where = first.start_mark.line + 1
        self._say(node, _Refused("RC206", f"the key {key} stands here twice; first in line {where}"))

    def _tag_must_be(self, node: Any, kind: str) -> None:
        if node.tag not in {_COLLECTION, _CORE + kind}:
            self._say(node, _Refused("RC208", f"unknown tag {node.tag}"))

    def _scalar(self, node: Any) -> Json:
        tag = node.tag
        try:
            if tag == _PLAIN:
                return _plain(node.value)
            return node.value if tag == _QUOTED else _tagged(tag, node.value)
        except _Refused as refused:
            self._say(node, refused)
            return None

    def _say(self, node: Any, refused: _Refused) -> None:
        value = node.value if type(node) is yaml.ScalarNode else None
        self.found.append(
            Diagnostic(
                code=refused.code,
                message=refused.message,
                position=_position(self.file, node),
                value=value if value is None or len(value) <= MAX_DEPTH else f"{value[:MAX_DEPTH]}…",
                allowed=refused.allowed,
            )
        )


@lru_cache(maxsize=8192)
def _plain(text: str) -> Json:
    """A plain scalar by the core schema; the cache saves most of the work, because manifests repeat themselves."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in "+-.0123456789":
        return _number(text)
    return text


def _number(text: str) -> Json:
    if _INTEGER.match(text):
        return _integer(text, 10)
    if _FLOAT.match(text):
        value = float(text)
        if value in {float("inf"), float("-inf")}:
            raise _Refused("RC211", f"{text[:40]} is larger than any number that JSON readers hold")
        return value
    if _OCTAL.match(text):
        return _integer(text[2:], 8)
    if _HEXADECIMAL.match(text):
        return _integer(text[2:], 16)
    if _NOT_FINITE.match(text):
        raise _Refused("RC211", f"{text} is not a JSON number")
    return text


def _integer(digits: str, base: int) -> int:
    if len(digits) > _MAX_DIGITS:
        raise _Refused("RC211", f"a number of {len(digits):,} digits")
    return int(digits, base)


def _tagged(tag: str, text: str) -> Json:
    """The core schema's tags, written out."""
    kind = tag.removeprefix(_CORE)
    if kind == "str":
        return text
    expected: dict[str, tuple[type, ...]] = {
        "int": (int,),
        "float": (float, int),
        "bool": (bool,),
        "null": (type(None),),
    }
    if kind not in expected:
        raise _Refused("RC208", f"unknown tag {tag}", "!!str, !!int, !!float, !!bool, !!null, !!map, !!seq")
    value = _plain(text)
    fits = isinstance(value, expected[kind]) and (isinstance(value, bool) == (kind == "bool"))
    if not fits:
        raise _Refused("RC212", f"{text!r} cannot be read as !!{kind}")
    return float(value) if kind == "float" else value


def _kind(value: object) -> str:
    names = {bool: "a boolean", int: "an integer", float: "a float", type(None): "null"}
    return names.get(type(value), "something else")
