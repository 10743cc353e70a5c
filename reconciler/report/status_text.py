"""How deployments stand (`status`), why (`explain`) and what was tried (`history`), as text and as JSON values.

`now` is given by the caller; nothing here reads a clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from enum import Enum

from reconciler.model.applied import Applied, Attempt, Entry, Suspension, address_of, suspensions_of
from reconciler.model.events import Event
from reconciler.model.plan import Action, Reason
from reconciler.model.values import Json
from reconciler.report.style import Style, duration, one_line, safe
from reconciler.report.tables import fitted, table
from reconciler.status import DeploymentStatus, Explanation, Gate, Health, Phase, Stand, Sync, event_of, phase_of

STATUS_FORMAT = "reconciler/status/v1"
EXPLAIN_FORMAT = "reconciler/explain/v1"
HISTORY_FORMAT = "reconciler/history/v1"

Selected = Sequence[tuple[Applied, Sequence[Entry]]]

_NARROW = ("ADDRESS", "SYNC", "HEALTH", "OPERATION", "DOCK STATUS ID", "AGE", "COMMIT")
_WIDE = ("ADDRESS", "MODEL ID", "SYNC", "HEALTH", "OPERATION", "DOCK STATUS ID", "DOCK STATUS")
_WIDE_REST = ("AGE", "LIVE SINCE (UTC)", "COMMIT", "AUTHOR", "MANIFEST", "NEXT")
_HISTORY = (
    "ADDRESS",
    "STARTED (UTC)",
    "ATTEMPT",
    "CALL",
    "GEN",
    "ENDED",
    "DOCK STATUS ID",
    "TOOK",
    "COMMIT",
    "AUTHOR",
    "BY",
)

_GOOD = {Sync.SYNCED, Health.HEALTHY, Phase.SUCCEEDED}
_BAD = {Health.DEGRADED, Health.MISSING, Phase.FAILED}
_SAYS_WHO = {Reason.SUSPENDED, Reason.UNCHANGED}  # of what is suspended, the detail says by whom
_SIGNS = {Stand.PASSED: ("✓", "green"), Stand.WAITING: ("…", "blue"), Stand.BLOCKED: ("✗", "red")}


def status_text(rows: Sequence[DeploymentStatus], style: Style, *, now: datetime, wide: bool = False) -> str:
    """A table, below it the last errors and who suspended what, and a summary line that can be grepped."""
    if not rows:
        return "Status: nothing is deployed and nothing is wanted.\n"
    if wide:
        text = table((*_WIDE, *_WIDE_REST), [_wide(row, now) for row in rows])
    else:
        text = fitted(_NARROW, [_narrow(row, now) for row in rows], style, below=("DOCK STATUS ID", "COMMIT"))
    blocks = [
        text,
        *("".join(lines) for lines in (list(_errors(rows, style)), list(_suspensions(rows, style))) if lines),
    ]
    return "\n".join([*blocks, f"{style.paint(status_summary(rows), 'bold')}\n"])


def status_summary(rows: Sequence[DeploymentStatus]) -> str:
    """`Status: 5 deployments: 4 Synced, 1 OutOfSync; 4 Healthy, 1 Degraded.`"""
    synced = _counted(Sync, Counter(row.sync for row in rows))
    healthy = _counted(Health, Counter(row.health for row in rows))
    deployments = "deployment" if len(rows) == 1 else "deployments"
    return f"Status: {len(rows)} {deployments}: {synced}; {healthy}."


def _counted(axis: type[Enum], counts: Counter[Sync] | Counter[Health]) -> str:
    return ", ".join(f"{counts[word]} {word.value}" for word in axis if counts[word])  # type: ignore[index] # its own words


def status_json(rows: Sequence[DeploymentStatus]) -> dict[str, Json]:
    """The same facts as JSON values (schemas/status.json); times are UTC in ISO 8601."""
    return {"format": STATUS_FORMAT, "deployments": [_plain(row) for row in rows]}


def schema() -> dict[str, Json]:
    """The JSON Schema of what `status_json` gives: every field is always there."""
    from pydantic import ConfigDict, create_model
    from pydantic.alias_generators import to_camel

    from reconciler.plan.codec import without_titles

    config = ConfigDict(extra="forbid", alias_generator=to_camel)
    model = create_model("Status", __config__=config, format=str, deployments=tuple[DeploymentStatus, ...])
    made: dict[str, Json] = without_titles(model.model_json_schema(by_alias=True))
    made["properties"]["format"] = {"const": STATUS_FORMAT}
    row = made["$defs"]["DeploymentStatus"]
    row["required"] = list(row["properties"])
    for field in row["properties"].values():
        field.pop("default", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Status of deployments", **made}


def _narrow(row: DeploymentStatus, now: datetime) -> tuple[str, ...]:
    return (
        row.address,
        row.sync,
        row.health,
        row.operation,
        row.dock_status_id or "-",
        _age(row.since, now),
        _commit(row.commit),
    )


def _wide(row: DeploymentStatus, now: datetime) -> tuple[str, ...]:
    return (
        row.address,
        row.model_id or "-",
        row.sync,
        row.health,
        row.operation,
        row.dock_status_id or "-",
        row.dock_status or "-",
        _age(row.since, now),
        _moment(row.live_since),
        _commit(row.commit),
        _name_of(row.author),
        row.manifest or "-",
        row.action if row.action is not Action.NONE else "-",
    )


def _errors(rows: Sequence[DeploymentStatus], style: Style) -> Iterator[str]:
    for row in rows:
        if row.error is not None:
            yield f"{style.paint(safe(row.address), 'red')}: {one_line(safe(row.error))}\n"


def _suspensions(rows: Sequence[DeploymentStatus], style: Style) -> Iterator[str]:
    """Who, why and until when; once for all deployments that one decision holds."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.health is Health.SUSPENDED and row.reason in _SAYS_WHO:
            found.setdefault((row.environment, row.detail), []).append(row.address)
    for (environment, detail), addresses in found.items():
        who = addresses[0] if len(addresses) == 1 else f"{environment}, {len(addresses)} deployments"
        yield f"{style.paint(safe(who), 'yellow')}: {one_line(safe(detail))}\n"


