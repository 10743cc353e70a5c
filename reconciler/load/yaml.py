"""bytes -> documents: YAML 1.2's core schema over libyaml's parser, with places on demand.

Why not a ready loader: those that are fast read YAML 1.1 (`no` is false, `014` is 12) and take the last of two equal keys
in silence; those that read 1.2 with places manage 500 documents a second. Here the C parser composes nodes, and this module
gives them types (`core_schema`), limits (`guard`) and diagnostics. No function here raises, whatever the bytes. `edit` uses
ruamel.yaml for what must keep comments; nothing else parses YAML.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import yaml

from reconciler.diagnostics import Diagnostic, Position
from reconciler.load.backend import COLLECTION, PLAIN, QUOTED, UNREADABLE, Parser
from reconciler.load.core_schema import CORE, Refused, kind_of, plain, quoted, tagged, unknown_tag
from reconciler.load.guard import MAX_DEPTH, MAX_FILE_NODES, MAX_NODES, place_of, too_deep, too_many, unfit
from reconciler.model.text import without_keys
from reconciler.model.values import Json

MAX_MISTAKES = 1_000  # listed a file: nobody reads on, and a hostile file could hold 300,000
_SHOWN = 50  # characters of a value that a diagnostic quotes
_TEXT_A_NODE = 6  # 2**6 characters of text count as one node
_HINTS = {
    "character that cannot start any token": "YAML is indented with spaces, never tabs.",
    "invalid Unicode character escape code": "Write the character itself, or \\U and eight digits.",
}
# Compiled when it is needed: that takes longer than reading a manifest.
_NOT_TEXT = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document: its value, its place in the file (from 0, empty documents counted) and the line of its content."""

    value: Json
    index: int
    line: int


def parse(data: bytes, file: str) -> tuple[tuple[Document, ...], tuple[Diagnostic, ...]]:
    """Every document that is not empty, and everything that is wrong. A document with an error is left out."""
    found: list[Diagnostic] = []
    documents = []
    left = MAX_FILE_NODES
    for index, node in enumerate(_nodes(data, file, found)):
        if _is_empty(node):
            continue
        reader = _Reader(file, min(MAX_NODES, left))
        value = reader.read(node)
        left -= reader.used
        found.extend(reader.found)
        if not reader.found:
            documents.append(Document(value=value, index=index, line=node.start_mark.line + 1))
        if left <= 0:
            found.append(too_many(_position(file, node), "too many nodes in one file", MAX_FILE_NODES))
        if left <= 0 or len(found) >= MAX_MISTAKES:
            break
    return tuple(documents), tuple(found)


class Marks:
    """Places in one file, found by composing it again; made only when somebody asks for a place.

    With `at_most`, so many documents are composed; of others only the file is told.
    """

    def __init__(self, data: bytes, file: str, at_most: int | None = None) -> None:
        self._file = file
        self._roots = tuple(islice(_nodes(data, file, []), at_most))
        self._indexes: dict[int, dict[str, tuple[Any, Any]]] = {}

    def position(self, document: int, path: Sequence[str | int], *, key: bool = False) -> Position:
        """Where the value at `path` is written, or its key; of the deepest ancestor that exists when it does not."""
        if document >= len(self._roots):
            return Position(file=self._file)
        at = node = self._roots[document]
        for step in path:
            child = self._child(node, step)
            if child is None:
                break
            at, node = (child[0] if key else child[1]), child[1]
        return _position(self._file, at)

    def _child(self, node: Any, step: str | int) -> tuple[Any, Any] | None:
        """Key and value nodes one step down; through merge keys to where the value is really written."""
        if isinstance(step, str):
            return self._index(node).get(step) if isinstance(node, yaml.MappingNode) else None
        inside = isinstance(node, yaml.SequenceNode) and step < len(node.value)
        return (node.value[step], node.value[step]) if inside else None

    def _index(self, node: Any, depth: int = 0) -> dict[str, tuple[Any, Any]]:
        """The children of a mapping by name. Made once: a mapping with 10,000 unknown keys is asked 10,000 times."""
        if id(node) in self._indexes:
            return self._indexes[id(node)]
        index = self._indexes[id(node)] = {}
        merged: list[Any] = []
        for key, value in node.value:
            if _is_merge(key):
                merged.extend(value.value if isinstance(value, yaml.SequenceNode) else [value])
            elif isinstance(key, yaml.ScalarNode):
                index.setdefault(key.value, (key, value))
        for source in merged:
            if isinstance(source, yaml.MappingNode) and depth < MAX_DEPTH:
                for name, pair in self._index(source, depth + 1).items():
                    index.setdefault(name, pair)
        return index


