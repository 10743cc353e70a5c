"""The validators made ahead give the models' own verdict."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from reconciler.load.fits import MODELS as NAMES
from reconciler.load.fits import fits
from reconciler.load.shape import MODELS

VALUES: dict[str, list[Any]] = {
    "apiVersion": ["reconciler/v1", "v1", None],
    "kind": ["ModelDeployment", "Project", 1],
    "modelId": ["cm-1", "", "-", "x" * 129, 1, None],
    "modelType": ["openSource", "fineTune", "other", True],
    "name": ["a", "A b", "", "x" * 257, 7],
    "temperature": [0, 2, 2.5, -0.0, "1", True],
    "maxTokens": [0, 512, 513, 1.0, "1"],
    "stopSequence": [[], ["a"], [1], "a"],
    "minReplicas": [1, 10, 11, 0],
    "deviceType": ["g5.xlarge", "g6"],
    "optimizationType": ["", "vllm", "x"],
    "timeout": ["45m", "1h30m", "0m", "", "000h00m", "1m1h", "99999999999999999s", 5],
    "dependsOn": [[], ["a"], ["A"], ["a-"]],
    "wave": [-1000, 1001, 0, 1.0],
    "strategy": ["DeployFirst", "x"],
    "adopt": [True, 1, "yes"],
    "labels": [{}, {"a": "b"}, {"a": 1}],
    "environments": [{}, {"a": {}}, {"A": {}}, {"a": None}, []],
    "host": ["h", "", 1],
    "apiKey": [{"env": "A"}, {"env": "1"}, {"file": ""}, {}, "kg-1"],
    "perMinute": [0, 100_001, 60],
    "deviceTypes": [["x"], [1]],
    "ranges": [{"hyperParameters.maxTokens": [0, 1]}, {"x": [0, 1]}, {"hyperParameters.topK": [1]}],
    "unknown": [1],
}
PARTS: dict[str, tuple[str, ...]] = {
    "metadata": ("name", "labels", "unknown"),
    "hyperParameters": ("temperature", "maxTokens", "stopSequence", "unknown"),
    "scalingParameters": ("minReplicas", "unknown"),
    "optimizationInfo": ("optimizationType",),
    "rollout": ("timeout", "dependsOn", "wave", "strategy", "adopt"),
    "rateLimit": ("perMinute", "unknown"),
    "platform": ("deviceTypes", "ranges"),
}
OVERRIDABLE = (
    "modelId",
    "modelType",
    "name",
    "deviceType",
    "hyperParameters",
    "scalingParameters",
    "optimizationInfo",
    "rollout",
)
FIELDS = {
    "Override": (*OVERRIDABLE, "unknown"),
    "ModelDeployment": ("apiVersion", "kind", "metadata", "spec"),
    "Project": ("apiVersion", "kind", "environments", "rateLimit", "platform", "unknown"),
}


def some(name: str) -> st.SearchStrategy[Any]:
    """Values of a field, right ones and wrong ones."""
    if name in PARTS:
        return objects(PARTS[name]) | st.sampled_from([None, [], "x"])
    if name == "spec":
        return objects((*OVERRIDABLE, "environments"))
    return st.sampled_from(VALUES[name])


def objects(names: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: some(name) for name in names})


@given(st.data())
@pytest.mark.parametrize("model", NAMES)
def test_the_verdict_is_the_models(model: str, data: st.DataObject) -> None:
    """A value fits exactly when the model accepts it."""
    value: Any = data.draw(objects(FIELDS[model]) | st.sampled_from([None, [], "x", 1]))
    try:
        MODELS[model].model_validate(value)
    except ValidationError:
        accepted = False
    else:
        accepted = True
    assert fits(model, value) is accepted


@pytest.mark.parametrize(
    "environment",
    [{"host": "h", "apiKey": {"env": "A"}}, {"host": "h"}, {"host": "h", "apiKey": {"env": "A"}, "prune": 1}],
)
def test_whole_projects(environment: dict[str, Any]) -> None:
    """Nested models with defaults are judged alike too."""
    value: Any = {"apiVersion": "reconciler/v1", "kind": "Project", "environments": {"a": environment}}
    try:
        MODELS["Project"].model_validate(value)
    except ValidationError:
        assert not fits("Project", value)
    else:
        assert fits("Project", value)
