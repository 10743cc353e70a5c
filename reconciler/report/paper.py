"""Paper for comments: text from outside made harmless, fences that hold, and texts cut at a forge's limit.

`report.markdown` and `report.github` write on it; it knows neither plans nor diagnostics.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from reconciler.report.style import count, one_line, safe

MOST_PARTS = 20  # comments for one environment; nobody reads more
MAX_LINE = 1000  # characters of a line in a fence
MAX_CODE = 300  # characters of inline code

_PLAIN = re.compile(r"[^`|\\\s](?:[^`|\\\n]*[^`|\\\s])?")  # may stand between single backticks, in a table too
_FENCE = re.compile(r"`{3,}")
_WORDS_ALONE = re.compile(r"[A-Za-z][A-Za-z ,;']*")  # neither Markdown, HTML, mentions, links nor numbers of anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Lines that may be cut between any two of them; `head` and `foot` then stand around each piece."""

    lines: tuple[str, ...]
    head: tuple[str, ...] = ()
    foot: tuple[str, ...] = ()


def code(text: str, most: int = MAX_CODE) -> str:
    """Outside text as inline code, fit for a table: nothing in it is read as Markdown or HTML."""
    text = one_line(safe(text), most)
    if not text:
        return ""
    return f"`{text}`" if _PLAIN.fullmatch(text) else f"<code>{entities(text)}</code>"


def prose(text: str, most: int = MAX_CODE) -> str:
    """A sentence that may hold outside text: as it is where it is nothing but words, else as code."""
    return text if len(text) <= most and _WORDS_ALONE.fullmatch(text) else code(text, most)


def fenced(lines: Iterable[str], language: str, *, fold: str | None = None, title: str | None = None) -> Block:
    """A fence with more backticks than any of its lines has. `fold` is what to click on, `title` stands above."""
    kept = tuple(line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - 1]}…" for line in lines)
    longest = max((len(run) for line in kept for run in _FENCE.findall(line)), default=2)
    fence = "`" * (longest + 1)
    if fold is None:
        above = (f"**{title}**", "") if title else ()
        return Block(head=(*above, f"{fence}{language}"), lines=kept, foot=(fence,))
    opened = ("<details>", f"<summary>{fold}</summary>", "", f"{fence}{language}")
    return Block(head=opened, lines=kept, foot=(fence, "", "</details>"))


def parts_of(
    blocks: Sequence[Block], *, limit: int, most: int = MOST_PARTS, first: Callable[[int], Sequence[str]] = lambda _: ()
) -> tuple[str, ...]:
    """The blocks with a blank line between them, cut into texts of at most `limit` bytes (8 KiB or more).

    `first` gives each text its first lines. Beyond `most` texts the last one says how much is missing.
    """
    paper = _Paper(limit=limit, most=most, first=first)
    for block in blocks:
        paper.write(block)
    return paper.texts()


class _Paper:
    """Texts being filled, one line after the other."""

    def __init__(self, *, limit: int, most: int, first: Callable[[int], Sequence[str]]) -> None:
        self._limit, self._most, self._first = limit - _WORDS, most, first
        self._texts: list[list[str]] = []
        self._begun = 0  # lines of the last text that `first` gave
        self._room = 0
        self._missing = 0
        self._turn()

    def write(self, block: Block) -> None:
        whole = _size(("", *block.head, *block.lines, *block.foot))
        if self._room < whole <= self._limit:
            self._turn()
        is_open = False
        for line in block.lines:
            lines = (line,) if is_open else ("", *block.head, line)
            if _size(lines) + _size(block.foot) > self._room and not self._is_blank:
                self._put(block.foot if is_open else ())
                self._turn()
                lines, is_open = ("", *block.head, line), False
            if self._missing:
                self._missing += 1
            else:
                self._put(lines)
                is_open = True
        self._put(block.foot if is_open else ())

    def texts(self) -> tuple[str, ...]:
        if self._missing:
            words = f"**Cut here: {count(self._missing - 1, 'more line')}.** `reconciler plan` prints everything."
            self._texts[-1] += ["", words]
        return tuple("\n".join(lines) + "\n" for lines in self._texts)

    @property
    def _is_blank(self) -> bool:
        return len(self._texts[-1]) == self._begun

    def _put(self, lines: Sequence[str]) -> None:
        lines = lines[1:] if lines and not lines[0] and not self._texts[-1] else lines
        self._texts[-1] += lines
        self._room -= _size(lines)

    def _turn(self) -> None:
        """Begin another text; where there are enough already, what follows is only counted."""
        if len(self._texts) >= self._most:
            self._missing = self._missing or 1
            return
        self._texts.append([])
        self._room = self._limit
        self._put(self._first(len(self._texts)))
        self._begun = len(self._texts[-1])


_WORDS = 100  # bytes kept for the words at a cut


def _size(lines: Iterable[str]) -> int:
    return sum(len(line.encode("utf-8", "replace")) + 1 for line in lines)


def entities(text: str) -> str:
    """For HTML and Markdown at once: whatever could mean something to either is spelled as a number."""
    return "".join(char if char.isalnum() or char in " /.-" else f"&#{ord(char)};" for char in text)
