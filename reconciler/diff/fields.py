"""Which fields of a body differ, and from what."""

from __future__ import annotations

import json
from collections.abc import Iterator

from reconciler.model.applied import Entry, Situation, situation_of
from reconciler.model.values import Json


def spec_before(entry: Entry) -> tuple[str | None, str] | None:
    """Model type and body that the desired ones are shown against: the running job's, else what is live, else the last."""
    last, live = entry.last, entry.live
    if last is not None and last.body is not None and situation_of(entry) is Situation.RUNNING:
        return last.model_type, last.body
    if live is not None:
        return live.model_type, live.body
    return (last.model_type, last.body) if last is not None and last.body is not None else None


def body_differences(before: str, after: str) -> Iterator[tuple[str, Json, Json]]:
    if before != after:
        yield from _differences("", json.loads(before), json.loads(after))


def _differences(prefix: str, before: Json, after: Json) -> Iterator[tuple[str, Json, Json]]:
    """Leaf by leaf where both sides are objects; lists and scalars are compared whole. None is absent."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from _differences(f"{prefix}.{key}" if prefix else key, before.get(key), after.get(key))
    elif not _equal(before, after):
        yield prefix, before, after


def _equal(before: Json, after: Json) -> bool:
    """JSON equality: Python's, but true is not 1."""
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_equal, before, after))
    if isinstance(before, dict) and isinstance(after, dict):  # inside a list
        return before.keys() == after.keys() and all(_equal(before[key], after[key]) for key in before)
    return bool(before == after) and isinstance(before, bool) == isinstance(after, bool)
