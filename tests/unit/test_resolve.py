"""Merging, bodies, rollouts and completeness: what one manifest comes to in each environment."""

from typing import Any

import pytest

from reconciler.model.resource import USUAL_ROLLOUT, OnUnknown, Rollout, Strategy
from reconciler.resolve.layers import merge_patch
from tests.support.estate import HYPER, Estate, estate, manifest, project, text

BOTH = project("staging", "production")

# The examples of RFC 7396, appendix A.
PATCHES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "expected"), PATCHES)
def test_merge_patch(target: Any, patch: Any, expected: Any) -> None:
    """Overrides merge as RFC 7396 says, and change neither side."""
    before = repr((target, patch))
    assert merge_patch(target, patch) == expected
    assert repr((target, patch)) == before


def test_body_is_what_is_written() -> None:
    """The body holds what the manifest says and nothing of ours but the two documented defaults."""
    resource = estate(text(manifest(scalingParameters={}, optimizationInfo={"optimizationType": ""}))).one()
    assert resource.body == (
        '{"deviceType":"g5.xlarge","hyperParameters":{"maxTokens":512,"temperature":1,"topK":50,"topP":1},'
        '"isDeployedPreviously":true,"name":"m","optimizationInfo":{"optimizationType":""},"scalingParameters":{}}'
    )
    assert (resource.model_id, resource.model_type) == ("cm-m", "openSource")
    assert resource.rollout == USUAL_ROLLOUT


def test_golden_digest() -> None:
    """A manifest of an earlier release has the digest that it had there."""
    digest = estate(text(manifest())).one().digest
    assert digest == "v1:09d5b60a0309abf88e406f10bcbc0a93931693f25113a42c94987b3d889247fd"


def test_said_instead_of_defaults() -> None:
    """What the manifest says of its name and first deployment is sent as said."""
    body = estate(text(manifest(name="Shown", isDeployedPreviously=False))).body()
    assert (body["name"], body["isDeployedPreviously"]) == ("Shown", False)


def test_numbers_stay_as_written() -> None:
    """Numbers reach the body as written: 1 and 1.0 are one JSON number, 0.30 is 0.3."""
    body = estate(text(manifest(hyperParameters={**HYPER, "temperature": 1.0, "topP": 0.30}))).one().body
    assert '"temperature":1,' in body
    assert '"topP":0.3}' in body


def test_merge_order() -> None:
    """Defaults yield to spec, and spec to the override; each environment has its own."""
    defaults = {"deviceType": "g4dn.xlarge", "scalingParameters": {"minReplicas": 2, "maxBatchSize": 8}}
    written = manifest(
        without=["deviceType"],
        scalingParameters={"minReplicas": 3, "maxReplicas": 4},
        environments={"staging": {"scalingParameters": {"maxReplicas": 5}}, "production": {"deviceType": "g5.xlarge"}},
    )
    both = project("staging", "production", staging={"defaults": defaults}, production={"defaults": {}})
    made = estate(text(written), both)
    assert made.body()["scalingParameters"] == {"maxBatchSize": 8, "maxReplicas": 5, "minReplicas": 3}
    assert made.body()["deviceType"] == "g4dn.xlarge"
    assert made.body(environment="production")["scalingParameters"] == {"maxReplicas": 4, "minReplicas": 3}
    assert made.body(environment="production")["deviceType"] == "g5.xlarge"


def test_null_deletes_in_overrides() -> None:
    """A null in an override takes out what spec or defaults say; an emptied object stays, because absent is not empty."""
    written = manifest(
        scalingParameters={"minReplicas": 1},
        optimizationInfo={"optimizationType": "vllm"},
        environments={"staging": {"scalingParameters": {"minReplicas": None}, "optimizationInfo": None}},
    )
    made = estate(text(written), project("staging", staging={"defaults": {"isDeployedPreviously": False}}))
    assert made.body()["scalingParameters"] == {}
    assert "optimizationInfo" not in made.body()
    assert made.body()["isDeployedPreviously"] is False


