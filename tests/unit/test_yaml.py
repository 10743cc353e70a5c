"""YAML 1.2 as manifests use it: what every scalar means, what is refused, where things stand, and what must not hurt."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.diagnostics import Diagnostic, Position
from reconciler.load.guard import MAX_FILE_NODES
from reconciler.load.yaml import MAX_MISTAKES, Document, Marks, parse, path_text
from tests.support.hostile import HOSTILE, MIB


def read(text: str | bytes) -> tuple[tuple[Document, ...], tuple[Diagnostic, ...]]:
    return parse(text if isinstance(text, bytes) else text.encode(), "a.yaml")


def value(text: str | bytes) -> Any:
    documents, found = read(text)
    assert found == ()
    (document,) = documents
    return document.value


def refusal(text: str | bytes) -> Diagnostic:
    documents, (found,) = read(text)
    assert documents == ()
    return found


# As in https://yaml.org/spec/1.2.2/#103-core-schema; the comments say what YAML 1.1 makes of it.
SCALARS = {
    "no": "no",  # False
    "on": "on",  # True
    "yes": "yes",  # True
    "Off": "Off",  # False
    "y": "y",
    "true": True,
    "True": True,
    "TRUE": True,
    "tRUE": "tRUE",
    "false": False,
    "null": None,
    "Null": None,
    "NULL": None,
    "nULL": "nULL",
    "~": None,
    "": None,
    "0": 0,
    "-0": 0,
    "+12": 12,
    "014": 14,  # 12
    "0o14": 12,  # text
    "0o18": "0o18",
    "-0o14": "-0o14",
    "0x1F": 31,
    "0x": "0x",
    "0b11": "0b11",  # 3
    "1_000": "1_000",  # 1000
    "1e3": 1000.0,  # text
    "1E+3": 1000.0,
    "1.5": 1.5,
    "1.": 1.0,
    ".5": 0.5,
    "+.5e1": 5.0,
    ".": ".",
    "-": None,  # set below: a list, not a scalar
    "+": "+",
    "1e": "1e",
    "1.2.3": "1.2.3",
    "12:30:45": "12:30:45",  # 45045
    "2001-12-14": "2001-12-14",  # a date
    "2001-12-14T21:59:43Z": "2001-12-14T21:59:43Z",
    "=": "=",
    "<<": "<<",
    "1 2": "1 2",
    "12e03": 12000.0,
    "190:20:30": "190:20:30",
    "inf": "inf",
    "nan": "nan",
    "'12'": "12",
    '"true"': "true",
    '"\\u0041\\t\\x41"': "A\tA",
    "!!str 12": "12",
    "!!str": "",
    "!!int 12": 12,
    '!!int "12"': 12,
    "!!float 1": 1.0,
    "!!bool true": True,
    "!!null ''": None,
    "! 12": 12,  # text by the specification; libyaml does not tell this tag from none
    "&a x": "x",
    "|\n  a\n  b\n": "a\nb\n",
    ">-\n  a\n  b\n": "a b",
    "naïve 🙂": "naïve 🙂",
}
del SCALARS["-"]


@pytest.mark.parametrize(("written", "meant"), SCALARS.items())
def test_scalar_means_what_yaml_1_2_says(written: str, meant: Any) -> None:
    """A value is read by the core schema, with its exact type."""
    found = value(f"a: {written}")["a"]
    assert found == meant
    assert type(found) is type(meant)


TEXTS = {
    "a: 1\nb: [x, {c: d}]": {"a": 1, "b": ["x", {"c": "d"}]},
    '{"a": [1, 2.5, null, true, "x"]}': {"a": [1, 2.5, None, True, "x"]},
    "no: 1": {"no": 1},  # a key, as every key, is text
    '"1": x': {"1": "x"},
    "a: !!map {b: !!seq [c]}": {"a": {"b": ["c"]}},
    "a: ! {b: ! [c]}": {"a": {"b": ["c"]}},
    "? a\n: b": {"a": "b"},
    "{a, b}": {"a": None, "b": None},
    "\ufeffa: 1": {"a": 1},
    "a: 1\r\nb: 2\r\n": {"a": 1, "b": 2},
    "%YAML 1.2\n---\na: no": {"a": "no"},
    "%YAML 1.1\n---\na: no": {"a": "no"},  # one meaning for every manifest, whatever it says of itself
    "a: &x {b: 1}\nc: *x": {"a": {"b": 1}, "c": {"b": 1}},
    "a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}": {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}},
    "a: &x {b: 1}\nd: {c: 3, <<: *x}": {"a": {"b": 1}, "d": {"c": 3, "b": 1}},
    "d: {<<: [{a: 1, b: 1}, {b: 2, c: 2}]}": {"d": {"a": 1, "b": 1, "c": 2}},
    "a: &x {b: 1}\nc: &y {<<: *x, d: 2}\ne: {<<: *y}": {"a": {"b": 1}, "c": {"d": 2, "b": 1}, "e": {"d": 2, "b": 1}},
    '{"<<": 1}': {"<<": 1},
    "a: {<<: {}}": {"a": {}},
}


@pytest.mark.parametrize(("written", "meant"), TEXTS.items())
def test_document_means_what_yaml_1_2_says(written: str, meant: Any) -> None:
    """Collections, tags, directives, anchors and merge keys make the value that was meant."""
    assert value(written) == meant


# text -> code, line, column, and a word of the message
REFUSED = {
    b"\xff": ("RC201", 1, 1, "not UTF-8"),
    "a: b\né: ".encode() + b"\xff": ("RC201", 2, 4, "not UTF-8"),
    b"a: [": ("RC205", 2, 1, "flow"),
    b"a:\n\tb: 1": ("RC205", 2, 1, "cannot start any token"),
    b"a: 'x": ("RC205", 1, 6, "end of stream"),
    b"a: b: c": ("RC205", 1, 5, "mapping values"),
    b"a: *x": ("RC205", 1, 4, "undefined alias"),
    b"a: &x 1\nb: &x 2": ("RC205", 2, 4, "used twice"),
    b"%YAML 2.0\n---\na: 1": ("RC205", 1, 1, "incompatible"),
    "é: ok\né: \x07".encode(): ("RC205", 2, 4, "control characters"),
    b"a: 1\nb: 2\na: 3": ("RC206", 3, 1, "first in line 1"),
    b"a: 1\n'a': 3": ("RC206", 2, 1, "first in line 1"),
    b"1: x": ("RC207", 1, 1, "an integer"),
    b"true: x": ("RC207", 1, 1, "a boolean"),
    b"~: x": ("RC207", 1, 1, "null"),
    b"?\n: x": ("RC207", 1, 2, "nothing"),
    b"1.5: x": ("RC207", 1, 1, "a float"),
    b"[a]: x": ("RC207", 1, 1, "collection"),
    b".inf: x": ("RC211", 1, 1, "not a JSON number"),
    b"a: !x b": ("RC208", 1, 4, "!x"),
    b"a: !!timestamp 2001-01-01": ("RC208", 1, 4, "!!timestamp"),
    b"a: !!set {b}": ("RC208", 1, 4, "!!set"),
    b"a: !!binary aGk=": ("RC208", 1, 4, "!!binary"),
    b"a: !!python/object:os.system x": ("RC208", 1, 4, "!!python"),
    b"%TAG ! tag:x,2000:\n---\na: 1": ("RC208", 1, 1, "%TAG"),
    b"&a [b, *a]": ("RC209", 1, 1, "contains it"),
    b"a: {<<: 1}": ("RC210", 1, 9, "needs a mapping"),
    b"a: {<<: [{b: 1}, 2]}": ("RC210", 1, 9, "needs a mapping"),
    b"a: .inf": ("RC211", 1, 4, "not a JSON number"),
    b"a: -.INF": ("RC211", 1, 4, "not a JSON number"),
    b"a: .nan": ("RC211", 1, 4, "not a JSON number"),
    b"a: 1e400": ("RC211", 1, 4, "larger than any"),
    b"a: !!int x": ("RC212", 1, 4, "!!int"),
    b"a: !!bool 1": ("RC212", 1, 4, "!!bool"),
    b"a: !!int true": ("RC212", 1, 4, "!!int"),
    b"a: !!map x": ("RC212", 1, 4, "!!map"),
    b"a: !!seq {b: c}": ("RC212", 1, 4, "a mapping cannot"),
    b"a: !!str [b]": ("RC212", 1, 4, "a list cannot"),
}


@pytest.mark.parametrize(("written", "said"), REFUSED.items())
def test_mistake_is_said_with_its_place(written: bytes, said: tuple[str, int, int, str]) -> None:
    """Each mistake has its code, its place and a telling message, and its document is left out."""
    found = refusal(written)
    code, line, column, word = said
    where = Position(file="a.yaml", line=line, column=column) if code != "RC209" else found.position
    assert (found.code, found.position) == (code, where)
    assert word in found.message


def test_unresolved_merge_is_told() -> None:
    """Where git left its marks the parser stumbles somewhere behind them; the mark itself is named."""
    marks = b"a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> other\n"
    assert refusal(marks).suggestion == "A merge is not resolved: line 2 is git's mark of a conflict."
    assert "merge" not in (refusal(marks.replace(b">>>>>>> ", b"x ")).suggestion or "")


def test_all_mistakes_are_said_at_once() -> None:
    """Reading goes on after a mistake, within the document and behind it."""
    documents, found = read("a: !x 1\nb: .nan\n1: c\n---\nfine: true\n---\nd: 1\nd: 2\n")
    assert [(one.code, one.position and one.position.line) for one in found] == [
        ("RC208", 1),
        ("RC211", 2),
        ("RC207", 3),
        ("RC206", 8),
    ]
    assert [document.value for document in documents] == [{"fine": True}]


def test_merge_keys_are_counted() -> None:
    """What merge keys repeat counts as if it were written out, however short the text is."""
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 8)}], k{n}: 1}}" for n in range(1, 6)]
    assert refusal("\n".join(lines)).code == "RC204"


def test_a_tab_is_explained() -> None:
    """Who indents with a tab is told about spaces."""
    assert refusal("a:\n\tb: 1").suggestion == "YAML is indented with spaces, never tabs."


def test_a_character_in_halves_is_explained() -> None:
    """Who pastes JSON with escaped surrogates is told what to write."""
    assert "itself" in (refusal('a: "\\ud83d\\ude00"').suggestion or "")


def test_no_api_key_is_quoted() -> None:
    """A value that is quoted in a diagnostic loses what looks like an API key."""
    found = refusal("a: !x kg-12345678-9abc-def0")
    assert found.value == "kg-[redacted]"


def test_documents_are_counted_with_the_empty_ones() -> None:
    """A document knows its place in the file and the line of its content; empty ones are skipped, comments too."""
    documents, found = read("# nothing\n---\n---\n# still nothing\na: 1\n...\n---\n\n---\n\n- b\n---\n~\n...\n# end\n")
    assert found == ()
    assert [(d.index, d.line, d.value) for d in documents] == [(1, 5, {"a": 1}), (3, 11, ["b"]), (4, 13, None)]


@pytest.mark.parametrize("text", ["", "\n", "# only this\n", "---\n", "---\n---\n", "\ufeff", "%YAML 1.2\n---\n"])
def test_a_file_may_hold_nothing(text: str) -> None:
    """No document is no mistake here; whether one is needed, others decide."""
    assert read(text) == ((), ())


DOCUMENT = """\
a: &base {x: 1, y: [p, q]}
b:
  <<: *base
  "k": v
