"""Hypothesis strategies for what users write: well-formed documents, and the same with mistakes in them."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

Json = Any

DEVICES = ("g4dn.xlarge", "g5.xlarge", "g5.2xlarge", "g6e.xlarge", "g4dn.12xlarge", "g5.12xlarge", "g5.48xlarge")
names = st.sampled_from(("a", "flan-t5", "staging", "production", "x" * 63))
text = st.sampled_from(("", "a", "no", "kg-1", "naïve 🙂", "x" * 256, "x" * 257))
fractions = st.sampled_from((0.5, 1.25, -0.5, 2.5, 1e-7))  # none is integral: JSON Schema cannot tell 1.0 from 1

_hyper = {
    "temperature": st.one_of(st.integers(0, 2), st.sampled_from((0.5, 1.5))),
    "maxTokens": st.integers(0, 512),
    "topP": st.sampled_from((0, 1, 0.95)),
    "topK": st.integers(1, 100),
    "stopSequence": st.lists(text, max_size=3),
}
_scaling = {
    "maxBatchSize": st.integers(1, 256),
    "minReplicas": st.integers(1, 10),
    "maxReplicas": st.integers(1, 50),
    "scaleUpDelay": st.integers(1, 1000),
    "scaleDownDelay": st.integers(50, 2000),
}
_optimization = {
    "optimizationType": st.sampled_from(("", "ctranslate2", "vllm")),
    "quantizationType": st.sampled_from(("", "no_quantization", "int8_float16")),
}
_rollout = {
    "wave": st.integers(-1000, 1000),
    "dependsOn": st.lists(names, max_size=2),
    "timeout": st.sampled_from(("45m", "1h30m", "10s", "1h")),
    "protect": st.booleans(),
    "strategy": st.sampled_from(("DeployFirst", "UndeployFirst")),
    "onUnknown": st.sampled_from(("hold", "sendAgain")),
    "adopt": st.booleans(),
}
Fields = dict[str, st.SearchStrategy[Json]]


def _part(fields: Fields, *, nullable: bool) -> st.SearchStrategy[Json]:
    values = {name: st.none() | value if nullable else value for name, value in fields.items()}
    return st.fixed_dictionaries({}, optional=values)


def _overridable(*, nullable: bool) -> Fields:
    return {
        "modelType": st.sampled_from(("openSource", "fineTune")),
        "isDeployedPreviously": st.booleans(),
        "hyperParameters": _part(_hyper, nullable=nullable),
        "scalingParameters": _part(_scaling, nullable=nullable),
        "deviceType": st.sampled_from(DEVICES),
        "optimizationInfo": _part(_optimization, nullable=nullable),
        "rollout": _part(_rollout, nullable=nullable),
    }


_identity: Fields = {
    "modelId": st.sampled_from(("cm-1", "A.b_c-9", "x" * 128)),
    "name": st.sampled_from(("a", "é" * 256)),
}
_override = _part({**_overridable(nullable=True), **_identity}, nullable=True)
_spec = _part(
    {
        **_overridable(nullable=False),
        **_identity,
        "environments": st.dictionaries(names, _override, max_size=2),
    },
    nullable=False,
)
manifests = st.fixed_dictionaries(
    {
        "apiVersion": st.just("reconciler/v1"),
        "kind": st.just("ModelDeployment"),
        "metadata": st.fixed_dictionaries(
            {"name": names}, optional={"labels": st.dictionaries(text, text, max_size=2)}
        ),
        "spec": _spec,
    }
)

_environment = st.fixed_dictionaries(
    {
        "host": st.sampled_from(("https://platform.example.com/", "localhost:8080")),
        "apiKey": st.sampled_from(({"env": "API_KEY"}, {"file": "/run/secrets/key"})),
    },
    optional={
        "caFile": st.sampled_from(("/etc/ssl/corp.pem", "")),
        "prune": st.booleans(),
        "rateLimit": _part(
            {"perMinute": st.integers(0, 100_000), "perHour": st.integers(0, 1_000_000)}, nullable=False
        ),
        "defaults": _part(_overridable(nullable=False), nullable=False),
    },
)
_notification = st.fixed_dictionaries(
    {
        "name": names,
        "type": st.sampled_from(("webhook", "apprise")),
        "url": st.sampled_from(({"env": "URL"}, {"file": "/run/secrets/url"})),
    },
    optional={"on": st.sampled_from((["failed"], ["held", "recovered"])), "perMinute": st.integers(1, 600)},
)
projects = st.fixed_dictionaries(
    {
        "apiVersion": st.just("reconciler/v1"),
        "kind": st.just("Project"),
        "environments": st.dictionaries(names, _environment, min_size=1, max_size=2),
    },
    optional={
        "manifests": st.lists(st.sampled_from(("manifests/", "a")), min_size=1, max_size=2),
        "ignore": st.lists(text, max_size=2),
        "state": st.sampled_from((".reconciler", "a")),
        # Nothing is widened here: a schema made for no project knows no widening.
        "platform": st.sampled_from(({}, {"deviceTypes": []}, {"ranges": {"hyperParameters.topK": [1, 100]}})),
        "notifications": st.lists(_notification, max_size=1),
    },
)

_junk: st.SearchStrategy[Json] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 1),
    st.sampled_from((49, 50, 51, 100, 101, 256, 257, 512, 513, 1000, 1001, 2000, 2001, -1001, 2**63, -(2**70))),
    fractions,
    text,
    st.sampled_from(("Staging", "-a", "a-", "0s", "0h0m", "45", "m", "1h1h", "0x1", "g5.xlarge", "kg-12345678-1234")),
    st.sampled_from(("a\n", "cm-1\n", "45m\n", "g5.xlarge\n", "A\n")),  # the end of a pattern is the end of the text
    st.sampled_from(("reconciler/v2", "Project", "openSource", "../x", "cm-1/undeploy?", "a b", "é", "x" * 129)),
    st.sampled_from(
        ([], {}, [None], ["a"], [1], [1, 2], [0.5, "a"], {"a": "b"}, {"env": "A"}, {"env": "A", "file": "b"})
    ),
)
_words = st.sampled_from(
    ("modelID", "maxtokens", "temperature", "environments", "name", "apiKey", "Staging", "-", "", "0", "x" * 64, "ünï")
)


@st.composite
def mutated(draw: st.DrawFn, documents: st.SearchStrategy[Json]) -> Json:
    """A document with up to three changes somewhere in it."""
    document = copy.deepcopy(draw(documents))
    for _ in range(draw(st.integers(0, 3))):
        _mutate(draw, document)
    return document


def _mutate(draw: st.DrawFn, document: Json) -> None:
    place = draw(st.sampled_from(list(_collections(document))))
    kind = draw(st.sampled_from(("set", "delete", "rename", "add")))
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    if kind == "add" or not keys:
        if isinstance(place, dict):
            place[draw(_words)] = copy.deepcopy(draw(_junk))
        else:
            place.append(copy.deepcopy(draw(_junk)))
        return
    key = draw(st.sampled_from(keys))
    if kind == "set":
        place[key] = copy.deepcopy(draw(_junk))
    elif kind == "delete":
        del place[key]
    elif isinstance(place, dict):
        place[draw(_words)] = place.pop(key)


def _collections(value: Json) -> Any:
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from _collections(item)
