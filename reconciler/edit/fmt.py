"""Manifests and project files in one style: keys in one order, two blanks a level, comments where they belong.

`cli.fmt` calls it. Comments decide how it is done. A comment above a key belongs to that key and moves with it; one at the end
of a mapping stays at its end; what stands above a document stays there. So mappings in block style are laid out as lines of
text here, and only what is left of style, spaces and lists, is ruamel.yaml's part. The result is read again: where it would
not mean the same, lose a comment, or change once more when formatted again, less is done, or nothing.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from reconciler.load.yaml import parse

API_VERSION = "reconciler/v1"
STEP = 2  # blanks a level
_NO_WIDTH = 1 << 20  # lines are not broken: where, is the writer's choice
_ROUNDS = 4  # until nothing changes any more; two are enough for all that was ever seen

_DEPLOYMENT = ("apiVersion", "kind", "metadata", "spec")
_METADATA = ("name", "labels")
_HYPER = ("temperature", "maxTokens", "topP", "topK", "stopSequence")
_SCALING = ("maxBatchSize", "minReplicas", "maxReplicas", "scaleUpDelay", "scaleDownDelay")
_OPTIMIZATION = ("optimizationType", "quantizationType")
_ROLLOUT = ("wave", "dependsOn", "timeout", "protect", "strategy", "onUnknown", "adopt")
_SPEC = (
    "modelId",
    "modelType",
    "name",
    "isDeployedPreviously",
    "hyperParameters",
    "scalingParameters",
    "deviceType",
    "optimizationInfo",
    "environments",
    "rollout",
)
_PROJECT = ("apiVersion", "kind", "manifests", "ignore", "state", "platform", "notifications", "environments")
_ENVIRONMENT = ("host", "apiKey", "caFile", "prune", "rateLimit", "defaults")

# Mapping, by its path from the document's root (`*` is any name) -> its keys in order. What is not listed keeps its place
# behind those that are.
_PARTS = {
    (): _SPEC,
    ("hyperParameters",): _HYPER,
    ("scalingParameters",): _SCALING,
    ("optimizationInfo",): _OPTIMIZATION,
    ("rollout",): _ROLLOUT,
}


def _below(*path: str, without: tuple[str, ...] = ()) -> dict[tuple[str, ...], tuple[str, ...]]:
    """What may stand below a path that is written like a spec."""
    return {(*path, *inner): tuple(key for key in keys if key not in without) for inner, keys in _PARTS.items()}


ORDERS: dict[str, dict[tuple[str, ...], tuple[str, ...]]] = {
    "ModelDeployment": {
        (): _DEPLOYMENT,
        ("metadata",): _METADATA,
        **_below("spec"),
        **_below("spec", "environments", "*", without=("environments",)),
    },
    "Project": {
        (): _PROJECT,
        ("platform",): ("deviceTypes", "ranges", "extraFields"),
        ("environments", "*"): _ENVIRONMENT,
        ("environments", "*", "rateLimit"): ("perMinute", "perHour"),
        **_below("environments", "*", "defaults", without=("environments", "modelId", "name")),
    },
}

_MARKER = re.compile(r"---(?:\s|\Z)")
_BEYOND = re.compile(r"(?:%|\.\.\.(?:\s|\Z))")  # directives and document ends: too rare to be worth the trouble
_BEHIND = re.compile(r"([ \t]+)(#[^\n]*)")
_GAP = re.compile(r"#[^\n]*")

Path = tuple[str, ...]


class _Unfit(Exception):
    """This way of formatting is not for this text."""


def formatted(data: bytes) -> bytes:
    """The same file in canonical style; the file as it is where it cannot be, or holds no document of ours.

    For text that `load.yaml.parse` reads without a mistake; anything else comes back as it is, too.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data
    documents, found = parse(data, "")
    if found or not any(_kind(one.value) for one in documents):
        return data
    for _ in range(_ROUNDS):
        after = _step(text)
        if after == text:
            return text.encode()
        text = after
    return data


def _step(text: str) -> str:
    """One round: the most that can be done without harm."""
    before = _meaning(text)
    for way in (_laid_and_styled, _laid, _styled):
        try:
            after = "".join(_pieces(text, way))
        except _Unfit:
            continue
        if after != text and _meaning(after) == before:
            return after
    return text


def _meaning(text: str) -> object:
    """What must stay: every value, as the loader reads it, with its place among the documents; and all that is written."""
    documents, found = parse(text.encode(), "")
    values = [(one.index, json.dumps(one.value, sort_keys=True)) for one in documents]
    return values, len(found), _written(text)


