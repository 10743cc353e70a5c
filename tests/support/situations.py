"""Entries in every situation of the classification table, and random estates: values for tests of diff, plan and report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from reconciler.diff import diff, metadata_of
from reconciler.model.applied import (
    Accepted,
    Applied,
    Attempt,
    Binding,
    Entry,
    Hold,
    Live,
    NotProcessed,
    NotSent,
    Operation,
    Outcome,
    RefusalKind,
    Situation,
    Unanswered,
    Unknown,
)
from reconciler.model.plan import Change, Plan
from reconciler.model.resource import (
    Blame,
    Desired,
    Environment,
    KeyReference,
    OnUnknown,
    Origin,
    Resource,
    Rollout,
    Strategy,
)
from reconciler.model.snapshot import Provenance
from reconciler.model.values import canonical, digest_of
from reconciler.plan.build import Choices, build_plan

ENVIRONMENT = "production"
ORIGIN = "https://agent-platform.example.com"
NOW = datetime(2030, 1, 2, tzinfo=UTC)
PROVENANCE = Provenance(commit="0123456789abcdef", author="Ada <ada@example.com>")

REFUSED = NotProcessed(kind=RefusalKind.REFUSED, message="not ready", status_code=400)
OUTCOMES: Mapping[Situation, tuple[Outcome, ...]] = {
    Situation.LIVE: (Accepted(dock_status_id="ds-1", status="SUCCESS"),),
    Situation.RUNNING: (
        Accepted(dock_status_id="ds-1"),
        Accepted(dock_status_id="ds-1", status="OPTIMIZING"),
        Accepted(dock_status_id="ds-1", timed_out=True),
    ),
    Situation.REFUSED: (REFUSED, NotSent(error="refused")),
    Situation.FAILED: (Accepted(dock_status_id="ds-1", status="FAILED", detail="no GPU"),),
    Situation.UNKNOWN: (Unanswered(), Unknown(reason="reset")),
}


def resource(
    name: str,
    model_id: str | None = None,
    *,
    labels: tuple[tuple[str, str], ...] = (),
    body: Mapping[str, Any] | None = None,
    **rollout: Any,
) -> Resource:
    """A resource; `body` is merged into a small one, `rollout` are fields of Rollout."""
    whole = {"name": "shown", "deviceType": "g5.xlarge", **(body or {})}
    return Resource(
        environment=ENVIRONMENT,
        name=name,
        labels=labels,
        model_id=model_id or f"cm-{name}",
        model_type="openSource",
        body=canonical(whole).decode(),
        digest=digest_of("openSource", whole),
        rollout=Rollout(**rollout),
        origin=Origin(file=f"manifests/{name}.yaml", document=0, line=3),
    )


def attempt(
    of: Resource, outcome: Outcome, *, operation: Operation = Operation.DEPLOY, epoch: int = 1, hours_ago: int = 1
) -> Attempt:
    deploys = operation is Operation.DEPLOY
    return Attempt(
        id=f"attempt-of-{of.model_id}",
        operation=operation,
        generation=1,
        origin=ORIGIN,
        path=f"/api/public/models/{of.model_id}/{operation}",
        model_type=of.model_type if deploys else None,
        body=of.body if deploys else None,
        digest=of.digest if deploys else None,
        provenance=PROVENANCE,
        manifest=of.origin.file,
        epoch=epoch,
        started_at=NOW - timedelta(hours=hours_ago),
        ended_at=NOW - timedelta(minutes=1),
        outcome=outcome,
    )


def live(of: Resource, how: Any = "deployed") -> Live:
    job = "ds-0" if how == "deployed" else None
    return Live(
        model_type=of.model_type,
        body=of.body,
        digest=of.digest,
        how=how,
        dock_status_id=job,
        since=NOW - timedelta(days=1),
    )


def entry(of: Resource, *attempts: Attempt, is_live: Resource | None = None, **fields: Any) -> Entry:
    """An entry named and described like the resource; `is_live` is the spec that is live."""
    return Entry(
        model_id=of.model_id,
        name=of.name,
        metadata=metadata_of(of),
        live=live(is_live) if is_live is not None else None,
        attempts=attempts,
        generation=1,
        **fields,
    )


def in_situation(
    of: Resource, situation: Situation, outcome: Outcome, *, below: Resource | None = None
) -> Entry | None:
    """The resource's entry after one call with this outcome; `below` is what was live before."""
    if situation is Situation.ABSENT:
        return None
    return entry(of, attempt(of, outcome), is_live=of if situation is Situation.LIVE else below)


