"""No change of a manifest deploys something else unseen.

For a state in which everything that the original says is live, and whatever the manifest has become: each environment's plan
accounts for every difference. What is sent is the body that was resolved; it is sent only where it differs from what is
live; and then the change, and the text that a person reads, name exactly the fields that differ, with both values. What is
not wanted any more stays in the plan. `isDeployedPreviously` alone says how, not what, and sends nothing.

The differences are reckoned here once more, from the canonical JSON of the bodies, without the code under test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache

from reconciler.diagnostics import errors_in
from reconciler.diff import metadata_of
from reconciler.model.applied import Applied, Binding, Entry
from reconciler.model.plan import Action, Change, Plan, Reason
from reconciler.model.records import Adopt, DecisionRecord
from reconciler.model.resource import Desired, Environment, Resource
from reconciler.model.snapshot import Snapshot, SourceFile
from reconciler.model.values import Json, canonical
from reconciler.pipeline import Checked, check, make_plan
from reconciler.plan.codec import decode_plan, encode_plan
from reconciler.report.plan_text import plan_text
from reconciler.report.style import PLAIN, safe
from reconciler.state.fold import fold
from tests.fuzz.seeds import PROJECT
from tests.fuzz.targets import project
from tests.support.records import NOON

Differences = dict[str, tuple[bytes | None, bytes | None]]
HOW = "isDeployedPreviously"
_FILE = SourceFile(path="reconciler.yaml", data=PROJECT)


def judge(original: bytes, data: bytes) -> str:
    """`refused`, `same` or `shown`. Fails where the plan hides something; also where the loop goes on beside a mistake."""
    checked = _checked(data)
    differs = False
    for name, applied in _applied(original).items():
        plan = make_plan(checked, name, applied, now=NOON)
        differs = _account(checked, plan, checked.environments[name], applied) or differs
    if errors_in(checked.diagnostics):
        return "refused"
    return "shown" if differs else "same"


def judge_cut(original: bytes, data: bytes) -> str:
    """As `judge`, for a beginning of the original. What is refused may be half written, so nothing is undeployed for it."""
    said = judge(original, data)
    if said == "refused":
        checked = _checked(data)
        for name, applied in _applied(original).items():
            plan = make_plan(checked, name, applied, now=NOON)
            assert all(change.action is not Action.UNDEPLOY for change in plan.changes), name
    return said


def _checked(data: bytes) -> Checked:
    return check(Snapshot(files=(SourceFile(path="m.yaml", data=data),), project=_FILE), project())


@cache
def _applied(original: bytes) -> Mapping[str, Applied]:
    """What is known once all of it is live, by environment."""
    checked = _checked(original).or_refuse()
    known = {name: _live(checked.environments[name], desired) for name, desired in checked.desired.items()}
    for name, applied in known.items():
        assert make_plan(checked, name, applied, now=NOON).is_empty
    return known


def _live(environment: Environment, desired: Desired) -> Applied:
    binding = Binding(origin=environment.origin, api_key=str(environment.api_key))
    nothing = Applied(environment=environment.name, lineage=f"lineage-of-{environment.name}", binding=binding)
    return fold(nothing, [_adopted(resource) for resource in desired.resources])


def _adopted(resource: Resource) -> DecisionRecord:
    adopt = Adopt(
        model_id=resource.model_id,
        name=resource.name,
        metadata=metadata_of(resource),
        model_type=resource.model_type,
        body=resource.body,
        digest=resource.digest,
    )
    return DecisionRecord(decision=adopt, who="ada", why="it runs", at=NOON)


def _account(checked: Checked, plan: Plan, environment: Environment, applied: Applied) -> bool:
    """Whether anything in the environment differs. Fails for what the plan does not account for."""
    text = plan_text([plan], PLAIN)
    wanted = {resource.model_id: resource for resource in checked.desired[environment.name].resources}
    changes = {change.model_id: change for change in plan.changes if change.model_id}
    for change in plan.changes:
        assert change.model_id in wanted or change.model_id in applied.entries or change.action is Action.NONE
    differs = [_resource(resource, changes[resource.model_id], applied, text) for resource in wanted.values()]
    gone = [entry for entry in applied.entries.values() if entry.model_id not in wanted]
    for entry in gone:
        _gone(entry, changes[entry.model_id], plan, environment)
        assert entry.model_id in text or changes[entry.model_id].address in text
    if errors_in(checked.diagnostics):
        _nothing_is_undeployed(plan, checked.desired[environment.name])
    assert decode_plan(encode_plan(plan), where="plan.json") == plan
    return any(differs) or bool(gone)


def _resource(resource: Resource, change: Change, applied: Applied, text: str) -> bool:
    entry = applied.entries.get(resource.model_id)
    differences = _differences(_spec(entry), (resource.model_type, resource.body)) if entry is not None else {}
    if entry is not None and not differences.keys() - {HOW}:
        assert not change.action.sends, change
        assert not change.fields
        described = (entry.name, entry.metadata) == (resource.name, metadata_of(resource))
        assert described or change.records or change.action is Action.RENAME or change.reason is Reason.BROKEN
        return False
    if not change.action.sends:  # recorded without a call, or left alone beside a mistake; the plan says which
        assert change.action in {Action.NONE, Action.ADOPT}
        assert change.reason is not Reason.UNCHANGED
        assert change.body is None or change.action is Action.ADOPT
        return True
    assert (change.model_type, change.body, change.digest) == (resource.model_type, resource.body, resource.digest)
    if entry is None:
        assert change.action is Action.DEPLOY
        differences = _from_replaced(resource, change, applied)
    shown = {field.path: (_json(field.before), _json(field.after)) for field in change.fields}
    assert shown == differences
    assert safe(resource.address) in text
    for path in differences:
        assert safe(path) in text
    return True


def _from_replaced(resource: Resource, change: Change, applied: Applied) -> Differences:
    """A deploy is shown against the model of the same name that it replaces; a new one as itself, without fields."""
    if not change.fields:
        return {}
    replaced = [entry for entry in applied.entries.values() if entry.name == resource.name]
    assert len(replaced) == 1
    ids = {"modelId": (_json(replaced[0].model_id), _json(resource.model_id))}
    return ids | _differences(_spec(replaced[0]), (resource.model_type, resource.body))


def _gone(entry: Entry, change: Change, plan: Plan, environment: Environment) -> None:
    """What no manifest wants any more: still in the plan, and undeployed only where that was asked for."""
    assert change.action in {Action.NONE, Action.UNDEPLOY}
    if change.action is Action.UNDEPLOY:
        assert environment.prune or change.reason is Reason.MODEL_REPLACED
        assert not entry.metadata.protect or any(guard.code == "protected" for guard in plan.guards)


def _nothing_is_undeployed(plan: Plan, desired: Desired) -> None:
    """Where anything cannot be read, a missing manifest is no evidence; the only file is this one, so it never is."""
    if desired.broken or desired.broken_files:
        assert all(change.action is not Action.UNDEPLOY for change in plan.changes)


def _spec(entry: Entry) -> tuple[str, str]:
    assert entry.live is not None
    return entry.live.model_type, entry.live.body


def _differences(before: tuple[str, str], after: tuple[str, str]) -> Differences:
    types = {"modelType": (_json(before[0]), _json(after[0]))} if before[0] != after[0] else {}
    return types | dict(_leaves(json.loads(before[1]), json.loads(after[1]), ""))


def _leaves(before: Json, after: Json, path: str) -> Iterator[tuple[str, tuple[bytes | None, bytes | None]]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            yield from _leaves(before.get(key), after.get(key), f"{path}.{key}".removeprefix("."))
    elif _json(before) != _json(after):
        yield path, (_json(before), _json(after))


def _json(value: Json) -> bytes | None:
    """Canonical; None is what is not there."""
    return None if value is None else canonical(value)
