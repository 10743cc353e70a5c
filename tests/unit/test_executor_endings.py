"""Every row of the ending table (RELIABILITY.md), for deploy and undeploy: what is recorded, reported and sent next."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from reconciler.model.applied import Accepted, NotProcessed, NotSent, Unknown
from reconciler.model.run import Ended
from reconciler.platform.api import ConnectFailed
from reconciler.status import error_of
from tests.support.estates import Estate, resource
from tests.support.simulator import scenario

LIMIT = "Rate limit for this API has been reached. Please try again later"


def answer(status: int, **fields: Any) -> dict[str, Any]:
    return {"answer": {"status": status, **fields}}


# How the platform misbehaves -> how the change ends, the kind of outcome, how many calls it sees.
ROWS = [
    pytest.param({}, Ended.SUCCEEDED, Accepted, 1, id="ok"),
    pytest.param({"reply": {"status": "SUCCESS"}}, Ended.SUCCEEDED, Accepted, 1, id="ok-at-once"),
    pytest.param({"reply": {"status": "FAILED"}}, Ended.FAILED, Accepted, 1, id="failed-at-once"),
    pytest.param({"job": {"fails": True, "seconds": 5}}, Ended.FAILED, Accepted, 1, id="job-fails"),
    *(
        pytest.param({"reply": {"idKey": key}}, Ended.SUCCEEDED, Accepted, 1, id=f"spelling-{key}")
        for key in ("dock-statusId", "dockStatusId", "dockstatusId", "_id")
    ),
    pytest.param({"lost": "after"}, Ended.UNKNOWN, Unknown, 1, id="lost-after"),
    pytest.param({"lost": "before"}, Ended.UNKNOWN, Unknown, 1, id="lost-before"),
    pytest.param({"lost": "after", "lostBy": "eof"}, Ended.UNKNOWN, Unknown, 1, id="eof"),
    pytest.param({"delay": 1000}, Ended.UNKNOWN, Unknown, 1, id="timeout"),
    pytest.param({"reply": {"idKey": "none"}}, Ended.UNKNOWN, Unknown, 1, id="no-id"),
    pytest.param({"reply": {"idKey": "two"}}, Ended.UNKNOWN, Unknown, 1, id="two-ids"),
    pytest.param({"cutBody": 10}, Ended.UNKNOWN, Unknown, 1, id="cut-before-the-id"),
    pytest.param({"cutBody": 65}, Ended.SUCCEEDED, Accepted, 1, id="cut-after-the-id"),
    *(
        pytest.param(answer(code), Ended.UNKNOWN, Unknown, 1, id=str(code))
        for code in (301, 302, 303, 418, 500, 502, 503, 504)
    ),
    *(pytest.param(answer(code), Ended.REFUSED, NotProcessed, 1, id=str(code)) for code in (307, 308)),
    *(
        pytest.param(answer(code), Ended.REFUSED, NotProcessed, 1, id=str(code))
        for code in (400, 404, 405, 413, 415, 422, 409, 423)
    ),
    *(pytest.param(answer(code), Ended.UNAUTHORIZED, NotProcessed, 1, id=str(code)) for code in (401, 403)),
    *(pytest.param(answer(code), Ended.REFUSED, NotProcessed, 6, id=str(code)) for code in (408, 425, 429)),
    *(
        pytest.param(answer(code, message=LIMIT), Ended.REFUSED, NotProcessed, 6, id=f"limit-{code}")
        for code in (400, 403, 503)
    ),
    pytest.param(answer(200, shape="html"), Ended.UNKNOWN, Unknown, 1, id="html"),
    pytest.param(answer(200, shape="empty"), Ended.UNKNOWN, Unknown, 1, id="empty"),
    pytest.param(answer(200, body="{"), Ended.UNKNOWN, Unknown, 1, id="not-json"),
]


@pytest.mark.parametrize("operation", ["deploy", "undeploy"])
@pytest.mark.parametrize(("rule", "ended", "outcome", "calls"), ROWS)
def test_ending(operation: str, rule: dict[str, Any], ended: Ended, outcome: type, calls: int) -> None:
    """The change ends, is recorded and is sent again exactly as its row says."""
    told = scenario({"match": {"operation": operation}, **rule}, job_seconds=5)
    estate = Estate([resource("a")], platform_says=told)
    if operation == "undeploy":
        estate.apply()
        estate.wanted.clear()
    before = len(estate.calls)
    report = estate.apply()
    assert [result.ended for result in report.results] == [ended]
    assert isinstance(estate.last("a").outcome, outcome)
    assert len(estate.calls) - before == calls
    assert not report.problems


@pytest.mark.parametrize("operation", ["deploy", "undeploy"])
@pytest.mark.parametrize(("rule", "ended", "outcome", "calls"), ROWS)
def test_next_run(operation: str, rule: dict[str, Any], ended: Ended, outcome: type, calls: int) -> None:
    """A next run, with the platform in order, repeats nothing that may have been processed and finishes everything else."""
    told = scenario({"match": {"operation": operation, "nth": list(range(1, 7))}, **rule}, job_seconds=5)
    estate = Estate([resource("a")], platform_says=told)
    if operation == "undeploy":
        estate.apply()
        estate.wanted.clear()
    estate.apply()
    estate.platform_says(scenario(job_seconds=5))
    report = estate.apply()
    started = sum(line["accepted"] for line in estate.calls if line["call"] == operation)
    assert started <= (2 if ended is Ended.FAILED else 1)
    if outcome is Unknown:
        assert [result.ended for result in report.results] == [Ended.UNKNOWN]
    else:
        assert estate.plan().is_empty
        assert (estate.entry("a").live is None) == (operation == "undeploy")


def test_failure_without_a_reason_says_where_to_look() -> None:
    """A reply that is FAILED already and does not say why leads to the job in the platform's console."""
    estate = Estate([resource("a")], platform_says=scenario({"reply": {"status": "FAILED"}}))
    (result,) = estate.apply().results
    outcome = estate.last("a").outcome
    assert isinstance(outcome, Accepted)
    job = str(outcome.dock_status_id)
    assert f"look at {job} in the platform's console" in (result.detail or "")
    assert job in (error_of(estate.last("a")) or "")


