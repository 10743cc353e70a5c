"""One style for manifests: what changes, what must not, and that comments stay with what they are about."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.edit.fmt import ORDERS, formatted
from reconciler.load.schema import schema_of
from reconciler.load.yaml import parse
from tests.support.documents import manifests

ROOT = Path(__file__).parent.parent.parent
HEAD = "apiVersion: reconciler/v1\nkind: ModelDeployment\n"
SUITE = ROOT.parent / "shared" / "data" / "yaml-test-suite"


def fmt(text: str) -> str:
    return formatted(text.encode()).decode()


def spec(text: str) -> str:
    """The spec of a manifest, formatted; `text` is indented by two."""
    return fmt(f"{HEAD}spec:\n{text}").removeprefix(f"{HEAD}spec:\n")


def test_comments_in_lists_move_with_them() -> None:
    """A comment above an item or inside one is indented with it; the project's lists are, too."""
    text = """\
apiVersion: reconciler/v1
kind: Project
manifests:
# mine
- a/ # here
# theirs
- b/
notifications:
- type: slack
  # the address
  url: {env: X}
"""
    assert (
        fmt(text)
        == """\
apiVersion: reconciler/v1
kind: Project
manifests:
  # mine
  - a/ # here
  # theirs
  - b/
notifications:
  - type: slack
    # the address
    url: {env: X}
"""
    )
    assert spec("    rollout:\n        dependsOn:\n        - x\n        # then\n        - y\n") == (
        "  rollout:\n    dependsOn:\n      - x\n      # then\n      - y\n"
    )


def test_blanks_before_comments() -> None:
    """A comment behind something keeps one blank or two, and has no more, also where its line becomes shorter."""
    assert spec("  modelId:   cm-1 # one\n") == "  modelId: cm-1 # one\n"
    assert spec("  modelId: cm-1  # two\n") == "  modelId: cm-1  # two\n"
    assert spec("  modelId: cm-1      # six\n") == "  modelId: cm-1  # six\n"
    assert spec("  hyperParameters: { topK:   1,  topP: 1 } # all\n") == "  hyperParameters: {topP: 1, topK: 1} # all\n"
    assert spec('  name: "a   # b"   # c\n  modelId: x\n') == '  modelId: x\n  name: "a   # b"  # c\n'


def test_order_and_indentation() -> None:
    """Keys come in the order of the documentation, two blanks a level, lists below their key and indented."""
    text = """\
spec:
    rollout:
        dependsOn:
        - b
        wave:  1
    hyperParameters: {topP: 1,   temperature: 1}
    modelId:   cm-1
kind: ModelDeployment
metadata: {labels: {b: "1", a: '2'}, name: x}
apiVersion: reconciler/v1
"""
    assert (
        fmt(text)
        == """\
apiVersion: reconciler/v1
kind: ModelDeployment
metadata: {name: x, labels: {b: "1", a: '2'}}
spec:
  modelId: cm-1
  hyperParameters: {temperature: 1, topP: 1}
  rollout:
    wave: 1
    dependsOn:
      - b
"""
    )


def test_overrides_have_the_order_of_spec() -> None:
    """Inside an environment keys come as in spec; the environments themselves stay as they are written."""
    text = "  environments:\n    z:\n      deviceType: g5.xlarge\n      modelId: cm-1\n    a: {}\n"
    assert spec(text) == "  environments:\n    z:\n      modelId: cm-1\n      deviceType: g5.xlarge\n    a: {}\n"


def test_project_file() -> None:
    """The project file has an order, too, with defaults in the order of spec."""
    text = """\
kind: Project
apiVersion: reconciler/v1
environments:
  production:
    defaults: {deviceType: g5.xlarge, modelType: openSource}
    prune: true
    host: h
    apiKey: {env: KEY}
manifests: [m/]
"""
    assert (
        fmt(text)
        == """\
apiVersion: reconciler/v1
kind: Project
manifests: [m/]
environments:
  production:
    host: h
    apiKey: {env: KEY}
    prune: true
    defaults: {modelType: openSource, deviceType: g5.xlarge}
"""
    )


