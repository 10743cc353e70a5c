"""Reads manifests while somebody swaps what lies there, in the very instant between looking and opening.

`python -m tests.security.swapping FOLDER` prints what was read and what was said, as JSON. Python tells of each opening just
before the system is asked; here it is answered by putting something else into the place.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reconciler.errors import SourceError
from reconciler.source.directory import read_manifests, read_project

SECRET = "content: of somebody else\n"

Swap = Callable[[Path, Path], None]


def _link(place: Path, outside: Path) -> None:
    place.symlink_to(outside)


def _socket(place: Path, _: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    os.chdir(place.parent)  # the name of a socket is short
    server.bind(place.name)


def _folder(place: Path, _: Path) -> None:
    place.mkdir()


SWAPS: dict[str, Swap] = {
    "link": _link,
    "device": lambda place, _: place.symlink_to("/dev/zero"),
    "terminal": lambda place, _: place.symlink_to("/dev/tty"),
    "fifo": lambda place, _: os.mkfifo(place),
    "socket": _socket,
    "folder": _folder,
    "nothing": lambda place, _: None,
    "huge": lambda place, _: os.truncate(os.open(place, os.O_CREAT | os.O_WRONLY), 1 << 40),
}
# What is opened when the swap happens, by its name alone, and what of the project that is.
PLACES = {"a.yaml": "manifests/a.yaml", "sub": "manifests/sub", "real": "real", "reconciler.yaml": "reconciler.yaml"}


def project(folder: Path) -> Path:
    """A project whose manifests lie in a folder, in one below it, and behind a link."""
    root = folder / "project"
    (root / "manifests/sub").mkdir(parents=True)
    (root / "real").mkdir()
    for name in ("manifests/a.yaml", "manifests/sub/b.yaml", "real/c.yaml", "manifests/z.yaml", "reconciler.yaml"):
        (root / name).write_text(f"of: {name}\n", encoding="utf-8")
    (root / "manifests/l.yaml").symlink_to("../real/c.yaml")
    for name in ("a.yaml", "b.yaml", "c.yaml", "reconciler.yaml"):
        (folder / "outside").mkdir(exist_ok=True)
        (folder / "outside" / name).write_text(SECRET, encoding="utf-8")
    return root


def read(folder: Path, place: str, swap: str) -> dict[str, Any]:
    """What comes of reading it all when the place is swapped once."""
    root = project(folder)
    waiting = [place]

    def opening(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and waiting and str(arguments[0]).rpartition("/")[2] == waiting[0]:
            at = root / PLACES[waiting.pop()]
            shutil.rmtree(at) if at.is_dir() else at.unlink()
            outside = folder / "outside" if place in {"sub", "real"} else folder / "outside" / at.name
            SWAPS[swap](at, outside)

    sys.addaudithook(opening)
    try:
        file = read_project(root)
        told = file.data.decode() if file is not None else ""
    except SourceError as error:
        told = f"refused: {error}"
    files, found = read_manifests(root, ["manifests"], [])
    waiting_still, waiting[:] = bool(waiting), []
    return {
        "project": told,
        "files": {file.path: file.data.decode() for file in files},
        "found": [one.code for one in found],
        "swapped": not waiting_still,
    }


if __name__ == "__main__":
    print(json.dumps(read(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
