"""docs/manifests.md says nothing that does not work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reconciler.load.documents import load_file
from reconciler.load.project import Fallback, load_project
from reconciler.load.widening import NO_WIDENING
from reconciler.load.yaml import parse
from reconciler.model.snapshot import SourceFile
from reconciler.resolve.layers import merge_patch
from tools.reference import TABLES

PAGE = (Path(__file__).parent.parent.parent / "docs" / "manifests.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
HEADS = {
    "spec:": "apiVersion: reconciler/v1\nkind: ModelDeployment\nmetadata: {name: a}\n",
    "notifications:": "apiVersion: reconciler/v1\nkind: Project\nenvironments: {a: {host: h, apiKey: {env: K}}}\n",
    "platform:": "apiVersion: reconciler/v1\nkind: Project\nenvironments: {a: {host: h, apiKey: {env: K}}}\n",
}


@pytest.mark.parametrize("text", EXAMPLES)
def test_example_is_accepted(text: str) -> None:
    """Every example of the page is what the loader accepts; a fragment with the lines that it leaves out."""
    text = HEADS.get(text.partition("\n")[0], "") + text
    file = SourceFile(path="a.yaml", data=text.encode())
    if "kind: Project" in text:
        assert load_project(file, Fallback(host=None))[1] == ()
    else:
        assert load_file(file, NO_WIDENING).diagnostics == ()


def test_every_table_is_there() -> None:
    """The page has a table of every part of both kinds, each once."""
    assert sorted(re.findall(r"<!-- table (\w+), made", PAGE)) == sorted(TABLES)


def test_the_merging_that_is_explained() -> None:
    """The example of an override comes to what the page says."""
    (text,) = (text for text in EXAMPLES if "stopSequence: null" in text)
    ((document,), _) = parse(text.encode(), "a.yaml")
    spec = document.value["spec"]
    merged = merge_patch(spec, spec["environments"]["production"])["hyperParameters"]
    assert merged == {"temperature": 0, "maxTokens": 512, "topP": 1, "topK": 50}


MEANINGS = {
    "no": "no",
    "014": 14,
    "0o14": 12,
    "0x1F": 31,
    "1e3": 1000.0,
    "1_000": "1_000",
    "12:30:45": "12:30:45",
    "2001-12-14": "2001-12-14",
    "~": None,
    "null": None,
}


@pytest.mark.parametrize(("written", "meant"), MEANINGS.items())
def test_the_meanings_that_are_listed(written: str, meant: object) -> None:
    """A value in the page's table of YAML means what the table says."""
    assert f"`{written}`" in PAGE
    ((document,), _) = parse(f"a: {written}".encode(), "a.yaml")
    assert document.value == {"a": meant}
