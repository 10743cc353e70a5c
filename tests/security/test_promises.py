"""The threat model names its tests; each of them is there."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.crash.nursery import ROOT

PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@cache
def functions_of(path: str) -> frozenset[str]:
    """The names of the functions of a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_named_test_is_there(path: str, name: str) -> None:
    """What the page says is shown by a test of that name in that file."""
    assert (ROOT / path).is_file()
    assert name in functions_of(path)


def test_every_threat_is_shown() -> None:
    """Each row of the table names an asset, an entry, a threat, a defence, and at least one test."""
    table = PAGE.partition("| asset |")[2].partition("\n\n")[0].splitlines()[2:]
    assert len(table) > 30
    for row in table:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 5
        assert all(cells)
        assert re.findall(r"`tests/[\w/]+\.py::\w+`", cells[4]) == cells[4].split(" ")


def test_the_pages_are_found() -> None:
    """The README leads to the threat model and to how a hole is reported, and each leads to the other."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "(docs/security.md)" in readme
    assert "(SECURITY.md)" in readme
    assert "docs/security.md" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "SECURITY.md" in PAGE
