"""YAML text: written anew by ruamel.yaml, or changed in one place with everything else left as it is."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from reconciler.errors import UsageError


def dump(value: Any) -> str:
    """Block style; small maps and lists of plain values stay on one line."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt")
    yaml.version = None
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(_styled(value), stream)
    return stream.getvalue()


def _styled(value: Any) -> Any:
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if isinstance(value, dict):
        styled = CommentedMap((key, _styled(item)) for key, item in value.items())
        if value and not any(isinstance(item, dict) for item in value.values()) and len(value) <= 1:
            styled.fa.set_flow_style()
        return styled
    if isinstance(value, list):
        items = CommentedSeq(_styled(item) for item in value)
        items.fa.set_flow_style()
        return items
    return value


def edit(text: str, document: int, path: tuple[str, ...], *, value: Any) -> str:
    """The text with the value at `path` of one document (from 0) set; not a byte besides is changed.

    Text is put in at the place that the parser names, and the result is read again. Raises UsageError where it would not
    mean what it should.
    """
    before = _meaning(text)
    if not isinstance(before.get(document), dict):
        raise _unfit("it is not the one that was checked")
    start, end, new = _place(text, document, path, json.dumps(value))
    edited = text[:start] + new + text[end:]
    _set(before[document], path, value)
    if _meaning(edited) != before:
        raise _unfit(f"write {'.'.join(path)}: {json.dumps(value)} into it yourself")
    return edited


def _meaning(text: str) -> dict[int, Any]:
    """What the loader reads, document by document. Raises UsageError for text that it refuses."""
    from reconciler.load.yaml import parse

    documents, found = parse(text.encode(), "")
    if found:
        raise _unfit("it is not the one that was checked")
    return {one.index: deepcopy(one.value) for one in documents}


def _set(node: Any, path: Sequence[str], value: Any) -> None:
    *above, last = path
    for key in above:
        if node.get(key) is None:
            node[key] = {}
        node = node[key]
        if not isinstance(node, dict):
            raise _unfit(f"{key} is no mapping")
    node[last] = value


def _place(text: str, document: int, path: Sequence[str], value: str) -> tuple[int, int, str]:
    """What is replaced, from and to, and by what."""
    import yaml

    node = list(yaml.compose_all(text, Loader=yaml.SafeLoader))[document]
    keys = list(path)
    while keys and isinstance(node, yaml.MappingNode):
        found = next((item for key, item in node.value if key.value == keys[0]), None)
        if found is None:
            return _into_mapping(text, node, _nested(keys, value))
        node, keys = found, keys[1:]
    start, end = node.start_mark.index, node.end_mark.index
    if keys:  # `rollout:` with nothing after it
        return start, end, f" {{{_nested(keys, value)}}}"
    return start, end, value


def _nested(keys: Sequence[str], value: str) -> str:
    """`a: {b: value}`."""
    first, *rest = keys
    return f"{first}: {{{_nested(rest, value)}}}" if rest else f"{first}: {value}"


def _into_mapping(text: str, node: Any, entry: str) -> tuple[int, int, str]:
    """Behind the last entry: on the same line between braces, else on a line of its own."""
    end = _end(node.value[-1]) if node.value else node.start_mark.index + 1
    if node.flow_style:
        return end, end, f", {entry}" if node.value else entry
    newline = "\r\n" if "\r\n" in text else "\n"
    indent = " " * node.start_mark.column
    if text[:end].endswith("\n"):
        return end, end, f"{indent}{entry}{newline}"
    line_end = text.find("\n", end)
    if line_end < 0:
        return len(text), len(text), f"{newline}{indent}{entry}{newline}"
    return line_end + 1, line_end + 1, f"{indent}{entry}{newline}"


def _end(entry: tuple[Any, Any]) -> int:
    """Where an entry's text ends; a block's own mark stands behind the comments after it, so its last entry is asked."""
    key, item = entry
    if key is not item and item.start_mark.index < key.end_mark.index:  # an alias: its node stands elsewhere
        return int(key.end_mark.index)
    if isinstance(item.value, list) and item.value and not item.flow_style:
        last = item.value[-1]
        return _end(last if isinstance(last, tuple) else (last, last))
    return int(item.end_mark.index)


def _unfit(why: str) -> UsageError:
    return UsageError(f"The manifest cannot be edited: {why}.", next_step="Write it by hand, or run the command again.")
