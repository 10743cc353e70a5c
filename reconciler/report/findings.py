"""Diagnostics and plans as findings: what annotations, code quality, SARIF and JUnit have in common.

A finding has a stable code, a level, one place and one sentence. `report.github`, `report.gitlab`, `report.sarif` and
`report.junit` give it the shape that a forge reads; texts here are harmless (`safe`), escaping for a format is theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256

from reconciler.diagnostics import Diagnostic, Position, Severity
from reconciler.load.codes import CODES
from reconciler.model.plan import Action, Change, Plan, Reason
from reconciler.plan.edges import UNSATISFIED
from reconciler.report.style import one_line, safe, value_text

MAX_MESSAGE = 2000  # characters
MAX_FIELDS = 5  # field changes that a finding names; the plan itself has them all


class Level(StrEnum):
    """An error refuses, a warning is worth a look, a note is for information."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a code means."""

    title: str
    meaning: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to tell, at one place. `subject` is an address, or the field's path in a file."""

    code: str
    level: Level
    message: str
    subject: str = ""
    position: Position | None = None

    @property
    def rule(self) -> Rule:
        return RULES[self.code]

    def file(self, elsewhere: str) -> str:
        """The file it lies in; `elsewhere` for what has no place of its own."""
        return safe(self.position.file) if self.position else elsewhere

    def fingerprint(self, elsewhere: str, number: int = 0) -> str:
        """The same as long as the finding is the same: without the line, because what only moves is not new.

        `number` tells apart those that are alike.
        """
        text = f"{self.code}\n{self.file(elsewhere)}\n{self.subject}\n{self.message}\n{number}"
        return sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


# Where a plan's findings come from. Undeploys and restarts are warnings: somebody's calls fail meanwhile.
PLAN_RULES: dict[str, Rule] = {
    "plan/deploy": Rule(
        title="new deployment",
        meaning="Applying deploys a model that the state does not know.",
        remedy="Nothing to mend; review it.",
    ),
    "plan/redeploy": Rule(
        title="redeployment",
        meaning="Applying deploys a new version; the running model restarts.",
        remedy="Nothing to mend; review it.",
    ),
    "plan/undeploy": Rule(
        title="undeployment",
        meaning="Applying removes every instance of the model; whoever calls it fails from then on.",
        remedy="Put the manifest back, or protect it with `rollout.protect: true`.",
    ),
    "plan/retry": Rule(
        title="another try", meaning="The last attempt failed; applying sends it again.", remedy="See why it failed."
    ),
    "plan/adopt": Rule(
        title="adoption",
        meaning="Applying records what already runs as live, without a call.",
        remedy="Nothing to mend; check that it runs as the manifest says.",
    ),
    "plan/rename": Rule(
        title="new name", meaning="Applying records another name; the model is not touched.", remedy="Nothing to mend."
    ),
    "plan/follow": Rule(
        title="running job", meaning="A job of an earlier run has not ended; applying follows it.", remedy="Wait."
    ),
    "plan/hold": Rule(
        title="unknown outcome",
        meaning="Whether the platform did what it was asked cannot be told; nothing is sent until a person says so.",
        remedy="`reconciler resolve`; `reconciler explain` says how.",
    ),
    "plan/left-alone": Rule(
        title="left alone",
        meaning="It is not as the manifests say, and stays so: suspended, quarantined, rolled back or broken.",
        remedy="`reconciler explain` says what unblocks it.",
    ),
    "plan/orphan": Rule(
        title="orphan",
        meaning="It runs without a manifest.",
        remedy="Put the manifest back, undeploy it, or forget it.",
    ),
    "plan/guard": Rule(
        title="guard", meaning="Applying is refused until a person allows it.", remedy="Read the plan, then allow it."
    ),
    "plan/refused": Rule(
        title="no plan",
        meaning="Nothing can be planned, so nothing is known of what applying would do.",
        remedy="Do what the message says.",
    ),
    "plan/ride-along": Rule(
        title="rides along",
        meaning="Applying does this too, although the change under review does not cause it.",
        remedy="Apply what is merged first, or see why it failed.",
    ),
}
RULES: dict[str, Rule] = {
    **{code: Rule(title=title, meaning=meaning, remedy=remedy) for code, (title, meaning, remedy) in CODES.items()},
    **PLAN_RULES,
}

