"""Places on demand: a document is composed again only where something in it is wrong or different.

`pipeline` makes them per snapshot and hands them to `resolve`, which may not know YAML.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import replace

from reconciler.diagnostics import Position
from reconciler.load.yaml import Marks, parse
from reconciler.model.loaded import FieldPath, Places
from reconciler.model.snapshot import SourceFile

KEPT = 256 * 1024  # bytes of text whose nodes are kept at a time; nodes take some 40 times the room of their text

# `---` at the start of a line begins a document wherever it stands (https://yaml.org/spec/1.2.2/#rule-c-forbidden).
_BEGINS = re.compile(rb"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
# Where documents cannot be told apart, or lines not be counted, by looking at `---` and line feeds alone.
_UNUSUAL = re.compile(rb"^(?:%|\.\.\.)|\r(?!\n)|\xc2\x85|\xe2\x80[\xa8\xa9]|\xef\xbb\xbf", re.MULTILINE)
_CONTENT = re.compile(rb"^[ \t]*[^ \t\r\n#]", re.MULTILINE)


# Where a document's text begins and ends, and the number of lines above it.
_Part = tuple[int, int, int]


def places_in(files: Iterable[SourceFile], project: SourceFile | None, *, at_most: int | None = None) -> Places:
    """Places in these files, and in the project file.

    With `at_most`, so many documents of a file are composed again; of others only the line that they begin at is told,
    or the file alone where that cannot be told without composing it.
    """
    return _Places({file.path: file for file in files}, project, at_most).find


class _Places:
    """Keeps where the documents of a file begin, and the marks of the documents asked about last."""

    def __init__(self, files: dict[str, SourceFile], project: SourceFile | None, at_most: int | None) -> None:
        self._files, self._project, self._at_most = files, project, at_most
        self._composed: Counter[str | None] = Counter()
        self._parts: dict[str | None, tuple[_Part, ...]] = {}
        self._marks: OrderedDict[tuple[str | None, int], tuple[Marks, int]] = OrderedDict()
        self._kept = 0
        self._project_document: int | None = None

    def find(self, file: str | None, document: int, path: FieldPath, *, key: bool = False) -> Position | None:
        source = self._project if file is None else self._files.get(file)
        if source is None:
            return None if file is None else Position(file=file)
        parts = self._parts.get(file)
        if parts is None:
            parts = self._parts[file] = _parts_of(source.data)
        if file is None:
            document = self._document_of_project(source)
        return self._find_in(source, (file, document), parts, path, key=key)

    def _find_in(
        self, source: SourceFile, which: tuple[str | None, int], parts: tuple[_Part, ...], path: FieldPath, *, key: bool
    ) -> Position:
        file, document = which
        if not parts:  # composed as a whole
            return self._marks_of((file, -1), source, source.data).position(document, path, key=key)
        if document >= len(parts):
            return Position(file=source.path)
        begin, end, above = parts[document]
        if which not in self._marks and self._at_most is not None and self._composed[file] >= self._at_most:
            return Position(file=source.path, line=above + 1)
        found = self._marks_of(which, source, source.data[begin:end]).position(0, path, key=key)
        return replace(found, line=found.line + above)

    def _marks_of(self, which: tuple[str | None, int], source: SourceFile, text: bytes) -> Marks:
        marks, _ = self._marks.get(which, (None, 0))
        if marks is None:
            marks = Marks(text, source.path, self._at_most)
            self._composed[which[0]] += 1
            self._marks[which] = (marks, len(text))
            self._kept += len(text)
        self._marks.move_to_end(which)
        while self._kept > KEPT and len(self._marks) > 1:
            _, (_, size) = self._marks.popitem(last=False)
            self._kept -= size
        return marks

    def _document_of_project(self, project: SourceFile) -> int:
        """Which document of the project file is the project: empty ones may come before it."""
        if self._project_document is None:
            documents, _ = parse(project.data, project.path)
            self._project_document = documents[0].index if documents else 0
        return self._project_document


def _parts_of(data: bytes) -> tuple[_Part, ...]:
    """The documents of a file; none where they can only be told by composing it as a whole."""
    if _UNUSUAL.search(data):
        return ()
    begins = [match.start() for match in _BEGINS.finditer(data)]
    if not begins or _CONTENT.search(data, 0, begins[0]):
        begins.insert(0, 0)  # the first document needs no `---`
    ends = [*begins[1:], len(data)]
    parts, above, counted = [], 0, 0
    for begin, end in zip(begins, ends, strict=True):
        above += data.count(b"\n", counted, begin)
        counted = begin
        parts.append((begin, end, above))
    return tuple(parts)
