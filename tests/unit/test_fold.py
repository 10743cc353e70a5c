"""What each record means: the row of the classification table that an entry stands in after it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.applied import (
    MAX_ATTEMPTS,
    NO_METADATA,
    Accepted,
    Applied,
    Attempt,
    Binding,
    Entry,
    Hold,
    Lock,
    Metadata,
    NotProcessed,
    NotSent,
    Operation,
    RefusalKind,
    Situation,
    Unanswered,
    Unknown,
    reference_digest,
    situation_of,
)
from reconciler.model.records import (
    Adopt,
    Describe,
    Forget,
    LockEvent,
    LockRecord,
    NotSentRecord,
    Quarantine,
    Rebind,
    Record,
    Resolve,
    Resume,
    Retry,
    Suspend,
)
from reconciler.state.fold import MAX_REPLY, fold
from reconciler.state.format import decode_snapshot, encode_snapshot
from tests.support.records import HOLDER, accepted, at, attempt, decided, empty, note, raw, records, states, status

REFUSED = NotProcessed(kind=RefusalKind.REFUSED, message="no", status_code=400)
LOST = Unknown(reason="reset")
LIVE: list[Record] = [attempt(), accepted(), status()]
ADOPTION = Adopt(
    model_id="cm-1",
    name="taken",
    metadata=NO_METADATA,
    model_type="openSource",
    body="{}",
    digest="v1:two",
    commit="c0",
)


def entry_after(*happened: Record, model: str = "cm-1") -> Entry:
    return fold(empty(), happened).entries[model]


def last(entry: Entry) -> Attempt:
    assert entry.last is not None
    return entry.last


def resolved(verdict: str, **more: str) -> Record:
    return decided(Resolve(model_id="cm-1", attempt="a1", verdict=verdict, **more))  # type: ignore[arg-type]  # one of four words


# Laws


@given(states, st.lists(records, max_size=12), st.data())
def test_folding_in_two_steps_is_folding_in_one(state: Applied, happened: list[Record], data: st.DataObject) -> None:
    """Where the log is split into snapshot and tail makes no difference."""
    split = data.draw(st.integers(0, len(happened)))
    assert fold(fold(state, happened[:split]), happened[split:]) == fold(state, happened)


@given(st.lists(records, max_size=12), st.data())
def test_a_written_snapshot_folds_on(happened: list[Record], data: st.DataObject) -> None:
    """A compaction anywhere, through bytes, makes no difference either."""
    split = data.draw(st.integers(0, len(happened)))
    middle = decode_snapshot(encode_snapshot(fold(empty(), happened[:split])), where="")
    assert fold(middle, happened[split:]) == fold(empty(), happened)


@given(states, st.lists(records, max_size=8))
def test_folding_changes_no_argument(state: Applied, happened: list[Record]) -> None:
    """The state before a fold is the same after it."""
    before = encode_snapshot(state)
    fold(state, happened)
    assert encode_snapshot(state) == before


@given(st.lists(records, max_size=20))
def test_every_record_is_counted(happened: list[Record]) -> None:
    """`seq` counts records, whatever they mean, and lineage and environment stay."""
    state = fold(empty(), happened)
    assert (state.seq, state.lineage, state.environment) == (len(happened), "lineage-1", "production")


@given(st.lists(records, max_size=25))
def test_read_ids_stay(happened: list[Record]) -> None:
    """A dock status id that answered an attempt is in the state until its job is over or a person forgets the entry."""
    state = empty()
    for record in happened:
        running = _running(state)
        state = fold(state, [record])
        forgotten = {m for m in running if m[0] not in state.entries}
        ended = {(e.model_id, a.id, _dock(a)) for e in state.entries.values() for a in e.attempts}
        begun_again = {m for m in running if record.type == "ATTEMPT" and m[1] == record.attempt}
        assert running - forgotten - begun_again <= ended | _candidates(state)


def test_what_is_known_of_attempts_stays_bounded() -> None:
    """A watch folds for months: what no entry keeps any more is forgotten, and earlier states still know what they knew."""
    young = state = fold(empty(), [attempt("a0")])
    for number in range(1000):
        name = f"a{number}"
        state = fold(state, [accepted(name, f"ds-{number}"), status(name, f"ds-{number}"), attempt(f"a{number + 1}")])
    assert len(getattr(state.entries, "homes")) < 100  # noqa: B009 - nobody else may look at it
    assert len(state.entries["cm-1"].attempts) == 10
    assert last(fold(young, [accepted("a0", "ds-0")]).entries["cm-1"]).outcome != last(young.entries["cm-1"]).outcome


def _dock(attempt: Attempt) -> str | None:
    return attempt.outcome.dock_status_id if isinstance(attempt.outcome, Accepted) else None


def _running(state: Applied) -> set[tuple[str, str, str | None]]:
    return {
        (entry.model_id, one.id, _dock(one))
        for entry in state.entries.values()
        for one in entry.attempts
        if isinstance(one.outcome, Accepted) and one.outcome.status not in {"SUCCESS", "FAILED"} and one.decided is None
    }


def _candidates(state: Applied) -> set[tuple[str, str, str | None]]:
    return {
        (entry.model_id, one.id, candidate)
        for entry in state.entries.values()
        for one in entry.attempts
        if isinstance(one.outcome, Unknown)
        for candidate in one.outcome.candidates
    }


# Attempts


def test_an_attempt_makes_an_entry() -> None:
    """ATTEMPT makes the entry, and until something follows its outcome is unknown."""
    entry = entry_after(attempt())
    assert (entry.name, entry.generation, entry.metadata.manifest) == ("name-of-cm-1", 1, "manifests/one.yaml")
    assert last(entry).outcome == Unanswered()
    assert last(entry).started_at == at(0)
    assert situation_of(entry) is Situation.UNKNOWN


@pytest.mark.parametrize(
    ("happened", "situation", "digest"),
    [
        ([attempt()], Situation.UNKNOWN, "v1:one"),
        ([attempt(), NotSentRecord(attempt="a1", error="refused", at=at(1))], Situation.REFUSED, "v1:one"),
        ([attempt(), raw("a1", REFUSED)], Situation.REFUSED, "v1:one"),
        ([attempt(), raw("a1", LOST)], Situation.UNKNOWN, "v1:one"),
        ([attempt(), accepted()], Situation.RUNNING, "v1:one"),
        ([attempt(), accepted(), status(word="STUCK", timed_out=True)], Situation.RUNNING, "v1:one"),
        ([attempt(), accepted(), status(word="FAILED")], Situation.FAILED, "v1:one"),
        (LIVE, Situation.LIVE, "v1:one"),
        ([attempt(), accepted(status="SUCCESS")], Situation.LIVE, "v1:one"),
        ([*LIVE, attempt("a2", operation=Operation.UNDEPLOY)], Situation.UNKNOWN, None),
        ([*LIVE, attempt("a2", operation=Operation.UNDEPLOY), accepted("a2", "ds-2")], Situation.RUNNING, None),
        (
            [*LIVE, attempt("a2", operation=Operation.UNDEPLOY), accepted("a2", "ds-2", "SUCCESS")],
            Situation.ABSENT,
            None,
        ),
        ([*LIVE, attempt("a2", operation=Operation.UNDEPLOY), raw("a2", REFUSED)], Situation.REFUSED, None),
        ([*LIVE, attempt("a2", digest="v1:two"), raw("a2", REFUSED)], Situation.REFUSED, "v1:two"),
        ([decided(ADOPTION)], Situation.LIVE, "v1:two"),
        ([attempt(), raw("a1", REFUSED), decided(ADOPTION)], Situation.LIVE, "v1:two"),
        ([attempt(), raw("a1", LOST), resolved("happened")], Situation.LIVE, "v1:one"),
        ([attempt(), raw("a1", LOST), resolved("didNotHappen")], Situation.REFUSED, "v1:one"),
        ([attempt(), raw("a1", LOST), resolved("sendAgain")], Situation.REFUSED, "v1:one"),
        ([attempt(), resolved("accepted", dock_status_id="ds-9")], Situation.RUNNING, "v1:one"),
        ([attempt(), resolved("accepted", dock_status_id="ds-9", status="SUCCESS")], Situation.LIVE, "v1:one"),
        ([attempt(), resolved("accepted", dock_status_id="ds-9", status="FAILED")], Situation.FAILED, "v1:one"),
    ],
)
def test_the_row_after(happened: list[Record], situation: Situation, digest: str | None) -> None:
    """Each ending of an attempt puts the entry into its row, compared by the right digest."""
    entry = entry_after(*happened)
    assert situation_of(entry) is situation
    assert reference_digest(entry) == digest


def test_success_makes_live() -> None:
    """What a job that succeeded deployed is live, with its id, its commit and the time."""
    live = entry_after(*LIVE).live
    assert live is not None
    assert (live.digest, live.how, live.dock_status_id, live.commit) == ("v1:one", "deployed", "ds-1", "commit-of-a1")
    assert live.since == at(2)


def test_a_refused_change_leaves_live() -> None:
    """What was live stays live when the next change is refused, fails, or is in doubt."""
    for ending in (raw("a2", REFUSED), raw("a2", LOST), accepted("a2", "ds-2", "FAILED")):
        live = entry_after(*LIVE, attempt("a2", digest="v1:two"), ending).live
        assert live is not None
        assert live.digest == "v1:one"


def test_a_late_success_of_an_older_job_is_not_live() -> None:
    """A job that ends after a newer call was taken does not become live over it, and its end is recorded."""
    entry = entry_after(
        attempt(),
        accepted(),
        attempt("a2", digest="v1:two", minutes=5),
        accepted("a2", "ds-2", "SUCCESS"),
        status(minutes=9),
    )
    assert entry.live is not None
    assert entry.live.digest == "v1:two"
    assert [a.outcome for a in entry.attempts] == [
        Accepted(dock_status_id="ds-1", status="SUCCESS"),
        Accepted(dock_status_id="ds-2", status="SUCCESS"),
    ]


def test_a_refusal_between_does_not_count_as_newer() -> None:
    """A call that was certainly not processed does not keep the older job's SUCCESS from being live."""
    entry = entry_after(attempt(), accepted(), attempt("a2", digest="v1:two"), raw("a2", REFUSED), status(minutes=9))
    assert entry.live is not None
    assert entry.live.digest == "v1:one"


