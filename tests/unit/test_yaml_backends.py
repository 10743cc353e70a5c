"""Where PyYAML has no C extension, its own parser gives the same answers."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.load.yaml import parse
from tests.support.hostile import HOSTILE
from tests.support.yaml_suite import BETWEEN_BACKENDS, reasons_by_case

ROOT = Path(__file__).parent.parent.parent
SUITE = ROOT.parent / "shared" / "data" / "yaml-test-suite"
_PATIENCE = 32 * 1024  # larger texts are measured by the C parser only: the other one needs 50 times as long


def answers(texts: Mapping[str, bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What either backend makes of the texts: values, and the codes of what is wrong."""
    question = json.dumps({name: base64.b64encode(text).decode() for name, text in texts.items()})
    command = [sys.executable, "-m", "tests.support.pure_backend"]
    done = subprocess.run(command, input=question, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    fast = {}
    for name, text in texts.items():
        documents, found = parse(text, "a.yaml")
        fast[name] = [[document.value for document in documents], sorted({one.code for one in found})]
    return fast, json.loads(done.stdout)


def test_backends_agree_on_hostile_texts_and_examples() -> None:
    """Both backends refuse what is made to hurt, with the same codes, and read the examples alike."""
    texts = {name: text for name, (text, _) in HOSTILE.items() if len(text) <= _PATIENCE}
    texts |= {str(path): path.read_bytes() for path in ROOT.glob("manifests/**/*.yaml")}
    fast, slow = answers(texts)
    assert slow == fast


@pytest.mark.skipif(not SUITE.is_dir(), reason="yaml-test-suite is not beside the checkout")
def test_every_difference_between_backends_has_a_reason() -> None:
    """Both backends read yaml-test-suite alike, but for the listed cases."""
    texts = {str(path.parent.relative_to(SUITE)): path.read_bytes() for path in sorted(SUITE.rglob("in.yaml"))}
    fast, slow = answers(texts)
    differing = {name for name in texts if fast[name] != slow[name]}
    listed = set(reasons_by_case(BETWEEN_BACKENDS))
    assert (differing - listed, listed - differing) == (set(), set())
