"""desired x applied -> changes: the classification table of DESIGN.md, and nothing else.

Pure. `plan.build` adds edges, selection and guards to what comes out of here. The table stands below as a literal; a cell
names an action, or a rule (a function) where the cell needs to look at more than its row and column.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto

from reconciler.model.applied import (
    Accepted,
    Applied,
    Entry,
    Hold,
    Live,
    Metadata,
    NotProcessed,
    NotSent,
    Operation,
    Situation,
    Unanswered,
    Unknown,
    address_of,
    reference_digest,
    situation_of,
)
from reconciler.model.plan import Action, Because, Change, Edge, FieldChange, Reason
from reconciler.model.resource import Desired, Locate, OnUnknown, Resource, Rollout, Strategy
from reconciler.model.values import Json, digest_of


class Wish(Enum):
    """The columns of the table: what the manifests want of an entry."""

    GONE = auto()  # no manifest
    SAME = auto()  # the desired digest is the last attempt's
    OTHER = auto()  # another digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One cell of the table, read. In `hint`, `{address}` stands for the change's address."""

    action: Action
    reason: Reason
    detail: str
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything one cell may look at. `entry` is None in row ABSENT for a model never seen; `resource` in column GONE."""

    entry: Entry | None
    resource: Resource | None
    prune: bool
    replaced: bool
    in_flight_by: str | None

    @property
    def known(self) -> Entry:
        """The entry, in the rows that have one."""
        if self.entry is None:
            raise AssertionError("this row has an entry")
        return self.entry

    @property
    def wanted(self) -> Resource:
        """The resource, in the columns that have one."""
        if self.resource is None:
            raise AssertionError("this column has a resource")
        return self.resource


def _nothing(_: Case) -> Verdict | None:
    return None


_UNCHANGED = Verdict(action=Action.NONE, reason=Reason.UNCHANGED, detail="as last applied")


def _unchanged(_: Case) -> Verdict:
    return _UNCHANGED


def _deploy_or_adopt(case: Case) -> Verdict:
    if case.wanted.rollout.adopt and (case.entry is None or case.entry.last is None):
        return Verdict(
            action=Action.ADOPT,
            reason=Reason.ADOPTED,
            detail="rollout.adopt: recorded as live without a call; the manifest's values are taken on trust",
        )
    detail = "not in the state" if case.entry is None else "it was undeployed; nothing is live"
    return Verdict(action=Action.DEPLOY, reason=Reason.NEW, detail=detail)


def _undeploy_or_orphan(case: Case) -> Verdict:
    """Column GONE: a deployment is removed only where that was asked for."""
    entry = case.known
    if case.replaced:
        detail = f"its name now means another model; {entry.model_id} is undeployed"
        return Verdict(action=Action.UNDEPLOY, reason=Reason.MODEL_REPLACED, detail=detail)
    if entry.metadata.protect:
        detail = "no manifest; protected (rollout.protect was on when last applied), so it stays"
        return Verdict(action=Action.NONE, reason=Reason.PROTECTED, detail=detail)
    if not case.prune:
        detail = "no manifest; prune is off for this environment, so it stays"
        return Verdict(action=Action.NONE, reason=Reason.ORPHAN, detail=detail)
    return Verdict(action=Action.UNDEPLOY, reason=Reason.MANIFEST_GONE, detail="no manifest; prune is on")


def _gone_after_refusal(case: Case) -> Verdict | None:
    """As live where something is live, as none where nothing ever was."""
    return _undeploy_or_orphan(case) if case.known.live else None


def _redeploy(case: Case) -> Verdict:
    if case.known.live is None:
        return Verdict(
            action=Action.DEPLOY, reason=Reason.BODY_CHANGED, detail="the last attempt failed; nothing is live"
        )
    return Verdict(
        action=Action.REDEPLOY, reason=Reason.BODY_CHANGED, detail="the body differs from what was last applied"
    )


def _follow_or_replace(case: Case) -> Verdict:
    """A replace need not wait for the next run: the old model is undeployed once its job is over."""
    last = case.known.last
    if not case.replaced or last is None or last.operation is Operation.UNDEPLOY:
        return _follow(case)
    detail = f"its name now means another model; {case.known.model_id} is undeployed once its job is over"
    return Verdict(action=Action.UNDEPLOY, reason=Reason.MODEL_REPLACED, detail=detail)


def _follow(case: Case) -> Verdict:
    return Verdict(action=Action.FOLLOW, reason=Reason.JOB_RUNNING, detail=_how_it_runs(case.known))


def _how_it_runs(entry: Entry) -> str:
    """Any dock status but the two terminal ones is still running; one that is not documented is said."""
    match entry.last.outcome if entry.last else None:
        case Accepted(timed_out=True):
            return "its job was not over when following it timed out"
        case Accepted(status=status) if status != "IN_PROGRESS":
            return f"its job is running; the platform calls it {status}"
        case _:
            return "its job is running"


def _after_the_job(case: Case) -> Verdict:
    last = case.known.last
    if last is not None and last.operation is Operation.UNDEPLOY:
        return Verdict(
            action=Action.DEPLOY, reason=Reason.NEW, detail="it is being undeployed; deployed again after that"
        )
    action = Action.DEPLOY if case.known.live is None else Action.REDEPLOY
    return Verdict(action=action, reason=Reason.BODY_CHANGED, detail="the body differs from that of the running job")


def _equal_to_live_or_redeploy(case: Case) -> Verdict:
    live = case.known.live
    if live is not None and live.digest == case.wanted.digest:
        return Verdict(action=Action.NONE, reason=Reason.UNCHANGED, detail="as live; the refused change is withdrawn")
    return _redeploy(case)


def _retry(case: Case) -> Verdict:
    last = case.known.last
    match last.outcome if last else None:
        case Accepted(detail=str(why)):
            return Verdict(action=Action.RETRY, reason=Reason.JOB_FAILED, detail=f"its last job failed: {why}")
        case Accepted():
            return Verdict(action=Action.RETRY, reason=Reason.JOB_FAILED, detail="its last job failed")
        case NotProcessed(status_code=code, message=why):
            detail = f"the platform did not process it (HTTP {code}: {why})"
            return Verdict(action=Action.RETRY, reason=Reason.NOT_PROCESSED, detail=detail)
        case NotSent(error=why):
            return Verdict(action=Action.RETRY, reason=Reason.NOT_PROCESSED, detail=f"it was not sent ({why})")
        case _:
            return Verdict(action=Action.RETRY, reason=Reason.RETRY_ASKED, detail="a person asked for it")


def _redeploy_after_failure(case: Case) -> Verdict:
    """Also when equal to live: the failed job may have replaced what was live."""
    live = case.known.live
    if live is not None and live.digest == case.wanted.digest:
        undeployed = case.known.last is not None and case.known.last.operation is Operation.UNDEPLOY
        detail = f"its last job failed and may have {'removed' if undeployed else 'replaced'} what was live"
        return Verdict(action=Action.REDEPLOY, reason=Reason.JOB_FAILED, detail=detail)
    return _redeploy(case)


def _hold(case: Case) -> Verdict:
    if case.in_flight_by is not None:
        detail = f"being sent by {case.in_flight_by}"
        return Verdict(action=Action.HOLD, reason=Reason.OUTCOME_UNKNOWN, detail=detail)
    last = case.known.last
    undeploying = last is not None and last.operation is Operation.UNDEPLOY
    wanted = case.resource
    if wanted is not None and wanted.rollout.on_unknown is OnUnknown.SEND_AGAIN and not undeploying:
        detail = "whether the last call was processed is unknown; rollout.onUnknown: sendAgain accepts a duplicate"
        return Verdict(action=Action.RETRY, reason=Reason.SEND_AGAIN, detail=detail)
    why = (
        last.outcome.reason
        if last and isinstance(last.outcome, Unknown)
        else "the sender died before a reply was recorded"
    )
    detail = f"whether the last {last.operation if last else 'call'} was processed is unknown: {why}"
    hint = "`reconciler explain {address}` tells what to look at, `reconciler resolve {address}` settles it."
    return Verdict(action=Action.HOLD, reason=Reason.OUTCOME_UNKNOWN, detail=detail, hint=hint)


Rule = Callable[[Case], Verdict | None]

# The table of DESIGN.md, row by row. "redeploy" is said as "deploy" where nothing is live.
TABLE: Mapping[Situation, Mapping[Wish, Rule]] = {
    Situation.ABSENT: {Wish.GONE: _nothing, Wish.SAME: _deploy_or_adopt, Wish.OTHER: _deploy_or_adopt},
    Situation.LIVE: {Wish.GONE: _undeploy_or_orphan, Wish.SAME: _unchanged, Wish.OTHER: _redeploy},
    Situation.RUNNING: {Wish.GONE: _follow_or_replace, Wish.SAME: _follow, Wish.OTHER: _after_the_job},
    Situation.REFUSED: {Wish.GONE: _gone_after_refusal, Wish.SAME: _retry, Wish.OTHER: _equal_to_live_or_redeploy},
    Situation.FAILED: {Wish.GONE: _undeploy_or_orphan, Wish.SAME: _retry, Wish.OTHER: _redeploy_after_failure},
    Situation.UNKNOWN: {Wish.GONE: _hold, Wish.SAME: _hold, Wish.OTHER: _hold},
}


def cell_of(entry: Entry | None, resource: Resource | None) -> tuple[Situation, Wish]:
    """Which cell of the table an entry and a manifest, of one model id, stand in."""
    if resource is None:
        return situation_of(entry), Wish.GONE
    same = entry is not None and reference_digest(entry) == resource.digest
    return situation_of(entry), Wish.SAME if same else Wish.OTHER


def diff(desired: Desired, applied: Applied, *, prune: bool, now: datetime, locate: Locate) -> tuple[Change, ...]:
    """Every address of one environment with its action and reason, sorted by address.

    `applied.lock` must be None unless its holder may be alive. `now` decides only whether suspensions have lapsed.
    """
    wanted = {resource.model_id for resource in desired.resources}
    gone = sorted((e for e in applied.entries.values() if e.model_id not in wanted), key=lambda e: e.model_id)
    names = _Naming.of(desired, gone)
    differ = _Differ(desired=desired, applied=applied, prune=prune, now=now, locate=locate, names=names)
    changes = [differ.of_resource(resource) for resource in desired.resources]
    changes += [change for entry in gone if (change := differ.of_gone(entry)) is not None]
    changes += differ.of_broken({change.address for change in changes})
    changes.sort(key=lambda change: change.address)
    return tuple(_with_replace_edges(changes))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Naming:
    """Which entries without a manifest keep their plain address, and which were replaced: same name, other model id."""

    ambiguous: frozenset[str]
    replaced: Mapping[str, Entry]

    @classmethod
    def of(cls, desired: Desired, gone: Iterable[Entry]) -> _Naming:
        names = {resource.name for resource in desired.resources}
        there = [entry for entry in gone if situation_of(entry) is not Situation.ABSENT]
        counted = Counter(entry.name for entry in there)
        return cls(
            ambiguous=frozenset(name for name, n in counted.items() if n > 1 or name in names),
            replaced={entry.name: entry for entry in there if entry.name in names},
        )

    def is_replaced(self, entry: Entry) -> bool:
        return entry.name in self.replaced

    def address(self, environment: str, entry: Entry) -> str:
        return address_of(environment, entry, replaced=entry.name in self.ambiguous)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Differ:
    """The inputs of one diff, so that the steps below need not pass them on."""

    desired: Desired
    applied: Applied
    prune: bool
    now: datetime
    locate: Locate
    names: _Naming

    def of_resource(self, resource: Resource) -> Change:
        entry = self.applied.entries.get(resource.model_id)
        case = self._case(entry, resource, replaced=False)
        row, column = cell_of(entry, resource)
        verdict = TABLE[row][column](case)
        if verdict is None:
            raise AssertionError("the columns with a manifest always have a verdict")
        if verdict.reason is Reason.UNCHANGED and entry is not None:
            verdict = _not_quite_unchanged(verdict, entry, resource)
        if verdict.action in _ACTING:
            held = self._held(entry, resource.digest) or self._while_broken(entry, resource)
            verdict = _or_follow(held, entry) if held is not None else verdict
        return self._change(resource, entry, verdict)

    def of_gone(self, entry: Entry) -> Change | None:
        replaced = self.names.is_replaced(entry)
        row, column = cell_of(entry, None)
        verdict = TABLE[row][column](self._case(entry, None, replaced=replaced))
        if verdict is None:
            return None
        held = self._while_gone_is_no_proof(verdict, entry)
        if held is None and verdict.action in _ACTING:
            held = self._held(entry, None)
        verdict = _or_follow(held, entry) if held is not None else verdict
        address = self.names.address(self.desired.environment, entry)
        return Change(
            address=address,
            environment=self.desired.environment,
            name=entry.name,
            model_id=entry.model_id,
            action=verdict.action,
            reason=verdict.reason,
            detail=verdict.detail,
            model_type=entry.live.model_type if entry.live else None,
            rollout=Rollout(wave=entry.metadata.wave, protect=entry.metadata.protect),
            metadata=entry.metadata,
            job=_running_job(entry),
            attempt=entry.last.id if entry.last else None,
            hint=_hint_for(verdict, address),
        )

    def of_broken(self, seen: set[str]) -> Iterator[Change]:
        """Addresses whose manifest cannot be read and that no entry stands for."""
        for address in sorted(self.desired.broken - seen):
            name = address.partition("/")[2]
            yield Change(
                address=address,
                environment=self.desired.environment,
                name=name,
                model_id="",
                action=Action.NONE,
                reason=Reason.BROKEN,
                detail="its manifest has errors",
            )

    def _case(self, entry: Entry | None, resource: Resource | None, *, replaced: bool) -> Case:
        return Case(
            entry=entry, resource=resource, prune=self.prune, replaced=replaced, in_flight_by=self._sender_of(entry)
        )

    def _sender_of(self, entry: Entry | None) -> str | None:
        """Who is sending the entry's last attempt at this moment, if somebody is."""
        lock = self.applied.lock
        if lock is None or entry is None or entry.last is None:
            return None
        under_way = isinstance(entry.last.outcome, Unanswered) and entry.last.epoch == lock.epoch
        return str(lock.holder) if under_way else None

    def _held(self, entry: Entry | None, digest: str | None) -> Verdict | None:
        """Suspended or quarantined: nothing is sent or recorded."""
        own = self._in_force(entry.suspension if entry else None)
        suspension = own or self._in_force(self.applied.suspension)
        if suspension is not None:
            environment = self.desired.environment
            word, what = ("suspended", "{address}") if own is not None else (f"{environment} is suspended", environment)
            return Verdict(
                action=Action.NONE,
                reason=Reason.SUSPENDED,
                detail=_say_hold(word, suspension),
                hint=f"`reconciler resume {what}` ends the suspension.",
            )
        quarantine = self._in_force(entry.quarantine if entry else None)
        if quarantine is not None and digest is not None and quarantine.digest == digest:
            return Verdict(action=Action.NONE, reason=Reason.QUARANTINED, detail=_say_hold("quarantined", quarantine))
        return None

    def _in_force(self, hold: Hold | None) -> Hold | None:
        lapsed = hold is not None and hold.until is not None and hold.until <= self.now
        return None if lapsed else hold

    def _while_gone_is_no_proof(self, verdict: Verdict, entry: Entry) -> Verdict | None:
        """While anything in the environment cannot be read, a missing manifest proves nothing."""
        named = f"{self.desired.environment}/{entry.name}"
        unreadable = named in self.desired.broken or entry.metadata.manifest in self.desired.broken_files
        if unreadable and verdict.action not in (Action.FOLLOW, Action.HOLD):
            return _broken(f"{entry.metadata.manifest or 'its manifest'} has errors")
        if verdict.action is Action.UNDEPLOY and self._is_anything_broken:
            return _broken("other manifests have errors; nothing is undeployed meanwhile")
        return None

    def _while_broken(self, entry: Entry | None, resource: Resource) -> Verdict | None:
        """A name that a broken manifest claims too is left alone, and nothing is renamed: the old name may still be there."""
        if resource.address in self.desired.broken:
            return _broken("another manifest of this name has errors")
        if self._is_anything_broken and _is_renamed(entry, resource):
            return _broken("other manifests have errors; nothing is renamed meanwhile")
        return None

    @property
    def _is_anything_broken(self) -> bool:
        return bool(self.desired.broken or self.desired.broken_files)

    def _change(self, resource: Resource, entry: Entry | None, verdict: Verdict) -> Change:
        metadata = metadata_of(resource)
        action = verdict.action
        sends = action.sends
        previous = entry.name if entry is not None and _is_renamed(entry, resource) else None
        is_live = entry is not None and entry.live is not None
        changed = entry is not None and (entry.metadata != metadata or entry.name != resource.name)
        last = entry.last if entry is not None else None
        return Change(
            address=resource.address,
            environment=resource.environment,
            name=resource.name,
            model_id=resource.model_id,
            action=action,
            reason=verdict.reason,
            detail=verdict.detail,
            model_type=resource.model_type,
            body=resource.body if sends or action is Action.ADOPT else None,
            digest=resource.digest,
            fields=self._fields(resource, entry) if sends else (),
            rollout=resource.rollout,
            metadata=metadata,
            position=resource.origin.position,
            job=_running_job(entry),
            attempt=last.id if last is not None else None,
            previous_name=previous,
            restarts=is_live and sends and action is not Action.DEPLOY,
            records=changed and verdict.reason not in (Reason.SUSPENDED, Reason.BROKEN),
            hint=_hint(verdict, resource, entry),
        )

    def _fields(self, resource: Resource, entry: Entry | None) -> tuple[FieldChange, ...]:
        """Against what the same entry had, or, where it had nothing, against the model that is replaced."""
        before = _spec_before(entry) if entry is not None else None
        pairs: list[tuple[str, Json, Json]] = []
        if before is None and (replaced := self.names.replaced.get(resource.name)) is not None:
            before = _spec_before(replaced)
            pairs.append(("modelId", replaced.model_id, resource.model_id))
        if before is None:
            return ()
        if before[0] != resource.model_type:
            pairs.append(("modelType", before[0], resource.model_type))
        pairs += _body_differences(before[1], resource.body)
        return tuple(self._field(resource, *pair) for pair in pairs)

    def _field(self, resource: Resource, path: str, before: Json, after: Json) -> FieldChange:
        blame = self.locate(resource, path)
        return FieldChange(path=path, before=before, after=after, position=blame.position, layer=blame.layer)


