"""What `watch` reads: a folder, at rest, or a branch of a repository somewhere else. Knows the loop only by what it wants."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from reconciler import pipeline, wiring
from reconciler.controller.rest import Places, read_at_rest
from reconciler.errors import NotAtRest
from reconciler.load import Memo
from reconciler.model.snapshot import Snapshot
from reconciler.pipeline import Checked
from reconciler.settings import Settings
from reconciler.source.git import Git, manifests_at
from reconciler.source.remote import Remote, web_address, without_password
from reconciler.wiring import Opened


@dataclass(slots=True)
class WatchedFolder:
    """The project's folder. `opened` is the project as it was last read without an error."""

    settings: Settings
    opened: Opened
    settle: float
    say: Callable[[str | None], None]
    memo: Memo = field(default_factory=Memo)

    def in_words(self) -> str:
        """What is watched, for people."""
        return str(self.settings.root.absolute())

    def shown_at(self) -> str | None:
        """Where a forge shows the repository that the checkout is of, if that can be told."""
        return web_address(Git(self.settings.root).origin())

    def places(self) -> Places:
        project = self.opened.project
        return Places(
            root=self.settings.root,
            folders=project.manifests,
            ignore=project.ignore,
            project=self.settings.project,
        )

    async def read(self, busy: Callable[[NotAtRest], None]) -> Checked:
        """`busy` is told why it takes long. Raises InvalidInput, SourceError, StateError."""

        def say(waits: NotAtRest | None) -> None:
            self.say(None if waits is None else f"{waits} {waits.next_step}")
            if waits is not None:
                busy(waits)

        done = await read_at_rest(self.places, self._read, settle=self.settle, say=say)
        return done.value

    def _read(self) -> Checked:
        self.opened = _opened(self.settings)
        return pipeline.check(wiring.take_snapshot(self.opened), self.opened.project, self.memo)


@dataclass(slots=True, weakref_slot=True)
class WatchedBranch:
    """`path` is the project's folder in the repository; the project file is the operator's, never the branch's."""

    settings: Settings
    opened: Opened
    remote: Remote
    path: str = "."
    memo: Memo = field(default_factory=Memo)

    def in_words(self) -> str:
        """What is watched, for people."""
        return f"{self.remote.ref} of {without_password(self.remote.url)}"

    def shown_at(self) -> str | None:
        """Where a forge shows the repository, if that can be told."""
        return web_address(self.remote.url)

    async def read(self, _: Callable[[NotAtRest], None]) -> Checked:
        """Commits are always at rest. Raises InvalidInput, SourceError, StateError."""
        try:
            return await asyncio.to_thread(self._read)
        except asyncio.CancelledError:  # the program ends, and its threads with it
            self.remote.give_up()
            raise

    def _read(self) -> Checked:
        self.opened = _opened(self.settings)
        project = self.opened.project
        commit = self.remote.fetch()
        files, found = manifests_at(
            self.remote.cache,
            commit.commit or "",
            tuple(self._inside(folder) for folder in project.manifests),
            tuple(self._inside(pattern) for pattern in project.ignore),
            project=self._inside(self.settings.project.name),
        )
        snapshot = Snapshot(files=files, project=self.opened.file, provenance=commit, diagnostics=found)
        return pipeline.check(snapshot, project, self.memo)

    def _inside(self, path: str) -> str:
        return str(PurePosixPath(self.path, path))


def _opened(settings: Settings) -> Opened:
    opened = wiring.open_project(settings)
    wiring.refuse_leftovers(opened)
    return opened


def watched_branch(opened: Opened, environ: Mapping[str, str], url: str, ref: str, path: str) -> WatchedBranch:
    """With a cache that the next start finds again, where there is a place for one; else it goes with the program. `environ` is
    git's.
    """
    settings = opened.settings
    cache, passing = _cache(settings, url), None
    if cache is None:
        passing = tempfile.TemporaryDirectory(prefix="reconciler-git-", ignore_cleanup_errors=True)
        cache = Path(passing.name)
    remote = Remote(url=url, ref=ref, cache=cache, environ=environ)
    watched = WatchedBranch(settings=settings, opened=opened, remote=remote, path=path)
    if passing is not None:
        weakref.finalize(watched, passing.cleanup)
    return watched


def _cache(settings: Settings, url: str) -> Path | None:
    environ = settings.environ
    home = environ.get("XDG_CACHE_HOME") or (f"{environ['HOME']}/.cache" if environ.get("HOME") else None)
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    if home is not None:
        folder = Path(home, "reconciler", name)
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if os.access(folder, os.W_OK):
                return folder
    return None


def with_log_level(settings: Settings, said: str | None) -> Settings:
    """What runs for months says what it does, unless it was told otherwise."""
    told = said or settings.environ.get("RECONCILER_LOG_LEVEL")
    return settings if told else replace(settings, log_level="info")
