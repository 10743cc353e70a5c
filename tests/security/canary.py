"""A key that must turn up nowhere: a platform that quotes it in all its replies, and a look through everything that is left.

`tests.crash.campaign` plays every history with it, the long form by `make torture TORTURE="campaign"`.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.simulator.scenario import Job, Scenario
from tests.security.spellings import SPELLINGS, echoes, found_in

# What the platform itself is told and keeps; it knows the key.
THE_PLATFORMS = frozenset({"scenario.json", "simulator.log", "simulator.out", "simulator.err"})

# Reading commands in every format that shows what the platform said. They run once a history is over.
LOOKS: tuple[tuple[str, ...], ...] = (
    ("status",),
    ("status", "-o", "wide"),
    ("status", "-o", "json"),
    ("status", "-o", "yaml"),
    ("history",),
    ("history", "-o", "json"),
    ("plan", "-v"),
    *(("plan", "-o", form) for form in ("json", "markdown", "github", "gitlab", "junit", "sarif")),
    ("state", "show"),
    ("doctor",),
)


@dataclass(slots=True)
class Seen:
    """How much was looked through."""

    files: int = 0
    bytes: int = 0


def echoing(scenario: Scenario, key: str) -> Scenario:
    """The same platform, which quotes the key in each spelling wherever a reply has room for words of its own."""
    quoted = echoes(key)
    rules = []
    for rule in scenario.rules:
        changed: dict[str, Any] = {}
        if rule.answer is not None and rule.answer.body is None:
            headers = {"server": key, "x-request-id": quoted.replace("\0", ""), **rule.answer.headers}
            told = f"{rule.answer.message} {quoted}"
            changed["answer"] = rule.answer.model_copy(update={"message": told, "headers": headers})
        if rule.job != Job():  # a rule without one leaves the undeploy at once
            response = {"errors": [{"msg": quoted}], "sent": quoted}
            changed["job"] = rule.job.model_copy(update={"response": response})
        changed["reply"] = rule.reply.model_copy(update={"extra": {"echo": quoted, **rule.reply.extra}})
        rules.append(rule.model_copy(update=changed))
    return scenario.model_copy(update={"rules": tuple(rules)})


def watched_git(folder: Path) -> Path:
    """A folder for the PATH: a git that notes which arguments and variables it is given, and then is git."""
    git = shutil.which("git") or "/usr/bin/git"
    folder.mkdir()
    noted = folder.parent / "git.noted"
    script = f'#!/bin/sh\n/bin/cat /proc/$$/cmdline /proc/$$/environ >> "{noted}"\nexec "{git}" "$@"\n'
    (folder / "git").write_text(script, encoding="utf-8")
    (folder / "git").chmod(0o755)
    return folder


def look_through(folder: Path, key: str) -> Seen:
    """Everything below a folder but what is the platform's own. Raises AssertionError with file and spelling."""
    seen = Seen()
    for path in sorted(folder.rglob("*")):
        if path.name in THE_PLATFORMS or path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        assert found_in(data, key) == [], f"the key stands in {path.name}: {found_in(data, key)} (P11)"
        seen.files, seen.bytes = seen.files + 1, seen.bytes + len(data)
    return seen


def check_the_look(folder: Path, key: str) -> None:
    """What looks for the key would find it: it stands in the platform's own file in each spelling that JSON leaves alone."""
    told = (folder / "scenario.json").read_bytes()
    assert set(found_in(told, key)) >= SPELLINGS.keys() - {"UTF-16", "JSON escapes"}