# What is not done to something suspended, quarantined or broken; the rest only looks. A tuple: members are compared by identity.
_ACTING = (Action.DEPLOY, Action.REDEPLOY, Action.UNDEPLOY, Action.RETRY, Action.ADOPT, Action.RENAME)


def _not_quite_unchanged(verdict: Verdict, entry: Entry, resource: Resource) -> Verdict:
    """`reconciler retry` sends an unchanged spec once more; another name is written down."""
    if entry.retry:
        return Verdict(action=Action.RETRY, reason=Reason.RETRY_ASKED, detail="a person asked for it")
    if _is_renamed(entry, resource):
        detail = f"was {entry.name}; the body is the same, so nothing is sent"
        return Verdict(action=Action.RENAME, reason=Reason.RENAMED, detail=detail)
    return verdict


def _or_follow(held: Verdict, entry: Entry | None) -> Verdict:
    """Whatever holds an entry back, its running job is followed."""
    if situation_of(entry) is not Situation.RUNNING:
        return held
    detail = f"its job is running; then {held.detail}"
    return Verdict(action=Action.FOLLOW, reason=Reason.JOB_RUNNING, detail=detail)


def _broken(detail: str) -> Verdict:
    return Verdict(action=Action.NONE, reason=Reason.BROKEN, detail=detail)


