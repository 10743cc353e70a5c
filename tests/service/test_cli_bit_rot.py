"""A damaged state from the command line: no command acts on it, and `state repair` goes on from the last good generation."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.fuzz.rot import Damage
from tests.service.conftest import SimulatedPlatform
from tests.support.project import PRODUCTION, ProjectFolder

# Which file, which part of what is written of it, and a bit to turn over there, or None to cut it there.
DAMAGE = [
    ("state.json", 0.0, 0x20),
    ("state.json", 0.5, 0x01),
    ("state.json", 0.99, 0x80),
    ("state.json", 0.5, None),
    ("state.json", 0.0, None),
    ("log", 0.02, 0x01),
    ("log", 0.6, 0x04),
    ("log", 0.6, None),
    ("log", 0.0, None),
]


def _spoil(folder: Path, name: str, part: float, mask: int | None) -> None:
    path = folder / name if name != "log" else max(folder.glob("log/0*.log"))
    data = path.read_bytes()
    path.write_bytes(Damage(path, int(len(data.rstrip(b"\0")) * part), mask).of(data))


@pytest.mark.parametrize(("name", "part", "mask"), DAMAGE)
def test_nothing_acts_on_a_damaged_state(
    project: ProjectFolder, platform: SimulatedPlatform, name: str, part: float, mask: int | None
) -> None:
    """Plan, apply and status end with 6 and no request; after the repair what was live is live, or nothing is sent."""
    project.init("chat", "code")
    project.apply().ended(0)
    project.run("suspend", "production/chat", "--reason", "leave it").ended(0)  # in the log alone
    entries = project.state["entries"]
    project.deploy("chat", temperature=0.5)
    folder = project.root / ".reconciler" / PRODUCTION
    _spoil(folder, name, part, mask)
    spoiled = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    platform.lines.clear()
    for command in (["plan"], ["apply", "--yes"], ["status"], ["history"], ["undeploy", "production/chat", "--yes"]):
        assert "repair" in project.run(*command).ended(6).err
    assert platform.lines == []
    assert all(path.read_bytes() == data for path, data in spoiled.items())
    repaired = project.run("state", "repair", "--yes").ended(0)
    assert list(folder.rglob("*.damaged-1"))
    found = project.state["entries"]
    assert found.keys() == entries.keys()
    assert [one["live"] for one in found.values()] == [one["live"] for one in entries.values()]
    if "is suspended, because" in repaired.err:
        project.apply().ended(0)
        assert platform.posts == []
    else:
        assert found == entries


def test_a_state_without_any_readable_snapshot_is_left_as_it_is(project: ProjectFolder) -> None:
    """When every generation is damaged the repair refuses, moves nothing, and says where to look."""
    project.init("chat")
    project.apply().ended(0)
    folder = project.root / ".reconciler" / PRODUCTION
    for path in folder.glob("state.json*"):
        path.write_bytes(path.read_bytes()[:-40])
    kept = shutil.copytree(folder, project.root / "kept")
    assert "backup" in project.run("state", "repair", "--yes").ended(6).err
    assert {path.name for path in folder.rglob("*")} == {path.name for path in kept.rglob("*")}
