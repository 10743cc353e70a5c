"""Columns of text: the one table of the program."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from reconciler.report.style import safe

GAP = "  "


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns under their headers, without blanks at the ends of lines; every cell is made harmless."""
    cells = [list(headers), *([safe(cell) for cell in row] for row in rows)]
    widths = [max(map(columns_of, column)) for column in zip(*cells, strict=True)]
    return "".join(f"{GAP.join(map(_padded, row, widths)).rstrip()}\n" for row in cells)


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