def metadata_of(resource: Resource) -> Metadata:
    """What an entry remembers of a resource beside its body."""
    return Metadata(
        labels=resource.labels,
        manifest=resource.origin.file,
        protect=resource.rollout.protect,
        wave=resource.rollout.wave,
        depends_on=resource.rollout.depends_on,
    )


def _with_replace_edges(changes: list[Change]) -> Iterator[Change]:
    """Joins the halves of each replace by edges, in the direction that the strategy says."""
    new = {change.name: change for change in changes if change.digest is not None}
    old = defaultdict(list)
    for change in changes:
        if change.digest is None and change.name in new:
            old[change.name].append(change)
    for change in changes:
        if change.name not in old:
            yield change
        elif change.digest is None:
            yield _old_half(change, new[change.name])
        else:
            yield _new_half(change, old[change.name])


def _old_half(old: Change, new: Change) -> Change:
    """In the wave of the new half. It goes after it, unless the strategy turns the edge and the new half can follow."""
    rollout = replace(old.rollout, wave=new.rollout.wave, strategy=new.rollout.strategy)
    first = new.rollout.strategy is Strategy.UNDEPLOY_FIRST and new.action.sends
    waits = old.action is Action.UNDEPLOY and not first and not _is_there_already(new)
    edges = (Edge(address=new.address, because=Because.REPLACE),) if waits else ()
    return replace(old, rollout=rollout, waits_for=edges, position=new.position)


