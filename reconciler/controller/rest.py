"""Files are read only when they are at rest: nobody has touched them for a while, and nobody did while they were read.

`cli.watch` gives `read_at_rest` what to read, and `places` what to look at. Whether something was touched is told by the time
of the last change of status (`st_ctime`), which unlike the time of modification nobody can set: it moves with every write,
rename and link, and a folder's with every name that comes or goes. So an editor that replaces a file, a link that is swapped,
a folder that is removed and made anew, and a copy that keeps old times all count.
"""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from reconciler.errors import NotAtRest
from reconciler.source.globs import matcher

T = TypeVar("T")

ENDINGS = (".yaml", ".yml")
MAX_FOLDERS = 64
NANO = 1e9
BUSY = 0.05  # seconds until files that are being written are looked at again
IMPATIENT = 10.0  # seconds beyond the settle time after which it is said what is waited for
AGAIN = 180.0  # seconds after which it is said again

# What is remembered of a file or folder: which one it is, how long it is, when it was written. A folder's size says nothing.
Mark: TypeAlias = tuple[str, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexLock:
    """The file that git holds while it changes the working tree, and since when it is there, in seconds since 1970."""

    path: Path
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The files at one moment. `touched` is the last change of any of them, in seconds since 1970, and `newest` the one that
    changed. While git is at work there is `lock`, and nothing else was looked at.
    """

    marks: tuple[Mark, ...] = ()
    touched: float = 0.0
    newest: str = field(default="", compare=False)
    lock: IndexLock | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where manifests and project file lie. `folders` are relative to the root, `project` is a path of its own."""

    root: Path
    folders: tuple[str, ...]
    ignore: tuple[str, ...]
    project: Path


def look_at(places: Places) -> Look:
    """Everything that reading would read. What cannot be looked at is left to the reading to complain about."""
    lock = _git_at_work(places.root)
    if lock is not None:
        return Look(lock=lock)
    walk = _Walk(places)
    walk.take(places.project)
    for folder in places.folders:
        walk.start(folder)
    return Look(marks=tuple(sorted(walk.marks)), touched=walk.touched / NANO, newest=walk.newest)


class _Walk:
    def __init__(self, places: Places) -> None:
        self._root = os.fspath(places.root)
        self._is_ignored = matcher(places.ignore)
        self._seen: set[tuple[int, int]] = set()
        self.marks: list[Mark] = []
        self.touched = 0
        self.newest = ""

    def take(self, path: Path) -> None:
        """One file, and the links on the way to it."""
        self._links(path)
        with suppress(OSError):
            self._mark(os.fspath(path), path.stat())

    def start(self, folder: str) -> None:
        path = Path(self._root, folder)
        self._links(path)
        with suppress(OSError, ValueError):
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                self._folder(os.fspath(path), os.path.normpath(folder), status, 0)

    def _links(self, path: Path) -> None:
        for link in links_on(path):
            with suppress(OSError):
                self._mark(f"{link}@", link.lstat())

    def _folder(self, where: str, path: str, status: os.stat_result, depth: int) -> None:
        key = (status.st_dev, status.st_ino)
        if key in self._seen or depth > MAX_FOLDERS:
            return
        self._seen.add(key)
        self._mark(f"{where}/", status)
        try:
            with os.scandir(where) as listing:
                entries = [entry for entry in listing if not entry.name.startswith(".")]
        except OSError:
            return
        for entry in entries:
            with suppress(OSError):
                self._entry(entry, entry.name if path == "." else f"{path}/{entry.name}", depth)

    def _entry(self, entry: os.DirEntry[str], path: str, depth: int) -> None:
        is_link = entry.is_symlink()
        if not (is_link or entry.name.endswith(ENDINGS) or entry.is_dir(follow_symlinks=False)) or self._is_ignored(
            path
        ):
            return
        if is_link:
            self._mark(f"{entry.path}@", entry.stat(follow_symlinks=False))
        status = entry.stat()
        if stat.S_ISDIR(status.st_mode):
            self._folder(entry.path, path, status, depth + 1)
        elif entry.name.endswith(ENDINGS):
            self._mark(entry.path, status)

    def _mark(self, path: str, status: os.stat_result) -> None:
        size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
        self.marks.append((path, status.st_ino, size, status.st_mtime_ns))
        if status.st_ctime_ns > self.touched:
            self.touched, self.newest = status.st_ctime_ns, path.removeprefix(f"{self._root}/").rstrip("@/")


def links_on(path: Path) -> Iterator[Path]:
    """Every link on the way to a path, the links that links lead through included."""
    todo, seen = [path.absolute()], set[Path]()
    while todo:
        whole = todo.pop()
        for part in (*reversed(whole.parents), whole):
            if part in seen or not part.is_symlink():
                continue
            seen.add(part)
            yield part
            with suppress(OSError):
                rest = whole.relative_to(part)
                todo.append(Path(os.path.normpath(part.parent / part.readlink() / rest)))
            break


def _git_at_work(root: Path) -> IndexLock | None:
    """In the checkout that the folder is in, if it is in one."""
    with suppress(OSError):
        for folder in (root, *root.absolute().parents):
            git = folder / ".git"
            if git.is_file():
                text = git.read_text("utf-8", "replace")
                git = folder / text.removeprefix("gitdir:").strip() if text.startswith("gitdir:") else git
            if git.is_dir():
                lock = git / "index.lock"
                return IndexLock(path=lock, since=lock.lstat().st_mtime)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Generic[T]):
    """What was read at rest, and what it was read from."""

    value: T
    look: Look