_LEVELS = {Severity.ERROR: Level.ERROR, Severity.WARNING: Level.WARNING}
_ALARMING = frozenset({Action.UNDEPLOY, Action.HOLD})
# Not as the manifests say, and left so: a person or a mistake keeps it from being done.
KEPT_BACK = UNSATISFIED | {Reason.PINNED}
_ORPHANS = frozenset({Reason.ORPHAN, Reason.PROTECTED})
_LEFT = _ORPHANS | {Reason.MANIFEST_GONE}


def of_diagnostics(diagnostics: Iterable[Diagnostic]) -> tuple[Finding, ...]:
    """One finding a diagnostic, in their order."""
    return tuple(
        Finding(
            code=one.code,
            level=_LEVELS[one.severity],
            message=_sentence(one),
            subject=safe(one.path),
            position=one.position,
        )
        for one in diagnostics
    )


def of_refusal(message: str) -> Finding:
    """Why nothing can be planned, where no file is to blame."""
    return Finding(code="plan/refused", level=Level.ERROR, message=one_line(safe(message), MAX_MESSAGE))


def of_plans(plans: Sequence[Plan], riding: Collection[str] = ()) -> tuple[Finding, ...]:
    """What applying would do and what keeps it from it: guards first, then the changes in the order of their addresses.

    `riding` are the addresses whose changes are not caused by what is under review.
    """
    return tuple(finding for plan in plans for finding in (*_guards(plan), *_changes(plan, riding)))


def below(findings: Iterable[Finding], folder: str) -> tuple[Finding, ...]:
    """The same findings as seen from above the project: forges name files from the root of the repository."""
    if not folder:
        return tuple(findings)
    return tuple(replace(one, position=_moved(one.position, folder)) if one.position else one for one in findings)


def _moved(position: Position, folder: str) -> Position:
    return replace(position, file=f"{folder}/{position.file}")


def of_change(change: Change) -> Finding | None:
    """None for what stays as it is."""
    if change.action is not Action.NONE:
        return _finding(change, f"plan/{change.action}", _level(change))
    if change.reason in _ORPHANS:
        return _finding(change, "plan/orphan", Level.WARNING)
    if change.reason in KEPT_BACK:
        return _finding(change, "plan/left-alone", Level.WARNING)
    return None


def _sentence(one: Diagnostic) -> str:
    where = f" (in {safe(one.environment)})" if one.environment else ""
    parts = [f"{safe(one.path)}: " if one.path else "", safe(one.message), where]
    if one.value is not None:
        parts.append(f"; it is {safe(one.value)}")
    if one.allowed is not None:
        parts.append(f"; allowed: {safe(one.allowed)}")
    text = "".join(parts)
    return f"{text}. {safe(one.suggestion)}" if one.suggestion else text


def _guards(plan: Plan) -> Iterator[Finding]:
    for guard in plan.guards:
        message = f"{safe(guard.message)} ({guard.code}); {safe(guard.flag)} allows it"
        yield Finding(code="plan/guard", level=Level.ERROR, message=message, subject=safe(plan.environment))


def _changes(plan: Plan, riding: Collection[str]) -> Iterator[Finding]:
    for change in plan.changes:
        finding = of_change(change)
        if finding is not None:
            yield _as_passenger(finding) if change.address in riding else finding


def _as_passenger(finding: Finding) -> Finding:
    message = f"{finding.message}; this rides along: it was pending before"
    return replace(finding, code="plan/ride-along", message=message)


def _level(change: Change) -> Level:
    return Level.WARNING if change.restarts or change.action in _ALARMING else Level.NOTE


def _finding(change: Change, code: str, level: Level) -> Finding:
    what = "left alone" if change.action is Action.NONE else str(change.action)
    parts = [f"{safe(change.address)}: {what}, {safe(change.detail)}"]
    parts += [f"it was in {safe(gone)}"] if (gone := left_file(change)) else []
    parts += ["the running model restarts"] if change.restarts else []
    shown = change.fields[:MAX_FIELDS]
    parts += [f"{safe(f.path)} {value_text(f.before)} → {value_text(f.after)}" for f in shown]
    left = len(change.fields) - len(shown)
    parts += [f"and {left} more"] if left else []
    return Finding(
        code=code, level=level, message="; ".join(parts), subject=safe(change.address), position=place_of(change)
    )


def left_file(change: Change) -> str | None:
    """The file that a deployment without a manifest was last seen in."""
    return change.metadata.manifest if change.reason in _LEFT else None


def place_of(change: Change) -> Position | None:
    """Where the cause is written: of the first field that differs and has a place, else of the manifest."""
    return next((field.position for field in change.fields if field.position is not None), change.position)