def _new_half(new: Change, old: list[Change]) -> Change:
    """With UndeployFirst it waits for every old half, also for one that is held: two at once is what must not be."""
    waits = new.rollout.strategy is Strategy.UNDEPLOY_FIRST and new.action.sends
    edges = tuple(Edge(address=change.address, because=Because.REPLACE) for change in old) if waits else ()
    removed = [change.address for change in old if change.action is Action.UNDEPLOY]
    return replace(new, waits_for=edges, replaces=removed[0] if removed and new.action.sends else None)


def _is_there_already(change: Change) -> bool:
    return change.action in {Action.NONE, Action.RENAME} and change.reason in {Reason.UNCHANGED, Reason.RENAMED}


def _is_renamed(entry: Entry | None, resource: Resource) -> bool:
    return entry is not None and entry.name != resource.name and situation_of(entry) is not Situation.ABSENT


def _spec_before(entry: Entry) -> tuple[str | None, str] | None:
    """Model type and body that the desired ones are shown against: the running job's, else what is live, else the last."""
    last, live = entry.last, entry.live
    if last is not None and last.body is not None and situation_of(entry) is Situation.RUNNING:
        return last.model_type, last.body
    if live is not None:
        return live.model_type, live.body
    return (last.model_type, last.body) if last is not None and last.body is not None else None


