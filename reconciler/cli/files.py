"""Files that commands write and read for the user: whole or not at all, with errors in words."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from reconciler.errors import UsageError

MAX_READ = 64 * 1024 * 1024  # bytes; a plan of 10,000 deployments has about 20 MB


def write_file(path: Path, data: bytes, *, keep: bool = False) -> None:
    """Write a file in one step, so that nobody ever sees half of it; `keep` refuses to replace one. Raises UsageError."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
            _permit(temporary)
            if keep:
                os.link(temporary, path)
            else:
                Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", next_step="Choose another place.") from error


def _permit(path: str) -> None:
    """The mode that a new file usually has; mkstemp's is for secrets."""
    mask = os.umask(0)
    os.umask(mask)
    Path(path).chmod(0o666 & ~mask)


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
