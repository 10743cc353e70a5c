"""Which of two commits is the older one, as far as this clone can tell. `wiring` asks before an apply, and again as it begins.

Only objects that are here are looked at; nothing is fetched.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from reconciler.model.snapshot import Provenance
from reconciler.source.git import Git


def is_older(root: Path, commit: Provenance, other: str, other_committed_at: datetime | None) -> bool:
    """Whether a commit stands before another one.

    Its history decides where it is here: of two branches that went apart, neither is older. CI's clones often have one commit
    only, or lack what lies between two that were fetched one by one; there the committers' times do.
    """
    if commit.commit is None or commit.commit == other:
        return False
    git = Git(root)
    known = git.commit(other)
    if known is not None and known[0] == other:  # and not a ref of that name
        common = (git.ask("merge-base", commit.commit, other) or b"").decode().strip()
        if common in {commit.commit, other} or git.ask("rev-parse", "--is-shallow-repository") == b"false\n":
            return common == commit.commit
    if commit.committed_at is None or other_committed_at is None:
        return False
    return other_committed_at > commit.committed_at