def applied(*entries: Entry, **fields: Any) -> Applied:
    binding = Binding(origin=ORIGIN, api_key="env:KEY")
    known = {one.model_id: one for one in entries}
    return Applied(environment=ENVIRONMENT, lineage="a-lineage", binding=binding, entries=known, **fields)


def desired(*resources: Resource, **fields: Any) -> Desired:
    return Desired(environment=ENVIRONMENT, resources=tuple(sorted(resources, key=lambda r: r.name)), **fields)


def environment(*, prune: bool = False) -> Environment:
    key = KeyReference(kind="env", value="KEY")
    return Environment(name=ENVIRONMENT, origin=ORIGIN, api_key=key, state="", prune=prune, defaults={})


def where(of: Resource, _path: str) -> Blame:
    return Blame(layer="spec", position=of.origin.position)


def changes(wanted: Desired, known: Applied, *, prune: bool = False) -> dict[str, Change]:
    """The diff by address."""
    return {change.address: change for change in diff(wanted, known, prune=prune, now=NOW, locate=where)}


def plan(wanted: Desired, known: Applied, *, prune: bool = False, **choices: Any) -> Plan:
    found = diff(wanted, known, prune=prune, now=NOW, locate=where)
    return build_plan(found, known, environment(prune=prune), choices=Choices(**choices))


# Random estates

_NAMES = st.sampled_from([f"m{i}" for i in range(6)])
_MODELS = st.sampled_from([f"cm-{i}" for i in range(7)])
_BODIES: st.SearchStrategy[Mapping[str, Any]] = st.sampled_from(
    [{}, {"deviceType": "g5.12xlarge"}, {"hyperParameters": {"topK": 5, "topP": 0.5}}]
)
_LABELS = st.sampled_from([(), (("team", "a"),), (("team", "b"),)])
_HOLDS = st.none() | st.just(Hold(who="Ada", why="because", since=NOW))
_OUTCOMES = st.sampled_from([outcome for row in OUTCOMES.values() for outcome in row])


@st.composite
def resources(draw: st.DrawFn, name: str, model_id: str) -> Resource:
    return resource(
        name,
        model_id,
        labels=draw(_LABELS),
        body=draw(_BODIES),
        wave=draw(st.integers(-1, 1)),
        protect=draw(st.booleans()),
        adopt=draw(st.booleans()),
        strategy=draw(st.sampled_from(Strategy)),
        on_unknown=draw(st.sampled_from(OnUnknown)),
        depends_on=tuple(sorted(draw(st.frozensets(st.sampled_from(["m0", "m1"]), max_size=2)) - {name})),
    )


@st.composite
def entries(draw: st.DrawFn, name: str, model_id: str) -> Entry:
    """An entry as a log can leave it: what is live, and the last call's outcome."""
    of = draw(resources(name, model_id))
    below = draw(st.none() | resources(name, model_id))
    operation = draw(st.sampled_from(Operation)) if below is not None else Operation.DEPLOY
    outcome = draw(_OUTCOMES)
    over = outcome == OUTCOMES[Situation.LIVE][0]
    is_live = (of if operation is Operation.DEPLOY else None) if over else below
    held = Hold(who="Ada", why="failed often", since=NOW, digest=of.digest) if draw(st.booleans()) else None
    last = () if draw(st.booleans()) and below is not None else (attempt(of, outcome, operation=operation),)
    return entry(
        of,
        *last,
        is_live=is_live if last else below,
        quarantine=held,
        suspension=draw(_HOLDS),
        retry=draw(st.booleans()) and draw(st.booleans()),
    )


@st.composite
def estates(draw: st.DrawFn) -> tuple[Desired, Applied]:
    """Manifests and a state that share names and model ids in every way they can."""
    names = draw(st.lists(_NAMES, unique=True, max_size=5))
    models = draw(st.lists(_MODELS, unique=True, min_size=len(names), max_size=len(names)))
    wanted = [draw(resources(*pair)) for pair in zip(names, models, strict=True)]
    wanted = [_without_missing(one, names) for one in wanted]
    known_models = draw(st.lists(_MODELS, unique=True, max_size=5))
    known = [draw(entries(draw(_NAMES), model_id)) for model_id in known_models]
    broken = frozenset(f"{ENVIRONMENT}/{name}" for name in draw(st.sets(_NAMES, max_size=1)) if draw(st.booleans()))
    free = frozenset(address for address in broken if address.partition("/")[2] not in names)
    return desired(*wanted, broken=free), applied(*known)


def _without_missing(one: Resource, names: Iterable[str]) -> Resource:
    """`resolve` refuses dependencies that do not exist."""
    kept = tuple(name for name in one.rollout.depends_on if name in names)
    return replace(one, rollout=replace(one.rollout, depends_on=kept))
