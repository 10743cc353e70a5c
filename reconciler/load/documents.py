"""Documents -> manifests: what is written is judged here, document by document; nothing is merged yet.

A manifest keeps the text's own values: they are what is sent. Positions are looked up only for what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from reconciler.diagnostics import Diagnostic
from reconciler.load.judge import mistakes
from reconciler.load.placer import Placer, not_ours, nulls, with_nulls
from reconciler.load.widening import Widening
from reconciler.load.yaml import MAX_MISTAKES, Document, parse, path_text
from reconciler.model.loaded import FieldPath, LoadedFile, Manifest, Remains, inside_spec
from reconciler.model.resource import Origin
from reconciler.model.snapshot import SourceFile
from reconciler.model.spelling import NAME_PATTERN
from reconciler.model.values import Json

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
        remains=tuple(judge.remains),
    )


class _Judge:
    """Reads the documents of one file."""

    def __init__(self, *, file: SourceFile, widening: Widening) -> None:
        self._file, self._widening = file, widening
        self._placer = Placer(file)
        self.found: list[Diagnostic] = []
        self.broken: list[tuple[str, tuple[str, ...]]] = []
        self.remains: list[Remains] = []
        self.unnamed = False

    def read(self, document: Document) -> Manifest | None:
        value = document.value
        wrong = tuple(islice(self._mistakes(value, document.index), max(1, MAX_MISTAKES - len(self.found))))
        if wrong:
            self.found += wrong
            names = _names_in(value)
            self.broken += names
            self.unnamed = self.unnamed or not names
            self.remains += self._remains(document, wrong, names[0][0] if names else "")
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

    def _remains(self, document: Document, wrong: tuple[Diagnostic, ...], name: str) -> Iterator[Remains]:
        if any(d.code == "RC308" for d in wrong) or len(self.found) >= MAX_MISTAKES:
            return
        paths = frozenset(diagnostic.path for diagnostic in wrong if diagnostic.path)
        rest = _without(document.value, paths, ())
        spec = rest.get("spec") if isinstance(rest, dict) else None
        if not isinstance(spec, dict):
            return
        origin = Origin(file=self._file.path, document=document.index, line=document.line)
        unknown = [d for d in wrong if d.code == "RC301"]
        yield Remains(
            manifest=Manifest(name=name, labels=(), spec=spec, overrides=spec.get("environments"), origin=origin),
            doubtful=frozenset(map(inside_spec, paths)),
            meant=frozenset(word for d in unknown for word in re.findall(r"\w+", f"{d.path} {d.suggestion or ''}")),
        )

    def _mistakes(self, value: Json, document: int) -> Iterator[Diagnostic]:
        foreign = not_ours(value, KIND, document, self._placer)
        if foreign is not None:
            yield foreign
            return
        spec = value.get("spec")
        spec = spec if isinstance(spec, dict) else {}
        overrides = spec.get("environments")
        overrides = overrides if isinstance(overrides, dict) else {}
        written = {key: item for key, item in spec.items() if key != "environments" or item is None}
        misplaced = [*nulls(written, ("spec",)), *(_override(name) for name, item in overrides.items() if item is None)]
        whole = mistakes(KIND, value, document, self._placer, self._widening)
        yield from with_nulls(whole, misplaced, document, self._placer)
        for name, override in overrides.items():
            if override is not None:
                yield from mistakes("Override", override, document, self._placer, self._widening, _override(name))


def _override(environment: str) -> FieldPath:
    return ("spec", "environments", environment)


def _without(value: Json, wrong: frozenset[str], path: FieldPath) -> Json:
    """The value without what stands at one of the paths."""
    if isinstance(value, dict):
        kept = {key: (*path, key) for key in value if path_text((*path, key)) not in wrong}
        return {key: _without(value[key], wrong, place) for key, place in kept.items()}
    if isinstance(value, list):
        return [item for index, item in enumerate(value) if path_text((*path, index)) not in wrong]
    return value


def _names_in(value: Json) -> list[tuple[str, tuple[str, ...]]]:
    """Whatever name and environments can still be read from a document with mistakes."""
    metadata = value.get("metadata") if isinstance(value, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not re.match(NAME_PATTERN, name):
        return []  # no entry can have such a name: which one is meant cannot be told
    spec = value.get("spec")
    environments = spec.get("environments") if isinstance(spec, dict) else None
    # A file that breaks off behind `staging:` has lost the environments below it: then it may be any.
    whole = isinstance(environments, dict) and all(isinstance(item, dict) for item in environments.values())
    return [(name, tuple(environments or ()) if whole else ())]
