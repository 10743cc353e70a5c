"""Diagnostics as text and as JSON.

Text begins each diagnostic with `file:line:column: severity code: message`, the form that editors and CI systems link.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from reconciler.diagnostics import Diagnostic, Position, Severity, errors_in
from reconciler.model.text import masked
from reconciler.model.values import Json
from reconciler.report.style import Style, count, safe
from reconciler.report.tables import columns_of

FORMAT = "reconciler/diagnostics/v1"

_COLOUR = {Severity.ERROR: "red", Severity.WARNING: "yellow"}
_INDENT = "    "
_TAB = "    "
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what the parser counts as lines


def diagnostics_text(diagnostics: Sequence[Diagnostic], sources: Mapping[str, bytes], style: Style) -> str:
    """Every diagnostic in the order given, and a summary line.

    `sources` maps file names to their bytes: the line is quoted with a caret for the files that are in it. Pass none
    where nobody sits in front of it.
    """
    if not diagnostics:
        return ""
    quotable = _Lines(sources)
    blocks = ("".join(f"{line}\n" for line in _lines(one, quotable, style)) for one in diagnostics)
    return f"{''.join(blocks)}{summary(diagnostics)}\n"


def summary(diagnostics: Sequence[Diagnostic]) -> str:
    """`2 errors, 1 warning in 3 files.`"""
    errors = len(errors_in(diagnostics))
    warnings = len(diagnostics) - errors
    counts = [count(n, word) for n, word in ((errors, "error"), (warnings, "warning")) if n]
    files = {one.position.file for one in diagnostics if one.position}
    return ", ".join(counts or ["No errors"]) + (f" in {count(len(files), 'file')}" if files else "") + "."


def _lines(one: Diagnostic, sources: _Lines, style: Style) -> Iterator[str]:
    place = f"{safe(str(one.position))}: " if one.position else ""
    said = style.paint(f"{one.severity} {one.code}", _COLOUR[one.severity])
    where = f" (in {safe(one.environment)})" if one.environment else ""
    yield f"{style.paint(place, 'bold')}{said}: {safe(one.message)}{where}"
    if one.path:
        yield f"{_INDENT}{safe(one.path)}" + (f": {safe(one.value)}" if one.value is not None else "")
    elif one.value is not None:
        yield f"{_INDENT}value: {safe(one.value)}"
    if one.allowed is not None:
        yield f"{_INDENT}allowed: {safe(one.allowed)}"
    if one.position is not None:
        yield from _quoted(one.position, sources.at(one.position), style)
    if one.suggestion is not None:
        yield f"{_INDENT}{style.paint(safe(one.suggestion), 'cyan')}"


class _Lines:
    """The lines of the sources, with keys masked. A file is split once and a line masked once, however much is wrong with it."""

    def __init__(self, sources: Mapping[str, bytes]) -> None:
        self._sources = sources
        self._files: dict[str, list[str]] = {}
        self._masked: dict[tuple[str, int], str] = {}

    def at(self, position: Position) -> str | None:
        """None where there is no such line."""
        file, number = position.file, position.line
        if file not in self._files:
            text = (
                self._sources[file].decode("utf-8", "replace").removeprefix("\ufeff") if file in self._sources else None
            )
            self._files[file] = [] if text is None else _LINE_BREAK.split(text)
        lines = self._files[file]
        if not 1 <= number <= len(lines):
            return None
        if (file, number) not in self._masked:
            self._masked[file, number] = masked(lines[number - 1])
        return self._masked[file, number]


def _quoted(position: Position, line: str | None, style: Style) -> Iterator[str]:
    """The line with a caret under the column; a long line is cut around it."""
    if line is None:
        return
    at = position.column - 1
    room = max(20, style.width - 16)
    start = max(0, at - room // 2) if len(line) > room else 0
    before, after = (safe(part.replace("\t", _TAB)) for part in (line[start:at], line[at : start + room]))
    before = f"…{before}" if start else before
    number = str(position.line)
    yield style.paint(f"{_INDENT}{number} | ", "dim") + before + after
    caret = style.paint("^", "red")
    yield style.paint(f"{_INDENT}{' ' * len(number)} | ", "dim") + " " * columns_of(before) + caret


def diagnostics_json(diagnostics: Sequence[Diagnostic]) -> dict[str, Json]:
    """The same facts as JSON values; `line` and `column` count from 1 and are null where there is no place."""
    errors = len(errors_in(diagnostics))
    return {
        "format": FORMAT,
        "errors": errors,
        "warnings": len(diagnostics) - errors,
        "diagnostics": [_object(one) for one in diagnostics],
    }


def _object(one: Diagnostic) -> Json:
    place = one.position
    return {
        "code": one.code,
        "severity": str(one.severity),
        "message": one.message,
        "file": place.file if place else None,
        "line": place.line if place else None,
        "column": place.column if place else None,
        "path": one.path or None,
        "value": one.value,
        "allowed": one.allowed,
        "suggestion": one.suggestion,
        "environment": one.environment,
    }
