"""Git repositories for tests: made by git itself, without anybody's own configuration."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

# What the person who runs the tests has configured does not count, and nothing is asked.
GIT_VARIABLES = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
}


def clean_environment() -> dict[str, str]:
    """The environment without variables that point git elsewhere."""
    return {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | GIT_VARIABLES


def git(folder: Path, *arguments: str) -> str:
    """What git answers. Raises CalledProcessError."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=True).stdout


def new_origin(folder: Path) -> Path:
    """A bare repository with one commit on `main`."""
    origin = folder / "origin.git"
    origin.mkdir(parents=True)
    git(origin, "init", "--quiet", "--bare", "--initial-branch=main")
    stream = (
        "commit refs/heads/main\ncommitter Ada <ada@example.com> now\ndata 5\nfirst\nM 100644 inline README\ndata 0\n\n"
    )
    import_stream(origin, stream)
    return origin


def import_stream(repository: Path, stream: str, dates: str = "now") -> None:
    """What `git fast-import` makes of it; `dates` are written as its --date-format says."""
    command = ["git", "-C", str(repository), "fast-import", "--quiet", f"--date-format={dates}"]
    subprocess.run(command, env=clean_environment(), input=stream, text=True, check=True, capture_output=True)


def checkout(url: str, folder: Path, commit: str, depth: int | None) -> Path:
    """As a forge's runner makes it: this commit with so many before it, or all of them, and no branch."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "remote", "add", "origin", url)
    few = (f"--depth={depth}",) if depth is not None else ()
    git(folder, "fetch", "--quiet", *few, "origin", commit)
    git(folder, "checkout", "--quiet", "--detach", commit)
    return folder


def clone(url: str | Path, folder: Path, *flags: str) -> Path:
    """A checkout, as CI makes it: the newest commit alone."""
    source = f"file://{url}" if isinstance(url, Path) else url
    git(folder.parent, "clone", "--quiet", "--depth=1", *flags, source, str(folder))
    return folder
