"""What `load` hands to `resolve`: manifests as written, one by one, and where places in files are asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from reconciler.diagnostics import Diagnostic, Position
from reconciler.model.resource import Origin
from reconciler.model.values import Json

FieldPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One document that is well-formed. `spec` is as written; `overrides` are its environments, None where none are named.

    What stands in them is judged; whether the environments exist is not.
    """

    name: str
    labels: tuple[tuple[str, str], ...]
    spec: Mapping[str, Json]
    overrides: Mapping[str, Json] | None
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What a document with mistakes still says without them, so that the rest of it is judged in the same go.

    Never desired. `manifest` has an empty name where none can be told. `doubtful` are the paths, inside the merged spec, of
    what was taken out; `meant` are words that an unknown field may stand for.
    """

    manifest: Manifest
    doubtful: frozenset[str]
    meant: frozenset[str]

    @property
    def rollout_is_whole(self) -> bool:
        return not any(_top(path) == "rollout" for path in self.doubtful)

    def may_cause(self, diagnostic: Diagnostic) -> bool:
        """Whether it may only be a consequence of a mistake that is said already."""
        path = inside_spec(diagnostic.path or "")
        if diagnostic.code != "RC401":  # a rule between fields of one group
            return any(_top(doubt) == _top(path) for doubt in self.doubtful)
        return path.rpartition(".")[2] in self.meant or any(
            path == doubt or path.startswith((f"{doubt}.", f"{doubt}[")) for doubt in self.doubtful
        )


def inside_spec(path: str) -> str:
    """A path of a document as the merged spec has it: `modelId` of `spec.environments.staging.modelId`."""
    return re.sub(r"^(spec\.environments\.[^.]+|environments\.[^.]+\.defaults|spec)\.", "", path)


def _top(path: str) -> str:
    return re.split(r"[.\[]", path, maxsplit=1)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFile:
    """One file. `broken` are the names, and the environments they name, of documents with errors, `remains` their rest.

    `unreadable` is True when something in it is so wrong that not even a name can be told: it may stand for anything.
    """

    path: str
    manifests: tuple[Manifest, ...]
    broken: tuple[tuple[str, tuple[str, ...]], ...]
    diagnostics: tuple[Diagnostic, ...]
    unreadable: bool = False
    remains: tuple[Remains, ...] = ()


class Places(Protocol):
    """Where something is written, asked only for what is wrong or different."""

    def __call__(self, file: str | None, document: int, path: FieldPath, *, key: bool = False) -> Position | None:
        """Where the value at `path` stands, or its key; of the deepest ancestor that exists when it does not.

        `file` None means the project file, whatever `document` says; then None when there is no such file.
        """


def nowhere(file: str | None, document: int, path: FieldPath, *, key: bool = False) -> Position | None:
    """For callers that have no text: the file at most."""
    del document, path, key
    return None if file is None else Position(file=file)


@dataclass(slots=True)
class Memo:
    """What a long-lived process keeps between passes; no part of any result, which is the same with and without.

    `files` belongs to `load`: each file's result, as long as its bytes are the same (and `widening`). `resolved` belongs to
    `resolve`, and holds for one set of `environments`.
    """

    files: dict[str, tuple[bytes, LoadedFile]] = field(default_factory=dict)
    widening: Any = None
    resolved: dict[str, Any] = field(default_factory=dict)
    environments: Any = None