def test_comments_move_with_their_keys() -> None:
    """A comment above a key moves with it, one on its line too; one at the end of a mapping stays at its end."""
    text = """\
    # which machine
    # (two lines)
    deviceType: g5.xlarge  # cheap
    scalingParameters:
        maxReplicas: 2
        # from 1 on
        minReplicas: 1
        # scaleUpDelay: 30

    # the id
    modelId: cm-1
    # rollout: {wave: 1}
"""
    assert (
        spec(text)
        == """\
  # the id
  modelId: cm-1
  scalingParameters:
    # from 1 on
    minReplicas: 1
    maxReplicas: 2
    # scaleUpDelay: 30
  # which machine
  # (two lines)
  deviceType: g5.xlarge  # cheap
  # rollout: {wave: 1}
"""
    )


def test_head_stays() -> None:
    """What stands above a document is about the document."""
    text = f"# yaml-language-server: $schema=x\n# Ours.\n\nkind: ModelDeployment\n{HEAD.splitlines()[0]}\n"
    assert fmt(text) == f"# yaml-language-server: $schema=x\n# Ours.\n\n{HEAD}"


def test_several_documents() -> None:
    """Each document is formatted by itself; their order and the lines between them stay."""
    one = "kind: ModelDeployment\napiVersion: reconciler/v1\n"
    assert fmt(f"---\n# 1\n{one}--- # two\n{one}# end\n") == f"---\n# 1\n{HEAD}--- # two\n{HEAD}# end\n"


@pytest.mark.parametrize(
    "text",
    [
        "b: 1\na:   2\n",
        "apiVersion: apps/v1\nkind:   Deployment\n",
        f"{HEAD}spec: {{a: 1\n",
        "# nothing\n",
        "",
        f"%YAML 1.2\n---\n{HEAD}spec:   {{}}\n",
        f"{HEAD}...\n",
        f"{HEAD}kind:   x\n",
    ],
)
def test_left_alone(text: str) -> None:
    """What is not ours, cannot be read, or is written in a way that few know, comes back byte for byte."""
    assert formatted(text.encode()) == text.encode()


def test_not_text() -> None:
    """Bytes that are no text come back as they are; a byte order mark and Windows line ends are put off."""
    assert formatted(b"\xff\xfe") == b"\xff\xfe"
    assert formatted(b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode()) == HEAD.encode()


def test_anchors() -> None:
    """An alias stays behind its anchor; merge keys stay first."""
    text = (
        "  scalingParameters: &s {minReplicas: 1}\n  environments:\n    a: {scalingParameters: *s}\n  modelId: cm-1\n"
    )
    assert (
        spec(text)
        == "  modelId: cm-1\n  scalingParameters: &s {minReplicas: 1}\n  environments:\n    a: {scalingParameters: *s}\n"
    )
    backwards = "  rollout: &r\n    wave: 1\n  environments:\n    a:\n      rollout: *r\n"
    assert parse(fmt(f"{HEAD}spec:\n{backwards}").encode(), "")[1] == ()


@pytest.mark.parametrize(
    "value",
    [
        "0o14",
        "0x1F",
        "1e3",
        "1.50",
        "no",
        "2001-01-01",
        '"1"',
        "'no'",
        "''",
        "1_000",
        "a  b",
        "!!str 1",
    ],
)
def test_values_stay_as_they_are_written(value: str) -> None:
    """A value keeps its spelling: what is 1.2 here and 1.1 elsewhere is nobody's to rewrite."""
    assert spec(f"  name:   {value}\n") == f"  name: {value}\n"


@pytest.mark.parametrize("value", ["-0", "+1", "~", ""])
def test_rare_spellings_stay(value: str) -> None:
    """Where the spelling could not be kept otherwise, the spaces stay; the order is made all the same."""
    assert spec(f"  name:   {value}\n  modelId: a\n") == f"  modelId: a\n  name:   {value}\n".replace("   \n", "   \n")


def test_flow_over_several_lines() -> None:
    """What somebody broke over several lines stays broken."""
    text = "  hyperParameters: {temperature: 1,\n    topP: 1}\n"
    assert spec(f"{text}  modelId: a\n") == f"  modelId: a\n{text}"


def test_texts_of_several_lines() -> None:
    """Block scalars move as they are, also where they hold what looks like a comment."""
    block = "|\n    # not a comment\n      deeper\n\n    end\n"
    assert spec(f"  name: {block}  modelId: cm-1\n") == f"  modelId: cm-1\n  name: {block}"


def test_tables_are_complete() -> None:
    """Every field of the models has a place in the order."""
    for kind, table in ORDERS.items():
        for path, keys in table.items():
            assert set(keys) == _fields(kind, path), (kind, path)


