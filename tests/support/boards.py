"""A board filled by hand: an estate in which every condition of a deployment occurs, for whatever shows a board.

`python -m tests.support.boards` serves it, to look at while the page is worked on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler.controller.board import Board, Pass, PassEnd, View
from reconciler.controller.web.options import Hands, Options
from reconciler.controller.web.server import serve
from reconciler.diagnostics import Diagnostic, Position
from reconciler.diff import diff
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
    Unanswered,
    Unknown,
)
from reconciler.model.events import Event, Happened
from reconciler.model.plan import Action
from reconciler.model.resource import Blame, Desired, Environment, KeyReference, Origin, Resource, Rollout
from reconciler.model.snapshot import Provenance
from reconciler.model.values import canonical, digest_of
from reconciler.plan.build import Choices, build_plan

NOW = datetime(2030, 1, 2, 12, 0, tzinfo=UTC)
REMOTE = "https://git.example.com/support/models.git"
COMMITS = ("4f9a1c0e2b7d83516a0c9e4d2f1b8a7c6d5e3f20", "b81e07d94c3a5f2618d7e0b9c4a3f5d2e1c6b7a8")
AUTHORS = ("Ada Lovelace <ada@example.com>", "Grace Hopper <grace@example.com>")
DEVICES = ("g5.xlarge", "g5.12xlarge", "g6e.xlarge", "g5.48xlarge")

NAMES = [
    "flan-t5",
    "mistral-7b",
    "llama-3-8b",
    "llama-3-70b",
    "qwen-coder",
    "embed-small",
    "embed-large",
    "rerank",
    "summarise",
    "translate-de",
    "translate-fr",
    "moderation",
    "intent",
    "sentiment",
    "support-bot",
    "sales-bot",
    "docs-answer",
    "code-review",
    "sql-helper",
    "ner-legal",
    "ner-medical",
    "ocr-post",
    "classify-mail",
    "route-ticket",
    "extract-invoice",
]


def board(now: datetime = NOW) -> Board:
    """Three environments: one with every condition, one calm, one that could not be planned."""
    made = Board(source="git https://git.example.com/support/models.git main", remote=REMOTE)
    for view in (production(now), staging(now), sandbox(now)):
        made.publish(view)
    return made


def production(now: datetime) -> View:
    resources = [_resource("production", name, number) for number, name in enumerate(NAMES)]
    entries = [
        *(
            _entry(one, _attempt(one, "SUCCESS", now, hours=5 + n * 7), live=one, now=now)
            for n, one in enumerate(resources[12:])
        ),
        *_conditions(resources, now),
    ]
    gone = _resource("production", "old-bot", 31)
    entries.append(_entry(gone, _attempt(gone, "SUCCESS", now, hours=2000), live=gone, now=now))
    wanted = [
        replace(one, body=_bigger(one), digest=_digest(_bigger(one))) if one.name == "llama-3-70b" else one
        for one in resources
    ]
    return view("production", wanted, entries, now, running="01J9Z-17", end=PassEnd.FAILED, broken=("intent",))


def staging(now: datetime) -> View:
    resources = [_resource("staging", name, number) for number, name in enumerate(NAMES[:13])]
    entries = [
        _entry(one, _attempt(one, "SUCCESS", now, hours=1 + n), live=one, now=now) for n, one in enumerate(resources)
    ]
    return view("staging", resources, entries, now)


def many(count: int, now: datetime = NOW) -> View:
    """An environment of that many deployments, all as they should be."""
    resources = [_resource("production", f"model-{number:04}", number) for number in range(count)]
    entries = [
        _entry(one, _attempt(one, "SUCCESS", now, hours=1 + n), live=one, now=now) for n, one in enumerate(resources)
    ]
    return view("production", resources, entries, now)


def sandbox(now: datetime) -> View:
    detail = (
        "The state of sandbox belongs to https://old.example.com; `reconciler apply -e sandbox --rebind` takes it over."
    )
    return View(environment=_environment("sandbox"), last=_pass("sandbox", now, PassEnd.REFUSED, detail), dry_run=True)


def view(
    name: str,
    resources: Sequence[Resource],
    entries: Sequence[Entry],
    now: datetime = NOW,
    *,
    running: str | None = None,
    end: PassEnd = PassEnd.SUCCEEDED,
    broken: Sequence[str] = (),
) -> View:
    """A planned environment; `broken` are names whose manifest has errors."""
    environment = _environment(name)
    addresses = frozenset(f"{name}/{one}" for one in broken)
    kept = tuple(sorted((one for one in resources if one.name not in broken), key=lambda one: one.name))
    wanted = Desired(environment=name, resources=kept, broken=addresses)
    applied = Applied(
        environment=name,
        lineage="a-lineage",
        binding=Binding(origin=environment.origin, api_key="env:KEY"),
        entries={one.model_id: one for one in entries},
    )
    changes = diff(wanted, applied, prune=False, now=now, locate=_where)
    wrong = tuple(
        Diagnostic(
            code="RC214",
            message="minReplicas is 4 and maxReplicas is 2.",
            position=Position(file=f"manifests/{one}.yaml", line=14, column=7),
            path="spec.scalingParameters.minReplicas",
            suggestion="Raise maxReplicas or lower minReplicas.",
        )
        for one in broken
    )
    detail = "2 deployments failed; they are tried again in 4m10s." if end is PassEnd.FAILED else ""
    return View(
        environment=environment,
        plan=build_plan(changes, applied, environment, choices=Choices()),
        applied=applied,
        diagnostics=wrong,
        last=_pass(name, now, end, detail),
        last_success_at=now - timedelta(minutes=3),
        running=running,
        next_look=now + timedelta(seconds=42),
    )


def polled(address: str, now: datetime = NOW, *, status: str = "OPTIMIZING", percent: float = 40) -> Event:
    """A job was asked about in the pass under way."""
    return Event(
        run="01J9Z-17",
        environment=address.partition("/")[0],
        address=address,
        action=Action.FOLLOW,
        happened=Happened.POLLED,
        at=now,
        dock_status_id="ds-7f3a",
        status=status,
        percent=percent,
    )


def _conditions(resources: Sequence[Resource], now: datetime) -> list[Entry]:
    """The first twelve names, each in another condition; the twelfth was never tried."""
    by_name = {one.name: one for one in resources}

    def entry(name: str, outcome: Outcome | str, *, was_live: bool = True, **fields: Any) -> Entry:
        one = by_name[name]
        first = _attempt(one, "SUCCESS", now, hours=300, generation=1)
        attempts = [first, _attempt(one, outcome, now, hours=1, generation=2)]
        made = _entry(one, *(attempts if was_live else attempts[1:]), live=one if was_live else None, now=now)
        return replace(made, **fields)

    quarantine = Hold(
        who="reconciler watch", why="3 deploys failed within the hour", since=now, digest=by_name["embed-small"].digest
    )
    suspension = Hold(who="Grace", why="load test until Thursday", since=now - timedelta(hours=3))
    refusal = NotProcessed(kind=RefusalKind.REFUSED, message="Model is not ready to be deployed", status_code=400)
    no_gpu = Accepted(
        dock_status_id="ds-5c11",
        status="FAILED",
        detail="InsufficientInstanceCapacity: none of that type is left in eu-central-1b",
    )
    return [
        entry("flan-t5", no_gpu),
        entry("mistral-7b", Accepted(dock_status_id="ds-7f3a", status="OPTIMIZING")),
        entry("llama-3-8b", refusal, was_live=False),
        entry("llama-3-70b", "SUCCESS"),
        entry("qwen-coder", Unknown(reason="the connection was reset after the request was sent")),
        entry("embed-small", replace(no_gpu, dock_status_id="ds-6d20"), quarantine=quarantine),
        entry("embed-large", Accepted(dock_status_id="ds-77aa", timed_out=True)),
        entry("rerank", NotSent(error="connection refused")),
        entry("summarise", "SUCCESS", suspension=suspension),
        replace(
            _entry(by_name["translate-de"], live=by_name["translate-de"], now=now),
            live=replace(_live(by_name["translate-de"], now), how="adopted", dock_status_id=None),
        ),
        entry("translate-fr", Unanswered(), was_live=False),
    ]


def _environment(name: str) -> Environment:
    origin = (
        "https://agent-platform.example.com" if name == "production" else f"https://agent-platform.{name}.example.com"
    )
    return Environment(
        name=name, origin=origin, api_key=KeyReference(kind="env", value="KEY"), state=".reconciler", defaults={}
    )


def _resource(environment: str, name: str, number: int, **body: object) -> Resource:
    whole = {
        "name": name.replace("-", "_"),
        "deviceType": DEVICES[number % len(DEVICES)],
        "hyperParameters": {"temperature": 1, "maxTokens": 512, "topK": 50},
        "scalingParameters": {"maxBatchSize": 10, "minReplicas": 1, "maxReplicas": 2 + number % 3},
        "optimizationInfo": {"optimizationType": "vllm", "quantizationType": "no_quantization"},
        **body,
    }
    text = canonical(whole).decode()
    return Resource(
        environment=environment,
        name=name,
        labels=(("team", ("support", "sales", "platform")[number % 3]),),
        model_id=f"cm-{number:08x}-0000-5000-8000-{len(name):012x}",
        model_type="openSource",
        body=text,
        digest=_digest(text),
        rollout=Rollout(protect=number % 5 == 0),
        origin=Origin(file=f"manifests/{name}.yaml", document=0, line=3),
    )


def _bigger(of: Resource) -> str:
    return of.body.replace('"minReplicas":1', '"minReplicas":2').replace('"maxTokens":512', '"maxTokens":2048')


def _digest(body: str) -> str:
    import json

    return digest_of("openSource", json.loads(body))


def _attempt(of: Resource, outcome: Outcome | str, now: datetime, *, hours: float, generation: int = 1) -> Attempt:
    started = now - timedelta(hours=hours)
    number = _number(of)
    ended = Accepted(dock_status_id=_job(of, generation), status="SUCCESS")
    return Attempt(
        id=f"at-{of.name}-{generation}",
        operation=Operation.DEPLOY,
        generation=generation,
        origin=_environment(of.environment).origin,
        path=f"/api/public/models/{of.model_id}/deploy",
        model_type=of.model_type,
        body=of.body,
        digest=of.digest,
        provenance=Provenance(commit=COMMITS[number % 2], author=AUTHORS[number % 2]),
        manifest=of.origin.file,
        epoch=1,
        started_at=started,
        ended_at=started + timedelta(minutes=6, seconds=number % 50),
        outcome=ended if isinstance(outcome, str) else outcome,
    )


def _number(of: Resource) -> int:
    return int(of.model_id[3:11], 16)


def _job(of: Resource, generation: int) -> str:
    """Another one in each environment."""
    return f"ds-{_number(of) * 7919 + len(of.environment) * 100_003 + generation:06x}"


def _entry(of: Resource, *attempts: Attempt, live: Resource | None, now: datetime) -> Entry:
    from reconciler.diff import metadata_of

    return Entry(
        model_id=of.model_id,
        name=of.name,
        metadata=metadata_of(of),
        generation=len(attempts),
        live=_live(live, now) if live is not None else None,
        attempts=attempts,
    )


def _live(of: Resource, now: datetime) -> Live:
    return Live(
        model_type=of.model_type,
        body=of.body,
        digest=of.digest,
        how="deployed",
        dock_status_id=_job(of, 1),
        since=now - timedelta(days=12),
        commit=COMMITS[0],
    )


def _pass(environment: str, now: datetime, end: PassEnd, detail: str = "") -> Pass:
    return Pass(
        id="01J9Z-16",
        environment=environment,
        cause="webhook from GitHub",
        started_at=now - timedelta(minutes=3),
        seconds=1.42,
        end=end,
        detail=detail,
        commit=COMMITS[0],
    )


def _where(of: Resource, _path: str) -> Blame:
    return Blame(layer="spec", position=of.origin.position)


async def _show() -> None:
    now = datetime.now(UTC)
    made = board(now)
    made.alive()
    made.tell(polled("production/mistral-7b", now))
    async with serve(made, Options(port=8080), Hands(look=print)) as address:
        print(address, flush=True)
        made.tell(polled("production/mistral-7b", now))
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_show())
