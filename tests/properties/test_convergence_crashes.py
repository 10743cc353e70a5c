"""The process dies at every step that the outside could see, and again while the next run recovers.

The judge is the simulated platform's own log: each deployment was started exactly once, or its entry is held as unknown.
"""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.apply.decisions import By, Subject, resolve_as_accepted, resolve_as_not_happened
from reconciler.apply.journal import Journal
from reconciler.model.applied import Accepted, Applied, NotProcessed, NotSent, Situation, situation_of
from reconciler.model.plan import Action
from reconciler.model.records import AttemptRecord, Record
from tests.support.estates import Estate, resource, resources
from tests.support.failpoints import Died, Fate, FatedPlatform, FatedStore
from tests.support.simulator import scenario


def twenty(**behaviour: Any) -> Estate:
    """20 deployments: some end at once, some are polled, one's reply is cut, some wait for others."""
    rules = (
        {"match": {"model": "cm-m00?"}, "job": {"seconds": 0}},
        {"match": {"model": "cm-m012", "operation": "deploy", "nth": 1}, "cutBody": 60},
    )
    wanted = [*resources(16), *(resource(f"w{number}", wave=1, depends_on=("m003",)) for number in range(4))]
    return Estate(wanted, platform_says=scenario(*rules, job_seconds=3, **behaviour))


def die_at(estate: Estate, step: int) -> Fate:
    """One apply that dies at this step, or lives when there are fewer."""
    fate = Fate(step)
    store, platform = estate.store, estate.platform
    estate.store, estate.platform = FatedStore(store, fate), FatedPlatform(platform, fate)
    try:
        estate.apply()
    except (Died, BaseExceptionGroup):
        if not fate.dead:
            raise
    finally:
        estate.store, estate.platform = store, platform
        fate.bury()
    return fate


def judge(estate: Estate) -> set[str]:
    """What RELIABILITY.md promises at any moment; gives the names whose outcome is unknown."""
    attempts = [a for entry in estate.applied.entries.values() for a in entry.attempts]
    assert all(count == 1 for count in estate.accepted().values()), "deployed twice (P4)"
    assert len(estate.calls) <= len(attempts), "a request without ATTEMPT (P1)"
    known = {a.outcome.dock_status_id for a in attempts if isinstance(a.outcome, Accepted)}
    unknown = set()
    for model_id in estate.accepted():
        entry = estate.applied.entries[model_id]
        certain = all(isinstance(a.outcome, NotSent | NotProcessed) for a in entry.attempts)
        assert not certain, "the platform started it, and the state says that nothing was done (P5)"
        if situation_of(entry) is Situation.UNKNOWN:
            unknown.add(entry.name)
        else:
            assert any(line["dockStatusId"] in known for line in estate.calls if line["modelId"] == model_id)
    return unknown | {e.name for e in estate.applied.entries.values() if situation_of(e) is Situation.UNKNOWN}


def recover(estate: Estate, *, deaths: int = 1) -> None:
    """A run in peace: everything is live that is not held, or waits for what is held; nothing is sent twice.

    Then a person who knows the platform's log resolves what is held, and the estate converges.
    """
    estate.apply()
    unknown = judge(estate)
    for wanted in estate.wanted:
        entry = estate.applied.entries.get(wanted.model_id)
        waits = bool(unknown) and wanted.rollout.wave > 0
        live = entry is not None and entry.live is not None and estate.accepted()[wanted.model_id] == 1
        assert live or wanted.name in unknown or waits, wanted.name
    for change in estate.plan().pending:
        assert change.action is Action.HOLD or change.rollout.wave > 0
    assert len(unknown) <= 4 * deaths, "no more than were in flight"
    for name in unknown:
        resolve_by_the_log(estate, name)
    estate.apply()
    assert judge(estate) == set()
    assert estate.plan().is_empty
    assert set(estate.accepted()) == {wanted.model_id for wanted in estate.wanted}


def resolve_by_the_log(estate: Estate, name: str) -> None:
    """What a person does who looked into the platform's console."""
    subject = Subject(address=f"{estate.applied.environment}/{name}", model_id=f"cm-{name}")
    by = By(who="ada", why="looked it up", at=estate.now())
    jobs = [line["dockStatusId"] for line in estate.calls if line["accepted"] and line["modelId"] == subject.model_id]

    def decide(applied: Applied) -> list[Record]:
        if not jobs:
            return [resolve_as_not_happened(applied, subject, by, sender_is_dead=estate.store.sender_is_dead())]
        status = estate.world.jobs[jobs[0]].status(estate.now().timestamp())
        return [resolve_as_accepted(applied, subject, by, dock_status_id=jobs[0], status=status, sender_is_dead=True)]

    Journal(estate.store).transact_now(decide)


def steps_of(estate: Estate) -> int:
    return die_at(estate, 0).steps


STEPS = steps_of(twenty())


def test_without_a_crash() -> None:
    """The scenario itself converges: every deployment once, an empty plan, nothing in doubt."""
    estate = twenty()
    estate.apply()
    assert judge(estate) == set()
    assert estate.plan().is_empty
    assert sum(estate.accepted().values()) == 20


@pytest.mark.parametrize("part", range(4))
def test_death_at_every_step(part: int) -> None:
    """Wherever the process dies, the next run finishes the work, repeats nothing and holds what it cannot know."""
    for step in range(1 + part, STEPS + 1, 4):
        estate = twenty()
        assert die_at(estate, step).dead
        judge(estate)
        recover(estate)


@pytest.mark.parametrize("part", range(4))
def test_death_again_while_recovering(part: int) -> None:
    """The run that recovers dies too, at steps spread over all of it, and the one after that still converges."""
    for step in range(1 + part, STEPS + 1, 4):
        estate = twenty()
        die_at(estate, step)
        again = 1 + (step * 37) % STEPS
        die_at(estate, again)
        judge(estate)
        die_at(estate, 1 + (step * 11) % 40)
        judge(estate)
        recover(estate, deaths=3)


def test_every_pair_of_deaths_with_two_deployments() -> None:
    """For a small estate, every step of the recovery of every death is tried."""

    def small() -> Estate:
        rules = ({"match": {"model": "cm-m001"}, "job": {"seconds": 0}},)
        return Estate(resources(2), platform_says=scenario(*rules, job_seconds=2))

    for first in range(1, steps_of(small()) + 1):
        second = 0
        while True:
            second += 1
            estate = small()
            die_at(estate, first)
            if not die_at(estate, second).dead:
                break
            judge(estate)
            recover(estate, deaths=2)


def test_every_call_has_its_attempt_first() -> None:
    """The nth call that the platform sees has its ATTEMPT in the log before (P1)."""
    for step in range(1, STEPS + 1, 7):
        estate = twenty()
        die_at(estate, step)
        written = [record for record in estate.records if isinstance(record, AttemptRecord)]
        assert {line["modelId"] for line in estate.calls} <= {record.model_id for record in written}
