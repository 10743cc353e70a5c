"""The judge of the comparison sees what goes wrong; the long form is `make compare`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.contender import LOOP, OURS, SHELL, Contender
from tests.peers.trial import MISFORTUNES, Verdict, trial

pytestmark = pytest.mark.crash
LOST = {"match": {"model": "cm-m0", "operation": "deploy", "nth": 1}, **MISFORTUNES["the reply is lost"]}


def test_ours_asks(tmp_path: Path) -> None:
    """A reply is lost: one person is asked once, and every model is started once and recorded."""
    with trial(OURS, tmp_path, LOST) as one:
        assert one.to_the_end() == Verdict(histories=1, runs=one.verdict.runs, asked=1)


@pytest.mark.parametrize("contender", [SHELL, LOOP], ids=lambda contender: contender.name)
def test_others_send_again(contender: Contender, tmp_path: Path) -> None:
    """A reply is lost: who sends again starts a second job, and the first one's id is nowhere."""
    if contender.missing:
        pytest.skip(f"{', '.join(contender.missing)} is not here")
    with trial(contender, tmp_path, LOST) as one:
        verdict = one.to_the_end()
    assert (verdict.duplicates, verdict.lost, verdict.untrue, verdict.stuck, verdict.asked) == (1, 1, 0, 0, 0)


def test_ours_is_killed(tmp_path: Path) -> None:
    """Killed when its first request is about to leave, it does the rest once and loses nothing."""
    with trial(OURS, tmp_path) as one:
        assert one.killed(3, "machine")
        verdict = one.to_the_end()
    assert (verdict.duplicates, verdict.lost, verdict.untrue, verdict.stuck) == (0, 0, 0, 0)
