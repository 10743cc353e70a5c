"""The list of seeded defects: one table a defect in the TOML files beside this module.

    [name-of-the-defect]
    breaks = "P1: the promise or rule that it breaks, in a clause"
    file = "reconciler/…"
    before = '''text that stands there exactly once'''
    after = '''what the defect makes of it'''
    tests = ["tests/…::test_…"]   # node ids; any of them must fail
    quick = true                  # its tests take about a second and need no server: tried by turns in the suite

The edits are exact, so that a change of the code which moves one of them makes the list's own test fail, and not the list
lose a defect silently.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """One edit of the product that breaks a promise, and the tests that are to notice."""

    name: str
    area: str
    breaks: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]
    quick: bool = False

    def applied_to(self, text: str) -> str:
        """The file's text with the defect. Raises ValueError where the edit does not fit exactly once."""
        found = text.count(self.before)
        if found != 1:
            raise ValueError(f"{self.name}: its text stands {found} times in {self.file}, not once")
        return text.replace(self.before, self.after)


@cache
def defects() -> tuple[Defect, ...]:
    """All of them, by area and in the order of the files."""
    found = []
    for path in sorted(HERE.glob("*.toml")):
        for name, fields in tomllib.loads(path.read_text(encoding="utf-8")).items():
            tests = tuple(fields.pop("tests"))
            found.append(Defect(name=name, area=path.stem, tests=tests, **fields))
    return tuple(found)
