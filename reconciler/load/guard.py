"""The limits that are checked before the text is composed: what the C parser must not be shown. Called by `yaml` only.

libyaml composes by recursion and crashes the process some 30,000 levels down; composed nodes take some 700 bytes each; and
tag directives cost quadratic time and multiply their prefix into every node. Ordinary files are told by their size alone;
the others are measured by walking libyaml's events, which neither recurses nor keeps anything.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from reconciler.diagnostics import Diagnostic, Position
from reconciler.load.backend import UNREADABLE, Parser

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 50
MAX_NODES = 20_000  # a document, aliases and merge keys written out; a long text counts as one for every 64 characters
MAX_FILE_NODES = 150_000  # a file of 1 MiB filled with manifests has 90,000
A_DOCUMENT = 2  # nodes that a document counts as beside its own, in the file: empty ones take time too

# Below this many brackets and this many columns the text nests at most three times as deep: block collections open at most
# two levels a column (a sequence may stand at its mapping's own indent), flow collections one a bracket.
_HARMLESS = 250
# Kinds of events that are nodes, and how many levels deeper what follows stands.
_NODES = {yaml.ScalarEvent: 0, yaml.AliasEvent: 0, yaml.SequenceStartEvent: 1, yaml.MappingStartEvent: 1}
_BREAK = re.compile(rb"\r\n?|\n|\xc2\x85|\xe2\x80[\xa8\xa9]")  # libyaml's line breaks
_TAG_DIRECTIVE = re.compile(rb"(?:\A|[\r\n]|\xc2\x85|\xe2\x80[\xa8\xa9])(%TAG)")


def unfit(data: bytes, file: str) -> Diagnostic | None:
    """Why the text must not be composed, or None."""
    if len(data) > MAX_BYTES:
        return Diagnostic(
            code="RC202",
            message=f"the file has {len(data):,} bytes",
            position=Position(file=file),
            allowed=f"at most {MAX_BYTES:,} bytes",
        )
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return Diagnostic(
            code="RC201",
            message="the file is not UTF-8",
            position=place_of(data, error.start, file),
            value=f"byte 0x{data[error.start]:02x}",
            allowed="UTF-8 text",
        )
    if b"%TAG" in data and (directive := _TAG_DIRECTIVE.search(data)):
        return Diagnostic(
            code="RC208",
            message="a %TAG directive",
            position=place_of(data, directive.start(1), file),
            allowed="only the tags of the core schema, as !!str",
        )
    return _measure(data, file) if _is_suspicious(data) else None


def place_of(data: bytes, offset: int, file: str) -> Position:
    """The place of a byte; columns count characters."""
    lines = data[:offset].split(b"\n")
    return Position(file=file, line=len(lines), column=len(lines[-1].decode(errors="replace")) + 1)


def too_deep(position: Position) -> Diagnostic:
    return Diagnostic(code="RC203", message="nested too deeply", position=position, allowed=f"{MAX_DEPTH} levels")


def too_many(position: Position, message: str, limit: int) -> Diagnostic:
    return Diagnostic(code="RC204", message=message, position=position, allowed=f"at most {limit:,}")


def _is_suspicious(data: bytes) -> bool:
    """Whether the text could be too deep, or hold so many nodes that composing them would take much memory."""
    return (
        len(data) > 2 * MAX_NODES
        or data.count(b"[") + data.count(b"{") > _HARMLESS
        or (len(data) > _HARMLESS and max(map(len, _BREAK.split(data))) > _HARMLESS)
    )


def _measure(data: bytes, file: str) -> Diagnostic | None:
    """What the events say. A text that breaks off is left to the composer, which comes no further and says why."""
    depth = nodes = total = 0
    try:
        parser = Parser(data)
        while (event := parser.get_event()) is not None:
            deeper = _NODES.get(type(event))
            if deeper is None:
                if isinstance(event, yaml.DocumentStartEvent):
                    nodes, total = 0, total + A_DOCUMENT
                elif isinstance(event, yaml.CollectionEndEvent):
                    depth -= 1
            else:
                nodes, total, depth = nodes + 1, total + 1, depth + deeper
                if depth > MAX_DEPTH:
                    return too_deep(_position(file, event))
                if nodes > MAX_NODES:
                    return too_many(_position(file, event), "too many nodes in one document", MAX_NODES)
                if total > MAX_FILE_NODES:
                    return too_many(_position(file, event), "too many nodes in one file", MAX_FILE_NODES)
    except UNREADABLE:
        return None
    return None


def _position(file: str, event: Any) -> Position:
    mark = event.start_mark
    return Position(file=file, line=mark.line + 1, column=mark.column + 1)