---
- é: z
"""
PLACES: dict[tuple[int, tuple[str | int, ...], bool], tuple[int, int]] = {
    (0, (), False): (1, 1),
    (0, ("a",), False): (1, 4),
    (0, ("a",), True): (1, 1),
    (0, ("a", "y", 1), False): (1, 24),
    (0, ("b", "x"), False): (1, 14),  # merged: where it is really written
    (0, ("b", "k"), True): (4, 3),
    (0, ("b", "missing", "deeper"), False): (3, 3),
    (0, ("a", "y", 7), False): (1, 20),
    (0, ("a", "y", "not a list's"), False): (1, 20),
    (1, (0, "é"), False): (6, 6),
    (2, ("a",), False): (1, 1),
}


@pytest.mark.parametrize(("asked", "place"), PLACES.items())
def test_place_on_demand(asked: tuple[int, tuple[str | int, ...], bool], place: tuple[int, int]) -> None:
    """Any value or key is found where it is written, and what is missing where it would be."""
    document, path, key = asked
    position = Marks(DOCUMENT.encode(), "a.yaml").position(document, path, key=key)
    assert (position.line, position.column) == place


def test_path_text() -> None:
    """A path reads as people write it."""
    assert path_text(("spec", "stopSequence", 0)) == "spec.stopSequence[0]"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_a_diagnostic(name: str) -> None:
    """Text made to hurt ends in a diagnostic, or is read; never in an exception or a hang."""
    text, code = HOSTILE[name]
    documents, found = read(text)
    assert {one.code for one in found} == ({code} if code else set())
    assert len(found) <= 2 * MAX_MISTAKES
    assert len(documents) <= MAX_FILE_NODES
    if len(text) < MIB // 4:  # what is larger and still read is flat
        marks = Marks(text, "a.yaml")
        assert marks.position(0, ("a", 0, "b")).file == "a.yaml"
        assert marks.position(3, ("a13", "k1")).file == "a.yaml"


def test_mistakes_are_listed_up_to_a_bound() -> None:
    """A file with more mistakes than anybody reads lists the first ones and stops."""
    _, found = read(b"[" + b"!x a," * 15_000 + b"]\n---\n" + b"1: 2\n" * 100)
    assert len(found) == MAX_MISTAKES


def test_places_of_many_keys_are_not_quadratic() -> None:
    """Each mapping is indexed once, however many of its keys are asked for."""
    marks = Marks("".join(f"k{n}: 1\n" for n in range(9_900)).encode(), "a.yaml")
    lines = [marks.position(0, (f"k{n}",)).line for n in range(9_900)]
    assert lines == list(range(1, 9_901))
    assert len(marks._indexes) == 1