def test_a_late_undeploy_does_not_take_a_newer_deployment() -> None:
    """An undeploy that ends after a newer deployment leaves it live."""
    entry = entry_after(
        *LIVE,
        attempt("a2", operation=Operation.UNDEPLOY),
        accepted("a2", "ds-2"),
        attempt("a3", digest="v1:three"),
        accepted("a3", "ds-3", "SUCCESS"),
        status("a2", "ds-2"),
    )
    assert entry.live is not None
    assert entry.live.digest == "v1:three"


def test_terminal_is_sticky() -> None:
    """A status after the last one is ignored, whatever it says."""
    for first, second in (("SUCCESS", "FAILED"), ("FAILED", "SUCCESS"), ("SUCCESS", "IN_PROGRESS")):
        entry = entry_after(attempt(), accepted(), status(word=first), status(word=second, minutes=9))
        assert last(entry).outcome == Accepted(dock_status_id="ds-1", status=first)
        assert last(entry).ended_at == at(2)


def test_a_status_of_another_id_is_ignored() -> None:
    """A status counts only for the attempt that has its id."""
    entry = entry_after(attempt(), accepted(), status("a1", "ds-2"))
    assert situation_of(entry) is Situation.RUNNING


def test_following_goes_on_after_a_timeout() -> None:
    """Giving up following is no end: a later SUCCESS counts and takes the mark away."""
    entry = entry_after(attempt(), accepted(), status(word="IN_PROGRESS", timed_out=True))
    assert last(entry).outcome == Accepted(dock_status_id="ds-1", timed_out=True)
    assert last(entry).ended_at is None
    entry = fold(empty(), [attempt(), accepted(), status(word="IN_PROGRESS", timed_out=True), status()]).entries["cm-1"]
    assert last(entry).outcome == Accepted(dock_status_id="ds-1", status="SUCCESS")


