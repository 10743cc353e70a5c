"""The public suites of YAML and JSON through everything of ours that reads them.

What the loader makes of each case of yaml-test-suite, and each difference with its reason: tests/unit/test_yaml_suite.py and
tests/support/yaml_suite.py. Here its cases go on through the whole loader, and the JSON suite through the readers of JSON:
whole, and in a place where the reader takes any JSON, so that what it accepts can be seen.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import InvalidInput, StateCorrupt
from reconciler.load.yaml import parse
from reconciler.plan.codec import decode_plan
from reconciler.platform.replies import parse_json, read_body
from reconciler.state.format import decode_snapshot
from tests.fuzz.killers import in_plan
from tests.fuzz.seeds import snapshot
from tests.fuzz.targets import TARGETS, resealed
from tests.support.yaml_suite import reasons_by_case

DATA = Path(__file__).parent.parent.parent.parent / "shared" / "data"
YAML_CASES = sorted((DATA / "yaml-test-suite").rglob("in.yaml"))
JSON_CASES = sorted((DATA / "json-test-suite" / "test_parsing").glob("*.json"))
needs_yaml = pytest.mark.skipif(not YAML_CASES, reason="yaml-test-suite is not beside the checkout")
needs_json = pytest.mark.skipif(not JSON_CASES, reason="the JSON parsing suite is not beside the checkout")


@needs_yaml
def test_every_yaml_case_goes_through_the_whole_loader() -> None:
    """No case of the suite breaks a promise, read as a manifest and as a project file."""
    for path in YAML_CASES:
        TARGETS["loader"](path.read_bytes())


def _reply(data: bytes) -> Any:
    return parse_json(data)


def _plan(data: bytes) -> Any:
    """The case where a plan may hold any JSON."""
    try:
        return decode_plan(in_plan(data), where="plan.json").changes[0].fields[0].after
    except InvalidInput as error:
        raise ValueError(str(error)) from error


def _yaml(data: bytes) -> Any:
    documents, found = parse(data, "a.yaml")
    if found or len(documents) != 1:
        raise ValueError(found)
    return documents[0].value


READERS: dict[str, Callable[[bytes], Any]] = {"reply": _reply, "plan": _plan}


@needs_json
@pytest.mark.parametrize("reader", READERS)
def test_every_json_case(reader: str) -> None:
    """What is valid is read with the value it has, what is not is refused, and what may be either raises nothing else."""
    for path in JSON_CASES:
        data = path.read_bytes()
        value = _read(partial(READERS[reader], data))
        if path.name.startswith("y_"):
            assert value == (json.loads(data),), path.name
        elif path.name.startswith("n_"):
            assert value is None, path.name


def _read(read: Callable[[], Any]) -> tuple[Any] | None:
    """The value in a tuple; None where it is refused in the one way that there is."""
    try:
        return (read(),)
    except ValueError:
        return None


@needs_json
def test_every_json_case_in_a_state() -> None:
    """A state takes a list of texts where it wants one: exactly the valid cases that are such a list, with their values."""
    read = 0
    for path in JSON_CASES:
        data = path.read_bytes()
        state = _state(data)
        if path.name.startswith("n_"):
            assert state is None, path.name
        if path.name.startswith("y_"):
            value = json.loads(data)
            is_texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
            assert state == (tuple(value) if is_texts else None), path.name
            read += is_texts
    assert read > 40


def _state(data: bytes) -> tuple[str, ...] | None:
    whole = snapshot()
    assert b'"dependsOn": []' in whole
    try:
        read = decode_snapshot(
            resealed(whole.replace(b'"dependsOn": []', b'"dependsOn": ' + data, 1)), where="state.json"
        )
    except StateCorrupt:
        return None
    return next(iter(read.entries.values())).metadata.depends_on


@needs_json
def test_every_json_case_as_a_whole_file() -> None:
    """No case breaks a promise of any reader, whole and by itself."""
    for path in JSON_CASES:
        for name in TARGETS:
            TARGETS[name](path.read_bytes())
        read_body(path.read_bytes())


# Valid JSON that is no manifest of ours: reason -> cases. It is refused, never read as something else.
NOT_READ = {
    "a key that stands twice: the last one would win in silence": "object_duplicated_key object_duplicated_key_and_value",
    "libyaml: an escape that is half of a character": (
        "string_accepted_surrogate_pair string_accepted_surrogate_pairs string_last_surrogates_1_and_2"
        " string_surrogates_U+1D11E_MUSICAL_SYMBOL_G_CLEF string_unicode_U+10FFFE_nonchar string_unicode_U+1FFFE_nonchar"
    ),
    "YAML: what cannot be printed is written as an escape": (
        "string_nonCharacterInUTF-8_U+FFFF string_unescaped_char_delete string_with_del_character"
    ),
}


@needs_json
def test_json_is_yaml() -> None:
    """Valid JSON is read by the loader with the same value, or refused; it is never read as something else."""
    refused = set()
    for path in JSON_CASES:
        if path.name.startswith("y_"):
            value = _read(partial(_yaml, path.read_bytes()))
            assert value is None or value == (json.loads(path.read_bytes()),), path.name
            refused |= {path.stem.removeprefix("y_")} if value is None else set()
    assert refused == set(reasons_by_case(NOT_READ))
