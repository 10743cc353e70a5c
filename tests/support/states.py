"""A readable fixture -> Applied: what happened to each deployment, step by step, folded from real log records.

Used by the scenario folders (tests/cases/README.md describes the fixture). Going through the records keeps fixtures to
states that a run can really leave behind.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler.diff import metadata_of
from reconciler.load import load, places_in
from reconciler.load.project import Settled
from reconciler.model.applied import (
    Accepted,
    Applied,
    Binding,
    Holder,
    Metadata,
    NotProcessed,
    NotSent,
    Operation,
    Outcome,
    RefusalKind,
    Unknown,
)
from reconciler.model.records import (
    Adopt,
    AttemptRecord,
    Decision,
    DecisionRecord,
    LockEvent,
    LockRecord,
    NotSentRecord,
    Quarantine,
    RawRecord,
    Record,
    Retry,
    StatusRecord,
    Suspend,
)
from reconciler.model.resource import Environment, Resource
from reconciler.model.snapshot import Provenance, SourceFile
from reconciler.resolve import resolve
from reconciler.state.fold import fold

Fixture = Mapping[str, Any]

START = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
PROVENANCE = Provenance(commit="0123456789abcdef0123456789abcdef01234567", author="Ada <ada@example.com>")
HOLDER = Holder(user="ada", host="laptop", pid=42, operation="apply", run="r1")
HOUR = timedelta(hours=1)

# How a call ends, by the word of the fixture; None writes nothing after ATTEMPT. A dock status follows separately.
_REPLIES: Mapping[str, Outcome | None] = {
    "refused": NotProcessed(kind=RefusalKind.REFUSED, message="the model is not ready to deploy", status_code=400),
    "unknown": Unknown(reason="the connection was reset"),
    "notSent": NotSent(error="connection refused"),
    "unanswered": None,
}


def applied_of(fixture: Fixture, environment: Environment, project: Settled) -> Applied:
    """The state of one environment as the fixture tells it."""
    book = _Book(environment, project)
    for entry in fixture.get("entries") or ():
        book.entry(entry)
    if "suspended" in fixture:
        book.decide(Suspend(model_id=None), why=fixture["suspended"])
    if fixture.get("sending"):
        book.records.append(LockRecord(event=LockEvent.TAKEN, epoch=1, holder=HOLDER, at=book.now))
    binding = Binding(origin=environment.origin, api_key=str(environment.api_key))
    empty = Applied(environment=environment.name, lineage=f"lineage-of-{environment.name}", binding=binding)
    return fold(empty, book.records)


class _Book:
    """Writes the records of one environment, an hour apart."""

    def __init__(self, environment: Environment, project: Settled) -> None:
        self._environment, self._project = environment, project
        self.records: list[Record] = []
        self.now = START
        self._calls = 0

    def entry(self, entry: Fixture) -> None:
        """`steps` default to one deploy that succeeded; each may patch the spec from there on."""
        spec: dict[str, Any] = dict(entry.get("spec") or {})
        for step in entry.get("steps") or [{"deploy": "SUCCESS"}]:
            spec = {**spec, **(step.get("spec") or {})}
            rollout = dict(spec.get("rollout") or {})
            needs = tuple(rollout.pop("dependsOn", ()))  # resolved among all manifests, and here there is one
            resource = self._resource({**entry, "spec": {**spec, "rollout": rollout}})
            metadata = replace(metadata_of(resource), depends_on=needs)
            for verb, how in step.items():
                self._step(verb, how, resource, metadata)

    def decide(self, decision: Decision, *, why: str = "because", until: datetime | None = None) -> None:
        self.now += HOUR
        self.records.append(DecisionRecord(decision=decision, who="Ada", why=why, at=self.now, until=until))

    def _step(self, verb: str, how: Any, resource: Resource, metadata: Metadata) -> None:
        model_id = resource.model_id
        match verb:
            case "deploy" | "undeploy":
                self._call(Operation(verb), how, resource, metadata)
            case "adopt":
                self.decide(_adoption(resource, metadata))
            case "suspend":
                until = datetime.fromisoformat(how["until"]) if isinstance(how, dict) else None
                self.decide(Suspend(model_id=model_id), why=how["why"] if isinstance(how, dict) else how, until=until)
            case "quarantine":
                self.decide(Quarantine(model_id=model_id, digest=resource.digest), why=how)
            case "retry":
                self.decide(Retry(model_id=model_id), why=how)
            case "spec":
                pass
            case _:
                raise ValueError(f"no such step: {verb}")

    def _call(self, operation: Operation, how: str, resource: Resource, metadata: Metadata) -> None:
        self._calls += 1
        self.now += HOUR
        attempt = f"attempt-{self._calls}"
        deploys = operation is Operation.DEPLOY
        self.records.append(
            AttemptRecord(
                attempt=attempt,
                model_id=resource.model_id,
                name=resource.name,
                metadata=metadata,
                operation=operation,
                generation=self._calls,
                method="POST",
                origin=self._environment.origin,
                path=f"/api/public/models/{resource.model_id}/{operation}",
                model_type=resource.model_type if deploys else None,
                body=resource.body if deploys else None,
                digest=resource.digest if deploys else None,
                provenance=PROVENANCE,
                epoch=1,
                at=self.now,
            )
        )
        self.records += self._ending(attempt, how)

    def _ending(self, attempt: str, how: str) -> Iterator[Record]:
        """`SUCCESS`, `FAILED`, `FAILED: why`, `timedOut`, any other dock status, or a word of _REPLIES."""
        status, _, detail = how.partition(": ")
        outcome = _REPLIES.get(how, Accepted(dock_status_id=f"ds-{self._calls}"))
        if isinstance(outcome, NotSent):
            yield NotSentRecord(attempt=attempt, error=outcome.error, at=self.now)
        elif outcome is not None:
            yield _raw(attempt, outcome, self.now)
        if how in _REPLIES or status == "IN_PROGRESS":
            return
        self.now += HOUR
        timed_out = how == "timedOut"
        yield StatusRecord(
            attempt=attempt,
            dock_status_id=f"ds-{self._calls}",
            status="IN_PROGRESS" if timed_out else status,
            detail=detail or None,
            at=self.now,
            timed_out=timed_out,
        )

    def _resource(self, entry: Fixture) -> Resource:
        """The entry's spec resolved as its manifest would be, so that defaults and digests are the real ones."""
        document = {
            "apiVersion": "reconciler/v1",
            "kind": "ModelDeployment",
            "metadata": {"name": entry["name"], "labels": entry.get("labels") or {}},
            "spec": {"modelId": entry["modelId"], **entry["spec"], "environments": {self._environment.name: {}}},
        }
        # JSON is YAML.
        file = SourceFile(path=_file_of(entry), data=json.dumps(document).encode())
        loaded = load([file], self._project.widening)
        resolved = resolve(loaded, [self._environment], places=places_in([file], None))
        wrong = [*(d for one in loaded for d in one.diagnostics), *resolved.diagnostics]
        found = [resource for desired in resolved.desired for resource in desired.resources]
        if wrong:
            raise ValueError(f"the fixture's {entry['name']} is not valid: {wrong}")
        return found[0]


def _file_of(entry: Fixture) -> str:
    return str(entry.get("manifest") or f"manifests/{entry['name']}.yaml")


def _adoption(resource: Resource, metadata: Metadata) -> Adopt:
    return Adopt(
        model_id=resource.model_id,
        name=resource.name,
        metadata=metadata,
        model_type=resource.model_type,
        body=resource.body,
        digest=resource.digest,
    )


def _raw(attempt: str, outcome: Outcome, at: datetime) -> RawRecord:
    return RawRecord(attempt=attempt, status_code=200, headers=(), body="{}", error=None, outcome=outcome, at=at)
