"""Documents -> manifests: what is written is judged here, document by document; nothing is merged yet.

A manifest keeps the text's own values: they are what is sent. Positions are looked up only for what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reconciler.diagnostics import Diagnostic
from reconciler.load.shape import Path, Widening, fields_at, findings, nulls, shown, to_diagnostic, without_nulls
from reconciler.load.yaml import Document, Marks, parse, path_text
from reconciler.model.loaded import LoadedFile, Manifest
from reconciler.model.manifest import ModelDeployment, Override
from reconciler.model.resource import Origin
from reconciler.model.snapshot import SourceFile
from reconciler.model.values import Json

API_VERSION = "reconciler/v1"
KIND = "ModelDeployment"


def load_file(file: SourceFile, widening: Widening) -> LoadedFile:
    """Everything in one file, and everything wrong with it."""
    documents, found = parse(file.data, file.path)
    judge = _Judge(file=file, widening=widening)
    manifests = tuple(manifest for document in documents if (manifest := judge.read(document)) is not None)
    return LoadedFile(
        path=file.path,
        manifests=manifests,
        broken=tuple(judge.broken),
        diagnostics=(*found, *judge.found),
        unreadable=bool(found) or judge.unnamed,
    )


class _Judge:
    """Reads the documents of one file; makes Marks at the first mistake."""

    def __init__(self, *, file: SourceFile, widening: Widening) -> None:
        self._file, self._widening = file, widening
        self._marks: Marks | None = None
        self.found: list[Diagnostic] = []
        self.broken: list[tuple[str, tuple[str, ...]]] = []
        self.unnamed = False

    def read(self, document: Document) -> Manifest | None:
        value = document.value
        wrong = list(self._not_ours(document))
        if not wrong:
            wrong = list(self._mistakes(value, document.index))
        if wrong:
            self.found += wrong
            names = _names_in(value)
            self.broken += names
            self.unnamed = self.unnamed or not names
            return None
        spec = value["spec"]
        labels = value["metadata"].get("labels") or {}
        return Manifest(
            name=value["metadata"]["name"],
            labels=tuple(sorted(labels.items())),
            spec=spec,
            overrides=spec.get("environments"),
            origin=Origin(file=self._file.path, document=document.index, line=document.line),
        )

    def _not_ours(self, document: Document) -> Iterator[Diagnostic]:
        value = document.value
        version, kind = (value.get("apiVersion"), value.get("kind")) if isinstance(value, dict) else (None, None)
        if version == API_VERSION and kind == KIND:
            return
        field = "apiVersion" if version != API_VERSION else "kind"
        yield Diagnostic(
            code="RC308",
            message=f"not a {API_VERSION} {KIND}",
            position=self.marks.position(document.index, (field,)),
            path=field,
            value=shown(version if field == "apiVersion" else kind),
            allowed=API_VERSION if field == "apiVersion" else KIND,
            suggestion="Move it out of the manifest folders, or name the file under `ignore:` in the project file.",
        )

    @property
    def marks(self) -> Marks:
        if self._marks is None:
            self._marks = Marks(self._file.data, self._file.path)
        return self._marks

    def _mistakes(self, value: Json, document: int) -> Iterator[Diagnostic]:
        for error in findings(ModelDeployment, value):
            path = _named_path(error["loc"])
            if not (path[:1] == ("spec",) and self._widening.accepts(error, path[1:])):
                yield to_diagnostic(error, path, document, self.marks, fields_at(ModelDeployment, path))
        spec = value.get("spec")
        if not isinstance(spec, dict):
            return
        for path in nulls({key: item for key, item in spec.items() if key != "environments"}):
            yield self._null(document, ("spec", *path))
        overrides = spec.get("environments")
        if isinstance(overrides, dict):
            for name, override in overrides.items():
                yield from self._override(document, ("spec", "environments", name), override)
        elif "environments" in spec and overrides is None:
            yield self._null(document, ("spec", "environments"))

    def _override(self, document: int, base: Path, override: Json) -> Iterator[Diagnostic]:
        if override is None:
            yield self._null(document, base)
            return
        for error in findings(Override, without_nulls(override)):
            path = _named_path(error["loc"])
            if not self._widening.accepts(error, path):
                yield to_diagnostic(error, (*base, *path), document, self.marks, fields_at(Override, path))

    def _null(self, document: int, path: Path) -> Diagnostic:
        return Diagnostic(
            code="RC307",
            message="null deletes a value, and there is nothing to delete here",
            position=self.marks.position(document, path),
            path=path_text(path),
            value="null",
            suggestion="Leave the field out; write {} for an environment where nothing differs.",
        )


def _named_path(location: tuple[Any, ...]) -> Path:
    """The location that pydantic gives, without the markers of its own that it puts between the fields."""
    return tuple(step for step in location if not (isinstance(step, str) and step.startswith(("[", "function-"))))


def _names_in(value: Json) -> list[tuple[str, tuple[str, ...]]]:
    """Whatever name and environments can still be read from a document with mistakes."""
    metadata = value.get("metadata") if isinstance(value, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str):
        return []
    spec = value.get("spec")
    environments = spec.get("environments") if isinstance(spec, dict) else None
    return [(name, tuple(environments) if isinstance(environments, dict) else ())]
