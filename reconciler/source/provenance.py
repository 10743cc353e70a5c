"""Where files come from, as far as git knows: commit, author, branch, and whether what was read is what was committed.

Called by `wiring` with the files that were read. Only git's plumbing is asked (`cat-file`, `ls-tree`, `symbolic-ref`), which
reads neither index nor working tree: so no hook, filter, file monitor or pager that a hostile checkout configures is ever
run, and nothing is fetched. Whether a file differs is told by hashing the bytes that were read, so it also holds when the
file has changed since. Whatever goes wrong, the answer is "not known".
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

from reconciler.model.snapshot import NO_PROVENANCE, Provenance, SourceFile

TIMEOUT = 10.0  # seconds for each call; they take milliseconds
SHA1_DIGITS = 40
MAX_ARGUMENTS = 200  # folders and files named to git; beyond, the whole tree is listed

# Belt and braces: none of these should come into play with plumbing.
_SAFE = ("-c", "core.fsmonitor=", "-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never", "-c", "core.askPass=")
_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "LC_ALL": "C",
}
_PERSON = re.compile(r"(?P<who>.*) (?P<at>[0-9]{1,12}) (?P<sign>[+-])(?P<hours>[0-9]{2})(?P<minutes>[0-9]{2})\Z")
_LINK = b"120000"


def provenance_of(root: Path, files: Iterable[SourceFile]) -> Provenance:
    """Of the checkout that the root lies in; everything None outside of one, or when git is missing or refuses."""
    git = _Git(root)
    head = git.commit()
    if head is None:
        return NO_PROVENANCE
    name, headers = head
    author, _ = _person(headers.get("author", ""))
    _, committed_at = _person(headers.get("committer", ""))
    return Provenance(
        commit=name,
        author=author,
        committed_at=committed_at,
        branch=git.branch(),
        dirty=_is_dirty(git, name, root, tuple(files)),
    )


class _Git:
    """The git command in one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def commit(self) -> tuple[str, Mapping[str, str]] | None:
        """Name and headers of the commit that is checked out."""
        answer = self._ask("cat-file", "--batch", given=b"HEAD^{commit}\n")
        first, _, rest = (answer or b"").partition(b"\n")
        match = re.match(rb"([0-9a-f]{40,64}) commit ([0-9]+)\Z", first)
        if match is None:
            return None
        text = rest[: int(match[2])].decode("utf-8", "replace").partition("\n\n")[0]
        lines = (line.partition(" ") for line in text.split("\n") if not line.startswith(" "))
        return match[1].decode(), {key: value for key, _, value in lines}

    def branch(self) -> str | None:
        """None when a commit is checked out without a branch, as CI does."""
        answer = self._ask("symbolic-ref", "--quiet", "--short", "HEAD")
        return answer.decode("utf-8", "replace").strip() or None if answer else None

    def tree(self, commit: str, paths: Sequence[str]) -> dict[str, tuple[bytes, str]] | None:
        """Mode and blob of every committed file at or below the paths, which are relative to the root."""
        named = paths if len(paths) <= MAX_ARGUMENTS else ()
        answer = self._ask("ls-tree", "-r", "-z", commit, "--", *named)
        if answer is None:
            return None
        found = {}
        for line in answer.split(b"\0"):
            about, tab, path = line.partition(b"\t")
            if tab:
                mode, _, blob = about.split(b" ")
                found[os.fsdecode(path)] = (mode, blob.decode())
        return found

    def _ask(self, *arguments: str, given: bytes = b"") -> bytes | None:
        """What git answers; None when it cannot be run, refuses or takes too long."""
        import subprocess

        # Inherited for PATH, HOME and proxies; GIT_* would point it at another repository (in a hook, say).
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | _ENVIRONMENT
        command = ["git", "--no-pager", "--literal-pathspecs", "-C", os.fspath(self._root), *_SAFE, *arguments]
        try:
            done = subprocess.run(  # noqa: S603 - argv, no shell; git as PATH says is what users expect
                command, env=environment, input=given, capture_output=True, timeout=TIMEOUT, check=False
            )
        except (OSError, ValueError, subprocess.SubprocessError):
            return None
        return done.stdout if done.returncode == 0 else None


def _person(text: str) -> tuple[str | None, datetime | None]:
    """`Name <mail> 1700000000 +0100` -> who and when."""
    match = _PERSON.match(text)
    if match is None:
        return None, None
    offset = timedelta(hours=int(match["hours"]), minutes=int(match["minutes"]))
    try:
        zone = timezone(-offset if match["sign"] == "-" else offset)
        return match["who"], datetime.fromtimestamp(int(match["at"]), zone)
    except (ValueError, OverflowError, OSError):  # a zone or a year that no clock shows
        return match["who"], None


def _is_dirty(git: _Git, commit: str, root: Path, files: tuple[SourceFile, ...]) -> bool | None:
    """Whether any of the files differs from the commit or is not in it. None when git does not say."""
    tree = git.tree(commit, sorted({file.path.partition("/")[0] for file in files}))
    if tree is None:
        return None
    algorithm = "sha1" if len(commit) == SHA1_DIGITS else "sha256"
    blobs = {file.path: _blob(file.data, algorithm) for file in files}
    differing = {path: blob for path, blob in blobs.items() if not _is_in(tree, path, blob)}
    return _differ_behind_links(git, commit, root, differing) if differing else False


def _differ_behind_links(git: _Git, commit: str, root: Path, blobs: Mapping[str, str]) -> bool:
    """Files that were reached through links are committed where they really lie."""
    top = os.path.realpath(root)
    real = {path: os.path.relpath(os.path.realpath(f"{top}/{path}"), top) for path in blobs}
    if any(path == target for path, target in real.items()):
        return True
    tree = git.tree(commit, sorted(set(real.values()))) or {}
    return not all(_is_in(tree, real[path], blob) for path, blob in blobs.items())


def _is_in(tree: Mapping[str, tuple[bytes, str]], path: str, blob: str) -> bool:
    mode, committed = tree.get(path, (_LINK, ""))
    return mode != _LINK and committed == blob


def _blob(data: bytes, algorithm: str) -> str:
    """The name that git gives to these bytes."""
    return hashlib.new(algorithm, b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
