"""YAML as others read it: every difference from ruamel.yaml and from yaml-test-suite is known, with its reason."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from reconciler.load.yaml import Marks, parse
from tests.support.yaml_suite import AGAINST_RUAMEL, AGAINST_THE_SUITE, reasons_by_case

SUITE = Path(__file__).parent.parent.parent.parent / "shared" / "data" / "yaml-test-suite"
pytestmark = pytest.mark.skipif(not SUITE.is_dir(), reason="yaml-test-suite is not beside the checkout")

REFUSED = "refused"


@cache
def cases() -> dict[str, bytes]:
    return {str(path.parent.relative_to(SUITE)): path.read_bytes() for path in sorted(SUITE.rglob("in.yaml"))}


def spelled(values: list[Any]) -> str:
    """Values with their types; empty documents do not count, because we skip them."""
    return repr([_ordered(value) for value in values if value is not None])


def _ordered(value: Any) -> Any:
    """The order of keys is no part of a value."""
    if isinstance(value, dict):
        return dict(sorted(((key, _ordered(item)) for key, item in value.items()), key=repr))
    return [_ordered(item) for item in value] if isinstance(value, list) else value


@cache
def ours(case: str) -> str:
    documents, found = parse(cases()[case], "in.yaml")
    return REFUSED if found else spelled([document.value for document in documents])


def ruamels(text: bytes) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns about duplicate anchors, and reads on
            return spelled(list(YAML(typ="safe", pure=True).load_all(text.decode())))
    except (YAMLError, ValueError, TypeError, NotImplementedError, AttributeError, AssertionError):
        return REFUSED


def expected(case: str) -> str | None:
    """What the suite says, where JSON can say it."""
    if (SUITE / case / "error").exists():
        return REFUSED
    answer = SUITE / case / "in.json"
    return spelled(list(values_in(answer.read_text(encoding="utf-8")))) if answer.exists() else None


def values_in(text: str) -> Iterator[Any]:
    """JSON values one after the other."""
    text = text.strip()
    while text:
        value, end = json.JSONDecoder().raw_decode(text)
        yield value
        text = text[end:].strip()


def test_every_difference_from_ruamel_has_a_reason() -> None:
    """Whatever ruamel.yaml reads or refuses, we do the same, but for the listed cases."""
    differing = {case for case, text in cases().items() if ours(case) != ruamels(text)}
    listed = set(reasons_by_case(AGAINST_RUAMEL))
    assert (differing - listed, listed - differing) == (set(), set())


def test_every_difference_from_the_suite_has_a_reason() -> None:
    """Whatever yaml-test-suite expects, we do, but for the listed cases."""
    differing = {case for case in cases() if (want := expected(case)) is not None and ours(case) != want}
    listed = set(reasons_by_case(AGAINST_THE_SUITE))
    assert (differing - listed, listed - differing) == (set(), set())


@pytest.mark.parametrize("table", [AGAINST_RUAMEL, AGAINST_THE_SUITE])
def test_reasons_say_who_refuses(table: dict[str, str]) -> None:
    """A case listed as refused here is refused, and one listed as read is read."""
    for case, reason in reasons_by_case(table).items():
        refused_here = reason.startswith(("refused here", "refused:", "refused,"))
        assert (ours(case) == REFUSED) == refused_here, (case, reason)


def test_every_case_is_json() -> None:
    """Whatever is read of the suite can be written as JSON, and its places can be asked for."""
    for case, text in cases().items():
        documents, _ = parse(text, "in.yaml")
        marks = Marks(text, "in.yaml")
        for document in documents:
            json.dumps(document.value, allow_nan=False)
            assert marks.position(document.index, ()).line == document.line, case


# ruamel.yaml follows YAML 1.2 with some habits of 1.1; these are the scalars in which we differ.
SCALARS = {
    "1_000": "underscores are no part of a number in the core schema",
    "0o1_4": "underscores are no part of a number in the core schema",
    "1_0.5": "underscores are no part of a number in the core schema",
    "0x_1F": "underscores are no part of a number in the core schema",
    "1__0": "underscores are no part of a number in the core schema",
    "0b11": "binary numbers are no part of the core schema",
    "=": "a value of YAML 1.1 that ruamel.yaml refuses",
    "+.5e1": "a number in the core schema, and text to ruamel.yaml",
    "+0x1F": "octal and hexadecimal numbers have no sign in the core schema",
    "-0o14": "octal and hexadecimal numbers have no sign in the core schema",
    "2001-12-14": "dates are text in the core schema",
    "2001-12-14T21:59:43Z": "dates are text in the core schema",
    ".inf": "JSON has no infinity: refused",
    "-.INF": "JSON has no infinity: refused",
    ".nan": "JSON has no NaN: refused",
    "1e400": "JSON readers do not agree on it: refused",
}
SAME = (
    "no on yes off y n true True TRUE false null Null NULL ~ 0 -0 +12 014 0o14 0x1F 1e3 1E+3 1.5 1. .5 . + 1e "
    "12:30:45 190:20:30 inf nan nULL tRUE 0o18 0x 12e03 1.2.3 -1 0.0 -0.0 00 08 1e-3 .e1 e1 +.inf1"
)


@pytest.mark.parametrize("text", [*SAME.split(), *SCALARS])
def test_scalars_beside_ruamel(text: str) -> None:
    """Each scalar is read as ruamel.yaml reads it, but for the listed ones."""
    documents, found = parse(f"a: {text}".encode(), "a.yaml")
    mine = REFUSED if found else documents[0].value["a"]
    assert (f"[{{'a': {mine!r}}}]" == ruamels(f"a: {text}".encode())) == (text not in SCALARS)
