"""A plan as a person reads it, and as a machine does.

Text: warnings and guards after the changes, one summary line at the end that can be grepped. What stays as it is is only
counted, unless `verbose`. docs/plan.md explains every sign.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from reconciler.model.plan import Action, Because, Change, FieldChange, Plan, Reason
from reconciler.model.values import Json
from reconciler.plan.edges import UNSATISFIED
from reconciler.report.style import Style, safe, value_text

# Symbol and colour of each action; `±` is a replace, which is two changes.
SYMBOLS = {
    Action.DEPLOY: ("+", "green"),
    Action.REDEPLOY: ("~", "yellow"),
    Action.UNDEPLOY: ("-", "red"),
    Action.RETRY: ("↻", "yellow"),
    Action.ADOPT: ("=", "cyan"),
    Action.RENAME: (">", "cyan"),
    Action.FOLLOW: ("…", "blue"),
    Action.HOLD: ("?", "magenta"),
    Action.NONE: ("·", "dim"),
}
REPLACE = ("±", "magenta")

# The words of the summary line, in its order.
COUNTED = {
    Action.DEPLOY: "to deploy",
    Action.REDEPLOY: "to redeploy",
    Action.UNDEPLOY: "to undeploy",
    Action.RETRY: "to retry",
    Action.ADOPT: "to adopt",
    Action.RENAME: "to rename",
    Action.FOLLOW: "to follow",
    Action.HOLD: "on hold",
}
# What is not changed although it is not as the manifests say.
LEFT_ALONE = {
    Reason.ORPHAN: "orphaned",
    Reason.PROTECTED: "orphaned",
    Reason.SUSPENDED: "suspended",
    Reason.QUARANTINED: "quarantined",
    Reason.BROKEN: "broken",
}

UNCHANGED = "unchanged"
_WARNED = frozenset({Reason.ORPHAN, Reason.PROTECTED})  # the plan has a warning for these


def plan_text(plans: Sequence[Plan], style: Style, *, verbose: bool = False) -> str:
    """Every plan, one after the other; each ends with its summary line."""
    return "\n".join(_Page.of(plan, style, verbose=verbose).text() for plan in plans)


def summary(plan: Plan) -> str:
    """`Plan: production: 2 to deploy, 1 to redeploy, 41 unchanged.`, or `Plan: production: nothing to do, 42 unchanged.`"""
    counts = plan.counts()
    parts = [f"{counts[action]} {words}" for action, words in COUNTED.items() if counts[action]] or ["nothing to do"]
    alone = Counter(LEFT_ALONE.get(c.reason, UNCHANGED) for c in plan.changes if c.action is Action.NONE)
    parts += [f"{alone[word]} {word}" for word in dict.fromkeys(LEFT_ALONE.values()) if alone[word]]
    parts.append(f"{alone[UNCHANGED]} {UNCHANGED}")
    return f"Plan: {plan.environment}: {', '.join(parts)}."


def plans_json(plans: Sequence[Plan]) -> dict[str, Json]:
    """Every plan in the format of plan files, in a list however many there are, with how many changes have each action."""
    from reconciler.plan.codec import LIST_FORMAT, plan_value

    return {
        "format": LIST_FORMAT,
        "counts": {plan.environment: {str(action): n for action, n in plan.counts().items()} for plan in plans},
        "plans": [plan_value(plan) for plan in plans],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """One plan and how it is shown."""

    plan: Plan
    style: Style
    verbose: bool
    old_halves: Mapping[str, Change] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan, style: Style, *, verbose: bool) -> _Page:
        replaced = {change.replaces for change in plan.changes if change.replaces is not None}
        old = {change.address: change for change in plan.changes if change.address in replaced}
        return cls(plan=plan, style=style, verbose=verbose, old_halves=old)

    def text(self) -> str:
        blocks = [block for block in (self._changes(), self._warnings(), self._guards()) if block]
        blocks.append([self.style.paint(safe(summary(self.plan)), "bold")])
        return "\n".join("".join(f"{line}\n" for line in block) for block in blocks)

    def _changes(self) -> list[str]:
        shown = self._shown()
        if not shown:
            return []
        stages = dict.fromkeys(_stage(change) for change in sorted(shown, key=_stage_key))
        lines = [self._title()]
        for stage in stages:
            members = [change for change in shown if _stage(change) == stage]
            if len(stages) > 1:
                lines += ["", self.style.paint(f"  {stage}", "bold")]
            for change in members:
                lines += ["", *self._change(change)] if change.action is not Action.NONE else self._change(change)
        return lines

    def _title(self) -> str:
        plan = self.plan
        commit = f", commit {safe(plan.commit[:12])}" if plan.commit else ""
        dirty = " with uncommitted changes" if plan.commit and plan.dirty else ""
        return self.style.paint(f"{safe(plan.environment)} on {safe(plan.origin)}{commit}{dirty}", "bold")

    def _shown(self) -> list[Change]:
        """What has a line of its own; the undeploy of a replace stands with the deploy."""
        worth = (c for c in self.plan.changes if c.address not in self.old_halves)
        return [c for c in worth if self.verbose or c.action is not Action.NONE or c.reason in UNSATISFIED]

    def _change(self, change: Change) -> list[str]:
        old = self.old_halves.get(change.replaces or "")
        symbol, colour = REPLACE if old is not None else SYMBOLS[change.action]
        lines = [f"  {self.style.paint(symbol, colour)} {self._header(change)}"]
        lines += [f"      {line}" for line in self._details(change, old)]
        return lines

    def _header(self, change: Change) -> str:
        device = _device(change)
        parts = [self.style.paint(safe(change.address), "bold"), safe(change.model_id), device or ""]
        return "  ".join(part for part in parts if part)

    def _details(self, change: Change, old: Change | None) -> Iterator[str]:
        yield self._action_line(change, old)
        if change.action in {Action.DEPLOY, Action.ADOPT} and change.position and not change.fields:
            yield self.style.paint(f"written in {_place(change.position)}", "dim")
        if change.previous_name is not None and change.action is not Action.RENAME:
            yield f"renamed from {safe(change.previous_name)}"
        yield from self._fields(change.fields)
        if self.verbose and change.body is not None and change.action is not Action.NONE:
            yield from self._body(change)
        if change.job is not None and change.action is not Action.FOLLOW:
            yield f"waits for the running job {safe(change.job)}"
        for edge in change.waits_for:
            if edge.because is Because.REPLACE and old is not None:
                continue  # the order of the two halves is said above
            yield f"waits for {safe(edge.address)} ({edge.because})"
        if change.rollout.protect and change.action is not Action.NONE and self.verbose:
            yield "protected"
        if change.hint is not None and change.reason not in _WARNED:
            yield self.style.paint(safe(change.hint), "cyan")

    def _action_line(self, change: Change, old: Change | None) -> str:
        restarts = self.style.paint(" The running model restarts.", "yellow") if _restarts(change) else ""
        job = f" ({safe(change.job)})" if change.action is Action.FOLLOW and change.job else ""
        if old is None:
            what = "as it is" if change.action is Action.NONE else str(change.action)
            return f"{what}: {safe(change.detail)}{job}{'.' if restarts else ''}{restarts}"
        first, second = f"{change.action} {safe(change.model_id)}", f"{old.action} {safe(old.model_id)}"
        if any(edge.because is Because.REPLACE for edge in change.waits_for):
            return f"replace: {second}, then {first}; nothing answers in between"
        return f"replace: {first}, then {second}"

    def _fields(self, fields: Iterable[FieldChange]) -> Iterator[str]:
        rows = [(safe(f.path), f"{value_text(f.before)} → {value_text(f.after)}", _source(f)) for f in fields]
        paths = max((len(path) for path, _, _ in rows), default=0)
        values = min(max((len(value) for _, value, _ in rows), default=0), 44)
        for path, value, source in rows:
            yield f"{path:<{paths}}  {value:<{values}}  {self.style.paint(source, 'dim')}".rstrip()

    def _body(self, change: Change) -> Iterator[str]:
        for path, value in _leaves("", json.loads(change.body or "{}")):
            yield self.style.paint(f"{safe(path)}: {value_text(value)}", "dim")

    def _warnings(self) -> list[str]:
        hints = {c.address: c.hint for c in self.plan.changes if c.reason in _WARNED}
        lines = []
        for warning in self.plan.warnings:
            lines.append(f"  {self.style.paint('!', 'yellow')} {safe(warning)}")
            hint = hints.get(warning.partition(" ")[0])
            lines += [f"      {self.style.paint(safe(hint), 'cyan')}"] if hint else []
        return ["Warnings:", *lines] if lines else []

    def _guards(self) -> list[str]:
        lines = []
        for guard in self.plan.guards:
            lines.append(f"  {self.style.paint('!', 'red')} {safe(guard.message)} ({guard.code})")
            lines.append(f"      Allow it with {safe(guard.flag)}")
        return ["Refused until a person allows it:", *lines] if lines else []


def _stage_key(change: Change) -> tuple[int, int]:
    """As `apply` walks them: waves rising, then undeploys, from the highest wave down."""
    if change.action is Action.UNDEPLOY and change.reason is not Reason.MODEL_REPLACED:
        return (1, 0)
    return (0, change.rollout.wave)


def _stage(change: Change) -> str:
    last, wave = _stage_key(change)
    return "last" if last else f"wave {wave}"


def _restarts(change: Change) -> bool:
    return change.restarts and change.action is not Action.UNDEPLOY


def _device(change: Change) -> str | None:
    device = json.loads(change.body).get("deviceType") if change.body is not None else None
    return safe(str(device)) if device else None


def _source(field: FieldChange) -> str:
    layer = f" ({safe(field.layer)})" if field.layer else ""
    return f"{_place(field.position)}{layer}" if field.position else layer.strip()


def _place(position: object) -> str:
    """`file:line`; the column says nothing to a reader of a plan."""
    return safe(str(position).rpartition(":")[0])


def _leaves(prefix: str, value: Json) -> Iterator[tuple[str, Json]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(f"{prefix}.{key}" if prefix else key, item)
    else:
        yield prefix, value