def _written(text: str) -> Counter[str]:
    """Comments, which stand behind `#` between the tokens and behind a block scalar's header, and the spelling of scalars."""
    import yaml

    found: Counter[str] = Counter()
    at = 0
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            found.update(match.rstrip() for match in _GAP.findall(text[at : token.start_mark.index]))
            at = max(at, token.end_mark.index)
            if isinstance(token, yaml.ScalarToken):
                spelled = text[token.start_mark.index : token.end_mark.index]
                if token.style in {"|", ">"}:
                    found.update(match.rstrip() for match in _GAP.findall(spelled.partition("\n")[0]))
                else:
                    found[" ".join(spelled.split())] += 1
    except yaml.YAMLError:
        return Counter({text: 1})  # the backends differ: nothing may change
    found.update(match.rstrip() for match in _GAP.findall(text[at:]))
    return found


def _pieces(text: str, way: Callable[[str, Any, str], str]) -> Iterator[str]:
    """The documents with the lines between them; those that are not ours as they are."""
    lines = text.replace("\r\n", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if any(_BEYOND.match(line) for line in lines):
        raise _Unfit
    starts = [number for number, line in enumerate(lines) if _MARKER.match(line)]
    for begin, end in zip([-1, *starts], [*starts, len(lines)], strict=True):
        if begin >= 0:
            yield f"{lines[begin].rstrip()}\n"
        piece = "".join(f"{line}\n" for line in lines[begin + 1 : end])
        kind = _kind_in(piece)
        yield _spaced(way(piece, _root(piece), kind), piece) if kind else piece


def _spaced(after: str, before: str) -> str:
    """Blanks before a comment behind something: one or two, as they were, however long the line has become."""
    wanted = {comment: min(blanks, 2) for _, blanks, comment in reversed(list(_trailing(before)))}
    for at, blanks, comment in reversed(list(_trailing(after))):
        after = f"{after[:at]}{' ' * wanted.get(comment, 2)}{after[at + blanks :]}"
    return after


def _trailing(text: str) -> Iterator[tuple[int, int, str]]:
    """Each comment behind something on its line: where the blanks before it begin, how many, and what it says."""
    import yaml

    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            at = token.end_mark.index
            found = _BEHIND.match(text, at)
            if found is not None and text[text.rfind("\n", 0, at) + 1 : at].strip():
                yield at, len(found[1]), found[2].rstrip()
    except yaml.YAMLError as error:
        raise _Unfit from error


def _kind_in(piece: str) -> str | None:
    documents, _ = parse(piece.encode(), "")
    return _kind(documents[0].value) if len(documents) == 1 else None


def _kind(value: Any) -> str | None:
    if not isinstance(value, dict) or value.get("apiVersion") != API_VERSION:
        return None
    kind = value.get("kind")
    return kind if isinstance(kind, str) and kind in ORDERS else None


def _root(piece: str) -> Any:
    import yaml

    try:
        return yaml.compose(piece, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise _Unfit from error


def _order(kind: str, path: Path) -> Sequence[str]:
    """The keys of the mapping at a path, in order; nothing where the order is the writer's."""
    for pattern, keys in ORDERS[kind].items():
        if len(pattern) == len(path) and all(a in {"*", b} for a, b in zip(pattern, path, strict=True)):
            return keys
    return ()


def _rank(order: Sequence[str], key: str) -> int:
    """Merge keys first: what they bring is overridden by what follows."""
    if key == "<<":
        return -1
    return order.index(key) if key in order else len(order)


# Lines


def _laid_and_styled(piece: str, root: Any, kind: str) -> str:
    return _styled(_laid(piece, root, kind), None, kind)


def _laid(piece: str, root: Any, kind: str) -> str:
    """Block mappings with their keys in order, two blanks a level, comments with their keys."""
    lines = piece.split("\n")[:-1]
    first = root.start_mark.line
    if root.flow_style:
        return piece
    head = _squeezed([line.strip() for line in lines[:first]])
    return "".join(f"{line}\n" for line in [*head, *_Layout(lines, kind).mapping(root, first, len(lines), 0, ())])


class _Layout:
    """The lines of one document."""

    def __init__(self, lines: Sequence[str], kind: str) -> None:
        self._lines, self._kind = lines, kind

    def mapping(self, node: Any, start: int, end: int, target: int, path: Path) -> list[str]:
        """The lines from `start` to `end`, which a block mapping fills, moved to the column `target`."""
        column = node.start_mark.column
        keys = [key for key, _ in node.value]
        rows = [key.start_mark.line for key in keys]
        if any(key.start_mark.column != column or not hasattr(key.value, "strip") for key in keys):
            raise _Unfit
        if rows != sorted(set(rows)) or rows[0] < start or rows[-1] >= end:
            raise _Unfit
        begins = [start, *(self._lead(row, above, column) for above, row in pairwise(rows))]
        tail = self._lead(end, rows[-1], column)
        order = _order(self._kind, path)
        chunks = [
            (_rank(order, key.value), self._entry(key, value, (begin, row, until), (column, target), path))
            for (key, value), begin, row, until in zip(node.value, begins, rows, [*begins[1:], tail], strict=True)
        ]
        chunks.sort(key=lambda chunk: chunk[0])
        laid = [line for _, chunk in chunks for line in chunk]
        while laid and not laid[0]:
            laid.pop(0)
        return [*laid, *self._comments(tail, end, target)]

    def _lead(self, row: int, above: int, column: int) -> int:
        """Where the comments begin that belong to what stands in a row: indented deeper, they belong to what is above."""
        while row - 1 > above:
            line = self._lines[row - 1]
            if line.strip() and not (line.lstrip().startswith("#") and _indent(line) <= column):
                break
            row -= 1
        return row

    def _entry(
        self, key: Any, value: Any, rows: tuple[int, int, int], columns: tuple[int, int], path: Path
    ) -> list[str]:
        """The lines of one key: comments, the key, and what belongs to it."""
        begin, row, end = rows
        column, target = columns
        lead = self._comments(begin, row, target)
        below = value.start_mark.line
        is_nested = isinstance(value.value, list) and not value.flow_style and row < below < end
        first = self._moved(row, target - column)
        if is_nested and value.id == "mapping":
            return [*lead, first, *self.mapping(value, row + 1, end, target + STEP, (*path, key.value))]
        # A list comes below its key and deeper, with its comments.
        by = target + STEP - value.start_mark.column if is_nested else target - column
        return [*lead, first, *(self._moved(number, by) for number in range(row + 1, end))]

    def _comments(self, start: int, end: int, target: int) -> list[str]:
        """Comments and blank lines, of which one is enough."""
        return _squeezed([f"{' ' * target}{line}" if line else "" for line in map(str.strip, self._lines[start:end])])

    def _moved(self, number: int, by: int) -> str:
        line = self._lines[number]
        if not line.strip():
            return line
        return f"{' ' * by}{line}" if by > 0 else line[min(-by, _indent(line)) :]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _squeezed(lines: list[str]) -> list[str]:
    return [line for number, line in enumerate(lines) if line or number == 0 or lines[number - 1]]


# Style


def _styled(piece: str, _root: Any, kind: str) -> str:
    """Spaces, lists and mappings on one line, by ruamel.yaml."""
    from ruamel.yaml.error import YAMLError

    if any(line.count("{") + line.count("[") > line.count("}") + line.count("]") for line in piece.split("\n")):
        raise _Unfit  # it would put what is broken over several lines into one
    yaml, stream = _round_trip(), io.StringIO()
    try:
        value = yaml.load(piece)
        _sort_flow(value, partial(_order, kind), ())
        yaml.dump(value, stream)
    except (YAMLError, ValueError, AttributeError, TypeError, RecursionError, AssertionError) as error:
        raise _Unfit from error  # its round trip is not total
    lines = stream.getvalue().split("\n")[:-1]
    if any(line.lstrip().startswith("? ") for line in lines):
        raise _Unfit  # how it writes keys that it finds too long
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _round_trip() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = _NO_WIDTH
    yaml.indent(mapping=STEP, sequence=2 * STEP, offset=STEP)
    # Its own way is to write nothing, which between braces is another value.
    yaml.representer.add_representer(type(None), lambda how, _: how.represent_scalar("tag:yaml.org,2002:null", "null"))
    return yaml


def _sort_flow(value: Any, order: Callable[[Path], Sequence[str]], path: Path) -> None:
    """Keys between braces, where no comment stands among them."""
    from ruamel.yaml.comments import CommentedMap

    if not isinstance(value, CommentedMap):
        return
    for key, item in value.items():
        _sort_flow(item, order, (*path, str(key)))
    is_plain = value.fa.flow_style() and not value.ca.items and not getattr(value, "merge", None)
    if is_plain and order(path):
        for key in sorted(value, key=lambda key: _rank(order(path), str(key))):
            value.move_to_end(key)
