"""The next step beside a change: a whole sentence about what to do, or what to do better."""

from __future__ import annotations

import json
from collections.abc import Mapping

from reconciler.diff.table import Verdict
from reconciler.model.applied import Entry, Live, Situation, situation_of
from reconciler.model.plan import Action, Reason
from reconciler.model.resource import Resource
from reconciler.model.values import digest_of

# A next step for each reason that has the same one everywhere.
_HINTS: Mapping[Reason, str] = {
    Reason.ORPHAN: "It keeps running. `reconciler undeploy {address}` removes it, `reconciler forget {address}` only forgets it.",
    Reason.PROTECTED: "It keeps running. Lift it with `rollout.protect: false` in its manifest, apply, then delete the manifest.",
    Reason.QUARANTINED: "Change the manifest, or lift it with `reconciler retry {address}`.",
    Reason.PINNED: "Another spec in its manifest lifts it; `reconciler retry {address}` sends the manifest's after all.",
    Reason.BROKEN: "`reconciler validate` lists every error.",
}


def hint_of(verdict: Verdict, resource: Resource, entry: Entry | None) -> str | None:
    if verdict.action.sends and entry is not None and is_renamed(entry, resource):
        return _hint_for_rename(resource, entry)
    return hint_for(verdict, resource.address)


def hint_for(verdict: Verdict, address: str) -> str | None:
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


def is_renamed(entry: Entry | None, resource: Resource) -> bool:
    return entry is not None and entry.name != resource.name and situation_of(entry) is not Situation.ABSENT
