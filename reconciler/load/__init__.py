"""bytes -> manifests or diagnostics: `yaml` reads the text, `documents` and `project` judge what it holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from reconciler.diagnostics import Diagnostic
from reconciler.load.documents import LoadedFile, Manifest, load_file
from reconciler.load.shape import Widening
from reconciler.model.snapshot import SourceFile


@dataclass(slots=True)
class Memo:
    """What a long-lived process keeps between passes: each file's result, as long as its bytes are the same.

    `resolved` belongs to `resolve`, and holds for one set of environments. Results are the same with and without a memo.
    """

    files: dict[str, tuple[bytes, LoadedFile]] = field(default_factory=dict)
    widening: Widening | None = None
    resolved: dict[int, object] = field(default_factory=dict)
    environments: object = None


def load(files: Iterable[SourceFile], widening: Widening, memo: Memo | None = None) -> tuple[LoadedFile, ...]:
    """Every file, in the order given."""
    if memo is None:
        return tuple(load_file(file, widening) for file in files)
    if memo.widening != widening:
        memo.files, memo.widening = {}, widening
    before, memo.files = memo.files, {}
    for file in files:
        known = before.get(file.path)
        fresh = known if known is not None and known[0] == file.data else (file.data, load_file(file, widening))
        memo.files[file.path] = fresh
    return tuple(loaded for _, loaded in memo.files.values())


__all__ = ["Diagnostic", "LoadedFile", "Manifest", "Memo", "load"]
