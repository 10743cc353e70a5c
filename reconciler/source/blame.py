"""Who wrote a line, and what changed a file, as git knows. `history --values` and `rollback` ask; nothing is fetched.

Whatever goes wrong, the answer is "not known".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from reconciler.source.git import READING, Git

_HEAD = re.compile(r"([0-9a-f]{40,64}) ([0-9]+) ([0-9]+)(?: [0-9]+)?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The commit that gave a line its present text. `author` is a name, `at` the author's time."""

    commit: str
    author: str
    at: datetime | None


def last_change(root: Path, path: str, commit: str = "HEAD") -> str | None:
    """The newest commit that changed a file; `path` is relative to the root."""
    answer = Git(root).ask("rev-list", "-1", commit, "--", path)
    return answer.decode().strip() or None if answer else None


def changes_since(root: Path, since: str, paths: Iterable[str]) -> tuple[str, ...]:
    """The commits that changed any of the files after a commit, newest first; nothing where that is not in HEAD's history."""
    git = Git(root)
    if git.ask("merge-base", "--is-ancestor", since, "HEAD") is None:
        return ()
    answer = git.ask("rev-list", "--no-merges", f"{since}..HEAD", "--", *sorted(set(paths)), timeout=READING)
    return tuple((answer or b"").decode().split())


def blame(root: Path, commit: str, path: str, lines: Iterable[int]) -> dict[int, Written]:
    """Line -> who wrote it, for those lines of a file at a commit that git can tell about. Lines count from 1."""
    ranges = [f"-L{line},{line}" for line in sorted(set(lines))]
    if not ranges:
        return {}
    answer = Git(root).ask("blame", "--porcelain", "--no-textconv", *ranges, commit, "--", path, timeout=READING)
    return _read((answer or b"").decode("utf-8", "replace").split("\n"))


def _read(lines: list[str]) -> dict[int, Written]:
    """Git's porcelain: a commit's headers stand with its first line only; a line's own text begins with a tab."""
    facts: dict[str, dict[str, str]] = {}
    found: dict[int, str] = {}
    commit = ""
    for line in lines:
        head = _HEAD.match(line)
        if head is not None:
            commit = head[1]
            found[int(head[3])] = commit
            facts.setdefault(commit, {})
        elif commit and not line.startswith("\t"):
            key, _, value = line.partition(" ")
            facts[commit][key] = value
    return {number: _written(name, facts[name]) for number, name in found.items()}


def _written(commit: str, facts: dict[str, str]) -> Written:
    seconds = facts.get("author-time", "")
    at = (
        datetime.fromtimestamp(int(seconds), UTC) if seconds.isdecimal() and len(seconds) < len("99999999999") else None
    )
    return Written(commit=commit, author=facts.get("author", ""), at=at)
