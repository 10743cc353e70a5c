"""Packages of npm that tests hold something against; each in a folder of its own beside the environment."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(sys.prefix) / "npm"  # goes with the environment, and no linter looks into it


def package(name: str, version: str) -> Path:
    """The package's folder, installed when it is not there; skips the test with the reason where it cannot be."""
    prefix = FOLDER / name.replace("/", "-")
    folder = prefix / "node_modules" / name
    about = folder / "package.json"
    if about.is_file() and json.loads(about.read_text(encoding="utf-8"))["version"] == version:
        return folder
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    prefix.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--prefix", str(prefix), "--no-save", "--no-package-lock", "--no-audit", "--no-fund"]
    done = subprocess.run(
        [*command, "--ignore-scripts", f"{name}@{version}"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"npm cannot install {name}: {done.stderr[-200:]}")
    return folder
