"""One apply of 20 deployments, struck at each of its failpoints, and struck again while it recovers.

The suite and `tools/torture.py` call this. Everything that is chosen is chosen by the number of the failpoint and a seed, so
that a failure can be repeated; the order of replies is the network's, so the same number may mean a neighbouring call.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from reconciler.model.applied import Applied, Situation, situation_of
from reconciler.simulator.scenario import Scenario
from tests.crash.history import History, Wanted, told
from tests.crash.injector import NO_FAULT, SLOW, Fault, How
from tests.crash.nursery import Nursery

# Some jobs end at once and some are polled; four wait for one that is polled, and two for a wave.
TWENTY = (
    *(Wanted(name=f"m{number:02}") for number in range(14)),
    *(Wanted(name=f"n{number}", depends_on=("m01",)) for number in range(4)),
    *(Wanted(name=f"w{number}", wave=1) for number in range(2)),
)
KINDS: tuple[How, ...] = ("kill", "torn", "power", "power-some")


def platform() -> Scenario:
    return told(
        {"match": {"model": "cm-m0[0-3]"}, "job": {"statuses": ["IN_PROGRESS", "IN_PROGRESS", "SUCCESS"]}},
        {"match": {"model": "cm-m04", "operation": "deploy", "nth": 1}, "cutBody": 60},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """What came of one failpoint."""

    died: int
    unknown: int
    runs: int


def calls_of(nursery: Nursery, folder: Path, project: Path) -> list[str]:
    """The failpoints of the apply, by name, from a run in peace."""
    history = History(nursery, folder, project, platform())
    try:
        said = history.apply()
        assert said.code == 0, said
        check_once(history)
        return finished(history)[0]
    finally:
        history.close()


def finished(history: History) -> list[list[str]]:
    """The calls of each process that ended in peace."""
    events = map(json.loads, history.witness.read_text(encoding="utf-8").splitlines())
    return [event["calls"] for event in events if event["event"] == "finished"]


def strike(nursery: Nursery, folder: Path, project: Path, fault: Fault, *, patient: bool = True) -> Struck:
    """Strike an apply, strike the next one somewhere too, then let it recover. Raises AssertionError.

    `patient`: nobody resolves anything before an apply in peace has shown how far it comes.
    """
    chance = random.Random(f"{fault.seed}/{fault.at}/{fault.how}")
    history = History(nursery, folder, project, platform())
    try:
        history.apply(fault)
        history.judge()
        slow = chance.choice((0.0, SLOW))
        history.apply(Fault(at=chance.randint(1, 60), how=chance.choice(KINDS), slow=slow, seed=fault.seed))
        unknown = _goes_on(history) if patient else 0
        history.converge()
        check_once(history)
        died = sum(said.code == -9 for said in history.said)
        return Struck(died=died, unknown=unknown, runs=len(history.said))
    finally:
        history.close()


def _goes_on(history: History) -> int:
    """An undisturbed apply does everything but what is in doubt and what waits for that (P9). Gives how much is in doubt."""
    history.judge()
    said = history.apply(NO_FAULT)
    assert said.code in {0, 9}, said
    evidence = history.judge()
    assert evidence.applied is not None
    held = {wanted for wanted in TWENTY if _situation(evidence.applied, wanted) is Situation.UNKNOWN}
    assert len(held) <= 3 * 4, f"more in doubt than was in flight: {held}"
    sent = {line["modelId"] for line in evidence.lines}
    for wanted in set(TWENTY) - held:
        if any(other.name in wanted.depends_on or other.wave < wanted.wave for other in held):
            assert wanted.model not in sent, f"{wanted.name} did not wait for what is in doubt (P9)"
        else:
            done = _situation(evidence.applied, wanted) is Situation.LIVE
            assert done, f"{wanted.name} was not tried (P9)\n{said}"
    return len(held)


def _situation(applied: Applied, wanted: Wanted) -> Situation:
    return situation_of(applied.entries.get(wanted.model))


def check_once(history: History) -> None:
    """Every deployment was started exactly once, and is what its manifest says."""
    evidence = history.judge()
    assert evidence.accepted == Counter({("deploy", wanted.model): 1 for wanted in TWENTY})
    assert evidence.applied is not None
    for wanted in TWENTY:
        live = evidence.applied.entries[wanted.model].live
        assert live is not None, f"{wanted.name} is not live"
        assert live.body == wanted.body, f"{wanted.name} is live as something else"