def test_the_reason_of_a_failure_is_kept() -> None:
    """The words of a failed job stay with its attempt."""
    failed = replace(status(word="FAILED"), detail="out of memory")
    assert last(entry_after(attempt(), accepted(), failed)).outcome == Accepted(
        dock_status_id="ds-1", status="FAILED", detail="out of memory"
    )


def test_replies_are_kept_until_the_end() -> None:
    """The reply stays with an attempt while its outcome may still matter, bounded, and goes when it is over."""
    running = raw("a1", Accepted(dock_status_id="ds-1"), body="é" * MAX_REPLY)
    kept = last(entry_after(attempt(), running)).reply
    assert kept is not None
    assert len(kept.encode()) == MAX_REPLY
    assert last(entry_after(attempt(), raw("a1", LOST, body="<html>"))).reply == "<html>"
    assert last(entry_after(attempt(), running, status())).reply is None
    assert last(entry_after(attempt(), raw("a1", REFUSED, body="no"))).reply is None


def test_not_sent_never_overwrites_a_reply() -> None:
    """Once anything is known of an attempt it cannot become "not sent" by itself."""
    never = NotSentRecord(attempt="a1", error="gave up", at=at(9))
    for known in (raw("a1", LOST), accepted(), raw("a1", REFUSED)):
        assert fold(empty(), [attempt(), known, never]).entries == fold(empty(), [attempt(), known]).entries


