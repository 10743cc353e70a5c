"""The JSON Schemas say what the loader does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from reconciler.load.documents import load_file
from reconciler.load.project import Fallback, load_project
from reconciler.load.schema import KINDS, render, schema_of
from reconciler.load.widening import NO_WIDENING, Widening
from reconciler.load.yaml import parse
from reconciler.model.snapshot import SourceFile
from tests.support.documents import manifests, mutated, projects

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = sorted(ROOT.glob("manifests/**/*.yaml"))


def _pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[ValidationError]:
    """`$` as in JSON Schema: the end, and not also before a last line break as in Python."""
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


Validator = extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]
VALIDATORS = {kind: Validator(schema_of(kind)) for kind in (*KINDS, None)}


def file_of(document: Any) -> SourceFile:
    return SourceFile(path="a.yaml", data=json.dumps(document, ensure_ascii=False).encode())


def loader_accepts(document: Any, widening: Widening = NO_WIDENING) -> bool:
    """Whether the loader finds nothing wrong, but for what JSON Schema cannot judge: hosts, and ranges upside down."""
    file = file_of(document)
    if document.get("kind") == "Project":
        found = load_project(file, Fallback(host=None))[1]
    else:
        found = load_file(file, widening).diagnostics
    return all(one.code == "RC501" or (one.code == "RC304" and one.path.startswith("platform.")) for one in found)


@pytest.mark.parametrize("kind", [*KINDS, None])
def test_schema_is_a_schema(kind: str | None) -> None:
    """Each schema is itself valid, and says on every field what it is for."""
    schema = schema_of(kind)
    Draft202012Validator.check_schema(schema)
    for part in [schema, *schema["$defs"].values()]:
        for name, field in part.get("properties", {}).items():
            assert field.get("description") or "$ref" in field, name
        assert part.get("additionalProperties") is False or kind is None


@settings(max_examples=60, deadline=None, derandomize=True)
@given(document=manifests)
def test_well_formed_manifest_passes_both(document: Any) -> None:
    """A manifest within every range passes the loader and the schemas."""
    assert loader_accepts(document)
    assert VALIDATORS["ModelDeployment"].is_valid(document)
    assert VALIDATORS[None].is_valid(document)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(document=mutated(manifests))
def test_schema_and_loader_agree_on_manifests(document: Any) -> None:
    """What the schemas accept of a manifest with mistakes, the loader accepts, and nothing else."""
    accepted = loader_accepts(document) if document.get("kind") != "Project" else False
    assert VALIDATORS["ModelDeployment"].is_valid(document) == accepted
    if document.get("kind") == "ModelDeployment":
        assert VALIDATORS[None].is_valid(document) == accepted


@settings(max_examples=150, deadline=None, derandomize=True)
@given(document=mutated(projects))
def test_schema_and_loader_agree_on_projects(document: Any) -> None:
    """What the schemas accept of a project file with mistakes, the loader accepts, and nothing else."""
    accepted = loader_accepts(document) if document.get("kind") == "Project" else False
    assert VALIDATORS["Project"].is_valid(document) == accepted
    if document.get("kind") == "Project":
        assert VALIDATORS[None].is_valid(document) == accepted


@pytest.mark.parametrize("written", ["1.0", "1e0"])
def test_an_integral_float_is_no_integer(written: str) -> None:
    """The one thing that JSON Schema cannot say: 1.0 is an integer there, and a float in YAML; the loader says what to write."""
    text = f"apiVersion: reconciler/v1\nkind: ModelDeployment\nmetadata: {{name: a}}\nspec: {{rollout: {{wave: {written}}}}}"
    (document,), _ = parse(text.encode(), "a.yaml")
    assert VALIDATORS["ModelDeployment"].is_valid(document.value)
    (found,) = load_file(SourceFile(path="a.yaml", data=text.encode()), NO_WIDENING).diagnostics
    assert (found.code, found.message) == ("RC303", "a float in YAML 1.2; write 1")


WIDE = Widening(
    device_types=frozenset({"p5.48xlarge"}),
    ranges={"hyperParameters.maxTokens": (1024, 4096)},
    extra_fields=frozenset({"hyperParameters.minP", "adapter"}),
)
WIDENED = [
    ({"deviceType": "p5.48xlarge"}, True),
    ({"deviceType": "p6.48xlarge"}, False),
    ({"hyperParameters": {"maxTokens": 4096}}, True),
    ({"hyperParameters": {"maxTokens": 600}}, True),  # one range, from the documented to the widened one
    ({"hyperParameters": {"maxTokens": 4097}}, False),
    ({"hyperParameters": {"minP": [{"a": None}]}}, True),
    ({"hyperParameters": {"minQ": 1}}, False),
    ({"adapter": {"rank": 8}}, True),
    ({"minP": 1}, False),
]


@pytest.mark.parametrize(("spec", "accepted"), WIDENED)
@pytest.mark.parametrize("overriding", [False, True])
def test_widening_reaches_schema_and_loader(spec: Any, accepted: bool, overriding: bool) -> None:
    """What a project admits beyond the documented platform is admitted in `spec` and in overrides, by both."""
    document = {
        "apiVersion": "reconciler/v1",
        "kind": "ModelDeployment",
        "metadata": {"name": "a"},
        "spec": {"environments": {"staging": spec}} if overriding else spec,
    }
    assert Validator(schema_of("ModelDeployment", WIDE)).is_valid(document) == accepted
    assert loader_accepts(document, WIDE) == accepted
    assert not VALIDATORS["ModelDeployment"].is_valid(document)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_example_manifest_is_valid_and_names_its_schema(path: Path) -> None:
    """Every example document passes the schema, and its modeline leads to it."""
    documents, found = parse(path.read_bytes(), str(path))
    assert documents
    assert not found
    for document in documents:
        VALIDATORS["ModelDeployment"].validate(document.value)
    modelines = re.findall(r"^# yaml-language-server: \$schema=(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(modelines) == len(documents)
    for modeline in modelines:
        assert (path.parent / modeline).resolve() == ROOT / "schemas" / "model-deployment.json"


def test_example_project_is_valid() -> None:
    """The example project file passes the schema."""
    (document,), _ = parse((ROOT / "reconciler.yaml").read_bytes(), "reconciler.yaml")
    VALIDATORS["Project"].validate(document.value)


def test_schema_is_rendered_readably() -> None:
    """The text of a schema is indented, in Unicode, and ends with a line break."""
    text = render(schema_of("Project"))
    assert json.loads(text) == schema_of("Project")
    assert text.endswith("}\n")
    assert "\n  " in text
