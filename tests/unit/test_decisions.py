"""What a person may decide in which situation, and what is said when not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reconciler.apply.decisions import (
    By,
    Subject,
    adopt,
    forget,
    resolve_as_accepted,
    resolve_as_happened,
    resolve_as_not_happened,
    resolve_by_sending_again,
    retry,
    undeploy_change,
)
from reconciler.apply.journal import Journal
from reconciler.errors import GuardError, ReconcilerError, UsageError
from reconciler.model.applied import Applied, NotSent, Situation, situation_of
from reconciler.model.plan import Action, Reason
from reconciler.model.records import DecisionRecord, Quarantine, Resolve, Suspend
from reconciler.model.resource import Resource
from tests.support.estates import Estate, holder, resource
from tests.support.failpoints import Died, Fate, FatedStore
from tests.support.simulator import scenario

A = Subject(address="production/a", model_id="cm-a")

# How an entry comes into each situation.
RULES: dict[Situation, dict[str, Any]] = {
    Situation.LIVE: {"job": {"seconds": 0}},
    Situation.RUNNING: {"job": {"stuck": True}},
    Situation.REFUSED: {"answer": {"status": 400}},
    Situation.FAILED: {"job": {"seconds": 0, "fails": True}},
    Situation.UNKNOWN: {"lost": "after"},
}


def estate_in(situation: Situation, **rollout: Any) -> Estate:
    estate = Estate(
        [resource("a", **rollout)], platform_says=scenario({"match": {"operation": "deploy"}, **RULES[situation]})
    )
    estate.apply(wait=False)
    assert situation_of(estate.entry("a")) is situation
    return estate


def undeployed() -> Estate:
    estate = estate_in(Situation.LIVE)
    estate.wanted = []
    estate.apply()
    return estate


def by(estate: Estate, **later: float) -> By:
    return By(who="ada", why="I looked", at=estate.now() + timedelta(**later))


def decide(estate: Estate, make: Callable[[Applied], DecisionRecord]) -> Applied:
    return Journal(estate.store).transact_now(lambda applied: [make(applied)])


RESOLUTIONS: list[Callable[[Applied, By], DecisionRecord]] = [
    lambda a, b: resolve_as_accepted(a, A, b, dock_status_id="ds-1", status="SUCCESS", sender_is_dead=True),
    lambda a, b: resolve_as_happened(a, A, b, sender_is_dead=True),
    lambda a, b: resolve_as_not_happened(a, A, b, sender_is_dead=True),
    lambda a, b: resolve_by_sending_again(a, A, b, sender_is_dead=True),
]
AFTER = [Situation.LIVE, Situation.LIVE, Situation.REFUSED, Situation.REFUSED]


@pytest.mark.parametrize(("resolve", "situation"), list(zip(RESOLUTIONS, AFTER, strict=True)))
def test_resolve(resolve: Callable[[Applied, By], DecisionRecord], situation: Situation) -> None:
    """An unknown outcome becomes what a person says, with who said it; the next run acts on it."""
    estate = estate_in(Situation.UNKNOWN)
    decide(estate, lambda applied: resolve(applied, by(estate)))
    assert situation_of(estate.entry("a")) is situation
    assert estate.last("a").decided == "ada"
    estate.platform_says(scenario(job_seconds=0))
    estate.apply()
    assert estate.plan().is_empty
    assert len(estate.calls) == (1 if situation is Situation.LIVE else 2)
    assert [attempt.generation for attempt in estate.entry("a").attempts] == [1, 2][: len(estate.calls)]


@pytest.mark.parametrize("resolve", RESOLUTIONS)
@pytest.mark.parametrize("situation", [s for s in RULES if s is not Situation.UNKNOWN])
def test_resolve_needs_doubt(resolve: Callable[[Applied, By], DecisionRecord], situation: Situation) -> None:
    """What is known is not resolved."""
    estate = estate_in(situation)
    with pytest.raises(UsageError, match="nothing to resolve"):
        resolve(estate.applied, by(estate))


@pytest.mark.parametrize("resolve", RESOLUTIONS)
def test_resolve_needs_an_entry(resolve: Callable[[Applied, By], DecisionRecord]) -> None:
    """What the state does not know is not resolved."""
    estate = Estate()
    with pytest.raises(UsageError, match="not in the state"):
        resolve(estate.applied, by(estate))


def test_resolve_with_a_running_job() -> None:
    """A job that a person names is followed by the next run."""
    estate = estate_in(Situation.UNKNOWN)
    named = estate.calls[0]["dockStatusId"]
    decide(
        estate,
        lambda a: resolve_as_accepted(
            a, A, by(estate), dock_status_id=named, status="IN_PROGRESS", sender_is_dead=True
        ),
    )
    assert estate.plan().changes[0].action is Action.FOLLOW
    assert estate.ends(estate.apply()) == {"a": "succeeded"}
    assert len(estate.calls) == 1


def test_resolve_refuses_a_known_id() -> None:
    """A dock status id that belongs to another attempt is refused, and the owner named."""
    estate = Estate([resource("b")], platform_says=scenario(job_seconds=0))
    estate.apply()
    known = estate.calls[0]["dockStatusId"]
    estate.wanted.append(resource("a"))
    estate.platform_says(scenario({"match": {"operation": "deploy"}, "lost": "after"}))
    estate.apply()
    with pytest.raises(UsageError, match=r"belongs to production/b already"):
        resolve_as_accepted(estate.applied, A, by(estate), dock_status_id=known, status="SUCCESS", sender_is_dead=True)


def test_did_not_waits_for_the_sender() -> None:
    """`--it-did-not` is refused while somebody may still be sending, for ten minutes at most."""
    estate = estate_in(Situation.UNKNOWN)
    with pytest.raises(GuardError, match="Somebody is sending"):
        resolve_as_not_happened(estate.applied, A, by(estate, minutes=9), sender_is_dead=False)
    resolve_as_not_happened(estate.applied, A, by(estate, minutes=10), sender_is_dead=False)
    resolve_as_not_happened(estate.applied, A, by(estate), sender_is_dead=True)


def test_nothing_is_decided_about_what_is_being_sent() -> None:
    """While the sender of an attempt lives, nobody else decides what became of it, however long it takes."""
    estate = Estate([resource("a")])
    fate = Fate(7)  # after ATTEMPT is durable
    kept, estate.store = estate.store, FatedStore(estate.store, fate)
    with pytest.raises(BaseExceptionGroup) as died:
        estate.apply()
    assert died.value.subgroup(Died) is not None
    estate.store = kept
    lock = estate.applied.lock
    assert lock is not None
    with pytest.raises(GuardError, match="being sent at this moment by"):
        resolve_as_not_happened(estate.applied, A, by(estate, hours=5), sender_is_dead=False)
    fate.bury()
    decide(estate, lambda a: resolve_as_not_happened(a, A, by(estate), sender_is_dead=True))
    assert isinstance(estate.last("a").outcome, NotSent)
    assert str(lock.holder) == str(holder("run1"))


def test_an_undeploy_is_not_sent_again() -> None:
    """A duplicate of an undeploy is never accepted."""
    estate = estate_in(Situation.LIVE)
    estate.platform_says(scenario({"match": {"operation": "undeploy"}, "lost": "after"}))
    estate.wanted = []
    estate.apply()
    with pytest.raises(GuardError, match="undeploy"):
        resolve_by_sending_again(estate.applied, A, by(estate), sender_is_dead=True)


@pytest.mark.parametrize("situation", [Situation.LIVE, Situation.REFUSED, Situation.FAILED])
def test_retry(situation: Situation) -> None:
    """What is live, failed or was refused can be sent once more."""
    estate = estate_in(situation)
    decide(estate, lambda a: retry(a, A, by(estate)))
    estate.platform_says(scenario(job_seconds=0))
    assert estate.ends(estate.apply()) == {"a": "succeeded"}
    assert estate.plan().is_empty
    assert estate.last("a").generation == 2


@pytest.mark.parametrize("situation", [Situation.UNKNOWN, Situation.RUNNING])
def test_retry_refused(situation: Situation) -> None:
    """What is in doubt or under way is not retried."""
    estate = estate_in(situation)
    with pytest.raises(UsageError, match="cannot be retried"):
        retry(estate.applied, A, by(estate))


def test_retry_of_nothing() -> None:
    """What was undeployed is not retried."""
    estate = undeployed()
    with pytest.raises(UsageError, match="not deployed"):
        retry(estate.applied, A, by(estate))


def test_retry_lifts_a_quarantine() -> None:
    """A quarantined digest is sent again after `retry`."""
    estate = estate_in(Situation.FAILED)
    quarantine = Quarantine(model_id="cm-a", digest=estate.wanted[0].digest)
    decide(estate, lambda _: by(estate).says(quarantine))
    assert estate.plan().changes[0].reason is Reason.QUARANTINED
    decide(estate, lambda a: retry(a, A, by(estate)))
    assert estate.plan().changes[0].action is Action.RETRY


@pytest.mark.parametrize("situation", [Situation.REFUSED, Situation.FAILED])
def test_adopt(situation: Situation) -> None:
    """A model that runs although its deploy was refused or failed is taken over as the manifest says."""
    estate = estate_in(situation)
    decide(estate, lambda a: adopt(a, estate.wanted[0], by(estate), commit="c0ffee"))
    assert estate.plan().is_empty
    live = estate.entry("a").live
    assert live is not None
    assert (live.how, live.commit) == ("adopted", "c0ffee")


def test_adopt_anew() -> None:
    """What the state does not know is adopted too."""
    estate = Estate([resource("a")])
    decide(estate, lambda a: adopt(a, estate.wanted[0], by(estate), commit=None))
    assert estate.plan().is_empty


@pytest.mark.parametrize("situation", [Situation.LIVE, Situation.RUNNING, Situation.UNKNOWN])
def test_adopt_refused(situation: Situation) -> None:
    """What is live, under way or in doubt is not adopted."""
    estate = estate_in(situation)
    with pytest.raises(UsageError, match="cannot be adopted"):
        adopt(estate.applied, estate.wanted[0], by(estate), commit=None)


@pytest.mark.parametrize("situation", [Situation.LIVE, Situation.FAILED, Situation.REFUSED])
def test_forget(situation: Situation) -> None:
    """An entry without a manifest is dropped, without a call."""
    estate = estate_in(situation)
    decide(estate, lambda a: forget(a, A, by(estate), has_manifest=False))
    assert not estate.applied.entries
    assert len(estate.calls) == 1


@pytest.mark.parametrize("situation", [Situation.RUNNING, Situation.UNKNOWN])
def test_forget_refused(situation: Situation) -> None:
    """What is under way or in doubt is not forgotten."""
    estate = estate_in(situation)
    with pytest.raises(GuardError):
        forget(estate.applied, A, by(estate), has_manifest=False)


def test_forget_refused_with_a_manifest() -> None:
    """What has a manifest would be deployed anew, so it is not forgotten."""
    estate = estate_in(Situation.LIVE)
    with pytest.raises(GuardError, match="has a manifest"):
        forget(estate.applied, A, by(estate), has_manifest=True)


def orphan(*others: Resource, **rollout: Any) -> Estate:
    estate = estate_in(Situation.LIVE, **rollout)
    estate.prune = False
    estate.wanted = list(others)
    return estate


def test_undeploy() -> None:
    """An orphan is undeployed on a person's word."""
    estate = orphan()
    plan = estate.plan()
    change = undeploy_change(plan.changes[0])
    assert estate.ends(estate.apply(replace(plan, changes=(change,)))) == {"a": "succeeded"}
    assert estate.entry("a").live is None
    assert estate.plan().is_empty


