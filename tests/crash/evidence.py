"""What a failure leaves behind: how to repeat it, and everything that was written."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder_for(scratch: Path, name: str, keep: Path, repeat: str) -> Iterator[Path]:
    """A fresh folder, removed in the end; after a failure it is copied to `keep`, and the error says how to repeat it."""
    folder = scratch / name
    folder.mkdir(parents=True)
    try:
        yield folder
    except Exception as error:
        kept = keep / name
        shutil.copytree(folder, kept, ignore=_cannot_be_copied, symlinks=True)
        raise AssertionError(
            f"{error}\n\nRepeat it: .venv/bin/python tools/torture.py {repeat}\nEvidence: {kept}"
        ) from error
    finally:
        shutil.rmtree(folder)


def _cannot_be_copied(folder: str, names: list[str]) -> list[str]:
    """FIFOs and sockets."""
    paths = [Path(folder, name) for name in names]
    return [path.name for path in paths if not (path.is_symlink() or path.is_file() or path.is_dir())]
