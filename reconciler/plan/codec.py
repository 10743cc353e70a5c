"""Plan <-> bytes, and what differs between two plans: `plan --out` writes, `apply --plan` compares.

The format is public (schemas/plan.json): the dataclasses of `model.plan` in camelCase, labels as an object, fields that have
their usual value left out, keys sorted, ASCII only. Equal plans have equal bytes. A file is compared, never executed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from reconciler.diff.fields import body_differences
from reconciler.errors import InvalidInput
from reconciler.model.plan import Action, Change, Guard, Plan
from reconciler.model.values import Json

if TYPE_CHECKING:
    from pydantic import BaseModel

FORMAT = "reconciler/plan/v1"
LIST_FORMAT = "reconciler/plans/v1"

# What two plans are compared by beside their changes, and how it is called. Warnings follow from the changes; a commit that
# changes nothing of what is done (a merge commit, say) must not make an approved plan stale.
_COMPARED = {"environment": "environment", "origin": "host", "lineage": "lineage of the state"}
# Where and in which words something is written changes nothing that is done.
_NOT_COMPARED = frozenset({"position", "detail", "hint", "commit"})
_MAX_SHOWN = 120


def encode_plan(plan: Plan) -> bytes:
    """The plan as a file."""
    return f"{json.dumps(plan_value(plan), indent=1, sort_keys=True)}\n".encode()


def decode_plan(data: bytes, *, where: str) -> Plan:
    """The plan in a file. Raises InvalidInput, naming the place in it, for anything that is not one."""
    try:
        value = _strict_json(data)
    except (ValueError, RecursionError) as error:
        raise _not_a_plan(where, "it is not JSON") from error
    tag = value.get("format") if isinstance(value, dict) else None
    if tag != FORMAT:
        raise _not_a_plan(where, f"its format is {json.dumps(tag)[:_MAX_SHOWN]}, not {FORMAT}")
    _labels_as_pairs(value)
    from pydantic import ValidationError

    try:
        document: Any = _document().model_validate_json(json.dumps(value))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise _not_a_plan(where, f"{place}: {first['msg']}") from error
    return Plan(**{field.name: getattr(document, field.name) for field in fields(Plan)})


def _strict_json(data: bytes) -> Json:
    """UTF-8 without NaN and infinities, which Python would read, and write again. Raises ValueError, RecursionError."""
    value = json.loads(data.decode())
    json.dumps(value, allow_nan=False)  # also for numbers that are too large for a float: they become an infinity
    return value


def plan_value(plan: Plan) -> dict[str, Json]:
    """The plan as JSON values."""
    document = _document()(format=FORMAT, **{field.name: getattr(plan, field.name) for field in fields(Plan)})
    value: dict[str, Json] = document.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    for change in value.get("changes", ()):
        if "metadata" in change and "labels" in change["metadata"]:
            change["metadata"]["labels"] = dict(change["metadata"]["labels"])
    return value


def schema() -> dict[str, Json]:
    """The JSON Schema of a plan file, and of what `plan -o json` prints: any number of plans in a list."""
    plan = without_titles(_document().model_json_schema(by_alias=True))
    definitions: dict[str, Json] = plan.pop("$defs")
    definitions["Metadata"]["properties"]["labels"] = {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "description": "The manifest's labels.",
    }
    plan["description"] = "Everything one run would do in one environment. What is left out has its default."
    plan["properties"]["format"] = {"const": FORMAT}
    definitions |= {"Plan": plan, "Plans": _list_schema()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Plans of reconciler",
        "oneOf": [{"$ref": "#/$defs/Plan"}, {"$ref": "#/$defs/Plans"}],
        "$defs": definitions,
    }


def _list_schema() -> dict[str, Json]:
    counts = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}
    return {
        "type": "object",
        "description": "What `plan -o json` prints. `counts` says how many changes have each action, by environment.",
        "additionalProperties": False,
        "required": ["format", "counts", "plans"],
        "properties": {
            "format": {"const": LIST_FORMAT},
            "counts": {"type": "object", "additionalProperties": counts},
            "plans": {"type": "array", "items": {"$ref": "#/$defs/Plan"}},
            "causes": {"type": "array", "items": _causes_schema()},
        },
    }


def _causes_schema() -> dict[str, Json]:
    addresses = {"type": "array", "items": {"type": "string"}}
    properties: dict[str, Json] = {
        "environment": {"type": "string"},
        "base": {"type": "string", "description": "What --base named."},
        "commit": {"type": "string", "description": "The commit that was compared with."},
        "caused": {**addresses, "description": "Changes that the base does not make."},
        "ridesAlong": {**addresses, "description": "Changes that the base makes too."},
        "undone": {**addresses, "description": "What only the base would change."},
        "orphaned": {**addresses, "description": "What runs without a manifest, and does not on the base."},
        "baseHasErrors": {"type": "boolean"},
        "baseAhead": {"type": "integer", "minimum": 0, "description": "Commits of the base that were not planned."},
    }
    return {
        "type": "object",
        "description": "With --base: what is caused since then.",
        "additionalProperties": False,
        "required": list(properties),
        "properties": properties,
    }


def without_titles(schema: Json) -> Json:
    """A generated schema without the titles that only repeat the fields' names."""
    if isinstance(schema, dict):
        return {k: without_titles(v) for k, v in schema.items() if not (k == "title" and isinstance(v, str))}
    return [without_titles(item) for item in schema] if isinstance(schema, list) else schema


