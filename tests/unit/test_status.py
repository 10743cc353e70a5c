"""The three axes and the gates of `explain`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reconciler.errors import UsageError
from reconciler.model.applied import Accepted, Applied, Binding, Entry, Hold, NotSent, Operation, Outcome, Situation
from reconciler.model.plan import Plan
from reconciler.model.resource import Desired, Resource
from reconciler.status import Explanation, Health, Loop, Phase, Stand, Sync, explain, find, phase_of, statuses
from tests.support.situations import NOW, OUTCOMES, applied, attempt, desired, entry, live, plan, resource

CHAT = resource("chat")
BIG = resource("chat", body={"deviceType": "g5.12xlarge"})
SUCCESS = Accepted(dock_status_id="ds-1", status="SUCCESS")
RUNNING, ODD, TIMED_OUT = OUTCOMES[Situation.RUNNING]
REFUSED, NOT_SENT = OUTCOMES[Situation.REFUSED]
FAILED = OUTCOMES[Situation.FAILED][0]
UNANSWERED, UNKNOWN = OUTCOMES[Situation.UNKNOWN]
SUSPENDED = Hold(who="Ada", why="x", since=NOW)


def after(outcome: Outcome, *, below: bool = False, **fields: Any) -> Entry:
    is_live = CHAT if below or outcome == SUCCESS else None
    return entry(CHAT, attempt(CHAT, outcome), is_live=is_live, **fields)


def adopted() -> Entry:
    return replace(entry(CHAT), live=live(CHAT, "adopted"))


AXES = [
    (CHAT, None, (Sync.OUT_OF_SYNC, Health.MISSING, Phase.PENDING)),
    (CHAT, after(SUCCESS), (Sync.SYNCED, Health.HEALTHY, Phase.SUCCEEDED)),
    (CHAT, adopted(), (Sync.SYNCED, Health.UNKNOWN, Phase.SUCCEEDED)),
    (BIG, after(SUCCESS), (Sync.OUT_OF_SYNC, Health.HEALTHY, Phase.PENDING)),
    (None, after(SUCCESS), (Sync.OUT_OF_SYNC, Health.HEALTHY, Phase.SUCCEEDED)),
    (CHAT, after(RUNNING), (Sync.OUT_OF_SYNC, Health.PROGRESSING, Phase.RUNNING)),
    (CHAT, after(ODD), (Sync.OUT_OF_SYNC, Health.PROGRESSING, Phase.RUNNING)),
    (BIG, after(RUNNING), (Sync.OUT_OF_SYNC, Health.PROGRESSING, Phase.RUNNING)),
    (CHAT, after(TIMED_OUT), (Sync.OUT_OF_SYNC, Health.UNKNOWN, Phase.TIMED_OUT)),
    (CHAT, after(REFUSED), (Sync.OUT_OF_SYNC, Health.MISSING, Phase.FAILED)),
    (CHAT, after(NOT_SENT), (Sync.OUT_OF_SYNC, Health.MISSING, Phase.FAILED)),
    (CHAT, after(REFUSED, below=True), (Sync.OUT_OF_SYNC, Health.HEALTHY, Phase.FAILED)),
    (CHAT, after(FAILED, below=True), (Sync.OUT_OF_SYNC, Health.DEGRADED, Phase.FAILED)),
    (BIG, after(FAILED, below=True), (Sync.OUT_OF_SYNC, Health.DEGRADED, Phase.PENDING)),
    (CHAT, after(UNKNOWN), (Sync.UNKNOWN, Health.UNKNOWN, Phase.UNKNOWN)),
    (CHAT, after(UNANSWERED), (Sync.UNKNOWN, Health.UNKNOWN, Phase.UNKNOWN)),
    (BIG, after(SUCCESS, suspension=SUSPENDED), (Sync.OUT_OF_SYNC, Health.SUSPENDED, Phase.SUCCEEDED)),
    (CHAT, after(SUCCESS, suspension=SUSPENDED), (Sync.SYNCED, Health.SUSPENDED, Phase.SUCCEEDED)),
]


@pytest.mark.parametrize(("wanted", "known", "axes"), AXES)
def test_axes(wanted: Resource | None, known: Entry | None, axes: tuple[Sync, Health, Phase]) -> None:
    """Each situation has its place on the three axes."""
    resources = [one for one in (wanted,) if one is not None]
    state = applied(*([known] if known else []))
    (row,) = statuses(plan(desired(*resources), state), state)
    assert (row.sync, row.health, row.operation) == axes


def test_withdrawn_and_superseded_attempts() -> None:
    """A refused change that is withdrawn is Cancelled; a job that ran when another was sent is Superseded."""
    withdrawn = entry(BIG, attempt(BIG, REFUSED), is_live=CHAT)
    state = applied(withdrawn)
    (row,) = statuses(plan(desired(CHAT), state), state)
    assert (row.sync, row.operation, row.error) == (Sync.SYNCED, Phase.CANCELLED, None)
    assert phase_of(attempt(CHAT, RUNNING), is_last=False) is Phase.SUPERSEDED
    decided = replace(attempt(CHAT, NotSent(error="Ada says so")), decided="Ada")
    assert phase_of(decided) is Phase.CANCELLED


def test_unknown_address_gets_a_suggestion() -> None:
    """A misspelled address, or a name alone, is answered with the address that was meant."""
    made = plan(desired(CHAT), applied())
    for wrong in ("production/chta", "chat"):
        with pytest.raises(UsageError) as caught:
            find(made, wrong)
        assert caught.value.next_step == "Did you mean production/chat?"


def stands(explanation: Explanation) -> dict[str, Stand]:
    """The gates that are not passed."""
    return {gate.name: gate.stand for gate in explanation.gates if gate.stand is not Stand.PASSED}


def explained(wanted: Desired, state: Applied, name: str = "chat") -> Explanation:
    return explain(plan(wanted, state), state, f"production/{name}")


def test_nothing_to_do_passes_every_gate() -> None:
    """What is as it should be has every gate open and no command."""
    found = explained(desired(CHAT), applied(after(SUCCESS)))
    assert stands(found) == {}
    assert (found.next_step, found.command) == ("Nothing is to be done.", None)


@pytest.mark.parametrize("outcome", [FAILED, REFUSED, NOT_SENT])
def test_sending_again_is_no_cure(outcome: Outcome) -> None:
    """What failed or was refused is sent again by the next apply; that this helps is not promised."""
    found = explained(desired(CHAT, *CALM), applied(after(outcome), *OTHERS))
    assert "unless the cause of the error is mended" in found.next_step
    asked = explained(desired(CHAT, *CALM), applied(after(SUCCESS, retry=True), *OTHERS))
    assert asked.next_step == "The next apply does it: retry."


CALM = [resource(f"o{i}") for i in range(4)]
OTHERS = [entry(one, attempt(one, SUCCESS), is_live=one) for one in CALM]
QUARANTINE = Hold(who="Ada", why="failed often", since=NOW, digest=CHAT.digest)


@pytest.mark.parametrize(
    ("wanted", "known", "gate", "command"),
    [
        (None, after(SUCCESS), "manifest", "reconciler undeploy production/chat"),
        (BIG, after(SUCCESS, suspension=SUSPENDED), "not suspended", "reconciler resume production/chat"),
        (CHAT, after(FAILED, quarantine=QUARANTINE), "not quarantined", "reconciler retry production/chat"),
        (CHAT, after(UNKNOWN), "outcome known", "reconciler resolve production/chat"),
        (CHAT, after(RUNNING), "no job runs", "reconciler status -e production --wait"),
    ],
)
def test_each_gate_names_the_command_that_opens_it(
    wanted: Resource | None, known: Entry, gate: str, command: str
) -> None:
    """The first closed gate decides the next step."""
    resources = [*CALM, *([wanted] if wanted is not None else [])]
    found = explained(desired(*resources), applied(known, *OTHERS))
    assert list(stands(found)) == [gate]
    assert (found.command or "").startswith(command)


@pytest.mark.parametrize(
    ("loop", "who", "command"),
    [
        (None, "The next apply ", "reconciler apply -e production"),
        (Loop(dry_run=True), "The loop only looks; the next apply ", "reconciler apply -e production"),
        (Loop(), "The loop ", None),
        (Loop(at=NOW, held_up=True), f"At {NOW:%Y-%m-%d %H:%M:%S} UTC the loop ", None),
        (Loop(at=NOW, held_up=True, outdated=True), "Once nothing stands in the way any more, the loop ", None),
        (Loop(held_up=True), "Once nothing stands in the way any more, the loop ", None),
        (Loop(needs_a_person=True), "The loop does not try it again by itself.", "reconciler retry production/chat"),
    ],
)
@pytest.mark.parametrize("known", [after(FAILED, below=True), after(SUCCESS, retry=True)])
def test_who_makes_the_change(loop: Loop | None, who: str, command: str | None, known: Entry) -> None:
    """The next step says who takes it and when; a command is shown where a person must give one."""
    state = applied(known, *OTHERS)
    found = explain(plan(desired(CHAT, *CALM), state), state, "production/chat", loop)
    assert found.next_step.startswith(who)
    assert found.command == command


LAPSES = Hold(who="Ada", why="load test", since=NOW, until=NOW + timedelta(hours=4))


@pytest.mark.parametrize(
    ("loop", "said"),
    [
        (None, "The suspension ends by itself at 2030-01-02 04:00 UTC; then the next apply goes on."),
        (Loop(dry_run=True), "The suspension ends by itself at 2030-01-02 04:00 UTC; then the next apply goes on."),
        (Loop(at=LAPSES.until), "It goes on by itself at 2030-01-02 04:00 UTC."),
    ],
)
def test_suspension_with_an_end_needs_nobody(loop: Loop | None, said: str) -> None:
    """What is suspended for a while goes on by itself, and so does what waits for it; without an end a person must decide."""
    rear = resource("rear", depends_on=("chat",))
    state = applied(after(SUCCESS, suspension=LAPSES), *OTHERS)
    wanted = plan(desired(BIG, rear, *CALM), state)
    found = explain(wanted, state, "production/chat", loop)
    assert found.next_step == f"Suspended by Ada until 2030-01-02 04:00 UTC: load test. {said}"
    assert (stands(found), found.command) == ({"not suspended": Stand.WAITING}, "reconciler resume production/chat")
    behind = explain(wanted, state, "production/rear", loop)
    assert stands(behind) == {"dependencies": Stand.WAITING}
    for_ever = replace(state, suspension=SUSPENDED)
    found = explain(plan(desired(BIG, rear, *CALM), for_ever), for_ever, "production/chat", loop)
    assert found.next_step.endswith("A person must decide.")


@pytest.mark.parametrize(
    ("loop", "said"),
    [(None, "Nothing is to be done."), (Loop(), "Nothing is to be done."), (Loop(outdated=True), "Nothing was")],
)
def test_nothing_to_do_is_as_old_as_the_last_look(loop: Loop | None, said: str) -> None:
    """Where the manifests could not be read since, that nothing is to be done is no news of today."""
    state = applied(after(SUCCESS))
    found = explain(plan(desired(CHAT), state), state, "production/chat", loop)
    assert found.next_step.startswith(said)


@pytest.mark.parametrize(
    ("loop", "said"), [(None, "It goes on by itself in the next apply."), (Loop(), "It goes on by itself.")]
)
def test_what_runs_goes_on_by_itself(loop: Loop | None, said: str) -> None:
    """A job is followed by the next apply, and by the loop without anybody."""
    state = applied(after(RUNNING), *OTHERS)
    found = explain(plan(desired(CHAT, *CALM), state), state, "production/chat", loop)
    assert found.next_step == f"Its job ds-1 is running. {said}"


def test_dependencies_and_waves() -> None:
    """What waits for others says for whom, and is blocked when those are."""
    top = resource("top", wave=1, depends_on=("chat",))
    waiting = explained(desired(CHAT, top), applied(), "top")
    assert stands(waiting) == {"dependencies": Stand.WAITING, "wave": Stand.WAITING}
    held = explained(desired(CHAT, top), applied(after(UNKNOWN)), "top")
    assert stands(held) == {"dependencies": Stand.BLOCKED, "wave": Stand.BLOCKED}
    assert held.command == "reconciler explain production/chat"


def test_guards_protection_and_binding() -> None:
    """Guards close the gate of every change in the plan; a foreign state closes the first."""
    state = applied(after(SUCCESS))
    assert stands(explained(desired(BIG), state)) == {"guards": Stand.BLOCKED}
    protected = desired(resource("chat", "cm-new", protect=True), *CALM)
    assert stands(explained(protected, applied(after(SUCCESS), *OTHERS))) == {"protection": Stand.BLOCKED}
    foreign = replace(state, binding=Binding(origin="https://elsewhere", api_key="env:KEY"))
    made: Plan = plan(desired(CHAT), foreign)
    assert stands(explain(made, foreign, "production/chat")) == {"bound": Stand.BLOCKED}


def test_broken_manifest_blocks() -> None:
    """A manifest with errors is the first thing to mend."""
    found = explained(desired(broken=frozenset({"production/chat"})), applied(after(SUCCESS)))
    assert stands(found) == {"manifest": Stand.BLOCKED}
    assert found.command == "reconciler validate"


def test_undeploy_running_is_progress() -> None:
    """An undeploy that runs shows as a running operation."""
    leaving = entry(CHAT, attempt(CHAT, RUNNING, operation=Operation.UNDEPLOY), is_live=CHAT)
    state = applied(leaving)
    (row,) = statuses(plan(desired(), state), state)
    assert (row.health, row.operation, row.call) == (Health.PROGRESSING, Phase.RUNNING, Operation.UNDEPLOY)
