"""Files that commands write and read for the user: whole or not at all, with errors in words."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from reconciler.errors import UsageError

MAX_READ = 64 * 1024 * 1024  # bytes; a plan of 10,000 deployments has about 20 MB
ELSEWHERE = "Choose another place."


STREAMS = (1, 2)  # stdout and stderr


def write_file(path: Path, data: bytes, *, keep: bool = False) -> None:
    """Write a file in one step, so that nobody ever sees half of it; `keep` refuses to replace one.

    What is there stays what it is: a link stays one, and the file that it leads to is replaced and keeps its mode; a pipe or
    a character device, such as /dev/null or the shell's `>(…)`, is written to. Raises UsageError, also for anything else.
    """
    try:
        known = None if keep else _known(path)
        if keep:
            _place(path, data, _usual_mode(), os.link)
        elif known is None:
            _place(_real(path), data, _usual_mode(), os.replace)
        elif stat.S_ISREG(known.st_mode):
            _refuse_our_own(path, known)
            _place(_real(path), data, stat.S_IMODE(known.st_mode), os.replace)
        elif stat.S_ISFIFO(known.st_mode) or stat.S_ISCHR(known.st_mode):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC), "wb") as stream:
                stream.write(data)
        else:
            raise UsageError(f"{path} is not a file, and nothing that can be written to.", next_step=ELSEWHERE)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", next_step=ELSEWHERE) from error


def _known(path: Path) -> os.stat_result | None:
    """What lies there, at the end of all links; None where nothing does."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve raises something else for a circle of links


def _refuse_our_own(path: Path, known: os.stat_result) -> None:
    """A file that the shell sends our output to: once it is replaced, what is shown goes nowhere."""
    for number in STREAMS:
        with contextlib.suppress(OSError):
            if os.path.samestat(known, os.fstat(number)):
                raise UsageError(f"{path} is where the output goes already.", next_step=ELSEWHERE)


def _place(path: Path, data: bytes, mode: int, put: Callable[[str, Path], None]) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        Path(temporary).chmod(mode)
        put(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _usual_mode() -> int:
    """That of a new file; mkstemp's is for secrets."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def read_file(path: Path, what: str) -> bytes:
    """A file that the user named. Raises UsageError; never waits, whatever kind of file it is."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise UsageError(f"{what} {path} is not a file but a pipe or a device.", next_step="Check the path.")
            data = stream.read(MAX_READ + 1)
    except OSError as error:
        raise UsageError(f"{what} {path} cannot be read: {error.strerror}.", next_step="Check the path.") from error
    if len(data) > MAX_READ:
        raise UsageError(f"{what} {path} is larger than {MAX_READ} bytes.", next_step="Check the path.")
    return data