def _body_differences(before: str, after: str) -> Iterator[tuple[str, Json, Json]]:
    if before != after:
        yield from _differences("", json.loads(before), json.loads(after))


def _differences(prefix: str, before: Json, after: Json) -> Iterator[tuple[str, Json, Json]]:
    """Leaf by leaf where both sides are objects; lists and scalars are compared whole. None is absent."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from _differences(f"{prefix}.{key}" if prefix else key, before.get(key), after.get(key))
    elif not _equal(before, after):
        yield prefix, before, after


def _equal(before: Json, after: Json) -> bool:
    """JSON equality: Python's, but true is not 1."""
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_equal, before, after))
    return bool(before == after) and isinstance(before, bool) == isinstance(after, bool)


def _running_job(entry: Entry | None) -> str | None:
    outcome = entry.last.outcome if entry is not None and entry.last is not None else None
    if not isinstance(outcome, Accepted) or outcome.status == "SUCCESS":  # the usual ends, without a closer look
        return None
    return outcome.dock_status_id if situation_of(entry) is Situation.RUNNING else None


def _say_hold(word: str, hold: Hold) -> str:
    until = f" until {hold.until:%Y-%m-%d %H:%M} UTC" if hold.until else ""
    return f"{word} by {hold.who}{until}: {hold.why}"


