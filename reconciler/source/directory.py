"""Files of a folder: the project file and the manifests, as bytes. `wiring` calls it; nothing here knows what they mean.

Only regular files are opened, and never in a way that could wait: what a FIFO, a device or a socket would do is not tried.
Links are followed while they stay inside the root. Every step down is taken from an open folder and without following links,
so that a folder that is swapped for a link meanwhile leads nowhere else.

What is read: files named `*.yaml` or `*.yml`, at any depth. What is skipped without a word: names that begin with a dot, the
project file, and what `ignore` names (`source.globs`). A file that several folders or links lead to is read once: under its
own path where that lies in the folders, else under the first link's.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ELOOP
from pathlib import Path

from reconciler.diagnostics import Diagnostic, Position, in_order
from reconciler.errors import SourceError
from reconciler.load.guard import MAX_BYTES
from reconciler.model.snapshot import SourceFile
from reconciler.source.globs import matcher

PROJECT_FILE = "reconciler.yaml"
ENDINGS = (".yaml", ".yml")
MAX_FOLDERS = 64  # how deep folders may lie in each other; each one above is kept open meanwhile

# O_NONBLOCK: opening a FIFO must not wait for a writer. O_NOCTTY: opening a terminal must not make it ours.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
)


CHECK_FOLDERS = "Check `manifests:` in the project file, and -C; nothing is taken for deleted."
CHECK_EMPTY = f"{CHECK_FOLDERS} `ignore:` and hidden folders hide files."


class _Unreadable(Exception):
    """Why something is not read; becomes a diagnostic."""

    def __init__(self, code: str, message: str, *, allowed: str | None = None, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.allowed, self.suggestion = code, message, allowed, suggestion


def read_project(root: Path, name: str = PROJECT_FILE) -> SourceFile | None:
    """The project file; None when there is none. Raises SourceError when there is one that cannot be read."""
    if not os.path.lexists(root / name):
        return None
    try:
        top = os.path.realpath(root)
        data = _read_at(top, _target(top, name))
    except (OSError, _Unreadable) as error:
        refused = _refusal(error)
        raise SourceError(
            f"The project file cannot be read: {refused.message}.", diagnostics=(_diagnostic(name, refused),)
        ) from error
    return SourceFile(path=name, data=data)


def read_manifests(
    root: Path, folders: Iterable[str], ignore: Iterable[str], *, project: str = PROJECT_FILE
) -> tuple[tuple[SourceFile, ...], tuple[Diagnostic, ...]]:
    """Every manifest file below the folders, sorted by path, and what could not be read.

    A folder that is missing or holds no manifest is an error too: nothing there would look like everything deleted.
    """
    walk = _Walk(root=os.path.realpath(root), is_ignored=matcher(ignore), project=project)
    for folder in dict.fromkeys(folders):
        walk.start(folder)
    walk.follow_links()
    walk.refuse_empty()
    return tuple(SourceFile(path=path, data=walk.files[path]) for path in sorted(walk.files)), in_order(walk.found)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class _Spot:
    """A file or folder: the path by which it was reached and the one where it really lies, both relative to the root."""

    path: str
    real: str

    def inside(self, name: str) -> _Spot:
        return _Spot(path=_joined(self.path, name), real=_joined(self.real, name))


class _Walk:
    """One reading of the folders. Links wait until the end, so that files are read under their own paths."""

    def __init__(self, *, root: str, is_ignored: Callable[[str], bool], project: str) -> None:
        self._root, self._is_ignored, self._project = root, is_ignored, project
        self.files: dict[str, bytes] = {}
        self.found: list[Diagnostic] = []
        self._starts: list[tuple[str, _Spot]] = []
        self._visited: set[str] = set()  # real paths of folders
        self._taken: dict[str, str] = {}  # real path of each manifest, readable or not -> its path
        self._links: list[_Spot] = []

    def start(self, folder: str) -> None:
        """Walk one of the folders that the project names."""
        path = os.path.normpath(folder)
        try:
            spot = _Spot(path=path, real=_target(self._root, path))
            with _opened(self._root, spot.real) as descriptor:
                self._folder(descriptor, spot, 0)
        except (FileNotFoundError, ValueError):  # ValueError: a NUL in the name
            self._say(path, _Unreadable("RC101", f"there is no folder {folder!r}", suggestion=CHECK_FOLDERS))
        except NotADirectoryError:
            self._say(path, _Unreadable("RC101", f"{folder} is not a folder", suggestion=CHECK_FOLDERS))
        except (OSError, _Unreadable) as error:
            self._say(path, _refusal(error))
        else:
            self._starts.append((folder, spot))

    def follow_links(self) -> None:
        """Files and folders that links inside the root lead to; their folders may hold further links."""
        while self._links:
            links, self._links = sorted(self._links), []
            for link in links:
                self._attempt(link.path, lambda link=link: self._follow(link))  # type: ignore[misc]

    def refuse_empty(self) -> None:
        """A folder without manifests is as suspicious as a missing one."""
        for folder, spot in self._starts:
            if not any(_is_below(path, spot.path) or _is_below(real, spot.real) for real, path in self._taken.items()):
                message = f"there is no *.yaml or *.yml file in {folder}"
                self._say(spot.path, _Unreadable("RC101", message, suggestion=CHECK_EMPTY))

    def _folder(self, descriptor: int, folder: _Spot, depth: int) -> None:
        if folder.real in self._visited:
            return
        self._visited.add(folder.real)
        if depth > MAX_FOLDERS:
            raise _Unreadable("RC102", "too many folders in each other", allowed=f"at most {MAX_FOLDERS}")
        with os.scandir(descriptor) as listing:
            entries = [entry for entry in listing if not entry.name.startswith(".")]
        for entry in entries:
            self._entry(descriptor, entry, folder, depth)

    def _entry(self, parent: int, entry: os.DirEntry[str], folder: _Spot, depth: int) -> None:
        is_folder, is_link = entry.is_dir(follow_symlinks=False), entry.is_symlink()
        if not (is_folder or is_link or entry.name.endswith(ENDINGS)):
            return
        spot = folder.inside(entry.name)
        if self._is_ignored(spot.path):
            return
        if not _is_text(entry.name):
            self._say(spot.path, _Unreadable("RC102", "its name is not UTF-8"))
        elif is_link:
            self._links.append(spot)
        elif is_folder:
            self._attempt(spot.path, lambda: self._down(parent, entry.name, spot, depth + 1))
        else:
            self._take(spot, lambda: _read(entry.name, parent, known_regular=entry.is_file(follow_symlinks=False)))

    def _down(self, parent: int, name: str, spot: _Spot, depth: int) -> None:
        descriptor = os.open(name, _FOLDER, dir_fd=parent)
        try:
            self._folder(descriptor, spot, depth)
        finally:
            os.close(descriptor)

    def _take(self, spot: _Spot, read: Callable[[], bytes]) -> None:
        if spot.real == self._project or spot.real in self._taken:
            return
        self._taken[spot.real] = spot.path
        try:
            self.files[spot.path] = read()
        except (OSError, _Unreadable) as error:
            self._say(spot.path, _refusal(error))

    def _follow(self, link: _Spot) -> None:
        """A link that is neither named as a manifest nor leads to a folder concerns nobody."""
        is_manifest = link.path.endswith(ENDINGS)
        is_folder = Path(self._root, link.real).is_dir()
        if not (is_manifest or is_folder):
            return
        target = _target(self._root, link.real)
        if _is_below(link.real, target):
            raise _Unreadable("RC105", "the link leads to a folder that it lies in")
        spot = _Spot(path=link.path, real=target)
        if is_folder:
            with _opened(self._root, target) as descriptor:
                self._folder(descriptor, spot, link.path.count("/"))
        else:
            self._take(spot, lambda: _read_at(self._root, target))

    def _attempt(self, path: str, step: Callable[[], None]) -> None:
        try:
            step()
        except (OSError, _Unreadable) as error:
            self._say(path, _refusal(error))

    def _say(self, path: str, refused: _Unreadable) -> None:
        self.found.append(_diagnostic(path, refused))


def _joined(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"


def _is_below(path: str, folder: str) -> bool:
    return folder in {".", path} or path.startswith(f"{folder}/")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _target(root: str, path: str) -> str:
    """Where a path inside the root really leads, relative to the root."""
    if path.startswith(("/", "../")) or path == "..":
        raise _outside(path)
    try:
        real = os.path.realpath(f"{root}/{path}", strict=True)
    except FileNotFoundError:
        if os.path.lexists(f"{root}/{path}"):
            raise _Unreadable("RC102", "the link leads nowhere", suggestion="Remove the link, or mend it.") from None
        raise
    if real != root and not real.startswith(root.rstrip("/") + "/"):
        raise _outside(path)
    return os.path.relpath(real, root)


def _outside(path: str) -> _Unreadable:
    return _Unreadable(
        "RC104",
        f"{path} leads out of the project's folder",
        suggestion="Put the file inside the project; links inside it are fine.",
    )


@contextmanager
def _opened(root: str, path: str) -> Iterator[int]:
    """A folder inside the root, reached without following a link."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in () if path == "." else path.split("/"):
            parent, descriptor = descriptor, os.open(name, _FOLDER, dir_fd=descriptor)
            os.close(parent)
        yield descriptor
    finally:
        os.close(descriptor)