def test_undeploy_where_prune_is_on() -> None:
    """Where apply would undeploy it, a person may too."""
    estate = orphan()
    estate.prune = True
    (change,) = estate.plan().changes
    assert undeploy_change(change) is change


@pytest.mark.parametrize(
    ("estate", "error", "words"),
    [
        (lambda: orphan(protect=True), GuardError, "protected"),
        (lambda: estate_in(Situation.LIVE), GuardError, "not an orphan"),
        (lambda: estate_in(Situation.UNKNOWN), UsageError, "unknown"),
        (lambda: estate_in(Situation.RUNNING), UsageError, "running"),
    ],
)
def test_undeploy_refused(estate: Callable[[], Estate], error: type[ReconcilerError], words: str) -> None:
    """What is protected, has a manifest, is in doubt or under way is not undeployed by hand."""
    (change,) = estate().plan().changes
    with pytest.raises(error, match=words) as refused:
        undeploy_change(change)
    assert refused.value.next_step


def test_undeploy_refused_when_suspended() -> None:
    """What is suspended is not undeployed either."""
    estate = orphan()
    estate.prune = True
    decide(estate, lambda _: by(estate).says(Suspend(model_id="cm-a")))
    (change,) = estate.plan().changes
    with pytest.raises(GuardError, match="not to be changed now"):
        undeploy_change(change)


def test_records_say_who_and_why() -> None:
    """A decision keeps who took it, when, and why."""
    estate = estate_in(Situation.UNKNOWN)
    record = resolve_as_happened(estate.applied, A, by(estate), sender_is_dead=True)
    assert (record.who, record.why, record.at) == ("ada", "I looked", estate.now())
    assert isinstance(record.decision, Resolve)