def test_connect_failures_then_success() -> None:
    """A host that cannot be reached is tried again after 5, 10 and 20 s, and no try leaves a trace in the log."""
    estate = Estate([resource("a")])
    estate.memory.connect_failures.extend([ConnectFailed(error="refused")] * 3)
    report = estate.apply()
    assert estate.ends(report) == {"a": "succeeded"}
    assert [event.seconds for event in estate.events if event.happened == "waiting"] == [5, 10, 20]
    assert len(estate.entry("a").attempts) == 1


def test_unreachable() -> None:
    """After five tries in vain the change is unreachable; others are then tried once each; nothing is recorded."""
    estate = Estate([resource("a"), resource("b"), resource("c")])
    estate.memory.connect_failures.extend([ConnectFailed(error="refused")] * 50)
    report = estate.apply(parallelism=1)
    assert set(estate.ends(report).values()) == {"unreachable"}
    assert 50 - len(estate.memory.connect_failures) == 7
    assert not estate.calls
    assert not estate.applied.entries


def test_untrusted() -> None:
    """A certificate that is not trusted stops the run; nothing else is sent."""
    estate = Estate([resource("a"), resource("b")])
    estate.memory.connect_failures.append(ConnectFailed(error="the certificate is not trusted", trust=True))
    report = estate.apply(parallelism=1)
    assert estate.ends(report) == {"a": "unauthorized", "b": "skipped"}
    assert [problem.exit_code for problem in report.problems] == [4]
    assert not estate.calls


def test_unauthorized_stops_sending() -> None:
    """A key that is refused stops sending for the whole run; what was sent before is followed to its end."""
    told = scenario({"match": {"model": "cm-b"}, "answer": {"status": 401}}, job_seconds=30)
    estate = Estate([resource("a"), resource("b"), resource("c")], platform_says=told)
    report = estate.apply(parallelism=2)
    assert estate.ends(report) == {"a": "succeeded", "b": "unauthorized", "c": "skipped"}


@pytest.mark.parametrize(("how", "wait"), [("17", 17), ("date:40", 40), (None, 15)])
def test_retry_after(how: str | None, wait: float) -> None:
    """The next send waits as long as the platform says, or 15 s, and is a new attempt of the same generation."""
    told = scenario(
        {"match": {"operation": "deploy", "nth": 1}, "answer": {"status": 429, "retryAfter": how}}, job_seconds=0
    )
    estate = Estate([resource("a")], platform_says=told)
    estate.apply()
    first, second = estate.entry("a").attempts
    assert (second.started_at - first.started_at).total_seconds() == wait
    assert (first.generation, second.generation) == (1, 1)