def _read_at(root: str, path: str) -> bytes:
    folder, _, name = path.rpartition("/")
    with _opened(root, folder or ".") as descriptor:
        return _read(name, descriptor)


def _read(name: str, parent: int, *, known_regular: bool = False) -> bytes:
    """A regular file's bytes. What is not regular is not even opened: opening a device can do something."""
    if not known_regular:
        _must_be_regular(os.stat(name, dir_fd=parent, follow_symlinks=False))
    descriptor = os.open(name, _FILE, dir_fd=parent)
    try:
        status = os.fstat(descriptor)
        _must_be_regular(status)
        return _whole(descriptor, status.st_size)
    finally:
        os.close(descriptor)


def _must_be_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(status.st_mode)), "something else")
        raise _Unreadable("RC103", f"{kind} is not read", allowed="a regular file")


def _whole(descriptor: int, size: int) -> bytes:
    """Everything, one byte beyond the limit at most; `size` saves reading on in most cases."""
    if size <= MAX_BYTES:
        data = os.read(descriptor, size + 1)
        if len(data) == size > 0:
            return data
        while len(data) <= MAX_BYTES and (more := os.read(descriptor, MAX_BYTES + 1 - len(data))):
            data += more
        if len(data) <= MAX_BYTES:
            return data
    raise _Unreadable(
        "RC202", f"the file has {max(size, MAX_BYTES + 1):,} bytes or more", allowed=f"at most {MAX_BYTES:,} bytes"
    )


def _refusal(error: OSError | _Unreadable) -> _Unreadable:
    if isinstance(error, _Unreadable):
        return error
    if error.errno == ELOOP:
        return _Unreadable("RC105", "the link leads to itself")
    return _Unreadable("RC102", f"it cannot be read: {error.strerror or error}")


def _diagnostic(path: str, refused: _Unreadable) -> Diagnostic:
    printable = os.fsencode(path).decode("utf-8", "backslashreplace")
    return Diagnostic(
        code=refused.code,
        message=refused.message,
        position=Position(file=printable),
        allowed=refused.allowed,
        suggestion=refused.suggestion,
    )
