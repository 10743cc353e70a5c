"""Every seeded defect still fits the code and changes what it means, and some of them, by turns, are tried."""

from __future__ import annotations

import ast
import re
import zlib
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from tests.defects.listed import ROOT, Defect, defects
from tests.defects.trial import Verdict, template, try_out

ENOUGH = 40
AT_ONCE = 2  # that are tried in one run of the suite; `make defects` tries all

AREAS = sorted({defect.area for defect in defects()})


def test_there_are_enough() -> None:
    """There are enough of them, each has a name of its own, and each says what it breaks."""
    names = [defect.name for defect in defects()]
    assert len(set(names)) == len(names) >= ENOUGH
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in names)
    assert all(defect.breaks and defect.tests for defect in defects())


def test_the_page_counts_them() -> None:
    """The page that says what was caught has as many of each area, and in all, as are listed."""
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    told = re.findall(rf"^\| ({'|'.join(AREAS)}) \| (\d+) \| [^|]* \| \d+ \|$", page, re.MULTILINE)
    assert {area: int(number) for area, number in told} == Counter(defect.area for defect in defects())
    assert f"lists {len(defects())} defects" in page


@pytest.mark.parametrize("area", AREAS)
def test_each_fits(area: str) -> None:
    """Each text stands in the code exactly once, and the code means something else with the defect, and still compiles."""
    assert {defect.name: why for defect in defects() if defect.area == area and (why := _misfit(defect))} == {}


def _misfit(defect: Defect) -> str | None:
    text, meaning = _sound(defect.file)
    try:
        damaged = ast.dump(ast.parse(defect.applied_to(text)))
    except (ValueError, SyntaxError) as error:
        return str(error)
    return "it changes nothing" if damaged == meaning else None


@cache
def _sound(file: str) -> tuple[str, str]:
    """A file's text, and what it means."""
    text = (ROOT / file).read_text(encoding="utf-8")
    return text, ast.dump(ast.parse(text))


@pytest.mark.parametrize("area", AREAS)
def test_the_tests_of_each_are_there(area: str) -> None:
    """The tests that are to notice a defect exist."""
    named = {test for defect in defects() if defect.area == area for test in defect.tests}
    assert [test for test in sorted(named) if not _is_there(test)] == []


def _is_there(test: str) -> bool:
    file, *names = test.split("::")
    return (ROOT / file).exists() and (not names or _defines(ROOT / file, names[-1].partition("[")[0]))


def _defines(path: Path, name: str) -> bool:
    """Also where a module has its tests from a contract."""
    texts = (path.read_text(encoding="utf-8") for path in (path, *path.parent.glob("*_contract.py")))
    return any(re.search(rf"(def|class) {re.escape(name)}\b", text) for text in texts)


def _whose_turn_it_is() -> list[Defect]:
    """The same for the same code, and others whenever it changes."""
    quick = [defect for defect in defects() if defect.quick]
    turn = 0
    for path in sorted((ROOT / "reconciler").rglob("*.py")):
        turn = zlib.crc32(path.read_bytes(), turn)
    return [quick[(turn + n * len(quick) // AT_ONCE) % len(quick)] for n in range(AT_ONCE)]


def test_some_are_noticed() -> None:
    """Those whose turn it is are noticed by their tests, which run on a copy with the defect in it."""
    with template() as sound:
        outcomes = {defect.name: try_out(sound, defect) for defect in _whose_turn_it_is()}
    missed = [f"{name}: {o.verdict.value}\n{o.said}" for name, o in outcomes.items() if o.verdict is not Verdict.CAUGHT]
    assert not missed, "\n\n".join(missed)
