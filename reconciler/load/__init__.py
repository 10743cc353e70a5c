"""bytes -> manifests or diagnostics: `yaml` reads the text, `documents` and `project` judge what it holds."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.diagnostics import Diagnostic
from reconciler.load.documents import load_file
from reconciler.load.places import places_in
from reconciler.load.widening import Widening
from reconciler.model.loaded import LoadedFile, Manifest, Memo
from reconciler.model.snapshot import SourceFile


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


__all__ = ["Diagnostic", "LoadedFile", "Manifest", "Memo", "load", "places_in"]