def test_history_is_bounded_and_loses_nothing_open() -> None:
    """The last ten attempts stay, and with them every one that is not over and the newest that was processed."""
    refused = [r for n in range(30) for r in (attempt(f"r{n}", digest="v1:two"), raw(f"r{n}", REFUSED))]
    entry = entry_after(attempt(), accepted(), *refused)
    assert len(entry.attempts) == MAX_ATTEMPTS
    assert [a.id for a in entry.attempts] == ["a1", *(f"r{n}" for n in range(21, 30))]
    assert entry_after(*LIVE, *refused).attempts[0].id == "a1"
    doubtful = [attempt(f"u{n}") for n in range(12)]
    assert len(entry_after(*doubtful).attempts) == 12


def test_an_id_used_twice_is_in_doubt() -> None:
    """An attempt id that comes again stands for the newer call, which nothing has answered."""
    entry = entry_after(attempt(), raw("a1", REFUSED), attempt())
    assert [a.outcome for a in entry.attempts] == [Unanswered()]


def test_what_is_unknown_is_ignored() -> None:
    """Records about attempts and entries that the state does not have change nothing but the count."""
    happened: list[Record] = [
        NotSentRecord(attempt="a9", error="", at=at(1)),
        accepted("a9"),
        status("a9"),
        decided(Describe(model_id="cm-9", name="n", metadata=NO_METADATA)),
        decided(Forget(model_id="cm-9")),
        decided(Retry(model_id="cm-9")),
        decided(Quarantine(model_id="cm-9", digest="v1:one")),
        decided(Suspend(model_id="cm-9")),
        decided(Resume(model_id="cm-9")),
        decided(Resolve(model_id="cm-9", attempt="a9", verdict="happened")),
    ]
    assert fold(empty(), happened) == replace(empty(), seq=len(happened))


# Decisions


def test_adopting_makes_live_without_a_call() -> None:
    """Adopting records the spec as live, and takes back an earlier wish to send again."""
    entry = entry_after(*LIVE, decided(Retry(model_id="cm-1")), decided(ADOPTION, minutes=7))
    assert entry.live is not None
    assert (entry.live.how, entry.live.dock_status_id, entry.live.digest, entry.live.since) == (
        "adopted",
        None,
        "v1:two",
        at(7),
    )
    assert (entry.live.commit, entry.name, entry.retry) == ("c0", "taken", False)


def test_describing_changes_name_and_metadata() -> None:
    """Bookkeeping changes the name and what is remembered of the manifest, and nothing else."""
    metadata = Metadata(protect=True, wave=3)
    before = entry_after(*LIVE)
    after = entry_after(*LIVE, decided(Describe(model_id="cm-1", name="other", metadata=metadata)))
    assert after == replace(before, name="other", metadata=metadata)


def test_forgetting_drops_the_entry() -> None:
    """A forgotten entry is gone, and what its calls still answer is ignored."""
    assert not fold(empty(), [attempt(), accepted(), decided(Forget(model_id="cm-1")), status()]).entries


@pytest.mark.parametrize(
    ("verdict", "words"), [("didNotHappen", "did not happen"), ("sendAgain", "accepts a duplicate")]
)
def test_a_verdict_says_who(verdict: str, words: str) -> None:
    """An attempt that a person settled says who did and why."""
    attempt_ = last(entry_after(attempt(), raw("a1", LOST, body="half"), resolved(verdict)))
    assert isinstance(attempt_.outcome, NotSent)
    assert words in attempt_.outcome.error
    assert "because" in attempt_.outcome.error
    assert (attempt_.decided, attempt_.ended_at, attempt_.reply) == ("ada", at(3), None)


