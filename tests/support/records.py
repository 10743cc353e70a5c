"""Records and states for tests about stores: one line each, and hypothesis strategies for every shape of the format."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from reconciler.model.applied import (
    NO_METADATA,
    Accepted,
    Applied,
    AppliedCommit,
    Attempt,
    Binding,
    Entry,
    Hold,
    Holder,
    Live,
    Lock,
    Metadata,
    NotProcessed,
    NotSent,
    Operation,
    Outcome,
    RefusalKind,
    Unanswered,
    Unknown,
)
from reconciler.model.records import (
    Adopt,
    Advance,
    Allow,
    AttemptRecord,
    Decision,
    DecisionRecord,
    Describe,
    Forget,
    LockEvent,
    LockRecord,
    NotSentRecord,
    Quarantine,
    RawRecord,
    Rebind,
    Record,
    Resolve,
    Resume,
    Retry,
    StatusRecord,
    Suspend,
)
from reconciler.model.snapshot import NO_PROVENANCE, Provenance

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
HOLDER = Holder(user="ada", host="laptop", pid=42, operation="apply", run="r1")
BINDING = Binding(origin="https://agent-platform.example.com", api_key="env:KEY")


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def empty(environment: str = "production", lineage: str = "lineage-1") -> Applied:
    return Applied(environment=environment, lineage=lineage, binding=BINDING)


def attempt(
    name: str = "a1",
    *,
    model: str = "cm-1",
    digest: str | None = "v1:one",
    operation: Operation = Operation.DEPLOY,
    minutes: float = 0,
    generation: int = 1,
) -> AttemptRecord:
    """ATTEMPT; an undeploy has neither body nor digest."""
    deploys = operation is Operation.DEPLOY
    return AttemptRecord(
        attempt=name,
        model_id=model,
        name=f"name-of-{model}",
        metadata=Metadata(labels=(("team", "support"),), manifest="manifests/one.yaml"),
        operation=operation,
        generation=generation,
        method="POST",
        origin=BINDING.origin,
        path=f"/api/public/models/{model}/{operation}",
        model_type="openSource" if deploys else None,
        body=f'{{"digest":"{digest}"}}' if deploys else None,
        digest=digest if deploys else None,
        provenance=Provenance(commit=f"commit-of-{name}"),
        epoch=1,
        at=at(minutes),
    )


def raw(name: str, outcome: Outcome, *, body: str = "{}", minutes: float = 1) -> RawRecord:
    return RawRecord(attempt=name, status_code=200, headers=(), body=body, error=None, outcome=outcome, at=at(minutes))


def accepted(
    name: str = "a1", dock_status_id: str = "ds-1", status: str = "IN_PROGRESS", *, minutes: float = 1
) -> RawRecord:
    return raw(name, Accepted(dock_status_id=dock_status_id, status=status), minutes=minutes)


def status(
    name: str = "a1",
    dock_status_id: str = "ds-1",
    word: str = "SUCCESS",
    *,
    timed_out: bool = False,
    minutes: float = 2,
) -> StatusRecord:
    return StatusRecord(
        attempt=name,
        dock_status_id=dock_status_id,
        status=word,
        detail=None,
        at=at(minutes),
        timed_out=timed_out,
    )


def decided(decision: Decision, *, minutes: float = 3, why: str = "because") -> DecisionRecord:
    return DecisionRecord(decision=decision, who="ada", why=why, at=at(minutes))


def note(number: int) -> DecisionRecord:
    """A record that can be told from others; it makes an entry of its own, so that a fold shows whether it is there."""
    return decided(
        Adopt(
            model_id=f"cm-{number}",
            name=f"n{number}",
            metadata=NO_METADATA,
            model_type="openSource",
            body="{}",
            digest="v1:x",
        )
    )


# Strategies. Few ids, so that records hit one another.

words = st.text(st.characters(codec="utf-8"), max_size=12)
models = st.sampled_from(["cm-1", "cm-2", "cm-3"])
attempts = st.sampled_from([f"a{n}" for n in range(1, 7)])
docks = st.sampled_from(["ds-1", "ds-2", "ds-3"])
digests = st.sampled_from(["v1:one", "v1:two", "v1:three"])
counts = st.integers(min_value=0, max_value=2**53)
times = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis wants the bounds without a zone
labels = st.dictionaries(words, words, max_size=2).map(lambda found: tuple(sorted(found.items())))

holders = st.builds(Holder, user=words, host=words, pid=counts, operation=words, run=words, ci_url=st.none() | words)
bindings = st.builds(Binding, origin=words, api_key=words)
provenances = st.just(NO_PROVENANCE) | st.builds(
    Provenance,
    commit=words,
    author=words,
    committed_at=st.none() | times,
    branch=st.none() | words,
    dirty=st.none() | st.booleans(),
)
metadatas = st.builds(
    Metadata,
    labels=labels,
    manifest=st.none() | words,
    protect=st.booleans(),
    wave=st.integers(-5, 5),
    depends_on=st.lists(words, max_size=2).map(tuple),
)
dock_words = st.sampled_from(["IN_PROGRESS", "SUCCESS", "FAILED", "QUEUED"])
outcomes = st.one_of(
    st.builds(Unanswered),
    st.builds(NotSent, error=words),
    st.builds(
        NotProcessed,
        kind=st.sampled_from(RefusalKind),
        message=words,
        status_code=st.integers(100, 599),
        retry_after=st.none() | st.floats(0, 1e6),
    ),
    st.builds(
        Accepted, dock_status_id=st.none() | docks, status=dock_words, detail=st.none() | words, timed_out=st.booleans()
    ),
    st.builds(
        Unknown,
        reason=words,
        status_code=st.none() | st.integers(100, 599),
        candidates=st.lists(docks, max_size=2).map(tuple),
    ),
)
holds = st.builds(Hold, who=words, why=words, since=times, until=st.none() | times, digest=st.none() | digests)

decisions = st.one_of(
    st.builds(
        Adopt,
        model_id=models,
        name=words,
        metadata=metadatas,
        model_type=words,
        body=words,
        digest=digests,
        commit=st.none() | words,
    ),
    st.builds(Describe, model_id=models, name=words, metadata=metadatas),
    st.builds(Forget, model_id=models),
    st.builds(Retry, model_id=models),
    st.builds(Quarantine, model_id=models, digest=digests),
    st.builds(Suspend, model_id=st.none() | models),
    st.builds(Resume, model_id=st.none() | models),
    st.builds(Rebind, binding=bindings),
    st.builds(Allow),
    st.builds(Advance, commit=words, committed_at=st.none() | times, ci_url=st.none() | words),
    st.builds(
        Resolve,
        model_id=models,
        attempt=attempts,
        verdict=st.sampled_from(["accepted", "happened", "didNotHappen", "sendAgain"]),
        dock_status_id=st.none() | docks,
        status=st.none() | dock_words,
    ),
)
records: st.SearchStrategy[Record] = st.one_of(
    st.builds(LockRecord, event=st.sampled_from(LockEvent), epoch=st.integers(1, 4), holder=holders, at=times),
    st.builds(
        AttemptRecord,
        attempt=attempts,
        model_id=models,
        name=words,
        metadata=metadatas,
        operation=st.sampled_from(Operation),
        generation=counts,
        method=words,
        origin=words,
        path=words,
        model_type=st.none() | words,
        body=st.none() | words,
        digest=st.none() | digests,
        provenance=provenances,
        epoch=st.integers(1, 4),
        at=times,
    ),
    st.builds(NotSentRecord, attempt=attempts, error=words, at=times),
    st.builds(
        RawRecord,
        attempt=attempts,
        status_code=st.none() | st.integers(100, 599),
        headers=st.lists(st.tuples(words, words), max_size=2).map(tuple),
        body=words,
        error=st.none() | words,
        outcome=outcomes,
        at=times,
    ),
    st.builds(
        StatusRecord,
        attempt=attempts,
        dock_status_id=docks,
        status=dock_words,
        detail=st.none() | words,
        at=times,
        timed_out=st.booleans(),
    ),
    st.builds(DecisionRecord, decision=decisions, who=words, why=words, at=times, until=st.none() | times),
)

attempt_values = st.builds(
    Attempt,
    id=attempts,
    operation=st.sampled_from(Operation),
    generation=counts,
    origin=words,
    path=words,
    model_type=st.none() | words,
    body=st.none() | words,
    digest=st.none() | digests,
    provenance=provenances,
    manifest=st.none() | words,
    epoch=counts,
    started_at=times,
    outcome=outcomes,
    ended_at=st.none() | times,
    reply=st.none() | words,
    decided=st.none() | words,
)
lives = st.builds(
    Live,
    model_type=words,
    body=words,
    digest=digests,
    how=st.sampled_from(["deployed", "adopted"]),
    dock_status_id=st.none() | docks,
    since=times,
    commit=st.none() | words,
)


def _entries(model_ids: list[str]) -> st.SearchStrategy[dict[str, Entry]]:
    return st.fixed_dictionaries(
        {
            model: st.builds(
                Entry,
                model_id=st.just(model),
                name=words,
                metadata=metadatas,
                generation=counts,
                live=st.none() | lives,
                attempts=st.lists(attempt_values, max_size=2).map(tuple),
                quarantine=st.none() | holds,
                suspension=st.none() | holds,
                retry=st.booleans(),
            )
            for model in model_ids
        }
    )


states = st.builds(
    Applied,
    environment=words,
    lineage=words,
    serial=counts,
    seq=counts,
    epoch=counts,
    binding=bindings,
    entries=st.lists(models, unique=True, max_size=3).flatmap(_entries),
    lock=st.none() | st.builds(Lock, epoch=counts, holder=holders, since=times),
    suspension=st.none() | holds,
    allow_mass_change=st.booleans(),
    commit=st.none()
    | st.builds(
        AppliedCommit,
        commit=words,
        committed_at=st.none() | times,
        who=words,
        at=times,
        ci_url=st.none() | words,
    ),
)
