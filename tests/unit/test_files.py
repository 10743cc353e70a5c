"""What is written by a name that the user gave stays what it was: a file, a link, a pipe."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path

import pytest

from reconciler.cli.files import write_file
from reconciler.errors import UsageError


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def inside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refused(path: Path, *, keep: bool = False) -> str:
    """Why nothing is written; nothing is left lying about either."""
    before = inside(path.parent)
    with pytest.raises(UsageError) as refusal:
        write_file(path, b"new", keep=keep)
    assert inside(path.parent) == before
    return str(refusal.value)


def test_file(tmp_path: Path) -> None:
    """A new file has the usual mode; one that is replaced keeps its own, and nobody who reads it sees half of either."""
    path = tmp_path / "plan.json"
    write_file(path, b"first")
    assert mode_of(path) & 0o133 == 0
    path.chmod(0o600)
    with path.open("rb") as reader:
        write_file(path, b"new")
        assert reader.read() == b"first"
    assert (path.read_bytes(), mode_of(path)) == (b"new", 0o600)
    assert inside(tmp_path) == ["plan.json"]


def test_link_to_a_file(tmp_path: Path) -> None:
    """A link stays one, and the file that it leads to is replaced, in one step and in its own folder."""
    (tmp_path / "kept").mkdir()
    target, link = tmp_path / "kept/plan.json", tmp_path / "latest.json"
    target.write_bytes(b"first")
    target.chmod(0o640)
    link.symlink_to("kept/plan.json")
    with target.open("rb") as reader:
        write_file(link, b"new")
        assert reader.read() == b"first"
    assert link.readlink() == Path("kept/plan.json")
    assert (target.read_bytes(), mode_of(target)) == (b"new", 0o640)
    assert inside(tmp_path / "kept") == ["plan.json"]


def test_link_to_nothing(tmp_path: Path) -> None:
    """A link whose file is yet to come stays one, too; a circle of links leads nowhere."""
    link, one, other = tmp_path / "link", tmp_path / "one", tmp_path / "other"
    link.symlink_to("to-come")
    write_file(link, b"new")
    assert link.is_symlink()
    assert (tmp_path / "to-come").read_bytes() == b"new"
    one.symlink_to("other")
    other.symlink_to("one")
    assert "cannot be written" in refused(one)
    assert one.is_symlink()


@pytest.mark.parametrize("linked", [False, True], ids=["pipe", "link"])
def test_pipe(tmp_path: Path, *, linked: bool) -> None:
    """Whoever reads a named pipe gets what is written; it stays a pipe."""
    pipe = path = tmp_path / "pipe"
    os.mkfifo(pipe)
    if linked:
        path = tmp_path / "link"
        path.symlink_to("pipe")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_file(path, b"new")
    assert os.read(reader, 100) == b"new"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert path.is_symlink() == linked


def test_neither_file_nor_pipe(tmp_path: Path) -> None:
    """A folder and a socket are refused, and stay."""
    (tmp_path / "folder").mkdir()
    assert "is not a file" in refused(tmp_path / "folder")
    with contextlib.chdir(tmp_path), socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")  # a whole path may be longer than a socket's address
        assert "is not a file" in refused(tmp_path / "socket")
        assert stat.S_ISSOCK((tmp_path / "socket").stat().st_mode)


def test_kept(tmp_path: Path) -> None:
    """What makes only what is missing replaces nothing, be it a file, a pipe or a link to nothing."""
    (tmp_path / "file").write_bytes(b"first")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("to-come")
    for name in ("file", "pipe", "link"):
        assert "File exists" in refused(tmp_path / name, keep=True)
    write_file(tmp_path / "new", b"new", keep=True)
    assert (tmp_path / "new").read_bytes() == b"new"
