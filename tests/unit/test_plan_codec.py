"""Plan files: lossless, canonical, strict; and what differs from an approved plan."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest

from reconciler.diagnostics import Position
from reconciler.errors import InvalidInput
from reconciler.model.applied import Metadata, Suspension
from reconciler.model.plan import Action, Because, Change, Edge, FieldChange, Guard, Plan, Reason
from reconciler.model.resource import OnUnknown, Rollout, Strategy
from reconciler.plan.codec import FORMAT, decode_plan, differences, encode_plan, schema

CHANGE = Change(
    address="production/chat",
    environment="production",
    name="chat",
    model_id="cm-2",
    action=Action.REDEPLOY,
    reason=Reason.BODY_CHANGED,
    detail="the body differs",
    model_type="openSource",
    body='{"name":"chät","x":1e+21}',
    digest="v1:00",
    fields=(FieldChange(path="x", before=None, after=1e21, position=Position(file="m/a.yaml", line=2), layer="spec"),),
    waits_for=(Edge(address="production/base", because=Because.DEPENDS_ON),),
    rollout=Rollout(
        wave=2,
        depends_on=("base",),
        timeout=60,
        protect=True,
        strategy=Strategy.UNDEPLOY_FIRST,
        on_unknown=OnUnknown.SEND_AGAIN,
        adopt=True,
    ),
    metadata=Metadata(labels=(("a", "1"), ("b", "2")), manifest="m/a.yaml", protect=True, wave=2, depends_on=("base",)),
    position=Position(file="m/a.yaml", line=3, column=2),
    job="ds-1",
    attempt="attempt-1",
    previous_name="talk",
    restarts=True,
    replaces="production/chat@cm-1",
    records=True,
    hint="A better way.",
)
PLAN = Plan(
    environment="production",
    origin="https://agent-platform.example.com",
    lineage="a-lineage",
    changes=(CHANGE,),
    guards=(Guard(code="massChange", message="too many", flag="--allow-mass-change"),),
    warnings=("look",),
    commit="abc",
    dirty=True,
    globs=("c*",),
    labels=(("team", "a"),),
    suspensions=(Suspension(address="production", who="Ada", why="x", since=datetime(2030, 1, 1, tzinfo=UTC)),),
)

# Each field of a change with another value, and whether the difference is one in what is done.
OTHER: dict[str, tuple[Any, bool]] = {
    "address": ("production/code", True),
    "environment": ("staging", True),
    "name": ("code", True),
    "model_id": ("cm-3", True),
    "action": (Action.DEPLOY, True),
    "reason": (Reason.NEW, True),
    "detail": ("in other words", False),
    "model_type": ("fineTune", True),
    "body": ('{"name":"chät","x":1e+22}', True),
    "digest": ("v1:01", True),
    "fields": ((), True),
    "waits_for": ((), True),
    "rollout": (Rollout(), True),
    "metadata": (Metadata(), True),
    "position": (Position(file="m/b.yaml"), False),
    "job": (None, True),
    "attempt": ("attempt-2", True),
    "previous_name": (None, True),
    "restarts": (False, True),
    "replaces": (None, True),
    "records": (False, True),
    "hint": (None, False),
    "commit": ("1a2b3c4", False),
}


def test_round_trip_keeps_everything() -> None:
    """A plan that is written and read is the same plan, types included."""
    read = decode_plan(encode_plan(PLAN), where="plan.json")
    assert read == PLAN
    assert isinstance(read.changes[0].fields[0].after, float)
    assert encode_plan(read) == encode_plan(PLAN)


def test_file_is_ascii_and_fits_its_schema() -> None:
    """A plan file holds nothing that a terminal could obey, and what its schema says."""
    data = encode_plan(PLAN)
    assert data.isascii()
    jsonschema.Draft202012Validator(schema()).validate(json.loads(data))
    assert json.loads(data)["changes"][0]["metadata"]["labels"] == {"a": "1", "b": "2"}


def test_usual_values_are_left_out() -> None:
    """A change that does nothing takes few lines."""
    small = replace(PLAN, changes=(Change(**_required(CHANGE)),), guards=(), warnings=(), commit=None, dirty=None)
    change = json.loads(encode_plan(small))["changes"][0]
    assert set(change) == {"address", "environment", "name", "modelId", "action", "reason", "detail"}
    assert decode_plan(encode_plan(small), where="plan.json") == small


def _required(change: Change) -> dict[str, Any]:
    names = ("address", "environment", "name", "model_id", "action", "reason", "detail")
    return {name: getattr(change, name) for name in names}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[]", "its format is null"),
        (b'{"format": "reconciler/plan/v2"}', 'its format is "reconciler/plan/v2"'),
        (b'{"format": "reconciler/plans/v1", "plans": []}', "not reconciler/plan/v1"),
        (b'{"format": "reconciler/plan/v1"}', "environment: Field required"),
    ],
)
def test_what_is_no_plan_is_refused(data: bytes, why: str) -> None:
    """Anything but a plan file is invalid input that says what is wrong with it."""
    with pytest.raises(InvalidInput) as caught:
        decode_plan(data, where="plan.json")
    assert why in str(caught.value)
    assert "plan.json is not a plan file" in str(caught.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "[-1e999]"])
def test_what_only_python_reads_is_no_json(number: str) -> None:
    """A number that JSON cannot hold is refused, wherever in the file any value may stand."""
    data = encode_plan(PLAN).replace(b'"after": 1e+21', f'"after": {number}'.encode())
    assert number.encode() in data
    with pytest.raises(InvalidInput, match="it is not JSON"):
        decode_plan(data, where="plan.json")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_only_utf_8_is_read(encoding: str) -> None:
    """A plan file in another encoding is refused; this program never wrote one."""
    with pytest.raises(InvalidInput, match="it is not JSON"):
        decode_plan(encode_plan(PLAN).decode().encode(encoding), where="plan.json")


@pytest.mark.parametrize("spoiled", ["extra", "type", "enum", "labels", "changes"])
def test_reading_is_strict(spoiled: str) -> None:
    """Unknown fields, other types and unknown words are refused, wherever they stand."""
    value = json.loads(encode_plan(PLAN))
    change = value["changes"][0]
    match spoiled:
        case "extra":
            change["rollout"]["shiny"] = True
        case "type":
            change["restarts"] = "yes"
        case "enum":
            change["action"] = "destroy"
        case "labels":
            change["metadata"]["labels"] = {"a": 1}
        case _:
            value["changes"] = {"a": 1}
    with pytest.raises(InvalidInput):
        decode_plan(json.dumps(value).encode(), where="plan.json")


def test_every_field_is_compared_or_known_not_to_matter() -> None:
    """A new field of Change cannot be forgotten in the comparison of plans."""
    assert set(OTHER) == {field.name for field in fields(Change)}


@pytest.mark.parametrize("name", OTHER)
def test_one_changed_field_is_found(name: str) -> None:
    """Whatever differs in what would be done is listed; other words for it are not."""
    value, counts = OTHER[name]
    fresh = replace(PLAN, changes=(replace(CHANGE, **{name: value}),))
    assert bool(differences(PLAN, fresh)) is counts
    assert encode_plan(fresh) != encode_plan(PLAN)


@pytest.mark.parametrize(
    ("fields_", "said"),
    [
        ({"environment": "staging"}, "the environment was production and is staging"),
        ({"origin": "https://other"}, "the host was https://agent-platform.example.com and is https://other"),
        ({"lineage": "another"}, "the lineage of the state was a-lineage and is another"),
        ({"changes": ()}, "production/chat: redeploy was approved and is not to be done any more"),
        ({"guards": (*PLAN.guards, Guard(code="x", message="no", flag="--yes"))}, "a guard refuses the fresh plan: no"),
        ({"guards": ()}, None),
        ({"commit": "def", "dirty": False, "warnings": ()}, None),
    ],
)
def test_differences_of_the_whole(fields_: dict[str, Any], said: str | None) -> None:
    """What was approved for one environment, host and lineage holds for no other."""
    assert differences(PLAN, replace(PLAN, **fields_)) == (() if said is None else (said,))


BODY = '{"h":{"k":50,"s":["a"]},"n":"chat"}'


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"h":{"k":40,"s":["a"]},"n":"chat"}', ["body.h.k was 50 and is 40"]),
        ('{"h":{"k":50,"s":["a","b"]}}', ['body.h.s was ["a"] and is ["a", "b"]', 'body.n was "chat" and is nothing']),
        (
            '{"h":{"k":50.0,"s":["a"]},"n":"chat"}',
            [f'body was {BODY} and is {{"h":{{"k":50.0,"s":["a"]}},"n":"chat"}}'],
        ),
        ("{", [f"body was {BODY} and is {{"]),
    ],
)
def test_only_what_differs_in_a_body_is_said(body: str, said: list[str]) -> None:
    """A body that differs is told field by field, without the digest and the list that only follow from it."""
    approved = replace(CHANGE, body=BODY)
    fresh = replace(approved, body=body, digest="v1:02", fields=())
    found = differences(replace(PLAN, changes=(approved,)), replace(PLAN, changes=(fresh,)))
    assert found == tuple(f"production/chat: {one}" for one in said)


def test_only_what_differs_in_a_rollout_is_said() -> None:
    """A rollout or the entry's metadata is told field by field, too."""
    fresh = replace(CHANGE, rollout=replace(CHANGE.rollout, wave=7), metadata=replace(CHANGE.metadata, wave=7))
    assert differences(PLAN, replace(PLAN, changes=(fresh,))) == (
        f"production/chat: rollout.wave was {CHANGE.rollout.wave} and is 7",
        f"production/chat: metadata.wave was {CHANGE.metadata.wave} and is 7",
    )


def test_new_and_changed_actions_are_said() -> None:
    """What was not approved is listed, and what turned from nothing into something."""
    quiet = replace(CHANGE, action=Action.NONE, records=False)
    assert differences(replace(PLAN, changes=(quiet,)), PLAN) == (
        "production/chat: redeploy was not in the approved plan",
    )
    assert differences(replace(PLAN, changes=(quiet,)), replace(PLAN, changes=())) == ()


def test_format_is_the_one_documented() -> None:
    """The tag changes only together with the format."""
    assert FORMAT == "reconciler/plan/v1"
