"""ruamel.yaml, set up once for all edits."""

from __future__ import annotations

import io
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from reconciler.errors import UsageError


def _yaml() -> YAML:
    yaml = YAML(typ="rt")
    yaml.version = None
    yaml.preserve_quotes = True
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def dump(value: Any) -> str:
    """Block style; small maps and lists of plain values stay on one line."""
    stream = io.StringIO()
    _yaml().dump(_styled(value), stream)
    return stream.getvalue()


def edit(text: str, document: int, path: tuple[str, ...], *, value: Any) -> str:
    """The text with the value at `path` of one document (from 0) set; everything else stays as it is written.

    Raises UsageError when the text is not what it was when it was checked.
    """
    yaml = _yaml()
    try:
        documents = list(yaml.load_all(text))
    except YAMLError as error:
        raise UsageError("The manifest cannot be edited: it is not the one that was checked.") from error
    if document >= len(documents) or not isinstance(documents[document], CommentedMap):
        raise UsageError("The manifest cannot be edited: it is not the one that was checked.")
    node = documents[document]
    for key in path[:-1]:
        node = node.setdefault(key, CommentedMap())
    node[path[-1]] = value
    stream = io.StringIO()
    yaml.explicit_start = text.lstrip().startswith("---")
    yaml.dump_all(documents, stream)
    return stream.getvalue()


def _styled(value: Any) -> Any:
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
