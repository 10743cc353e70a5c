"""Columns of text: the one table of the program."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence

from reconciler.report.style import Style, safe

GAP = "  "
NOTHING = "-"  # a cell that has nothing to say


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns under their headers, without blanks at the ends of lines; every cell is made harmless."""
    cells = [list(headers), *([safe(cell) for cell in row] for row in rows)]
    widths = [max(map(columns_of, column)) for column in zip(*cells, strict=True)]
    return "".join(f"{GAP.join(map(_padded, row, widths)).rstrip()}\n" for row in cells)


def fitted(headers: Sequence[str], rows: Sequence[Sequence[str]], style: Style, *, below: Collection[str]) -> str:
    """The table; where the terminal is too narrow for it, each row has the columns `below` on a second line."""
    text = table(headers, rows)
    if not style.wraps or max(map(columns_of, text.splitlines())) <= style.width:
        return text
    above = [number for number, header in enumerate(headers) if header not in below]
    lines = table([headers[n] for n in above], [[row[n] for n in above] for row in rows]).splitlines()
    laid = [lines[0]]
    for line, row in zip(lines[1:], rows, strict=True):
        rest = [safe(cell) for number, cell in enumerate(row) if number not in above and cell != NOTHING]
        laid += [line, f"{GAP}{GAP}{GAP.join(rest)}"] if rest else [line]
    return "".join(f"{line}\n" for line in laid)


def columns_of(text: str) -> int:
    """How many columns a terminal gives the text."""
    if text.isascii():
        return len(text)
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def _padded(text: str, width: int) -> str:
    return text + " " * (width - columns_of(text))