def test_retry_after_closes_the_host() -> None:
    """While the platform asks to wait, no other change is sent either."""
    told = scenario(
        {"match": {"model": "cm-a", "operation": "deploy", "nth": 1}, "answer": {"status": 429, "retryAfter": 100}},
        job_seconds=0,
    )
    estate = Estate([resource(name) for name in "abcdefgh"], platform_says=told)
    estate.apply(parallelism=2)
    starts = [estate.entry(name).attempts[0].started_at for name in "cdefgh"]  # b left with a
    assert all((start - estate.entry("a").attempts[0].started_at).total_seconds() >= 100 for start in starts)


def test_first_deployment_hint() -> None:
    """A refused first deployment comes with its usual cause."""
    estate = Estate([resource("a")], platform_says=scenario(never_deployed=("*",)))
    report = estate.apply()
    assert "first deployment in the platform's console" in report.results[0].detail


def test_known_id_holds_both() -> None:
    """An id that the platform gives twice is an alarm, and neither of its two attempts is trusted any more."""
    told = scenario(
        {"match": {"model": "cm-a"}, "reply": {"id": "ds-twice"}},
        {"match": {"model": "cm-b"}, "reply": {"id": "ds-twice"}},
        job_seconds=30,
    )
    estate = Estate([resource("a"), resource("b", wave=0)], platform_says=told)
    report = estate.apply()
    assert estate.ends(report) == {"a": "unknown", "b": "unknown"}
    assert any(event.happened == "alarm" and "ds-twice" in event.detail for event in estate.events)
    again = estate.apply()
    assert set(estate.ends(again).values()) == {"unknown"}
    assert len(estate.calls) == 2


def test_held_for_an_id_given_twice() -> None:
    """Although the platform has a job of an id that it gave twice, nobody can tell whose it is: both stay held."""
    first_id = f"ds-{uuid.uuid5(uuid.NAMESPACE_OID, 'simulator/0')}"
    told = scenario({"match": {"model": "cm-b"}, "reply": {"id": first_id}}, job_seconds=300)
    estate = Estate([resource("a"), resource("b")], platform_says=told)
    estate.apply(wait=False, parallelism=1)
    assert estate.calls[0]["dockStatusId"] == first_id
    for _ in range(2):
        assert estate.ends(estate.apply()) == {"a": "unknown", "b": "unknown"}
    assert len(estate.calls) == 2


def test_declared_code() -> None:
    """A code that the operator declares as not processed is sent again."""
    told = scenario({"match": {"operation": "deploy", "nth": 1}, "answer": {"status": 503}}, job_seconds=0)
    estate = Estate([resource("a")], platform_says=told)
    report = estate.apply(not_processed=frozenset({503}))
    assert estate.ends(report) == {"a": "succeeded"}
    assert isinstance(estate.entry("a").attempts[0].outcome, NotProcessed)


def test_reply_is_kept() -> None:
    """What an unclear reply said is kept until the outcome is known."""
    estate = Estate([resource("a")], platform_says=scenario(answer(502, message="bad gateway, friend")))
    estate.apply()
    assert "bad gateway, friend" in (estate.last("a").reply or "")


class _Mistaken(frozenset[int]):
    """Codes that cannot be looked up: it stands for any mistake of ours in reading a reply."""

    def __contains__(self, code: object) -> bool:
        raise ZeroDivisionError


def test_a_mistake_in_reading_costs_no_reply() -> None:
    """A reply that we fail to understand is recorded as it came, and counts as unknown."""
    estate = Estate([resource("a")], platform_says=scenario(answer(502, message="bad gateway, friend")))
    report = estate.apply(not_processed=_Mistaken())
    assert estate.ends(report) == {"a": "unknown"}
    assert isinstance(estate.last("a").outcome, Unknown)
    assert "bad gateway, friend" in (estate.last("a").reply or "")


def test_refused_then_equal_to_live() -> None:
    """A refused change that is withdrawn from the manifest leaves nothing to do."""
    estate = Estate([resource("a")], platform_says=scenario(job_seconds=0))
    estate.apply()
    estate.platform_says(scenario({"answer": {"status": 422}}))
    estate.wanted = [resource("a", temperature=0)]
    assert estate.ends(estate.apply()) == {"a": "refused"}
    estate.wanted = [resource("a")]
    assert estate.plan().is_empty
    assert not isinstance(estate.last("a").outcome, NotSent)
