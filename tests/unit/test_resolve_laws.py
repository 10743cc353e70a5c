"""Laws of resolving: order never matters, the memo changes nothing, nothing raises."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.diagnostics import Position
from reconciler.load import Memo, load, places_in
from reconciler.load.widening import NO_WIDENING
from reconciler.load.yaml import Marks, parse
from reconciler.model.loaded import LoadedFile, Manifest
from reconciler.model.resource import Desired, Environment, KeyReference, Origin
from reconciler.model.snapshot import SourceFile
from reconciler.resolve import resolve
from tests.support.estate import HYPER, estate, manifest, project, text

NAMES = st.sampled_from(["a", "b", "c", "d"])
ENVIRONMENTS = ["staging", "production", "canary"]
SETTINGS = project(
    "staging",
    "production",
    production={"defaults": {"deviceType": "g5.xlarge", "scalingParameters": {"minReplicas": 2}}},
)
SCALING = st.fixed_dictionaries({}, optional={"minReplicas": st.integers(1, 3), "maxReplicas": st.integers(1, 3)})
OVERRIDES = st.fixed_dictionaries(
    {},
    optional={
        "modelId": st.sampled_from(["cm-1", "cm-2", None]),
        "scalingParameters": SCALING | st.none(),
        "hyperParameters": st.sampled_from([{"topK": None}, {"topK": 7}]),
        "rollout": st.sampled_from([{"wave": 1}, {"dependsOn": None}]),
        "deviceType": st.sampled_from(["g5.xlarge", "nonsense", None]),
    },
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "modelId": draw(st.sampled_from([f"cm-{n}" for n in range(8)])),
        "scalingParameters": draw(SCALING),
        "rollout": {"dependsOn": draw(st.lists(NAMES, max_size=2, unique=True)), "wave": draw(st.integers(0, 1))},
        "optimizationInfo": draw(
            st.fixed_dictionaries({}, optional={"quantizationType": st.sampled_from(["int8_float16", ""])})
        ),
    }
    if draw(st.booleans()):
        spec["environments"] = draw(st.dictionaries(st.sampled_from(ENVIRONMENTS), OVERRIDES, max_size=3))
    without = draw(st.lists(st.sampled_from(["deviceType", "modelId", "hyperParameters"]), max_size=1))
    return manifest(draw(NAMES), without=without, **spec)


ESTATES = st.dictionaries(
    st.sampled_from(["a.yaml", "b/b.yml", "c.yaml"]), st.lists(documents(), min_size=1, max_size=3), min_size=1
)


def shuffled(value: Any, chance: random.Random) -> Any:
    """The same value with the keys of every mapping in another order; lists keep theirs."""
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: shuffled(value[key], chance) for key in keys}
    return [shuffled(item, chance) for item in value] if isinstance(value, list) else value


def without_places(desired: Desired) -> list[Any]:
    return [
        (r.address, r.labels, r.model_id, r.model_type, r.body, r.digest, r.rollout, r.origin.file)
        for r in desired.resources
    ] + [desired.broken, desired.broken_files]


@settings(max_examples=40)
@given(ESTATES, st.randoms(use_true_random=False))
def test_order_of_files_and_keys(files: dict[str, Any], chance: random.Random) -> None:
    """Files and keys in another order give the same desired state, and as many diagnostics of each code."""
    first = estate({path: text(*wanted) for path, wanted in files.items()}, SETTINGS)
    paths = list(files)
    chance.shuffle(paths)
    again = estate({path: text(*shuffled(files[path], chance)) for path in paths}, SETTINGS)
    assert list(map(without_places, again.resolved.desired)) == list(map(without_places, first.resolved.desired))
    assert sorted(again.codes) == sorted(first.codes)


@settings(max_examples=40)
@given(ESTATES, st.randoms(use_true_random=False))
def test_order_of_documents(files: dict[str, Any], chance: random.Random) -> None:
    """Documents in another order within their files give the same desired state."""
    first = estate({path: text(*wanted) for path, wanted in files.items()}, SETTINGS)
    for wanted in files.values():
        chance.shuffle(wanted)
    again = estate({path: text(*wanted) for path, wanted in files.items()}, SETTINGS)
    assert list(map(without_places, again.resolved.desired)) == list(map(without_places, first.resolved.desired))
    assert sorted(again.codes) == sorted(first.codes)


@settings(max_examples=25)
@given(st.lists(st.tuples(ESTATES, st.sampled_from([SETTINGS, project("staging")])), min_size=1, max_size=4))
def test_memo(passes: list[tuple[dict[str, Any], str]]) -> None:
    """Whatever a process has seen before, it resolves as a fresh one does."""
    memo = Memo()
    for files, settled in (*passes, *passes[-1:]):
        sources = {path: text(*wanted) for path, wanted in files.items()}
        remembered, fresh = estate(sources, settled, memo), estate(sources, settled)
        assert remembered.loaded == fresh.loaded
        assert remembered.resolved == fresh.resolved


def test_memo_keeps_what_is_unchanged() -> None:
    """Unchanged files come back as the same resources, and an unchanged whole as the same value."""
    memo = Memo()
    one, other = text(manifest("a")), text(manifest("b"))
    first = estate({"a.yaml": one, "b.yaml": other}, memo=memo)
    assert estate({"a.yaml": one, "b.yaml": other}, memo=memo).resolved is first.resolved
    changed = estate({"a.yaml": one, "b.yaml": text(manifest("b", name="B"))}, memo=memo)
    assert changed.one("a") is first.one("a")
    assert changed.one("b") != first.one("b")


def test_memo_forgets() -> None:
    """A file that is gone is forgotten, and nothing of it comes back with another file."""
    memo = Memo()
    estate({"a.yaml": text(manifest("a")), "b.yaml": text(manifest("b"))}, memo=memo)
    assert estate({"b.yaml": text(manifest("b"))}, memo=memo).names() == ["b"]
    assert set(memo.files) == {"b.yaml"}


def test_memo_and_moving_places() -> None:
    """Diagnostics point to where the project file has the value now."""
    memo = Memo()
    defaults = {"scalingParameters": {"minReplicas": 9}}
    source = text(manifest(scalingParameters={"maxReplicas": 1}))
    settled = project("staging", staging={"defaults": defaults})
    (before,) = estate(source, settled, memo).found
    (after,) = estate(source, "# moved\n" + settled, memo).found
    assert before.suggestion != after.suggestion


@given(st.dictionaries(st.sampled_from(["a.yaml", "b.yaml"]), st.binary(max_size=60)))
def test_arbitrary_bytes(files: dict[str, bytes]) -> None:
    """Whatever the files hold, resolving gives an answer for every environment."""
    environment = Environment(
        name="e", origin="https://h", api_key=KeyReference(kind="env", value="K"), state="s", defaults={}
    )
    sources = [SourceFile(path=path, data=data) for path, data in files.items()]
    resolved = resolve(load(sources, NO_WIDENING), [environment], places=places_in(sources, None))
    assert [desired.environment for desired in resolved.desired] == ["e"]


@pytest.mark.parametrize("body", ["\ud800", {"a": ["\udfff"]}])
def test_half_characters(body: Any) -> None:
    """Text that JSON cannot carry is a diagnostic, whoever reads the YAML."""
    spec = {"modelId": "cm-1", "modelType": "openSource", "hyperParameters": HYPER, "deviceType": "d", "extra": body}
    written = Manifest(name="m", labels=(), spec=spec, overrides=None, origin=Origin(file="m.yaml", document=0, line=1))
    file = LoadedFile(path="m.yaml", manifests=(written,), broken=(), diagnostics=())
    environment = Environment(
        name="e", origin="https://h", api_key=KeyReference(kind="env", value="K"), state="s", defaults={}
    )
    resolved = resolve([file], [environment])
    assert [(d.code, str(d.position)) for d in resolved.diagnostics] == [("RC410", "m.yaml:1:1")]
    assert resolved.desired[0].broken == {"e/m"}


def test_environments_are_in_order() -> None:
    """Desired states come in the order of the environments' names, however they are given."""
    for names in (["staging", "production"], ["production", "staging"]):
        made = estate(text(manifest()), project(*names))
        assert [desired.environment for desired in made.resolved.desired] == ["production", "staging"]


