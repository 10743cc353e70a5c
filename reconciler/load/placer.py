"""Diagnostics of one file, each at its place; and the rules that need no model.

`documents` and `project` use it for everything that they say; `shape` for what the models say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from reconciler.diagnostics import Diagnostic
from reconciler.load.places import places_in
from reconciler.load.words import closest
from reconciler.load.yaml import MAX_MISTAKES, path_text
from reconciler.model.loaded import FieldPath
from reconciler.model.snapshot import SourceFile
from reconciler.model.text import without_keys
from reconciler.model.values import Json

API_VERSION = "reconciler/v1"
_ELSEWHERE = {
    "ModelDeployment": "Move it out of the manifest folders, or name the file under `ignore:` in the project file.",
}
_SHOWN = 60  # characters of a value that a diagnostic quotes


class Placer:
    """Makes the diagnostics of one file; composes again what has a mistake, and only that. `said` counts them."""

    def __init__(self, file: SourceFile) -> None:
        self._file = file
        self._places = places_in((file,), None, at_most=MAX_MISTAKES)
        self.said = 0

    def say(
        self, document: int, path: FieldPath, code: str, message: str, *, key: bool = False, **more: Any
    ) -> Diagnostic:
        """One diagnostic at the value that `path` leads to from the document's root, or at its key."""
        self.said += 1
        place = self._places(self._file.path, document, path, key=key)
        return Diagnostic(code=code, message=message, position=place, path=path_text(path), **more)


def not_ours(value: Json, kind: str, document: int, placer: Placer) -> Diagnostic | None:
    """What is said of a document of another apiVersion or kind: nothing else in it is judged."""
    for field, ours in (("apiVersion", API_VERSION), ("kind", kind)):
        written = value.get(field) if isinstance(value, dict) else None
        if written != ours:
            close = closest(written, (ours,)) if isinstance(written, str) else None
            return placer.say(
                document,
                (field,),
                "RC308",
                f"not a {API_VERSION} {kind}",
                value=None if written is None else shown(written),
                allowed=ours,
                suggestion=f"Did you mean {close}?" if close else _ELSEWHERE.get(kind),
            )
    return None


def with_nulls(
    found: Iterable[Diagnostic], nulls: Iterable[FieldPath], document: int, placer: Placer
) -> Iterator[Diagnostic]:
    """The diagnostics, and one for each null that none of them is about."""
    said = set()
    for diagnostic in found:
        said.add(diagnostic.path)
        yield diagnostic
    for path in nulls:
        if path_text(path) not in said:
            yield placer.say(
                document,
                path,
                "RC307",
                "null deletes a value, and there is nothing to delete here",
                value="null",
                suggestion="Leave the field out; write {} for an environment where nothing differs.",
            )


def nulls(value: Json, path: FieldPath = ()) -> Iterator[FieldPath]:
    """The fields that are null. RFC 7396 does not look into lists, and neither does this."""
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from nulls(item, (*path, key))


def shown(value: Json) -> str:
    """A value as short text; what looks like an API key is blotted out."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, str):
        text = without_keys(value[: 4 * _SHOWN])
        return repr(text) if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]!r}…"
    return "null" if value is None else str(value).lower()[:_SHOWN]