# A next step for each reason that has the same one everywhere.
_HINTS: Mapping[Reason, str] = {
    Reason.ORPHAN: "It keeps running. `reconciler undeploy {address}` removes it, `reconciler forget {address}` only forgets it.",
    Reason.PROTECTED: "It keeps running. Lift it with `rollout.protect: false` in its manifest, apply, then delete the manifest.",
    Reason.QUARANTINED: "Change the manifest, or lift it with `reconciler retry {address}`.",
    Reason.BROKEN: "`reconciler validate` lists every error.",
}


def _hint(verdict: Verdict, resource: Resource, entry: Entry | None) -> str | None:
    if verdict.action.sends and entry is not None and _is_renamed(entry, resource):
        return _hint_for_rename(resource, entry)
    return _hint_for(verdict, resource.address)


def _hint_for(verdict: Verdict, address: str) -> str | None:
    if verdict.reason is Reason.UNCHANGED:
        return None
    hint = verdict.hint or (_HINTS.get(verdict.reason) if verdict.action is Action.NONE else None)
    return hint.format(address=address) if hint is not None else None


def _hint_for_rename(resource: Resource, entry: Entry) -> str | None:
    """The restart that a rename causes can be had without: the platform's name defaults to metadata.name."""
    live = entry.live
    if live is None or not _differs_only_in_name(resource, live):
        return None
    shown = json.loads(live.body).get("name")
    return f"Only the name changed. `spec.name: {shown}` keeps the platform's name and avoids the restart."


def _differs_only_in_name(resource: Resource, live: Live) -> bool:
    body = json.loads(resource.body)
    body["name"] = json.loads(live.body).get("name")
    return digest_of(resource.model_type, body) == live.digest
