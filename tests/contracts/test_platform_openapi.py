"""The API description is the contract: the simulator, the client's requests and our own reading of the page agree with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from reconciler.model.manifest import HyperParameters, OptimizationInfo, Override, ScalingParameters
from reconciler.platform.api import deploy_request, undeploy_request
from reconciler.platform.client import HttpPlatform
from reconciler.simulator.scenario import DEFAULT_KEY, Shape
from reconciler.simulator.world import Request, Response, World
from tests.support.loopback import answering, loopback_server, reply_bytes
from tests.support.openapi import DESCRIPTION, Seen
from tests.support.simulator import scenario
from tests.support.vendor import REPLY, SAMPLES, Sample

BODY = DESCRIPTION.schema("DeployBody")


# The document itself


def _walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for item in node.values():
            yield from _walk(item)
    elif isinstance(node, list):
        for item in node:
            yield from _walk(item)


def test_the_description_is_sound() -> None:
    """Every reference leads somewhere, every schema is one, every example fits its schema."""
    examples = 0
    for node in _walk(DESCRIPTION.document):
        assert DESCRIPTION.resolve(node) is not None
        for name, example_of in node.get("examples", {}).items() if "schema" in node else ():
            assert DESCRIPTION.mistakes(node["schema"], example_of["value"]) == [], name
            examples += 1
    for schema in DESCRIPTION.document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    assert examples == 3


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.manifest)
def test_the_vendors_samples_are_what_the_description_says(sample: Sample) -> None:
    """The sample requests and the sample reply of the page fit the description."""
    seen = Seen(
        method=sample.method, target=sample.target, headers=sample.headers, body=json.dumps(sample.body).encode()
    )
    assert DESCRIPTION.request_mistakes(seen) == []
    headers = {"content-type": "application/json"}
    assert DESCRIPTION.reply_mistakes("POST", sample.target, 200, headers, json.dumps(REPLY).encode()) == []


# Bodies, in range and out of it

_ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5)
)


def _number(low: float, high: float, *, whole: bool) -> st.SearchStrategy[Any]:
    inside = st.integers(int(low), int(high))
    edges = st.sampled_from([low, high, low - 1, high + 1, low + 0.5, float(low), float(high), -0.0, 1e300])
    return st.one_of(inside, inside, edges, _ODD) if whole else st.one_of(st.floats(low, high), inside, edges, _ODD)


def _values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values for a schema of the description: mostly right, sometimes at an edge, sometimes wrong."""
    schema = DESCRIPTION.resolve(schema)
    if "enum" in schema:
        return st.one_of(st.sampled_from(schema["enum"]), st.sampled_from(schema["enum"]), _ODD)
    match schema["type"]:
        case "number" | "integer":
            return _number(schema["minimum"], schema["maximum"], whole=schema["type"] == "integer")
        case "array":
            return st.one_of(st.lists(st.text(max_size=5), max_size=2), st.lists(_ODD, max_size=2), _ODD)
        case "object":
            return st.one_of(_objects(schema), _objects(schema), _objects(schema), _ODD)
        case "boolean":
            return st.one_of(st.booleans(), _ODD)
        case _:
            return st.one_of(st.text(max_size=10), _ODD)


