"""What a run does differently where its store is elsewhere: it claims before it connects, and renews its run lock."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from reconciler.errors import StateError
from reconciler.model.applied import Accepted, Applied, Binding, NotSent
from reconciler.model.records import AttemptRecord, Record
from reconciler.platform.api import ConnectFailed
from reconciler.state.store import RunLockLost
from tests.support.elsewhere import StoreElsewhere
from tests.support.estates import NAME, Estate, resource, resources
from tests.support.simulator import ORIGIN, scenario


def estate_elsewhere(count: int = 1, **says: float) -> tuple[Estate, StoreElsewhere]:
    store = StoreElsewhere(NAME)
    store.create(Applied(environment=NAME, lineage="a-lineage", binding=Binding(origin=ORIGIN, api_key="env:KEY")))
    return Estate(resources(count), store=store, platform_says=scenario(**says)), store


def claims(batch: Sequence[Record]) -> int:
    return sum(isinstance(record, AttemptRecord) for record in batch)


def test_what_is_ready_claims_in_one_append() -> None:
    """Before the first of them connects, all that are ready are in the log, by one write."""
    estate, store = estate_elsewhere(8, job_seconds=0)
    seen: list[int] = []
    store.before_append = lambda batch: seen.append(len(estate.calls)) if claims(batch) else None
    report = estate.apply(parallelism=8)
    assert set(estate.ends(report).values()) == {"succeeded"}
    assert [claims(batch) for batch in store.appends if claims(batch)] == [8]
    assert seen == [0], "claimed before anything was sent"


def test_parallelism_bounds_the_group() -> None:
    """No more than may be under way at once can become unknown together."""
    estate, store = estate_elsewhere(10, job_seconds=0)
    estate.apply(parallelism=4)
    assert max(map(claims, store.appends)) <= 4
    assert sum(map(claims, store.appends)) == 10
    assert set(estate.accepted().values()) == {1}


def test_a_connection_that_fails_after_the_claim_is_not_sent() -> None:
    """The claim is taken back in words, and sent again in the same generation."""
    estate, _ = estate_elsewhere()
    estate.memory.connect_failures.append(ConnectFailed(error="connection refused"))
    report = estate.apply()
    assert estate.ends(report) == {"m000": "succeeded"}
    first, second = estate.entry("m000").attempts
    assert isinstance(first.outcome, NotSent)
    assert "connection refused" in first.outcome.error
    assert isinstance(second.outcome, Accepted)
    assert (first.generation, second.generation) == (1, 1)
    assert len(estate.calls) == 1


@pytest.mark.parametrize(("took", "sent"), [(3, True), (20, True), (34, True), (36, False), (3600, False)])
def test_a_claim_that_took_too_long_is_not_sent(took: float, *, sent: bool) -> None:
    """A slow store is waited for; a sender that slept through its lease sends nothing."""
    estate, store = estate_elsewhere()
    slow = [took]

    def before(batch: Sequence[Record]) -> None:
        if claims(batch) and slow:
            estate.pass_time(slow.pop())

    store.before_append = before
    estate.apply()
    outcomes = [attempt.outcome for attempt in estate.entry("m000").attempts]
    assert isinstance(outcomes[0], Accepted if sent else NotSent)
    assert estate.accepted() == {"cm-m000": 1}


def test_the_run_lock_is_renewed_while_the_run_waits() -> None:
    """A long job that others wait for does not let the lock run out; without anything left to send it is given back."""
    estate, store = estate_elsewhere(job_seconds=300)
    estate.wanted.append(resource("later", wave=1))
    report = estate.apply()
    assert set(estate.ends(report).values()) == {"succeeded"}
    assert 13 <= store.renewed <= 16, "for the first job's 300 s, every 20 s, and not for the second's"
    assert store.sender_is_dead()


def test_a_lost_run_lock_ends_the_sending() -> None:
    """Whoever is told that another has the lock now sends nothing more, follows what runs, and says so."""
    estate, store = estate_elsewhere(job_seconds=100)
    estate.wanted.append(resource("later", wave=1))
    store.renewals = [None, RunLockLost("the run lock was taken over")]
    report = estate.apply()
    assert estate.ends(report)["m000"] == "succeeded"
    assert estate.ends(report)["later"] == "skipped"
    assert [type(problem) for problem in report.problems] == [RunLockLost]
    assert estate.accepted() == {"cm-m000": 1}
    assert store.renewed == 2


def test_a_renewal_that_fails_is_tried_again() -> None:
    """A store that cannot be reached for a moment is no reason to stop."""
    estate, store = estate_elsewhere(job_seconds=100)
    estate.wanted.append(resource("later", wave=1))
    store.renewals = [StateError("no answer"), StateError("no answer"), None]
    report = estate.apply()
    assert set(estate.ends(report).values()) == {"succeeded"}
    assert report.problems == ()
    assert report.notes == ("The run lock could not be renewed in time: no answer",)
