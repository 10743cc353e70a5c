"""Places on demand: files are composed again only where something is wrong or different.

`pipeline` makes one per snapshot and hands it to `resolve`, which may not know YAML.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from reconciler.diagnostics import Position
from reconciler.load.yaml import Marks, parse
from reconciler.model.loaded import FieldPath, Places
from reconciler.model.snapshot import SourceFile

KEPT = 1024 * 1024  # bytes of text whose nodes are kept at a time; the nodes take about 40 times the room of the text


def places_in(files: Iterable[SourceFile], project: SourceFile | None) -> Places:
    """Places in these files, and in the project file."""
    return _Places({file.path: file for file in files}, project).find


class _Places:
    """Keeps the marks of the files asked about last."""

    def __init__(self, files: dict[str, SourceFile], project: SourceFile | None) -> None:
        self._files, self._project = files, project
        self._marks: OrderedDict[str | None, Marks] = OrderedDict()
        self._kept = 0

    def find(self, file: str | None, document: int, path: FieldPath, *, key: bool = False) -> Position | None:
        source = self._project if file is None else self._files.get(file)
        if source is None:
            return None if file is None else Position(file=file)
        if file is None:
            document = _document_of(source)
        return self._marks_of(file, source).position(document, path, key=key)

    def _marks_of(self, name: str | None, source: SourceFile) -> Marks:
        marks = self._marks.get(name)
        if marks is None:
            marks = self._marks[name] = Marks(source.data, source.path)
            self._kept += len(source.data)
        self._marks.move_to_end(name)
        while self._kept > KEPT and len(self._marks) > 1:
            dropped, _ = self._marks.popitem(last=False)
            gone = self._project if dropped is None else self._files[dropped]
            self._kept -= len(gone.data) if gone else 0
        return marks


def _document_of(project: SourceFile) -> int:
    """Which document of the project file is the project: empty ones may come before it."""
    documents, _ = parse(project.data, project.path)
    return documents[0].index if documents else 0
