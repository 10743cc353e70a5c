"""The globs of `ignore:`, over paths relative to the root, with `/`.

`*` and `?` stay within a name, `**/` stands for any number of folders (also none), `[ab]` for one of these characters, `[!ab]`
for any other. A pattern without a slash names files and folders at any depth, as with `**/` before it. One that matches a
folder leaves out everything below it; that is the walk's doing, which does not go down there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

_PARTS = re.compile(
    r"(?P<folders>(?:\*\*/)+)|(?P<all>\*\*)|(?P<some>\*)|(?P<one>\?)|(?P<set>\[!?\]?[^\]/]*\])|(?P<text>.)", re.DOTALL
)
_FIXED = {"folders": "(?:.*/)?", "all": ".*", "some": "[^/]*", "one": "[^/]"}


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether any of the patterns matches a path."""
    translated = [_translated(pattern) for pattern in patterns]
    if not translated:
        return lambda _: False
    match = re.compile(f"(?:{'|'.join(translated)})\\Z", re.DOTALL).match
    return lambda path: match(path) is not None


def _translated(pattern: str) -> str:
    bare = pattern.removeprefix("./").rstrip("/")
    anywhere = "" if "/" in bare else "**/"
    return "".join(map(_part, _PARTS.finditer(anywhere + bare.lstrip("/"))))


def _part(match: re.Match[str]) -> str:
    kind, text = match.lastgroup or "text", match.group()
    if kind == "set":
        return _set(text[1:-1])
    return _FIXED.get(kind) or re.escape(text)


def _set(inside: str) -> str:
    """A set of characters; one that makes no sense, such as [z-a], stands for itself."""
    negated = inside.startswith("!")
    escaped = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside.removeprefix("!"))
    text = f"(?!/)[{'^' if negated else ''}{escaped}]"
    try:
        re.compile(text)
    except re.error:
        return re.escape(f"[{inside}]")
    return text
