"""What a power cut takes: everything that was written and not synced, remembered so that it can be undone.

The kernel keeps what a killed process has written, so a kill alone never shows a missing sync. `injector` tells every
change of a file or a folder here, and every sync; `lose` puts back what no sync has made durable. The contents of a file are
made durable by syncing it, names by syncing their folder.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# As they are before the injector takes their place.
_open, _pwrite, _pread, _ftruncate, _replace, _unlink, _link = (
    os.open,
    os.pwrite,
    os.pread,
    os.ftruncate,
    os.replace,
    os.unlink,
    os.link,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """One change that no sync covers yet. `inode` is of the file for contents, of the folder for names."""

    inode: int
    is_name: bool
    undo: Callable[[], None]


class Unsynced:
    """The changes since the last syncs, oldest first. `attic` is a folder on the same file system for what may come back."""

    def __init__(self, attic: Path, seed: int | None, image: int | None = None) -> None:
        self._attic = attic
        self._random = None if seed is None else random.Random(seed)
        self._image = image
        self._names = itertools.count()
        self._changes: list[_Change] = []

    @property
    def images(self) -> int:
        """How many different things the power may leave: names up to some moment, and of every write that it is there or not."""
        names = sum(change.is_name for change in self._changes)
        return (names + 1) << (len(self._changes) - names)

    def lose(self) -> None:
        """The power goes. Without a seed or an image everything unsynced is gone; with a seed, a part of it; an image is one of
        `images`, of which 0 has nothing and the last one everything.
        """
        image = self._image if self._image is not None else self._random.randrange(self.images) if self._random else 0
        names = sum(change.is_name for change in self._changes)
        writes, kept = divmod(image, names + 1)
        for change in reversed(self._changes):
            if change.is_name:
                names -= 1
                is_kept = names < kept
            else:
                writes, is_kept = writes >> 1, bool(writes & 1)
            if not is_kept:
                change.undo()

    def synced(self, fd: int) -> None:
        inode = os.fstat(fd).st_ino
        self._changes = [change for change in self._changes if change.inode != inode]

    # To be told before the change happens

    def contents(self, fd: int, offset: int, length: int) -> None:
        """`length` bytes at `offset` are about to be written, or everything from `offset` on to be cut (`length` 0)."""
        found = os.fstat(fd)
        held = _open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)  # not a duplicate, which would keep a lock alive
        before = _pread(held, length or max(0, found.st_size - offset), offset)

        def undo() -> None:
            _pwrite(held, before, offset)
            _ftruncate(held, found.st_size)

        self._changes.append(_Change(inode=found.st_ino, is_name=False, undo=undo))

    def name_given(self, path: Path, forget: Callable[[str | Path], None] = _unlink) -> None:
        """A file or folder is about to be made."""
        self._changes.append(_Change(inode=_folder(path), is_name=True, undo=lambda: forget(path)))

    def name_taken(self, path: Path) -> None:
        """A file is about to be unlinked."""
        kept = self._keep(path)
        if kept is not None:
            self._changes.append(_Change(inode=_folder(path), is_name=True, undo=lambda: _link(kept, path)))

    def renamed(self, source: Path, target: Path) -> None:
        """A file is about to take the name of another one, or a free one, in the same folder."""
        kept = self._keep(target)

        def undo() -> None:
            _replace(target, source)
            if kept is not None:
                _link(kept, target)

        self._changes.append(_Change(inode=_folder(target), is_name=True, undo=undo))

    def folder_made(self, path: Path) -> None:
        """Whatever is in it is lost with it."""
        self.name_given(path, shutil.rmtree)

    def _keep(self, path: Path) -> Path | None:
        kept = self._attic / f"{os.getpid()}-{next(self._names)}"
        try:
            _link(path, kept)
        except FileNotFoundError:
            return None
        return kept


def _folder(path: Path) -> int:
    return path.parent.stat().st_ino