def test_model_may_differ_by_environment() -> None:
    """Model id, model type and labels arrive where they belong."""
    written = manifest(environments={"staging": {}, "production": {"modelId": "cm-p", "modelType": "fineTune"}})
    written["metadata"]["labels"] = {"team": "a", "app": "b"}
    made = estate(text(written), BOTH)
    assert [(r.model_id, r.model_type) for d in made.resolved.desired for r in d.resources] == [
        ("cm-p", "fineTune"),
        ("cm-m", "openSource"),
    ]
    assert made.one().labels == (("app", "b"), ("team", "a"))
    assert made.one().address == "staging/m"


def test_rollout() -> None:
    """Every field of the rollout is read and may differ by environment; none of it is in the body."""
    rollout = {
        "wave": 2,
        "dependsOn": ["b", "a", "b"],
        "timeout": "1h30m",
        "protect": True,
        "strategy": "UndeployFirst",
        "onUnknown": "sendAgain",
        "adopt": True,
    }
    written = manifest(rollout=rollout, environments={"staging": {"rollout": {"wave": None, "protect": False}}})
    made = estate(text(written, manifest("a"), manifest("b")), project("staging"))
    assert made.one().rollout == Rollout(
        depends_on=("a", "b"),
        timeout=5400,
        strategy=Strategy.UNDEPLOY_FIRST,
        on_unknown=OnUnknown.SEND_AGAIN,
        adopt=True,
    )
    assert "rollout" not in made.body()


def test_extra_fields() -> None:
    """What `platform:` widens reaches the body from defaults, spec and overrides alike."""
    platform = {
        "deviceTypes": ["p9.huge"],
        "ranges": {"hyperParameters.maxTokens": [0, 9000]},
        "extraFields": ["priority", "hyperParameters.minP", "placement"],
    }
    defaults = {"priority": 1, "placement": {"zone": "a", "rack": 1}}
    written = manifest(
        deviceType="p9.huge",
        hyperParameters={**HYPER, "maxTokens": 8000, "minP": 0.5},
        environments={"staging": {"placement": {"rack": None, "row": [1, 2]}}},
    )
    made = estate(text(written), project("staging", platform=platform, staging={"defaults": defaults}))
    body = made.body()
    assert (body["priority"], body["placement"]) == (1, {"zone": "a", "row": [1, 2]})
    assert (body["deviceType"], body["hyperParameters"]["minP"]) == ("p9.huge", 0.5)
    assert not made.found


# Where it goes


def test_one_environment_need_not_be_named() -> None:
    """With one environment a manifest goes there without saying so."""
    assert estate(text(manifest())).names() == ["m"]


@pytest.mark.parametrize("spec", [{}, {"environments": {}}])
def test_several_environments_must_be_named(spec: dict[str, Any]) -> None:
    """With several environments, silence about where it goes is an error, and breaks the name in all of them."""
    made = estate(text(manifest(**spec)), BOTH)
    assert made.codes == ["RC409"]
    for name in ("staging", "production"):
        assert made.desired(name).broken == {f"{name}/m"}
        assert made.desired(name).broken_files == {"m.yaml"}


def test_naming_no_environment() -> None:
    """An empty `environments` is an error with one environment too: nothing is deployed nowhere by accident."""
    assert estate(text(manifest(environments={}))).codes == ["RC409"]


def test_unknown_environment() -> None:
    """A name that the project lacks is told with a suggestion, and breaks the manifest where it is not named."""
    source = """\
    apiVersion: reconciler/v1
    kind: ModelDeployment
    metadata: {name: m}
    spec:
      modelId: cm-1
      modelType: openSource
      hyperParameters: {temperature: 1, maxTokens: 5, topP: 1, topK: 3}
      deviceType: g5.xlarge
      environments:
        staging: {}
        prodution: {}
    """
    made = estate(source, BOTH)
    (found,) = made.found
    assert (str(found.position), found.code, found.path) == ("m.yaml:11:5", "RC408", "spec.environments.prodution")
    assert (found.value, found.suggestion) == ("'prodution'", "Did you mean production?")
    assert made.names() == ["m"]
    assert made.desired().broken_files == frozenset()
    assert made.desired("production").broken == {"production/m"}


