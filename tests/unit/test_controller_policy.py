"""What the loop may do by itself: each rule on its own, from values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.controller.policy import HOUR, Judgement, Pause, judge
from reconciler.model.applied import (
    REPAIR,
    Accepted,
    Applied,
    Attempt,
    Binding,
    Entry,
    Hold,
    NotProcessed,
    NotSent,
    Operation,
    Outcome,
    RefusalKind,
)
from reconciler.model.plan import Action, Because, Change, Edge, Guard, Plan, Reason
from reconciler.model.snapshot import NO_PROVENANCE

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
FAILED = Accepted(dock_status_id="ds-1", status="FAILED")
SUCCESS = Accepted(dock_status_id="ds-1", status="SUCCESS")


def attempt(outcome: Outcome, ago: timedelta, digest: str = "v1:a", decided: str | None = None) -> Attempt:
    return Attempt(
        id=f"run-{ago.total_seconds()}",
        operation=Operation.DEPLOY,
        generation=1,
        origin="https://platform.example.com",
        path="/",
        model_type="openSource",
        body="{}",
        digest=digest,
        provenance=NO_PROVENANCE,
        manifest=None,
        epoch=1,
        started_at=NOW - ago,
        ended_at=NOW - ago,
        outcome=outcome,
        decided=decided,
    )


def change(name: str = "a", action: Action = Action.RETRY, **fields: object) -> Change:
    usual = {
        "address": f"production/{name}",
        "environment": "production",
        "name": name,
        "model_id": f"cm-{name}",
        "action": action,
        "reason": Reason.JOB_FAILED,
        "detail": "",
        "digest": "v1:a",
    }
    return Change(**{**usual, **fields})  # type: ignore[arg-type]


EMPTY = Applied(
    environment="production",
    lineage="l",
    binding=Binding(origin="https://platform.example.com", api_key="env:KEY"),
    entries={},
)


def judged(
    changes: tuple[Change, ...],
    *attempts: Attempt,
    pause: Pause | None = None,
    retry: bool = False,
    guarded: bool = False,
) -> Judgement:
    entry = Entry(model_id="cm-a", name="a", attempts=attempts, retry=retry)
    applied = replace(EMPTY, entries={"cm-a": entry} if attempts else {})
    guards = (Guard(code="massChange", message="much", flag="--allow-mass-change"),) if guarded else ()
    plan = Plan(environment="production", origin="", lineage="l", changes=changes, guards=guards)
    return judge(plan, applied, now=NOW, pause=pause)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


REFUSED = NotProcessed(kind=RefusalKind.REFUSED, message="no", status_code=400)

WAITS = [
    ([(FAILED, 1)], 4),
    ([(FAILED, 6)], None),
    ([(FAILED, 30), (FAILED, 19)], 1),
    ([(FAILED, 30), (FAILED, 21)], None),
    ([(NotSent(error="refused"), 0)], 5 / 60),
    ([(NotSent(error="refused"), 0.2), (NotSent(error="refused"), 0)], 10 / 60),
    ([(NotProcessed(kind=RefusalKind.UNAUTHORIZED, message="no", status_code=403), 2)], 3),
    ([(NotProcessed(kind=RefusalKind.REDIRECTED, message="no", status_code=308), 2)], 18),
    ([(NotProcessed(kind=RefusalKind.RATE_LIMITED, message="no", status_code=429, retry_after=240), 1)], 3),
    ([(SUCCESS, 59), (SUCCESS, 30), (FAILED, 20)], 1),
    ([(SUCCESS, 61), (SUCCESS, 30), (FAILED, 20)], None),
]


@pytest.mark.parametrize(("history", "wait"), WAITS)
def test_waits(history: list[tuple[Outcome, float]], wait: float | None) -> None:
    """Each ending of the last attempts is waited for as long as the table says."""
    found = judged((change(),), *(attempt(outcome, minutes(ago)) for outcome, ago in history))
    if wait is None:
        assert found.plan.changes[0].action is Action.RETRY
        assert found.again_at is None
    else:
        assert found.again_at == NOW + minutes(wait)
        assert found.plan.changes[0].reason is Reason.BACKOFF
        assert not found.acts


@pytest.mark.parametrize(
    "history",
    [
        [(FAILED, 90), (FAILED, 70), (FAILED, 40)],
        [(FAILED, 90), (FAILED, 70), (NotSent(error="x"), 50), (FAILED, 40)],
        [(REFUSED, 1)],
        [(NotProcessed(kind=RefusalKind.CONFLICT, message="no", status_code=409), 90)],
    ],
)
def test_gives_up(history: list[tuple[Outcome, float]]) -> None:
    """Three failures, or one refusal, and the digest is quarantined: a decision that says why."""
    found = judged((change(),), *(attempt(outcome, minutes(ago)) for outcome, ago in history))
    (record,) = found.give_up
    assert record.why
    assert found.waits[0].until is None
    assert found.stuck == found.waits[0]


@pytest.mark.parametrize(
    ("own", "all_of_it", "until", "is_stuck"),
    [
        (Hold(who="ada", why="x", since=NOW), None, None, False),
        (Hold(who="ada", why="x", since=NOW, until=NOW + HOUR), None, NOW + HOUR, False),
        (None, Hold(who="ada", why="x", since=NOW, until=NOW + HOUR), NOW + HOUR, False),
        (
            Hold(who="ada", why="x", since=NOW, until=NOW + HOUR),
            Hold(who="ada", why="x", since=NOW, until=NOW + 2 * HOUR),
            NOW + 2 * HOUR,
            False,
        ),
        (Hold(who="ada", why="x", since=NOW, until=NOW + HOUR), Hold(who="ada", why="x", since=NOW), None, False),
        (
            Hold(who="ada", why="x", since=NOW, until=NOW - HOUR),
            Hold(who="ada", why="x", since=NOW, until=NOW + HOUR),
            NOW + HOUR,
            False,
        ),
        (None, Hold(who=REPAIR, why="records are lost", since=NOW), None, True),
    ],
)
def test_suspended_on_purpose(own: Hold | None, all_of_it: Hold | None, until: datetime | None, is_stuck: bool) -> None:
    """What is suspended waits until the last suspension ends; nobody is called for what a person wanted."""
    entry = Entry(model_id="cm-a", name="a", attempts=(attempt(SUCCESS, minutes(9)),), suspension=own)
    applied = replace(EMPTY, entries={"cm-a": entry}, suspension=all_of_it)
    changes = (change(action=Action.NONE, reason=Reason.SUSPENDED, detail="suspended by ada: x"),)
    found = judge(Plan(environment="production", origin="", lineage="l", changes=changes), applied, now=NOW)
    assert [(wait.why, wait.until) for wait in found.waits] == [("suspended by ada: x", until)]
    assert (found.stuck is not None) == is_stuck


def test_another_digest_starts_anew() -> None:
    """What failed says nothing about a newer spec."""
    assert judged((change(digest="v1:b"),), attempt(REFUSED, minutes(1))).acts


def test_person_counts_above_the_rules() -> None:
    """`retry` sends at once, whatever happened; a person who says that it did not happen is believed."""
    assert judged((change(),), attempt(REFUSED, minutes(1)), retry=True).acts
    assert judged((change(),), attempt(NotSent(error="said so"), minutes(0), decided="ada")).acts


def test_many_attempts_in_an_hour_are_enough() -> None:
    """When all attempts that are kept are young, older deploys may have been dropped: it waits."""
    limited = NotProcessed(kind=RefusalKind.RATE_LIMITED, message="no", status_code=429, retry_after=1)
    found = judged((change(),), *(attempt(limited, minutes(55 - 5 * n)) for n in range(10)))
    assert found.again_at == NOW + minutes(5)


def test_guard_holds_the_environment() -> None:
    """A plan with guards only follows; nothing is sent or written down, and no time ends it."""
    follow = change("f", Action.FOLLOW, job="ds-9", reason=Reason.JOB_RUNNING)
    books = change("b", Action.ADOPT, reason=Reason.ADOPTED)
    noted = change("n", Action.NONE, reason=Reason.UNCHANGED, records=True)
    found = judged((change("a", Action.DEPLOY), books, follow, noted), guarded=True)
    assert [c.action for c in found.plan.changes] == [Action.NONE, Action.NONE, Action.FOLLOW, Action.NONE]
    assert not any(c.records for c in found.plan.changes)
    assert "--allow-mass-change" in (found.held_up or "")
    assert found.again_at is None
    assert not found.plan.guards


def test_pause_holds_all_sends() -> None:
    """While the host is down nothing is sent; bookkeeping and following go on; when it is over, so is the pause."""
    books = change("b", Action.ADOPT, reason=Reason.ADOPTED)
    found = judged((change("a", Action.DEPLOY), books), pause=Pause(until=NOW + minutes(3), why="down"))
    assert [c.action for c in found.plan.changes] == [Action.NONE, Action.ADOPT]
    assert found.again_at == NOW + minutes(3)
    assert judged((change("a", Action.DEPLOY),), pause=Pause(until=NOW, why="down")).held_up is None


def test_a_refused_key_holds_all_sends() -> None:
    """A key that was refused for one deployment is refused for all, as the state remembers after a restart."""
    refused = NotProcessed(kind=RefusalKind.UNAUTHORIZED, message="no", status_code=401)
    found = judged((change("a"), change("b", Action.DEPLOY)), attempt(refused, minutes(2)))
    assert [c.action for c in found.plan.changes] == [Action.NONE, Action.NONE]
    assert found.again_at == NOW + minutes(3)
    later = judged((change("a"), change("b", Action.DEPLOY)), attempt(refused, minutes(5)))
    assert [c.action for c in later.plan.changes] == [Action.RETRY, Action.DEPLOY]


def test_followed_meanwhile_satisfies_nobody() -> None:
    """The old job of a change that waits is followed, and its success must not let dependants go on."""
    waits = change(job="ds-1", digest="v1:a")
    edge = Edge(address="production/a", because=Because.DEPENDS_ON)
    dependant = change("d", Action.DEPLOY, waits_for=(edge,), reason=Reason.NEW)
    other = change("o", Action.DEPLOY, reason=Reason.NEW)
    found = judged((waits, dependant, other), attempt(FAILED, minutes(1)))
    assert [c.action for c in found.plan.changes] == [Action.FOLLOW, Action.NONE, Action.DEPLOY]