def path_text(path: Sequence[str | int]) -> str:
    """`spec.hyperParameters.stopSequence[0]`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def _position(file: str, node: Any) -> Position:
    return Position(file=file, line=node.start_mark.line + 1, column=node.start_mark.column + 1)


def _is_merge(key: Any) -> bool:
    return isinstance(key, yaml.ScalarNode) and key.value == "<<" and key.tag == PLAIN


def _is_empty(node: Any) -> bool:
    return node is None or (isinstance(node, yaml.ScalarNode) and node.tag == PLAIN and node.value == "")


def _nodes(data: bytes, file: str, found: list[Diagnostic]) -> Iterator[Any]:
    """The root node of each document; stops at the first place that cannot be parsed and says why."""
    text = data.removeprefix(b"\xef\xbb\xbf")
    refusal = unfit(text, file)
    if refusal is not None:
        found.append(refusal)
        return
    parser = None
    try:
        parser = Parser(text)
        while parser.check_node():
            yield parser.get_node()
    except RecursionError:
        found.append(too_deep(Position(file=file)))
    except UNREADABLE as error:
        found.append(_syntax(error, text, file))


def _syntax(error: Exception, data: bytes, file: str) -> Diagnostic:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = Position(file=file, line=mark.line + 1, column=mark.column + 1) if mark else Position(file=file)
    value = None
    if isinstance(error, yaml.reader.ReaderError) and (wrong := re.search(_NOT_TEXT, data.decode())):
        # Its own position counts bytes in one backend and characters in the other.
        place = place_of(data, len(wrong.string[: wrong.start()].encode()), file)
        value = f"U+{ord(wrong.group()):04X}"
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
    context = getattr(error, "context", None)
    message = f"not YAML: {problem}" + (f" ({context})" if context else "")
    if context and "duplicate anchor" in context:  # YAML allows it, PyYAML's composer does not, and nobody means it
        message = "an anchor's name is used twice in one document"
    hint = _unmerged(data) or next((hint for word, hint in _HINTS.items() if word in message), None)
    return Diagnostic(code="RC205", message=message, position=place, value=value, suggestion=hint)


def _unmerged(data: bytes) -> str | None:
    """What git leaves in a file whose merge it could not do; the parser stumbles somewhere behind it."""
    found = re.search(rb"^<<<<<<< ", data, re.MULTILINE)
    if found is None or not re.search(rb"^>>>>>>> ", data, re.MULTILINE):
        return None
    line = data.count(b"\n", 0, found.start()) + 1
    return f"A merge is not resolved: line {line} is git's mark of a conflict."


class _Reader:
    """Reads one composed document, within the limits; collects what is wrong and goes on."""

    def __init__(self, file: str, budget: int) -> None:
        self.file = file
        self.found: list[Diagnostic] = []
        self._budget = self._left = budget
        self._above: set[int] = set()

    @property
    def used(self) -> int:
        return self._budget - self._left

    def read(self, node: Any) -> Json:
        try:
            return self._read(node, 0)
        except Refused as refused:
            self._say(node, refused)
            return None

    def _read(self, node: Any, depth: int) -> Json:
        if type(node) is yaml.ScalarNode:
            return self._scalar(node)
        self._spend(1)
        if depth >= MAX_DEPTH:
            raise Refused("RC203", "nested too deeply", f"{MAX_DEPTH} levels")
        if id(node) in self._above:
            raise Refused("RC209", "an alias names a node that contains it")
        self._above.add(id(node))
        try:
            if type(node) is yaml.MappingNode:
                return self._mapping(node, depth + 1)
            self._tag_must_be(node, "seq")
            return [self._read(item, depth + 1) for item in node.value]
        finally:
            self._above.discard(id(node))

    def _spend(self, nodes: int) -> None:
        self._left -= nodes
        if self._left < 0:
            raise Refused("RC204", "too many nodes once aliases are written out", f"at most {MAX_NODES:,}")

    def _mapping(self, node: Any, depth: int) -> dict[str, Json]:
        self._tag_must_be(node, "map")
        result: dict[str, Json] = {}
        merged: list[Any] = []
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            if _is_merge(key_node):
                merged.append(value_node)
                continue
            key = self._key(key_node)
            if key is None:
                continue
            if key in result:
                first = first or _first_lines(node)
                self._say(
                    key_node, Refused("RC206", f"the key {key[:_SHOWN]} stands here twice; first in line {first[key]}")
                )
            result[key] = self._read(value_node, depth)
        for value_node in merged:
            self._merge(result, value_node, depth)
        return result

    def _merge(self, result: dict[str, Json], node: Any, depth: int) -> None:
        """What the mapping says itself wins; of several merged mappings the earlier (https://yaml.org/type/merge.html)."""
        value = None if type(node) is yaml.ScalarNode else self._read(node, depth)
        for source in value if isinstance(value, list) else [value]:
            if not isinstance(source, dict):
                self._say(node, Refused("RC210", "a merge key needs a mapping", "a mapping or a list of mappings"))
                return
            for key, item in source.items():
                result.setdefault(key, item)

    def _key(self, node: Any) -> str | None:
        """None when it is no text, and that has been said."""
        if type(node) is not yaml.ScalarNode:
            self._say(node, Refused("RC207", "a key must be text, not a collection"))
            return None
        before = len(self.found)
        key = self._scalar(node)
        if type(key) is str:
            return sys.intern(key)
        if len(self.found) == before:
            message = f"a key must be text, not {node.value[:_SHOWN] or 'nothing'} (read as {kind_of(key)})"
            self._say(node, Refused("RC207", message, f'"{node.value[:_SHOWN]}"'))
        return None

    def _tag_must_be(self, node: Any, kind: str) -> None:
        if node.tag in {COLLECTION, CORE + kind}:
            return
        known = node.tag.removeprefix(CORE) in {"str", "int", "float", "bool", "null", "map", "seq"}
        shape = {"map": "mapping", "seq": "list"}[kind]
        fitting = Refused("RC212", f"a {shape} cannot be read as !!{node.tag.removeprefix(CORE)}")
        self._say(node, fitting if known else unknown_tag(node.tag))

    def _scalar(self, node: Any) -> Json:
        tag, text = node.tag, node.value
        self._spend(1 + (len(text) >> _TEXT_A_NODE))
        try:
            if tag == PLAIN:
                return plain(text)
            return quoted(text) if tag == QUOTED else tagged(tag, text)
        except Refused as refused:
            self._say(node, refused)
            return None

    def _say(self, node: Any, refused: Refused) -> None:
        if len(self.found) >= MAX_MISTAKES:
            return
        value = without_keys(node.value[: 2 * _SHOWN]) if type(node) is yaml.ScalarNode else None
        self.found.append(
            Diagnostic(
                code=refused.code,
                message=refused.message,
                position=_position(self.file, node),
                value=value if value is None or len(value) <= _SHOWN else f"{value[:_SHOWN]}…",
                allowed=refused.allowed,
            )
        )


def _first_lines(mapping: Any) -> dict[str, int]:
    """The line in which each key of a mapping stands first."""
    lines: dict[str, int] = {}
    for key, _ in mapping.value:
        if type(key) is yaml.ScalarNode:
            lines.setdefault(key.value, key.start_mark.line + 1)
    return lines