def explain_text(explanation: Explanation, style: Style, *, now: datetime) -> str:
    """The three axes, every gate in order, the next step and the command for it."""
    status = explanation.status
    lines = [
        style.paint(f"{safe(status.address)}  {safe(status.model_id)}".rstrip(), "bold"),
        f"  sync       {_painted(status.sync, style)}",
        f"  health     {_painted(status.health, style)}",
        f"  operation  {_painted(status.operation, style)}{_since(status, now)}",
    ]
    if status.dock_status_id:
        lines.append(f"  job        {safe(status.dock_status_id)}  {safe(status.dock_status or '')}".rstrip())
    if status.commit:
        lines.append(f"  commit     {safe(status.commit)}" + (f"  {safe(status.author)}" if status.author else ""))
    if status.error:
        lines.append(f"  error      {style.paint(safe(status.error), 'red')}")
    lines += [f"  plan       {status.action}: {safe(status.detail)}", "", "Gates:"]
    lines += [_gate(gate, style) for gate in explanation.gates]
    lines += ["", f"Next: {safe(explanation.next_step)}"]
    if explanation.command:
        lines.append(f"  {style.paint(safe(explanation.command), 'cyan')}")
    return "".join(f"{line}\n" for line in lines)


def _gate(gate: Gate, style: Style) -> str:
    sign, colour = _SIGNS[gate.stand]
    return f"  {style.paint(sign, colour)} {gate.name}: {safe(gate.detail)}"


def _since(status: DeploymentStatus, now: datetime) -> str:
    return f", {_age(status.since, now)} ago" if status.since is not None else ""


def explain_json(explanation: Explanation) -> dict[str, Json]:
    """The same facts as JSON values."""
    return {
        "format": EXPLAIN_FORMAT,
        "status": _plain(explanation.status),
        "gates": [_plain(gate) for gate in explanation.gates],
        "nextStep": explanation.next_step,
        "command": explanation.command,
    }


def history_text(selected: Selected, style: Style, *, now: datetime) -> str:
    """One line for each attempt that the state remembers, oldest first, and below the errors and who suspended what."""
    attempts = list(_attempts(selected))
    suspended = [f"{style.paint(safe(one.in_words()), 'yellow')}\n" for one in _suspended(selected)]
    rows = [_history_row(event, attempt, now, is_last=is_last) for event, attempt, is_last in attempts]
    errors = [
        f"{style.paint(safe(event.address), 'red')} {event.attempt}: {safe(event.detail)}\n"
        for event, _, _ in attempts
        if event.detail
    ]
    if rows:
        text = fitted(_HISTORY, rows, style, below=("ATTEMPT", "DOCK STATUS ID", "COMMIT", "AUTHOR", "BY"))
    else:
        text = "History: the state remembers no attempt.\n"
    return "\n".join([text, *("".join(lines) for lines in (errors, suspended) if lines)])


