"""Where files come from, as far as git knows: commit, author, branch, and whether what was read is what was committed.

Called by `wiring` with the files that were read. Only git's plumbing is asked (`source.git`), which reads neither index nor
working tree: so no hook, filter, file monitor or pager that a hostile checkout configures is ever run, and nothing is
fetched. Whether a file differs is told by hashing the bytes that were read, so it also holds when the file has changed
since. Whatever goes wrong, the answer is "not known".
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from reconciler.model.snapshot import NO_PROVENANCE, Provenance, SourceFile
from reconciler.source.git import LINK, Git, provenance_from

SHA1_DIGITS = 40


def provenance_of(root: Path, files: Iterable[SourceFile]) -> Provenance:
    """Of the checkout that the root lies in; everything None outside of one, or when git is missing or refuses."""
    git = Git(root)
    head = git.commit()
    if head is None:
        return NO_PROVENANCE
    return provenance_from(*head, branch=git.branch(), dirty=_is_dirty(git, head[0], root, tuple(files)))


def _is_dirty(git: Git, commit: str, root: Path, files: tuple[SourceFile, ...]) -> bool | None:
    """Whether any of the files differs from the commit or is not in it. None when git does not say."""
    tree = _tree(git, commit, sorted({file.path.partition("/")[0] for file in files}))
    if tree is None:
        return None
    algorithm = "sha1" if len(commit) == SHA1_DIGITS else "sha256"
    blobs = {file.path: _blob(file.data, algorithm) for file in files}
    differing = {path: blob for path, blob in blobs.items() if not _is_in(tree, path, blob)}
    return _differ_behind_links(git, commit, root, differing) if differing else False


def _differ_behind_links(git: Git, commit: str, root: Path, blobs: Mapping[str, str]) -> bool:
    """Files that were reached through links are committed where they really lie."""
    top = os.path.realpath(root)
    real = {path: os.path.relpath(os.path.realpath(f"{top}/{path}"), top) for path in blobs}
    if any(path == target for path, target in real.items()):
        return True
    tree = _tree(git, commit, sorted(set(real.values()))) or {}
    return not all(_is_in(tree, real[path], blob) for path, blob in blobs.items())


def _tree(git: Git, commit: str, paths: Sequence[str]) -> dict[str, tuple[bytes, str]] | None:
    """Mode and name of every committed file at or below the paths; None when git does not say."""
    listed = git.tree(commit, paths)
    return None if listed is None else {os.fsdecode(blob.path): (blob.mode, blob.name) for blob in listed}


def _is_in(tree: Mapping[str, tuple[bytes, str]], path: str, blob: str) -> bool:
    mode, committed = tree.get(path, (LINK, ""))
    return mode != LINK and committed == blob


def _blob(data: bytes, algorithm: str) -> str:
    """The name that git gives to these bytes."""
    return hashlib.new(algorithm, b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