# Completeness and rules between fields


@pytest.mark.parametrize("field", ["modelId", "modelType", "deviceType", "hyperParameters"])
def test_required(field: str) -> None:
    """Each required value that no layer says is told of, and the resource is broken."""
    made = estate(text(manifest(without=[field])))
    (found,) = made.found
    assert (found.code, found.path, found.environment) == ("RC401", f"spec.{field}", "staging")
    assert found.position is not None
    assert made.names() == []
    assert made.desired().broken == {"staging/m"}


def test_required_hyper_parameters() -> None:
    """Each of the four required hyperparameters is told of by itself."""
    made = estate(text(manifest(hyperParameters={"stopSequence": []})))
    assert [(d.code, d.path) for d in made.found] == [
        ("RC401", f"spec.hyperParameters.{name}") for name in ("maxTokens", "temperature", "topK", "topP")
    ]


def test_required_is_deleted() -> None:
    """A required value that an override deletes is told at the null."""
    source = text(manifest(environments={"staging": {"hyperParameters": {"topK": None}}}))
    (found,) = estate(source).found
    line = 1 + source[: source.index("null")].count("\n")
    assert found.position is not None
    assert (found.position.line, found.value) == (line, "null")
    assert found.path == "spec.environments.staging.hyperParameters.topK"


def test_alike_in_every_environment() -> None:
    """What lacks in every environment is said once; what lacks in one is said of that one."""
    made = estate(text(manifest(without=["deviceType"], environments={"staging": {}, "production": {}})), BOTH)
    assert [(d.code, d.environment) for d in made.found] == [("RC401", None)]
    written = manifest(without=["deviceType"], environments={"staging": {"deviceType": "g5.xlarge"}, "production": {}})
    made = estate(text(written), BOTH)
    assert [(d.code, d.environment) for d in made.found] == [("RC401", "production")]
    assert made.names() == ["m"]


REPLICAS = [
    # defaults, spec, override -> where it is said, value, allowed
    ({}, {"minReplicas": 3, "maxReplicas": 2}, {}, "spec.scalingParameters.minReplicas", "3", "at most 2"),
    (
        {"maxReplicas": 2},
        {"minReplicas": 3},
        {},
        "spec.scalingParameters.minReplicas",
        "3",
        "at most 2",
    ),
    ({"minReplicas": 3}, {"maxReplicas": 2}, {}, "spec.scalingParameters.maxReplicas", "2", "at least 3"),
    (
        {},
        {"minReplicas": 3, "maxReplicas": 3},
        {"maxReplicas": 1},
        "spec.environments.staging.scalingParameters.maxReplicas",
        "1",
        "at least 3",
    ),
    (
        {"minReplicas": 3, "maxReplicas": 2},
        {},
        {},
        "environments.staging.defaults.scalingParameters.minReplicas",
        "3",
        "at most 2",
    ),
]


@pytest.mark.parametrize(("defaults", "spec", "override", "path", "value", "allowed"), REPLICAS)
def test_replicas(  # noqa: PLR0917 - a table's columns
    defaults: Any, spec: Any, override: Any, path: str, value: str, allowed: str
) -> None:
    """More replicas at least than at most is blamed on the layer that came last."""
    written = manifest(scalingParameters=spec, environments={"staging": {"scalingParameters": override}})
    made = estate(text(written), project("staging", staging={"defaults": {"scalingParameters": defaults}}))
    (found,) = made.found
    assert (found.code, found.path, found.value, found.allowed) == ("RC402", path, value, allowed)
    assert found.position is not None
    assert found.position.file == ("reconciler.yaml" if path.startswith("environments") else "m.yaml")