def history_json(selected: Selected) -> dict[str, Json]:
    """The same facts as JSON values. Bodies and replies are in the state file."""
    return {
        "format": HISTORY_FORMAT,
        "attempts": [_attempt(event, attempt, is_last=is_last) for event, attempt, is_last in _attempts(selected)],
        "suspensions": [_plain(one) for one in _suspended(selected)],
    }


def _suspended(selected: Selected) -> Iterator[Suspension]:
    for applied, entries in selected:
        addresses = _addresses(applied, entries)
        yield from suspensions_of(applied, ((address, entry.model_id) for address, entry in addresses))


def _addresses(applied: Applied, entries: Sequence[Entry]) -> list[tuple[str, Entry]]:
    names = Counter(entry.name for entry in applied.entries.values())
    return [(address_of(applied.environment, entry, replaced=names[entry.name] > 1), entry) for entry in entries]


def _attempts(selected: Selected) -> Iterator[tuple[Event, Attempt, bool]]:
    """Each with the event that it stands for, and whether it is the last of its deployment."""
    for applied, entries in selected:
        found = [
            (attempt.started_at, address, attempt, entry)
            for address, entry in _addresses(applied, entries)
            for attempt in entry.attempts
        ]
        for _, address, attempt, entry in sorted(found, key=lambda one: (one[0], one[1], one[2].id)):
            event = event_of(attempt, environment=applied.environment, address=address)
            yield event, attempt, attempt is entry.last


def _history_row(event: Event, attempt: Attempt, now: datetime, *, is_last: bool) -> tuple[str, ...]:
    seconds = (now - attempt.started_at).total_seconds() if event.seconds is None else event.seconds
    return (
        event.address,
        _moment(attempt.started_at),
        attempt.id,
        event.action,
        str(attempt.generation),
        phase_of(attempt, is_last=is_last),
        event.dock_status_id or "-",
        duration(seconds) + (" so far" if event.seconds is None else ""),
        _commit(event.commit) + ("+changes" if attempt.provenance.dirty else ""),
        _name_of(attempt.provenance.author),
        safe(attempt.provenance.actor or "-"),
    )


def _attempt(event: Event, attempt: Attempt, *, is_last: bool) -> dict[str, Json]:
    return {
        "address": event.address,
        "attempt": event.attempt,
        "run": event.run,
        "call": str(event.action),
        "generation": attempt.generation,
        "operation": str(phase_of(attempt, is_last=is_last)),
        "dockStatusId": event.dock_status_id,
        "startedAt": _json_of(attempt.started_at),
        "endedAt": _json_of(attempt.ended_at),
        "digest": event.digest,
        "commit": event.commit,
        "author": attempt.provenance.author,
        "committedAt": _json_of(attempt.provenance.committed_at),
        "branch": attempt.provenance.branch,
        "dirty": attempt.provenance.dirty,
        "actor": attempt.provenance.actor,
        "ciUrl": attempt.provenance.ci_url,
        "manifest": attempt.manifest,
        "decidedBy": attempt.decided,
        "error": event.detail or None,
    }


def _plain(value: DeploymentStatus | Gate | Suspension) -> dict[str, Json]:
    """A flat dataclass as a JSON object in camelCase; every field is there."""
    return {_camel(field.name): _json_of(getattr(value, field.name)) for field in fields(value)}


def _json_of(value: Json) -> Json:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value) if isinstance(value, Enum) else value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def _painted(word: Sync | Health | Phase, style: Style) -> str:
    return style.paint(word, "green" if word in _GOOD else "red" if word in _BAD else "yellow")


def _age(since: datetime | None, now: datetime) -> str:
    return duration((now - since).total_seconds()) if since is not None else "-"


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at is not None else "-"


def _name_of(author: str | None) -> str:
    """The name alone of `Name <mail>`; the whole is in the JSON."""
    return (author.partition(" <")[0] or author) if author else "-"


def _commit(commit: str | None) -> str:
    return commit[:12] if commit else "-"