PIECES = st.sampled_from(
    [
        *("---\n", "--- # c\n", "--- {d: 1}\n", "...\n", "# c\n", "\n", "\r\n"),
        *("a: 1\n", "b:\n  - x\n  - {c: 2}\n", "e: |\n ---\n", 'f: "\n  ---"\n'),
    ]
)


@settings(max_examples=100)
@given(st.lists(PIECES, max_size=9).map("".join))
def test_places_document_by_document(source: str) -> None:
    """A place is the same whether its document is composed alone or with all that stands before it."""
    file = SourceFile(path="m.yaml", data=source.encode())
    places, whole = places_in([file], None), Marks(file.data, file.path)
    documents, wrong = parse(file.data, file.path)
    for document in () if wrong else documents:
        for path in ((), ("a",), ("b", 1, "c"), ("d",), ("e",), ("f",), ("g",)):
            for key in (False, True):
                expected = whole.position(document.index, path, key=key)
                assert places("m.yaml", document.index, path, key=key) == expected


def test_places_elsewhere() -> None:
    """Of a file that is not there the name is all that is known; of a project file that is not there, nothing."""
    places = places_in([SourceFile(path="m.yaml", data=b"a: 1\n")], None)
    assert places("x.yaml", 0, ("a",)) == Position(file="x.yaml")
    assert places(None, 0, ("a",)) is None
    assert places("m.yaml", 7, ("a",)) == Position(file="m.yaml")


def test_places_are_dropped_and_found_again() -> None:
    """Asking back and forth over more text than is kept gives the same places."""
    filler = "# " + "x" * 100_000 + "\n"
    files = [SourceFile(path=f"{n}.yaml", data=f"{filler}---\na: {n}\n".encode()) for n in range(8)]
    places = places_in(files, None)
    for _ in range(2):
        for file in files:
            assert places(file.path, 0, ("a",)) == Position(file=file.path, line=3, column=4)