@pytest.mark.parametrize("path", [ROOT / "reconciler.yaml", *sorted(ROOT.glob("manifests/**/*.yaml"))], ids=str)
def test_examples_are_formatted(path: Path) -> None:
    """Our own examples are in the style that we recommend."""
    assert formatted(path.read_bytes()) == path.read_bytes()


# What people write, made at random: the same document in any order, indentation and style, with comments.


@st.composite
def written(draw: st.DrawFn) -> str:
    """A manifest as somebody in a hurry writes it; a comment says which key it is about."""
    value = draw(manifests)
    lines = ["# head", *_block(draw, value, 0, ()), *draw(st.sampled_from(([], ["# tail"], ["", "# tail"])))]
    return "\n".join(lines) + "\n"


def _block(draw: st.DrawFn, value: dict[str, Any], indent: int, path: tuple[str, ...]) -> Iterator[str]:
    step = draw(st.integers(1, 4))
    blank = " " * indent
    for key in draw(st.permutations(list(value))):
        item, about = value[key], "/".join((*path, key))
        is_plain = re.fullmatch(r"[A-Za-z][\w-]*", key) is not None
        if is_plain and draw(st.integers(0, 3)) == 0:
            yield from draw(st.sampled_from(([], [""], ["", ""])))
            yield f"{blank}# about {about}"
        label = f"{blank}{key if is_plain else json.dumps(key, ensure_ascii=False)}:"
        trailing = draw(st.sampled_from(("", "", f"  # on {about}"))) if is_plain else ""
        if isinstance(item, dict) and item and draw(st.integers(0, 2)):
            yield f"{label}{trailing}"
            yield from _block(draw, item, indent + step, (*path, key))
        elif isinstance(item, list) and item and draw(st.booleans()):
            dash = indent + draw(st.integers(0, 3))
            yield f"{label}{trailing}"
            yield from (f"{' ' * dash}- {json.dumps(one, ensure_ascii=False)}" for one in item)
        else:
            yield f"{label}{' ' * draw(st.integers(1, 3))}{json.dumps(item, ensure_ascii=False)}{trailing}"


@given(text=written())
def test_means_the_same(text: str) -> None:
    """Formatted text means what it meant, holds every comment beside its key, and does not change once more."""
    after = fmt(text)
    assert _values(after) == _values(text)
    assert sorted(re.findall(r"#.*", after)) == sorted(re.findall(r"#.*", text))
    assert fmt(after) == after
    lines = after.splitlines()
    lines = lines[
        next((n for n, line in enumerate(lines) if line[:1].isalpha()), 0) :
    ]  # what is above is the document's
    for number, line in enumerate(lines):
        for key in re.findall(r"# about \S*?([^/\s]+)$", line):
            assert lines[number + 1].lstrip().startswith(f"{key}:"), after
            assert _indent(line) == _indent(lines[number + 1]), after
        for key in re.findall(r"# on \S*?([^/\s]+)$", line):
            assert line.lstrip().startswith(f"{key}:"), after


@given(text=written())
def test_one_style(text: str) -> None:
    """Known keys of a block mapping come in their order, whatever it was."""
    keys = [line.partition(":")[0] for line in fmt(text).splitlines() if line[:1].isalpha()]
    assert keys == [key for key in ORDERS["ModelDeployment"][()] if key in keys]


def test_odd_yaml() -> None:
    """Whatever YAML can do inside a manifest, formatting keeps what it means, twice."""
    if not SUITE.is_dir():
        pytest.skip("the shared yaml-test-suite is not here")
    for path in sorted(SUITE.rglob("in.yaml")):
        inner = path.read_text(encoding="utf-8", errors="replace")
        text = f"{HEAD}metadata:\n" + "".join(f"  {line}\n" for line in inner.splitlines())
        after = fmt(text)
        assert _values(after) == _values(text), path
        assert fmt(after) == after, path


def _values(text: str) -> list[str]:
    return [json.dumps(one.value, sort_keys=True) for one in parse(text.encode(), "")[0]]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _fields(kind: str, path: tuple[str, ...]) -> set[str]:
    """The properties that the JSON Schema has at a path."""
    schema = schema_of(kind)
    node: Any = schema
    for step in path:
        node = _resolved(schema, node)
        node = node["additionalProperties"] if step == "*" else node["properties"][step]
    return set(_resolved(schema, node)["properties"])


def _resolved(schema: Any, node: Any) -> Any:
    """Through references, and past null."""
    while "properties" not in node and "additionalProperties" not in node:
        node = next((one for one in node.get("anyOf", ()) if one.get("type") != "null"), node)
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node
