"""A project folder that somebody else writes to: what is swapped between the look and the opening is refused, never followed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.nursery import ROOT
from tests.security.swapping import PLACES, SECRET, SWAPS


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("swap", SWAPS)
def test_swapped_before_it_is_opened(place: str, swap: str, tmp_path: Path) -> None:
    """Whatever takes the place of a file or a folder in that instant, nothing outside is read, nothing waits, and it is told."""
    command = [sys.executable, "-m", "tests.security.swapping", str(tmp_path), place, swap]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    assert read["swapped"]
    assert SECRET not in {read["project"], *read["files"].values()}
    whole = {"manifests/a.yaml", "manifests/sub/b.yaml", "manifests/l.yaml", "manifests/z.yaml"}
    if place == "reconciler.yaml":
        assert read["project"].startswith("refused: ")
        assert read["files"].keys() == whole
    else:
        gone = {"a.yaml": "manifests/a.yaml", "sub": "manifests/sub/b.yaml", "real": "manifests/l.yaml"}[place]
        assert read["files"].keys() == whole - {gone}
        assert len(read["found"]) == (0 if place == "sub" and swap == "folder" else 1)
