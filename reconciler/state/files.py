"""Files that survive a crash: the few system calls the file store and its repair are made of.

Regular files only, links never followed, 0600 in 0700 folders. An OSError becomes a StateError that names file, cause and
fix (`translated`); a failed sync becomes DurabilityLost, because what the disk holds is then unknown for good.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reconciler.errors import StateError
from reconciler.state.store import DurabilityLost

_LOCK_PATIENCE = 10.0  # seconds; a transaction takes milliseconds, so a longer one is a stopped process
_LOCK_PAUSES = (0.0002, 0.02)  # seconds, from the first to the longest

# errno -> cause, next step
_CAUSES = {
    errno.ENOSPC: ("the disk is full", "Free some space and run it again; nothing was half-written."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space and run it again; nothing was half-written."),
    errno.EFBIG: ("a limit on the size of files forbids it", "Raise `ulimit -f` and run it again."),
    errno.EROFS: ("the file system is read-only", "Mount it writable; commands that only read go on working."),
    errno.EACCES: ("permission is denied", "Run as the user who owns the state, or give this one the right to it."),
    errno.EPERM: ("permission is denied", "Run as the user who owns the state, or give this one the right to it."),
    errno.EMFILE: ("this process has too many files open", "Raise `ulimit -n`, or lower --parallelism."),
    errno.ENFILE: ("the system has too many files open", "Close other programs and run it again."),
    errno.EIO: ("the disk reports an error", "Look at the disk; make a copy of the state folder before anything else."),
    errno.ELOOP: ("it is a symbolic link, and the files of a state are never links", "Put the file itself there."),
    errno.ENOLCK: ("this file system has no locks", "Put the state on a local disk."),
    errno.EOPNOTSUPP: ("this file system has no locks", "Put the state on a local disk."),
}


def state_error(error: OSError, path: Path, what: str) -> StateError:
    """`path cannot be <what>: <cause>`, with the way out."""
    cause, step = _CAUSES.get(
        error.errno or 0, (error.strerror or str(error), "Check the path `state` in the project file.")
    )
    return StateError(f"{path} cannot be {what}: {cause}", next_step=step)


@contextmanager
def translated(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise state_error(error, path, what) from error


class Descriptor:
    """An open file, closed at the latest when nobody holds it any more."""

    __slots__ = ("fd", "inode")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.inode = -1
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        self.inode = found.st_ino

    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def is_at(self, path: Path) -> bool:
        """Whether the path still leads to this very file."""
        try:
            return path.lstat().st_ino == self.inode
        except FileNotFoundError:
            return False

    def read(self, offset: int, size: int) -> bytes:
        parts = []
        while size > 0 and (part := os.pread(self.fd, size, offset)):
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return b"".join(parts)

    def write(self, data: bytes, offset: int = 0) -> None:
        """One pwrite, save on a disk that takes less at once."""
        while data:
            written = os.pwrite(self.fd, data, offset)
            data, offset = data[written:], offset + written

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        with suppress(AttributeError, OSError):
            self.close()


def open_file(path: Path, flags: int) -> Descriptor:
    """Raises OSError for links, folders, FIFOs and devices, and never waits for one."""
    return Descriptor(os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600))


def read_file(path: Path) -> bytes:
    file = open_file(path, os.O_RDONLY)
    try:
        return file.read(0, file.size() + 1)
    finally:
        file.close()


def make_folder(path: Path) -> None:
    """The folder, and those above it, for the owner alone."""
    if not path.is_dir():
        if path.parent != path:
            make_folder(path.parent)
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
            sync_folder(path.parent)


def write_file(path: Path, data: bytes) -> None:
    """All or nothing: a file beside it, synced, takes its name. The writer holds a lock, so the name beside is free."""
    beside = path.with_name(f".{path.name}.new")
    file = open_file(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        file.write(data)
        _sync_fresh(file, path)
    except (OSError, DurabilityLost):
        _discard(beside)
        raise
    finally:
        file.close()
    beside.replace(path)
    sync_folder(path.parent)


def sync(file: Descriptor, path: Path) -> None:
    """What was written is on the disk when this returns."""
    try:
        os.fdatasync(file.fd)
    except OSError as error:
        raise _lost(error, path) from error


def sync_folder(path: Path) -> None:
    """Names that were given or taken in the folder are on the disk when this returns."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        raise _lost(error, path) from error
    finally:
        os.close(fd)


def _sync_fresh(file: Descriptor, path: Path) -> None:
    """A file that nobody relies on yet may find the disk full only now; then nothing is lost."""
    try:
        os.fsync(file.fd)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise _lost(error, path) from error


def _lost(error: OSError, path: Path) -> DurabilityLost:
    return DurabilityLost(f"the disk did not confirm what was written to {path}: {error.strerror or error}")


def _discard(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


# flock


def try_lock(file: Descriptor) -> bool:
    """Takes the lock of a file when it is free. It is freed by `unlock`, by closing, and by the death of the process."""
    try:
        fcntl.flock(file.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for_lock(file: Descriptor, path: Path) -> None:
    """Takes the lock of a file. Raises StateError when somebody keeps it longer than any transaction takes."""
    pause, longest = _LOCK_PAUSES
    deadline = time.monotonic() + _LOCK_PATIENCE
    while not try_lock(file):
        if time.monotonic() > deadline:
            raise StateError(
                f"{path} has been locked for {_LOCK_PATIENCE:.0f} s by another process, which seems to be stopped",
                next_step="Find the process (`fuser`, `lsof`), and let it go on or end it.",
            )
        time.sleep(pause)
        pause = min(pause * 2, longest)


def unlock(file: Descriptor) -> None:
    fcntl.flock(file.fd, fcntl.LOCK_UN)