async def read_at_rest(
    places: Callable[[], Places],
    read: Callable[[], T],
    *,
    settle: float,
    say: Callable[[NotAtRest | None], None],
    wall: Callable[[], float] = time.time,
) -> Read[T]:
    """Waits until nothing was touched for `settle` seconds, and reads; again, when something was touched meanwhile.

    `say` is told what is waited for when it takes long, and None when that is over. Raises what `read` raises, once at rest.
    """
    loop = asyncio.get_running_loop()
    waiting, patience = _Waiting(settle, wall), _Patience(settle, wall(), loop.time())
    while True:
        look = await asyncio.to_thread(look_at, places())
        delay = waiting.delay(look, loop.time())
        if delay <= 0:
            outcome = await asyncio.to_thread(_attempt, look, places, read)
            if outcome is not None:
                if patience.is_lost:
                    say(None)
                if isinstance(outcome, Exception):
                    raise outcome
                return outcome
            delay = BUSY
        if patience.is_due(look, loop.time()):
            say(patience.told(look, loop.time()))
        await asyncio.sleep(delay)


def _attempt(look: Look, places: Callable[[], Places], read: Callable[[], T]) -> Read[T] | Exception | None:
    """None when something was touched while it was read."""
    outcome: Read[T] | Exception
    try:
        outcome = Read(value=read(), look=look)
    except Exception as error:  # noqa: BLE001 - whether it counts is known only once the files are seen to be at rest
        outcome = error
    return outcome if look_at(places()) == look else None


class _Waiting:
    """How long until the files may be read. A clock that was set back is not believed: then they must be seen unchanged."""

    def __init__(self, settle: float, wall: Callable[[], float]) -> None:
        self._settle, self._wall = settle, wall
        self._last: Look | None = None
        self._since = 0.0

    def delay(self, look: Look, now: float) -> float:
        if look.lock is not None:
            self._last = None
            return BUSY
        if look != self._last:
            self._last, self._since = look, now
        age = self._wall() - look.touched
        return 0.0 if age >= self._settle else min(self._settle - max(age, 0.0), self._since + self._settle - now)


class _Patience:
    """When it is said what is waited for: after a while, then now and then, and sooner when it is something else."""

    def __init__(self, settle: float, since: float, now: float) -> None:
        self._settle, self._since = settle, since
        self._due = self._other_due = now + settle + IMPATIENT
        self._was_git: bool | None = None

    @property
    def is_lost(self) -> bool:
        """Whether anything was said."""
        return self._was_git is not None

    def is_due(self, look: Look, now: float) -> bool:
        is_other = self._was_git is not (look.lock is not None)
        return now >= (self._other_due if is_other else self._due)

    def told(self, look: Look, now: float) -> NotAtRest:
        self._due, self._other_due, self._was_git = now + AGAIN, now + IMPATIENT, look.lock is not None
        if look.lock is not None:
            since = datetime.fromtimestamp(look.lock.since, UTC)
            return NotAtRest(
                f"Git is at work in the checkout: {look.lock.path} is there since {_in_words(since)}."
                " Until it is gone the manifests are not read.",
                since=since,
                next_step="If git is not running there, one that was interrupted left the file behind: remove it.",
            )
        since = datetime.fromtimestamp(self._since, UTC)
        return NotAtRest(
            f"The files keep changing since {_in_words(since)}, the last one is {look.newest}."
            f" The manifests are read when nothing was changed for {self._settle:g} s.",
            since=since,
            next_step="Find out what writes there; copy beside, then rename.",
        )


def _in_words(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def folders_of(paths: Iterable[Path]) -> Iterator[Path]:
    """The folders in which the links on the way to these paths lie: where a swap is seen."""
    for path in paths:
        for link in links_on(path):
            yield link.parent