@pytest.mark.parametrize("scaling", [{"minReplicas": 10}, {"maxReplicas": 1}, {"minReplicas": 2, "maxReplicas": 2}])
def test_replicas_that_fit(scaling: dict[str, int]) -> None:
    """One bound alone and equal bounds are fine; the platform's own defaults are not known."""
    assert not estate(text(manifest(scalingParameters=scaling))).found


QUANTIZATIONS = [
    ("", "", True),
    ("vllm", "no_quantization", True),
    ("", "no_quantization", True),
    ("ctranslate2", "int8_float16", True),
    ("ctranslate2", "", True),
    ("vllm", "int8_float16", False),
    ("", "int8_float16", False),
    (None, "int8_float16", False),
    (None, "no_quantization", True),
]


@pytest.mark.parametrize(("optimization", "quantization", "fits"), QUANTIZATIONS)
def test_quantization(optimization: str | None, quantization: str, fits: bool) -> None:
    """int8_float16 is for ctranslate2 alone; no quantization goes with anything."""
    info = {"quantizationType": quantization}
    if optimization is not None:
        info["optimizationType"] = optimization
    assert estate(text(manifest(optimizationInfo=info))).codes == ([] if fits else ["RC403"])


def test_quantization_is_blamed_on_the_later_layer() -> None:
    """An override that changes the optimization under a quantization is what is wrong."""
    written = manifest(
        optimizationInfo={"optimizationType": "ctranslate2", "quantizationType": "int8_float16"},
        environments={"staging": {"optimizationInfo": {"optimizationType": "vllm"}}},
    )
    (found,) = estate(text(written)).found
    assert found.path == "spec.environments.staging.optimizationInfo.optimizationType"
    assert (found.value, found.allowed) == ("'vllm'", "ctranslate2")


@pytest.mark.parametrize("number", [2**53, -(2**53), 10**300])
def test_not_exact(number: int) -> None:
    """An integer that JSON readers round is refused where it is written."""
    written = manifest(weights={"seeds": [1, {"n": number}]})
    made = estate(text(written), project("staging", platform={"extraFields": ["weights"]}))
    assert [(d.code, d.path) for d in made.found] == [("RC410", "spec.weights.seeds[1].n")]
    assert made.desired().broken == {"staging/m"}


# Blame


def test_blame() -> None:
    """Every value of a body leads to the layer and the line that set it."""
    source = """\
    apiVersion: reconciler/v1
    kind: ModelDeployment
    metadata:
      name: m
    spec:
      modelId: cm-1
      modelType: openSource
      hyperParameters: {temperature: 1, maxTokens: 5, topP: 1, topK: 3}
      scalingParameters:
        maxReplicas: 3
        maxBatchSize: 2
      environments:
        staging:
          hyperParameters: {topK: 4}
          scalingParameters: {maxBatchSize: null}
    """
    settings = """\
    apiVersion: reconciler/v1
    kind: Project
    environments:
      staging:
        host: h.example.com
        apiKey: {env: K}
        defaults:
          deviceType: g5.xlarge
          scalingParameters: {minReplicas: 1}
    """
    made = estate(source, settings)
    expected = {
        "hyperParameters.topK": ("override", "m.yaml:14:25"),
        "hyperParameters.topP": ("spec", "m.yaml:8:51"),
        "scalingParameters": ("override", "m.yaml:15:7"),
        "scalingParameters.maxReplicas": ("spec", "m.yaml:10:5"),
        "scalingParameters.minReplicas": ("defaults", "reconciler.yaml:9:27"),
        "scalingParameters.maxBatchSize": ("override", "m.yaml:15:27"),  # deletes it
        "scalingParameters.scaleUpDelay": ("spec", "m.yaml:9:3"),  # lacks it
        "optimizationInfo.optimizationType": ("spec", "m.yaml:5:1"),  # lacks even what is above it
        "deviceType": ("defaults", "reconciler.yaml:8:7"),
        "modelId": ("spec", "m.yaml:6:3"),
        "modelType": ("spec", "m.yaml:7:3"),
        "name": ("built in", "m.yaml:4:3"),
        "isDeployedPreviously": ("built in", "None"),
    }
    blamed = {path: made.blame(path) for path in expected}
    assert {path: (blame.layer, str(blame.position)) for path, blame in blamed.items()} == expected