def differences(approved: Plan, fresh: Plan) -> tuple[str, ...]:
    """What a person did not approve, each as a sentence; empty when the fresh plan does exactly what was approved."""
    return tuple(_differences(approved, fresh))


def _differences(approved: Plan, fresh: Plan) -> Iterator[str]:
    for name, said in _COMPARED.items():
        before, after = getattr(approved, name), getattr(fresh, name)
        if before != after:
            yield f"the {said} was {before} and is {after}"
    before_all, after_all = _by_address(approved), _by_address(fresh)
    for address in sorted(before_all.keys() | after_all.keys()):
        yield from _change_differences(address, before_all.get(address), after_all.get(address))
    yield from _guard_differences(approved.guards, fresh.guards)


def _by_address(plan: Plan) -> dict[str, Change]:
    return {change.address: change for change in plan.changes}


def _change_differences(address: str, approved: Change | None, fresh: Change | None) -> Iterator[str]:
    before = _done_by(approved) if approved else {}
    after = _done_by(fresh) if fresh else {}
    if before and not after:
        yield f"{address}: {before['action']} was approved and is not to be done any more"
    elif after and not before:
        yield f"{address}: {after['action']} was not in the approved plan"
    else:
        differing = [name for name in before if before[name] != after[name]]
        if "body" in differing:  # digest and fields only follow from it
            differing = [name for name in differing if name not in {"digest", "fields"}]
        for name in differing:
            for path, was, present in _parts(to_public(name), before[name], after[name]):
                yield f"{address}: {path} was {_shown(was)} and is {_shown(present)}"


def _parts(path: str, before: Json, after: Json) -> Iterator[tuple[str, Json, Json]]:
    """What differs in two values of a change: in a body or a dataclass field by field, not the whole of it."""
    if path == "body" and before is not None and after is not None and (found := _in_bodies(before, after)):
        yield from found
        return
    if is_dataclass(before) and is_dataclass(after):
        for field in fields(before):
            was, present = getattr(before, field.name), getattr(after, field.name)
            if was != present:
                yield f"{path}.{to_public(field.name)}", was, present
        return
    yield path, before, after


def _in_bodies(before: str, after: str) -> list[tuple[str, Json, Json]]:
    """Nothing for what is no JSON: a plan file may hold anything there."""
    try:
        found = list(body_differences(before, after))
    except (ValueError, RecursionError):
        return []
    return [(f"body.{path}", _spelled(was), _spelled(present)) for path, was, present in found]


def _spelled(value: Json) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _done_by(change: Change) -> dict[str, Json]:
    """What a change does, by field; empty for one that does nothing."""
    if change.action is Action.NONE and not change.records:
        return {}
    done = {f.name: getattr(change, f.name) for f in fields(Change) if f.name not in _NOT_COMPARED}
    done["fields"] = [f"{f.path}: {json.dumps(f.before)} → {json.dumps(f.after)}" for f in change.fields]
    return done


def to_public(name: str) -> str:
    """`model_id` -> `modelId`."""
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def _guard_differences(approved: tuple[Guard, ...], fresh: tuple[Guard, ...]) -> Iterator[str]:
    """A guard that is new; one that was allowed since is no difference: allowing is what approval is about."""
    for guard in fresh:
        if guard not in approved:
            yield f"a guard refuses the fresh plan: {guard.message}"


def _shown(value: Json) -> str:
    text = "nothing" if value is None or value in ((), []) else str(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"


def _labels_as_pairs(value: Mapping[str, Json]) -> None:
    changes = value.get("changes")
    for change in changes if isinstance(changes, list) else ():
        metadata = change.get("metadata") if isinstance(change, dict) else None
        if isinstance(metadata, dict) and isinstance(metadata.get("labels"), dict):
            metadata["labels"] = sorted(map(list, metadata["labels"].items()))


def _not_a_plan(where: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"{where} is not a plan file: {why}", next_step="Make one with `reconciler plan -e ENV --out FILE`."
    )


@cache
def _document() -> type[BaseModel]:
    """The file as a model: strict, nothing unknown, camelCase; the dataclasses inside inherit that.

    Made when it is needed: building it takes longer than most plans.
    """
    from pydantic import ConfigDict, create_model
    from pydantic.alias_generators import to_camel

    hints = get_type_hints(Plan)
    members: dict[str, Any] = {"format": (Literal["reconciler/plan/v1"], ...)}
    for field in fields(Plan):
        members[field.name] = (hints[field.name], ... if field.default is MISSING else field.default)
    config = ConfigDict(strict=True, extra="forbid", alias_generator=to_camel, validate_by_name=True)
    return create_model("PlanDocument", __config__=config, **members)
