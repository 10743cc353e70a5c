"""Packages of npm that tests hold something against; each in a folder of its own beside the environment."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(sys.prefix) / "npm"  # goes with the environment, and no linter looks into it
PATIENCE = 180  # seconds; a registry that says nothing must not hold up everything else


def package(name: str, version: str) -> Path:
    """The package's folder, installed when it is not there; skips the test with the reason where it cannot be."""
    prefix = FOLDER / name.replace("/", "-")
    folder = prefix / "node_modules" / name
    about = folder / "package.json"
    if about.is_file() and json.loads(about.read_text(encoding="utf-8"))["version"] == version:
        return folder
    if reason := install(prefix, f"{name}@{version}", "--ignore-scripts"):
        pytest.skip(reason)
    return folder


def install(prefix: Path, wanted: str, *options: str) -> str | None:
    """Into `prefix`/node_modules; or why not."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return "node and npm are not installed"
    prefix.mkdir(parents=True, exist_ok=True)
    quiet = ("--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--fetch-retries", "1")
    command = [npm, "install", "--prefix", str(prefix), *quiet, *options, wanted]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f"npm cannot install {wanted} within {PATIENCE} s"
    return f"npm cannot install {wanted}: {done.stderr[-200:]}" if done.returncode else None
