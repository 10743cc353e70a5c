"""Every seeded defect still fits the code and changes what it means, and some of them, by turns, are tried."""

from __future__ import annotations

import ast
import re
import zlib
from pathlib import Path

import pytest

from tests.defects.listed import ROOT, Defect, defects
from tests.defects.trial import Verdict, template, try_out

ENOUGH = 40
AT_ONCE = 2  # that are tried in one run of the suite; `make defects` tries all

EVERY = [pytest.param(defect, id=defect.name) for defect in defects()]


def test_there_are_enough() -> None:
    """There are enough of them, each has a name of its own, and each says what it breaks."""
    names = [defect.name for defect in defects()]
    assert len(set(names)) == len(names) >= ENOUGH
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in names)
    assert all(defect.breaks and defect.tests for defect in defects())


@pytest.mark.parametrize("defect", EVERY)
def test_it_fits(defect: Defect) -> None:
    """Its text stands in the code exactly once, and the code means something else with it, which still compiles."""
    text = (ROOT / defect.file).read_text(encoding="utf-8")
    assert ast.dump(ast.parse(defect.applied_to(text))) != ast.dump(ast.parse(text))


@pytest.mark.parametrize("defect", EVERY)
def test_its_tests_are_there(defect: Defect) -> None:
    """The tests that are to notice it exist."""
    for test in defect.tests:
        file, *names = test.split("::")
        assert (ROOT / file).exists(), test
        if names:
            assert _defines(ROOT / file, names[-1]), test


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
