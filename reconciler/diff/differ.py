"""Reads the table for every manifest and every entry, and holds back what must not be touched now. `diff` calls it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from reconciler.diff.fields import body_differences, spec_before
from reconciler.diff.hints import hint_for, hint_of, is_renamed
from reconciler.diff.table import TABLE, Case, Verdict, cell_of
from reconciler.model.applied import (
    Accepted,
    Applied,
    Entry,
    Metadata,
    Pinned,
    Situation,
    Unanswered,
    address_of,
    in_force,
    situation_of,
)
from reconciler.model.plan import Action, Change, FieldChange, Reason
from reconciler.model.resource import Desired, Locate, Resource, Rollout
from reconciler.model.values import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """Which entries without a manifest keep their plain address, and which were replaced: same name, other model id."""

    ambiguous: frozenset[str]
    replaced: Mapping[str, Entry]

    @classmethod
    def of(cls, desired: Desired, gone: Iterable[Entry]) -> Naming:
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
class Differ:
    """The inputs of one diff, so that the steps below need not pass them on."""

    desired: Desired
    applied: Applied
    prune: bool
    now: datetime
    locate: Locate
    names: Naming

    def of_resource(self, resource: Resource) -> Change:
        entry = self.applied.entries.get(resource.model_id)
        pin = _pin_of(entry, resource)
        if pin is not None:
            resource = replace(resource, model_type=pin.model_type, body=pin.body, digest=pin.digest)
        case = self._case(entry, resource, replaced=False)
        row, column = cell_of(entry, resource)
        verdict = TABLE[row][column](case)
        if verdict is None:
            raise AssertionError("the columns with a manifest always have a verdict")
        if verdict.reason is Reason.UNCHANGED and entry is not None:
            verdict = _not_quite_unchanged(verdict, entry, resource)
        if pin is not None:
            verdict = _as_pinned(verdict, pin)
        if verdict.action in _ACTING:
            held = self._held(entry, resource.digest) or self._while_broken(entry, resource)
            verdict = _or_follow(held, entry) if held is not None else verdict
        return self._change(resource, entry, verdict, pin)

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
            hint=hint_for(verdict, address),
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
        own = in_force(entry.suspension if entry else None, self.now)
        suspension = own or in_force(self.applied.suspension, self.now)
        if suspension is not None:
            environment = self.desired.environment
            word, what = ("suspended", "{address}") if own is not None else (f"{environment} is suspended", environment)
            return Verdict(
                action=Action.NONE,
                reason=Reason.SUSPENDED,
                detail=suspension.in_words(word),
                hint=f"`reconciler resume {what}` ends the suspension.",
            )
        quarantine = in_force(entry.quarantine if entry else None, self.now)
        if quarantine is not None and digest is not None and quarantine.digest == digest:
            return Verdict(action=Action.NONE, reason=Reason.QUARANTINED, detail=quarantine.in_words("quarantined"))
        return None

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
        if self._is_anything_broken and is_renamed(entry, resource):
            return _broken("other manifests have errors; nothing is renamed meanwhile")
        return None

    @property
    def _is_anything_broken(self) -> bool:
        return bool(self.desired.broken or self.desired.broken_files)

    def _change(self, resource: Resource, entry: Entry | None, verdict: Verdict, pin: Pinned | None) -> Change:
        metadata = metadata_of(resource)
        action = verdict.action
        sends = action.sends
        previous = entry.name if entry is not None and is_renamed(entry, resource) else None
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
            fields=self._fields(resource, entry, is_pinned=pin is not None) if sends else (),
            rollout=resource.rollout,
            metadata=metadata,
            position=resource.origin.position,
            job=_running_job(entry),
            attempt=last.id if last is not None else None,
            previous_name=previous,
            restarts=is_live and sends and action is not Action.DEPLOY,
            records=changed and verdict.reason not in (Reason.SUSPENDED, Reason.BROKEN),
            hint=hint_of(verdict, resource, entry),
            commit=pin.commit if pin is not None else None,
        )

    def _fields(self, resource: Resource, entry: Entry | None, *, is_pinned: bool) -> tuple[FieldChange, ...]:
        """Against what the same entry had, or, where it had nothing, against the model that is replaced."""
        before = spec_before(entry) if entry is not None else None
        pairs: list[tuple[str, Json, Json]] = []
        if before is None and (replaced := self.names.replaced.get(resource.name)) is not None:
            before = spec_before(replaced)
            pairs.append(("modelId", replaced.model_id, resource.model_id))
        if before is None:
            return ()
        if before[0] != resource.model_type:
            pairs.append(("modelType", before[0], resource.model_type))
        pairs += body_differences(before[1], resource.body)
        if is_pinned:  # written in no manifest
            return tuple(FieldChange(path=p, before=b, after=a, layer="rollback") for p, b, a in pairs)
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
    if is_renamed(entry, resource):
        detail = f"was {entry.name}; the body is the same, so nothing is sent"
        return Verdict(action=Action.RENAME, reason=Reason.RENAMED, detail=detail)
    return verdict


def _pin_of(entry: Entry | None, resource: Resource) -> Pinned | None:
    """The spec that stands for the manifest's at present; another manifest lifts it."""
    pin = entry.pin if entry is not None else None
    return pin if pin is not None and pin.instead_of == resource.digest else None


def _as_pinned(verdict: Verdict, pin: Pinned) -> Verdict:
    """The same verdict, saying whose will it is."""
    why = f": {pin.why}" if pin.why else ""
    said = f"rolled back by {pin.who}{why}"
    if verdict.action is Action.NONE and verdict.reason is Reason.UNCHANGED:
        return Verdict(action=Action.NONE, reason=Reason.PINNED, detail=f"{said}; an earlier spec is live")
    return replace(verdict, detail=f"{said}; {verdict.detail}") if verdict.action.sends else verdict


def _or_follow(held: Verdict, entry: Entry | None) -> Verdict:
    """Whatever holds an entry back, its running job is followed."""
    if situation_of(entry) is not Situation.RUNNING:
        return held
    detail = f"its job is running; then {held.detail}"
    return Verdict(action=Action.FOLLOW, reason=Reason.JOB_RUNNING, detail=detail)


def _broken(detail: str) -> Verdict:
    return Verdict(action=Action.NONE, reason=Reason.BROKEN, detail=detail)


def _running_job(entry: Entry | None) -> str | None:
    outcome = entry.last.outcome if entry is not None and entry.last is not None else None
    if not isinstance(outcome, Accepted) or outcome.status == "SUCCESS":  # the usual ends, without a closer look
        return None
    return outcome.dock_status_id if situation_of(entry) is Situation.RUNNING else None


def metadata_of(resource: Resource) -> Metadata:
    """What an entry remembers of a resource beside its body."""
    return Metadata(
        labels=resource.labels,
        manifest=resource.origin.file,
        protect=resource.rollout.protect,
        wave=resource.rollout.wave,
        depends_on=resource.rollout.depends_on,
    )
