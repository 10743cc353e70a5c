"""Where mistakes are told in files that hold more of them than anybody reads."""

from __future__ import annotations

import pytest

from reconciler.load import places_in
from reconciler.load.project import Fallback, load_project
from reconciler.load.yaml import MAX_MISTAKES
from reconciler.model.snapshot import Snapshot, SourceFile
from reconciler.pipeline import check
from tests.support.estate import manifest, project, text

MORE = 3
FILE = "manifests/a.yaml"


def told(settings: str, source: str) -> list[tuple[int, bool]]:
    """The line of every mistake, and whether it comes with a suggestion."""
    file = SourceFile(path="reconciler.yaml", data=settings.encode())
    settled, wrong = load_project(file, Fallback(host=None))
    assert settled is not None, wrong
    found = check(Snapshot(files=(SourceFile(path=FILE, data=source.encode()),), project=file), settled).diagnostics
    assert all(one.position is not None for one in found)
    return [(one.position.line, one.suggestion is not None) for one in found if one.position]


@pytest.mark.parametrize(
    ("without", "more", "hint"),
    [(["deviceType"], {}, True), ([], {"modelid": "cm-1"}, False)],
    ids=["incomplete", "misspelled"],
)
def test_many_wrong_manifests(without: list[str], more: dict[str, str], hint: bool) -> None:
    """Every one is told: the first at the field, the rest at the line that their document begins at, guessing no words."""
    count = MAX_MISTAKES + MORE
    source = text(*(manifest(f"n{n}", without=without, **more) for n in range(count)))
    begins = [number for number, line in enumerate(source.splitlines(), start=1) if line == "---"]
    found = told(project("staging"), source)
    assert len(found) == count
    assert found[-MORE:] == [(line, hint) for line in begins[-MORE:]]
    assert {line for line, _ in found[:-MORE]}.isdisjoint(begins)


def test_a_documents_place_after_the_last_that_is_looked_for() -> None:
    """A document that was looked into stays exact; of a file that can only be read as a whole the file is told."""
    split, whole = b"a: {b: 1}\n---\na: {b: 2}\n---\na: {b: 3}\n", b"a: {b: 1}\n...\n---\na: {b: 2}\n"
    find = places_in([SourceFile(path="split", data=split), SourceFile(path="whole", data=whole)], None, at_most=1)
    assert [str(find("split", document, ("a", "b"))) for document in (1, 0, 2, 1)] == [
        "split:3:8",
        "split:1:1",
        "split:4:1",
        "split:3:8",
    ]
    assert [str(find("whole", document, ("a", "b"))) for document in (0, 1)] == ["whole:1:8", "whole:1:1"]
