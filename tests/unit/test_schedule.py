"""The order of a plan: stages, edges, skipping, and what is still to be sent."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.apply.schedule import Schedule, stage_of
from reconciler.model.applied import Metadata
from reconciler.model.plan import Action, Because, Change, Edge, Reason
from reconciler.model.resource import Rollout

REASONS = {
    Action.DEPLOY: Reason.NEW,
    Action.REDEPLOY: Reason.BODY_CHANGED,
    Action.UNDEPLOY: Reason.MANIFEST_GONE,
    Action.RETRY: Reason.JOB_FAILED,
    Action.ADOPT: Reason.ADOPTED,
    Action.RENAME: Reason.RENAMED,
    Action.FOLLOW: Reason.JOB_RUNNING,
    Action.HOLD: Reason.OUTCOME_UNKNOWN,
    Action.NONE: Reason.UNCHANGED,
}


def change(name: str, action: Action = Action.DEPLOY, *after: str, wave: int = 0, **fields: Any) -> Change:
    return Change(
        **{
            "address": f"e/{name}",
            "environment": "e",
            "name": name,
            "model_id": f"cm-{name}",
            "action": action,
            "reason": REASONS[action],
            "detail": "",
            "waits_for": tuple(Edge(address=f"e/{other}", because=Because.DEPENDS_ON) for other in after),
            "rollout": Rollout(wave=wave),
            **fields,
        }
    )


def take_all(schedule: Schedule) -> list[str]:
    taken = []
    while (found := schedule.take_ready()) is not None:
        taken.append(found.name)
    return taken


def play(changes: list[Change], ends: Callable[[Change], bool] = lambda _: True) -> tuple[list[list[str]], list[str]]:
    """Every round of what is ready, ended by `ends`, and what was skipped."""
    schedule, rounds, skipped = Schedule(changes), [], []
    by_name = {c.name: c for c in changes}
    while taken := take_all(schedule):
        rounds.append(taken)
        for name in taken:
            schedule.settle(f"e/{name}", satisfied=ends(by_name[name]))
        skipped += [s.change.name for s in schedule.take_skipped()]
    skipped += [s.change.name for s in schedule.take_skipped()]
    assert schedule.unsettled == ()
    assert not schedule.may_still_send
    return rounds, skipped


def test_waves() -> None:
    """A wave begins when everything in the waves before it has ended well."""
    changes = [change("c", wave=2), change("a"), change("b", wave=-1)]
    assert play(changes) == ([["b"], ["a"], ["c"]], [])


def test_edges() -> None:
    """Within a wave a change waits for what its edges name."""
    changes = [change("a", Action.DEPLOY, "b"), change("b", Action.DEPLOY, "c"), change("c")]
    assert play(changes) == ([["c"], ["b"], ["a"]], [])


def test_what_sends_nothing_waits_for_nobody() -> None:
    """Jobs are followed and books are kept from the beginning, and before anything is sent."""
    changes = [change("a"), change("b", Action.FOLLOW, wave=3), change("c", Action.ADOPT, wave=5)]
    schedule = Schedule(changes)
    assert take_all(schedule)[:2] == ["b", "c"]


def test_wave_waits_for_followed_jobs() -> None:
    """A job that is followed belongs to its wave: the next one waits for its end."""
    schedule = Schedule([change("a", Action.FOLLOW), change("b", wave=1)])
    assert take_all(schedule) == ["a"]
    schedule.settle("e/a", satisfied=True)
    assert take_all(schedule) == ["b"]


def test_undeploys_come_last_in_reverse() -> None:
    """Undeploys run after everything else, higher waves first, and dependants before what they depend on."""
    changes = [
        change("base", Action.UNDEPLOY),
        change("user", Action.UNDEPLOY, metadata=Metadata(depends_on=("base",))),
        change("late", Action.UNDEPLOY, wave=2),
        change("new", wave=7),
    ]
    assert play(changes) == ([["new"], ["late"], ["user"], ["base"]], [])


def test_undeploys_in_a_circle() -> None:
    """What entries remember of dependencies may be a circle by now; they are undeployed all the same."""
    changes = [
        change("a", Action.UNDEPLOY, metadata=Metadata(depends_on=("b",))),
        change("b", Action.UNDEPLOY, metadata=Metadata(depends_on=("c", "b"))),
        change("c", Action.UNDEPLOY, metadata=Metadata(depends_on=("a",))),
    ]
    rounds, skipped = play(changes)
    assert sorted(chain(*rounds)) == ["a", "b", "c"]
    assert skipped == []


def test_replace_is_in_its_wave() -> None:
    """The undeploy of a replace runs beside the deploys of its wave, also after a failure elsewhere."""
    changes = [
        change("bad"),
        change("x"),
        change("old", Action.UNDEPLOY, "x", reason=Reason.MODEL_REPLACED),
        change("gone", Action.UNDEPLOY),
    ]
    rounds, skipped = play(changes, lambda c: c.name != "bad")
    assert rounds == [["bad", "x"], ["old"]]
    assert skipped == ["gone"]


def test_failure_skips() -> None:
    """A failure skips its dependants, theirs, and the later waves, each once and with the reason."""
    changes = [
        change("a"),
        change("b", Action.DEPLOY, "a"),
        change("c", Action.DEPLOY, "b", "a"),
        change("d", wave=1),
        change("e"),
    ]
    schedule = Schedule(changes)
    assert take_all(schedule) == ["a", "e"]
    schedule.settle("e/a", satisfied=False)
    assert [(s.change.name, s.why) for s in schedule.take_skipped()] == [
        ("b", "it waits for e/a"),
        ("c", "it waits for e/a"),
    ]
    schedule.settle("e/e", satisfied=True)
    assert [(s.change.name, s.why) for s in schedule.take_skipped()] == [("d", "something in wave 0 failed or is held")]
    assert schedule.take_skipped() == ()


def test_nothing_is_undeployed_after_a_failure() -> None:
    """A failure anywhere leaves what has no manifest alone; a replace still undeploys its old model."""
    old = change("old", Action.UNDEPLOY, reason=Reason.MODEL_REPLACED)
    changes = [change("a"), change("gone", Action.UNDEPLOY), old]
    assert play(changes, lambda c: c.name != "a") == ([["a", "old"]], ["gone"])
    assert play(changes) == ([["a", "old"], ["gone"]], [])


def test_hold_stops_like_a_failure() -> None:
    """A held entry stops its dependants and the later waves, and lets its own wave go on."""
    changes = [change("a", Action.HOLD), change("b", Action.DEPLOY, "a"), change("c"), change("d", wave=1)]
    assert play(changes) == ([["c"]], ["b", "d"])


def test_unchanged_satisfies() -> None:
    """What is as it should be is satisfied from the beginning; what is suspended is not."""
    fine, suspended = change("a", Action.NONE), change("b", Action.NONE, reason=Reason.SUSPENDED)
    changes = [fine, suspended, change("c", Action.DEPLOY, "a"), change("d", Action.DEPLOY, "b")]
    assert play(changes) == ([["c"]], ["d"])


def test_may_still_send() -> None:
    """Something remains to be sent until the last change that sends was taken or skipped."""
    schedule = Schedule([change("a"), change("b", wave=1), change("f", Action.FOLLOW)])
    take_all(schedule)
    assert schedule.may_still_send
    assert [c.name for c in schedule.waiting] == ["b"]
    schedule.settle("e/a", satisfied=False)
    schedule.settle("e/f", satisfied=True)
    assert not schedule.may_still_send


def test_long_chain() -> None:
    """A chain of thousands is walked without recursion."""
    count = 3000
    changes = [change(f"c{n:05}", Action.DEPLOY, *([f"c{n - 1:05}"] if n else [])) for n in range(count)]
    schedule = Schedule(changes)
    take_all(schedule)
    schedule.settle("e/c00000", satisfied=False)
    assert len(schedule.take_skipped()) == count - 1


NAMES = [f"n{number}" for number in range(8)]


@st.composite
def plans(draw: st.DrawFn) -> tuple[list[Change], dict[str, bool]]:
    """Plans as the builder makes them: edges only to lower names or waves, so without circles."""
    changes: list[Change] = []
    for name in NAMES:
        action = draw(st.sampled_from(list(REASONS)))
        wave = draw(st.integers(0, 2))
        lower = [c.name for c in changes if c.rollout.wave <= wave and stage_of(c)[0] == 0]
        after = draw(st.lists(st.sampled_from(lower), unique=True, max_size=2)) if lower and action.sends else []
        needs = tuple(draw(st.lists(st.sampled_from(NAMES), max_size=2))) if action is Action.UNDEPLOY else ()
        changes.append(change(name, action, *after, wave=wave, metadata=Metadata(depends_on=needs)))
    return changes, {name: draw(st.booleans()) for name in NAMES}


@given(plans())
def test_every_change_ends(drawn: tuple[list[Change], dict[str, bool]]) -> None:
    """Whatever fails, every change is taken or skipped exactly once, and nothing is taken before what it waits for."""
    changes, fine = drawn
    rounds, skipped = play(changes, lambda c: fine[c.name])
    taken = list(chain(*rounds))
    worked = {c.name for c in changes if c.action not in {Action.HOLD, Action.NONE}}
    assert sorted(taken + skipped) == sorted(worked)
    position = {name: number for number, name in enumerate(taken)}
    for c in changes:
        for edge in c.waits_for if c.name in position else ():
            other = edge.address.removeprefix("e/")
            assert other not in worked or (position[other] < position[c.name] and fine[other])
    sent = [c for c in changes if c.name in position and c.action.sends]
    for early in sent:
        for late in sent:
            if stage_of(early) < stage_of(late):
                assert position[early.name] < position[late.name]
                assert fine[early.name]
