"""Files are read when they are at rest: not while somebody writes them, and not before they were left alone for a while."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.controller.rest import Places, read_at_rest
from tests.support.virtual_time import run_virtual

SETTLE = 3.0
NEARLY = SETTLE - 0.001  # times of day have fewer digits than a loop's time


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """One manifest and the project file, in a checkout."""
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "a.yaml").write_text("first")
    (tmp_path / "reconciler.yaml").write_text("")
    return Places(root=tmp_path, folders=("manifests",), ignore=(), project=tmp_path / "reconciler.yaml")


def manifest_of(places: Places) -> Path:
    return places.root / "manifests" / "a.yaml"


def read(places: Places, reader: Callable[[], str]) -> tuple[str, float]:
    """What was read, and how many seconds after the files were last touched."""
    touched = max(path.stat().st_ctime for path in places.root.rglob("*"))

    async def whole() -> tuple[str, float]:
        loop = asyncio.get_running_loop()
        found = await read_at_rest(
            lambda: places, reader, settle=SETTLE, say=lambda _: None, wall=lambda: touched + loop.time()
        )
        return found.value, loop.time()

    return run_virtual(whole())


def test_what_was_just_written_is_left_alone_for_a_while(places: Places) -> None:
    """Files are read once nobody has touched them for the settle time."""
    value, seconds = read(places, manifest_of(places).read_text)
    assert value == "first"
    assert NEARLY <= seconds < 2 * SETTLE


def test_old_times_do_not_count(places: Places) -> None:
    """A copy that keeps the times of what it copies was written just now all the same."""
    for path in (*places.root.rglob("*"), places.root):
        os.utime(path, (1, 1))
    _, seconds = read(places, manifest_of(places).read_text)
    assert seconds >= NEARLY


def test_what_changes_while_it_is_read_is_read_again(places: Places) -> None:
    """What was read while somebody wrote is thrown away."""
    readings = []

    def reader() -> str:
        readings.append(manifest_of(places).read_text())
        if len(readings) == 1:
            manifest_of(places).with_name("b.yaml").write_text("more")
        return f"{readings[-1]}, {len(list(manifest_of(places).parent.iterdir()))} files, reading {len(readings)}"

    value, _ = read(places, reader)
    assert value == "first, 2 files, reading 2"
    assert len(readings) == 2


def test_a_failure_counts_only_at_rest(places: Places) -> None:
    """A file that is gone for a moment while it is replaced is no failure; one that stays away is."""
    readings = []

    def reader() -> str:
        readings.append(1)
        if len(readings) == 1:
            manifest_of(places).rename(manifest_of(places).with_suffix(".aside"))
        return manifest_of(places).read_text()

    with pytest.raises(FileNotFoundError):
        read(places, reader)
    assert len(readings) == 2