def test_a_decision_settles_only_what_is_in_doubt() -> None:
    """No person can overwrite what the platform said."""
    for known in (accepted(), raw("a1", REFUSED), accepted(status="SUCCESS")):
        before = fold(empty(), [attempt(), known])
        assert fold(before, [resolved("didNotHappen")]).entries == before.entries


def test_a_late_reply_with_an_id_beats_a_decision() -> None:
    """An id that is read after a person said that nothing happened is kept: the job runs."""
    entry = entry_after(attempt(), resolved("didNotHappen"), accepted(minutes=9))
    assert last(entry).outcome == Accepted(dock_status_id="ds-1")
    assert last(entry).decided is None
    assert situation_of(entry) is Situation.RUNNING
    same = entry_after(attempt(), resolved("accepted", dock_status_id="ds-1", status="SUCCESS"), accepted(minutes=9))
    assert situation_of(same) is Situation.LIVE
    without = entry_after(attempt(), resolved("didNotHappen"), raw("a1", LOST, minutes=9))
    assert situation_of(without) is Situation.REFUSED


def test_quarantine_is_lifted_by_another_digest_and_by_retry() -> None:
    """A quarantine bars one digest: sending another lifts it, a retry too, an undeploy does not."""
    barred = [*LIVE, decided(Quarantine(model_id="cm-1", digest="v1:one"))]
    hold = entry_after(*barred).quarantine
    assert hold == Hold(who="ada", why="because", since=at(3), digest="v1:one")
    assert entry_after(*barred, attempt("a2", digest="v1:one")).quarantine == hold
    assert entry_after(*barred, attempt("a2", operation=Operation.UNDEPLOY)).quarantine == hold
    assert entry_after(*barred, attempt("a2", digest="v1:two")).quarantine is None
    retried = entry_after(*barred, decided(Retry(model_id="cm-1")))
    assert (retried.quarantine, retried.retry) == (None, True)


def test_the_next_attempt_ends_a_retry() -> None:
    """The wish to send again is fulfilled by one attempt."""
    assert not entry_after(*LIVE, decided(Retry(model_id="cm-1")), attempt("a2")).retry


def test_suspensions_come_and_go() -> None:
    """An entry and the whole environment can be suspended and resumed apart from each other."""
    one, all_ = decided(Suspend(model_id="cm-1")), decided(Suspend(model_id=None))
    both = fold(empty(), [*LIVE, one, all_])
    assert both.suspension == both.entries["cm-1"].suspension == Hold(who="ada", why="because", since=at(3))
    resumed = fold(both, [decided(Resume(model_id=None))])
    assert resumed.suspension is None
    assert resumed.entries["cm-1"].suspension is not None
    assert fold(both, [decided(Resume(model_id="cm-1"))]).entries["cm-1"].suspension is None


def test_rebinding_changes_the_binding() -> None:
    """The state belongs to the other host from then on."""
    binding = Binding(origin="https://other.example.com", api_key="env:OTHER")
    assert fold(empty(), [decided(Rebind(binding=binding))]).binding == binding


# The run lock


def test_the_run_lock_is_taken_renewed_and_released() -> None:
    """The log tells who holds the run lock, the epoch stays when it is released, and only its own epoch releases it."""

    def lock(event: LockEvent, epoch: int) -> LockRecord:
        return LockRecord(event=event, epoch=epoch, holder=HOLDER, at=at(epoch))

    taken = fold(empty(), [lock(LockEvent.TAKEN, 1)])
    assert taken.lock == Lock(epoch=1, holder=HOLDER, since=at(1))
    assert fold(taken, [lock(LockEvent.RENEWED, 1)]).lock == taken.lock
    released = fold(taken, [lock(LockEvent.RELEASED, 1)])
    assert (released.lock, released.epoch) == (None, 1)
    broken = fold(taken, [lock(LockEvent.TAKEN, 2), lock(LockEvent.RELEASED, 1)])
    assert broken.lock == Lock(epoch=2, holder=HOLDER, since=at(2))
    assert broken.epoch == 2


def test_notes_fold_to_entries() -> None:
    """The helper of the store tests does what they lean on."""
    assert set(fold(empty(), [note(1), note(2)]).entries) == {"cm-1", "cm-2"}
