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
from reconciler.plan.causes import Causes
from reconciler.plan.edges import UNSATISFIED
from reconciler.report.causes_text import causes_json
from reconciler.report.style import Style, count, safe, value_text

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
    Reason.PINNED: "rolled back",
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


def plans_json(plans: Sequence[Plan], causes: Sequence[Causes] = ()) -> dict[str, Json]:
    """Every plan in the format of plan files, in a list however many there are, with how many changes have each action.

    `causes` where they were compared with a base.
    """
    from reconciler.plan.codec import LIST_FORMAT, plan_value

    value: dict[str, Json] = {
        "format": LIST_FORMAT,
        "counts": {plan.environment: {str(action): n for action, n in plan.counts().items()} for plan in plans},
        "plans": [plan_value(plan) for plan in plans],
    }
    return value | {"causes": causes_json(causes)} if causes else value


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
        found = (self._changes(), self._notes(), self._suspensions(), self._warnings(), self._guards())
        blocks = [block for block in found if block]
        blocks.append([self.style.paint(safe(summary(self.plan)), "bold")])
        return "\n".join("".join(f"{line}\n" for line in block) for block in blocks)

    def _changes(self) -> list[str]:
        shown = sorted(filter(self._is_shown, self.plan.changes), key=_order)
        if not shown:
            return []
        stages = dict.fromkeys(map(_stage, shown))
        lines = [self._title()]
        for stage in stages:
            if len(stages) > 1:
                lines += ["", self.style.paint(f"  {stage}", "bold")]
            short = False
            for change in (change for change in shown if _stage(change) == stage):
                was_short, short = short, self._is_short(change)
                lines += [] if was_short and short else [""]
                lines += self._change(change)
        return lines

    def _title(self) -> str:
        plan = self.plan
        commit = f", commit {safe(plan.commit[:12])}" if plan.commit else ""
        dirty = " with uncommitted changes" if plan.commit and plan.dirty else ""
        chosen = " ".join([*plan.globs, *(f"-l {key}={value}" for key, value in plan.labels)])
        only = f", only {safe(chosen)}" if chosen else ""
        return self.style.paint(f"{safe(plan.environment)} on {safe(plan.origin)}{commit}{dirty}{only}", "bold")

    def _is_shown(self, change: Change) -> bool:
        """Whether it has lines of its own: something happens or is kept from happening. One half of a replace stands for both."""
        if change.address in self.old_halves:
            return False
        told = change.reason in UNSATISFIED or change.reason is Reason.PINNED
        return self.verbose or change.action is not Action.NONE or told

    def _is_short(self, change: Change) -> bool:
        """One line is enough for what stays as it is."""
        return change.action is Action.NONE and change.reason not in UNSATISFIED

    def _change(self, change: Change) -> list[str]:
        old = self.old_halves.get(change.replaces or "")
        symbol, colour = REPLACE if old is not None else SYMBOLS[change.action]
        first = f"  {self.style.paint(symbol, colour)} {self._header(change)}"
        if self._is_short(change):
            recorded = "; its labels, rollout or file changed, which is recorded" if change.records else ""
            return [f"{first}  {safe(change.detail)}{recorded}"]
        return [first, *(f"      {line}" for line in self._details(change, old))]

    def _header(self, change: Change) -> str:
        parts = [self.style.paint(safe(change.address), "bold"), safe(change.model_id), _device(change) or ""]
        return "  ".join(part for part in parts if part)

    def _details(self, change: Change, old: Change | None) -> Iterator[str]:
        yield self._what(change) if old is None else self._replace(change, old)
        if change.action in {Action.DEPLOY, Action.ADOPT} and change.position and not change.fields:
            yield self.style.paint(f"written in {_place(change.position)}", "dim")
        if change.previous_name is not None and change.action is not Action.RENAME:
            yield f"renamed from {safe(change.previous_name)}"
        yield from self._fields(change.fields)
        if self.verbose and change.body is not None:
            yield from self._body(change)
        yield from self._waits(change, old)
        if change.hint is not None and change.reason not in _WARNED:
            yield self.style.paint(safe(change.hint), "cyan")

    def _what(self, change: Change) -> str:
        action = "left alone" if change.action is Action.NONE else str(change.action)
        job = f" {safe(change.job)}" if change.action is Action.FOLLOW and change.job else ""
        restarts = ""
        if change.restarts:
            restarts = f". {self.style.paint('The running model restarts.', 'yellow')}"
        return f"{action}{job}: {safe(change.detail)}{restarts}"

    def _replace(self, new: Change, old: Change) -> str:
        """The two halves in their order; why the new one is sent again, if it is."""
        why = "" if new.reason is Reason.NEW else f" ({safe(new.detail)})"
        first, second = f"{new.action} {safe(new.model_id)}{why}", f"undeploy {safe(old.model_id)}"
        if any(edge.because is Because.REPLACE for edge in new.waits_for):
            return f"replace: {second}, then {first}; nothing answers in between"
        return f"replace: {first}, then {second}"

    def _waits(self, change: Change, old: Change | None) -> Iterator[str]:
        for half in (change, old):
            if half is not None and half.job is not None and half.action is not Action.FOLLOW:
                yield f"waits for the running job {safe(half.job)}{'' if half is change else f' of {safe(half.address)}'}"
        for edge in change.waits_for:
            if edge.because is not Because.REPLACE or old is None:  # else the order is said above
                yield f"waits for {safe(edge.address)} ({edge.because})"

    def _fields(self, fields: Iterable[FieldChange]) -> Iterator[str]:
        rows = [(safe(f.path), f"{value_text(f.before)} → {value_text(f.after)}", _source(f)) for f in fields]
        paths = max((len(path) for path, _, _ in rows), default=0)
        values = min(max((len(value) for _, value, _ in rows), default=0), 44)
        for path, value, source in rows:
            yield f"{path:<{paths}}  {value:<{values}}  {self.style.paint(source, 'dim')}".rstrip()

    def _body(self, change: Change) -> Iterator[str]:
        for path, value in leaves("", json.loads(change.body or "{}")):
            yield self.style.paint(f"{safe(path)}: {value_text(value)}", "dim")

    def _notes(self) -> list[str]:
        """Bookkeeping is counted: moving a folder of manifests should not fill the screen."""
        quiet = sum(1 for change in self.plan.changes if change.records and self._is_short(change))
        if not quiet:
            return []
        what = "labels, rollout or manifest file changed; that is recorded, and nothing is sent"
        return [f"{count(quiet, 'unchanged deployment')}: {what}."]

    def _suspensions(self) -> list[str]:
        """Also where there is nothing to hold back: the next change would be."""
        return [self.style.paint(safe(one.in_words()), "yellow") for one in self.plan.silent_suspensions]

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


def _order(change: Change) -> tuple[bool, int, str]:
    """As `apply` walks them: waves rising, then undeploys with the waves falling."""
    last = _is_last(change)
    return (last, -change.rollout.wave if last else change.rollout.wave, change.address)


def _stage(change: Change) -> str:
    return "last, the highest wave first" if _is_last(change) else f"wave {change.rollout.wave}"


def _is_last(change: Change) -> bool:
    return change.action is Action.UNDEPLOY and change.reason is not Reason.MODEL_REPLACED


def _device(change: Change) -> str | None:
    device = json.loads(change.body).get("deviceType") if change.body is not None else None
    return safe(str(device)) if device else None


def _source(field: FieldChange) -> str:
    layer = f" ({safe(field.layer)})" if field.layer else ""
    return f"{_place(field.position)}{layer}" if field.position else layer.strip()


def _place(position: object) -> str:
    """`file:line`; the column says nothing to a reader of a plan."""
    return safe(str(position).rpartition(":")[0])


def leaves(prefix: str, value: Json) -> Iterator[tuple[str, Json]]:
    """Every field inside a value with its dotted path; an empty object is one too."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(f"{prefix}.{key}" if prefix else key, item)
    else:
        yield prefix, value