def test_blame_in_a_project_file_that_begins_with_an_empty_document() -> None:
    """Places in the project file are found whichever of its documents is the project."""
    settings = "---\n---\n" + project("staging", staging={"defaults": {"isDeployedPreviously": True}})
    blame = estate(text(manifest()), settings).blame("isDeployedPreviously")
    assert blame.layer == "defaults"
    assert blame.position is not None
    assert blame.position.line > 2


REST = "apiVersion: reconciler/v1\nkind: ModelDeployment\nmetadata: {name: m}\n"


def all_codes(found: Estate) -> list[str]:
    """Also of what `load` says."""
    return sorted([*found.codes, *(diagnostic.code for file in found.loaded for diagnostic in file.diagnostics)])


# A document with a mistake of shape -> the codes of everything that is said of it
AT_ONCE = {
    "{modelType: opensource, deviceType: g5.xlarge}": ["RC305", "RC401", "RC401"],  # modelId, hyperParameters
    "{modelTyp: openSource, modelId: cm-1, deviceType: g5.xlarge}": [
        "RC301",
        "RC401",
    ],  # modelType is misspelled, not missing
    "{modelId: 1, modelType: openSource, hyperParameters: 1, deviceType: g5.xlarge}": ["RC303", "RC303"],
    "{temperature: 1, modelId: cm-1, modelType: fineTune, deviceType: g5.xlarge}": ["RC301"],  # it belongs elsewhere
    "{modelId: cm-1, modelType: x, scalingParameters: {minReplicas: 3, maxReplicas: 2}}": [
        "RC305",
        *["RC401"] * 2,
        "RC402",
    ],
    "{modelId: cm-1, modelType: x, scalingParameters: {minReplicas: 3, maxReplicas: 99}}": [
        "RC304",
        "RC305",
        *["RC401"] * 2,
    ],
    "{modelType: x, optimizationInfo: {quantizationType: int8_float16, optimizationType: y}}": [
        *("RC305", "RC305", "RC401", "RC401", "RC401"),
    ],
    "{modelId: cm-other, modelType: x, rollout: {dependsOn: [nobody]}}": ["RC305", *["RC401"] * 2, "RC404", "RC406"],
    "{modelType: x, rollout: {dependsOn: [NO], wave: 1}}": ["RC305", "RC306", *["RC401"] * 3],
}


@pytest.mark.parametrize("spec", AT_ONCE)
def test_the_rest_of_a_broken_document_is_judged_too(spec: str) -> None:
    """One look says everything: what is missing or contradicts itself beside a wrong value, but not what that value causes."""
    found = estate({"m.yaml": f"{REST}spec: {spec}\n", "other.yaml": text(manifest("other"))})
    assert all_codes(found) == sorted(AT_ONCE[spec])
    assert not [r for desired in found.resolved.desired for r in desired.resources if r.name == "m"]


def test_the_rest_of_a_nameless_document_is_judged_too() -> None:
    """A document whose name cannot be read is judged all the same, and stands for nothing."""
    found = estate(f"{REST.replace('name: m', 'name: M_1')}spec: {{modelId: cm-1}}\n")
    assert all_codes(found) == ["RC306", "RC401", "RC401", "RC401"]


def test_the_rest_of_a_broken_override_is_judged_too() -> None:
    """A wrong value in one environment hides nothing that is wrong in the other."""
    wrong = manifest(environments={"staging": {"deviceType": "g6"}, "production": {"modelId": None}, "prodction": {}})
    found = estate(text(wrong), BOTH)
    assert all_codes(found) == ["RC305", "RC401", "RC408"]