def _objects(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    whole = st.fixed_dictionaries({name: _values(item) for name, item in schema["properties"].items()})
    return st.builds(
        lambda value, without, more: {**{k: v for k, v in value.items() if k not in without}, **more},
        whole,
        st.sets(st.sampled_from(sorted(schema["properties"])), max_size=1),
        st.one_of(
            st.just({}), st.just({}), st.just({}), st.dictionaries(st.sampled_from(["colour", "", "Name"]), _ODD)
        ),
    )


def _good(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that fit a schema of the description."""
    schema = DESCRIPTION.resolve(schema)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "number":
            return st.floats(schema["minimum"], schema["maximum"])
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "array":
            return st.lists(st.text(max_size=5), max_size=3)
        case "object":
            required = set(schema.get("required", ()))
            items = {name: _good(item) for name, item in schema["properties"].items()}
            return st.fixed_dictionaries(
                {name: item for name, item in items.items() if name in required},
                optional={name: item for name, item in items.items() if name not in required},
            )
        case "boolean":
            return st.booleans()
        case _:
            return st.text(max_size=10)


def handled(body: Any, *, path: str = "models/cm-1/deploy", **behaviour: Any) -> Response:
    request = Request(
        method="POST",
        path=f"/api/public/{path}",
        query="modelType=openSource",
        headers={"x-api-key": DEFAULT_KEY, "content-type": "application/json"},
        body=json.dumps(body).encode(),
    )
    return World(scenario(**behaviour)).handle(request, 0.0)


def replied(response: Response, target: str = "/api/public/models/cm-1/deploy", method: str = "POST") -> list[str]:
    return DESCRIPTION.reply_mistakes(method, target, response.status, dict(response.headers), response.body)


@given(st.one_of(_values(BODY), _values(BODY), _good(BODY)))
@example(SAMPLES[0].body)
@example({**SAMPLES[0].body, "hyperParameters": {"temperature": 2, "maxTokens": 512.0, "topP": 0, "topK": 1}})
@example({**SAMPLES[0].body, "isDeployedPreviously": None})
def test_the_simulator_accepts_what_the_description_allows(body: Any) -> None:
    """A body is accepted exactly when it fits the schema, and either reply is one that the description knows."""
    allowed = DESCRIPTION.mistakes(BODY, body) == []
    response = handled(body)
    assert response.status == (200 if allowed else 400)
    assert response.judgement.accepted is allowed
    assert replied(response) == []


def _edges(schema: dict[str, Any]) -> list[Any]:
    """Values just inside and just outside of what a field allows, and some of other types."""
    odd: list[Any] = [None, True, "", "x", 0, 1.5, [], {}, [None], ["x"]]
    if "minimum" in schema:
        low, high = schema["minimum"], schema["maximum"]
        return [
            *odd,
            low - 1,
            low - 0.5,
            low,
            low + 0.5,
            float(low),
            high - 0.5,
            high,
            float(high),
            high + 0.5,
            high + 1,
        ]
    return [*odd, *schema.get("enum", ())]


_PATHS: list[tuple[str, ...]] = [
    (*([name] if field is not item else []), leaf)
    for name, field in BODY["properties"].items()
    for item in [DESCRIPTION.resolve(field)]
    for leaf in item.get("properties", {name: item})
]


@pytest.mark.parametrize("path", _PATHS, ids=".".join)
def test_every_edge_of_every_field(path: tuple[str, ...]) -> None:
    """A sample with one field changed is accepted exactly when the description allows the value; so is one without the field."""
    schema = BODY
    for name in path:
        schema = DESCRIPTION.resolve(schema["properties"][name])
    absent = object()
    verdicts = set()
    for value in [*_edges(schema), absent]:
        body = json.loads(json.dumps(SAMPLES[0].body))
        holder = body
        for name in path[:-1]:
            holder = holder[name]
        holder.pop(path[-1], None)
        if value is not absent:
            holder[path[-1]] = value
        allowed = DESCRIPTION.mistakes(BODY, body) == []
        assert handled(body).status == (200 if allowed else 400), value
        verdicts.add(allowed)
    assert verdicts == {True, False}


@given(_good(BODY))
def test_good_bodies_are_accepted(body: Any) -> None:
    """Whatever the description allows starts a job."""
    assert handled(body).status == 200


@pytest.mark.parametrize("shape", [shape for shape in Shape if shape is not Shape.EMPTY])
def test_refusals_are_described(shape: Shape) -> None:
    """Every shape of an error but the empty one is in the description."""
    assert replied(handled({}, error_shape=shape)) == []
    assert replied(handled({}, error_shape=shape, keys={})) == []


@pytest.mark.parametrize("key", ["dock-statusId", "dockStatusId", "dockstatusId", "_id", "two"])
def test_every_spelling_of_the_id_is_described(key: str) -> None:
    """Replies with each spelling fit; one without an id does not."""
    assert replied(handled(SAMPLES[0].body, id_key=key)) == []
    assert replied(handled(SAMPLES[0].body, id_key="none")) != []


@pytest.mark.parametrize("job", [{}, {"fails": True}, {"stuck": True}])
def test_dock_statuses_and_undeploys_are_described(job: dict[str, Any]) -> None:
    """What is answered while a job runs, when it ended either way, and for an id that does not exist."""
    world = World(scenario({"job": job}, job_seconds=10.0))
    headers = {"x-api-key": DEFAULT_KEY}
    undeploy = "/api/public/models/cm-1/undeploy"
    response = world.handle(Request(method="POST", path=undeploy, headers=headers), 0.0)
    assert response.status == 200
    assert replied(response, undeploy) == []
    body = json.dumps(SAMPLES[0].body).encode()
    deploy = Request(
        method="POST",
        path="/api/public/models/cm-1/deploy",
        query="modelType=fineTune",
        headers={**headers, "content-type": "application/json"},
        body=body,
    )
    started = json.loads(world.handle(deploy, 0.0).body)["dock-statusId"]
    for name, moment, status in ((started, 1.0, 200), (started, 99.0, 200), ("ds-none", 99.0, 404)):
        path = f"/api/public/dock-status/{name}"
        answer = world.handle(Request(method="GET", path=path, headers=headers), moment)
        assert answer.status == status
        assert replied(answer, path, "GET") == []


# The client's requests


def test_the_clients_requests_are_described() -> None:
    """Deploy, undeploy and asking, as they leave on the wire, fit the description."""

    async def main(origin: str) -> None:
        async def at_once() -> None:
            """A record that takes no time."""

        platform = HttpPlatform(origin, lambda: DEFAULT_KEY, environ={})
        for sample in SAMPLES:
            await platform.send(deploy_request(sample.model_id, sample.model_type, json.dumps(sample.body)), at_once)
        await platform.send(undeploy_request("cm-1/undeploy?x=é"), at_once)
        await platform.ask("ds-1")
        await platform.close()

    with loopback_server(answering(reply_bytes(json.dumps(REPLY).encode()))) as server:
        asyncio.run(main(server.origin))
    assert len(server.received) == 4
    for raw in server.received:
        assert DESCRIPTION.request_mistakes(Seen.from_wire(raw)) == []


# Our own reading of the page


def _limits(schema: dict[str, Any]) -> dict[str, Any]:
    """Type and bounds of each field, without the null of what may be left out."""
    found: dict[str, Any] = {}
    for name, field in schema["properties"].items():
        kinds = [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
        found[name] = {key: kinds[0][key] for key in ("type", "minimum", "maximum", "enum") if key in kinds[0]}
    return found


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (HyperParameters, "HyperParameters"),
        (ScalingParameters, "ScalingParameters"),
        (OptimizationInfo, "OptimizationInfo"),
    ],
)
def test_manifests_allow_what_the_description_allows(model: Any, name: str) -> None:
    """The ranges and words of manifests are those of the description, field by field."""
    ours, described = _limits(model.model_json_schema(by_alias=True)), _limits(DESCRIPTION.schema(name))
    for field in ours.values():
        if "enum" in field:
            field.pop("type", None)
    assert ours == described


def test_manifests_know_the_same_devices() -> None:
    """The device types are those of the description."""
    ours = _limits(Override.model_json_schema(by_alias=True))["deviceType"]["enum"]
    assert ours == BODY["properties"]["deviceType"]["enum"]
