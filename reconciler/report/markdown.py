"""A plan as a comment on a pull request: Markdown that GitHub, GitLab and Gitea show alike.

One headline, what removes or restarts something first, a table with the places, then a `diff` fence a change; what is long
is folded. Each environment is a comment of its own that begins with a hidden marker, so that it can be updated in place, and
is cut into several where the forge's limit asks for it, never inside a fence.

Outside text stands in code spans and fences only, where neither Markdown, HTML, mentions nor GitLab's quick actions work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from textwrap import wrap
from typing import TypeAlias

from reconciler.diagnostics import Diagnostic, Position
from reconciler.model.plan import Action, Because, Change, FieldChange, Plan, Reason
from reconciler.plan.causes import Causes
from reconciler.report.diagnostics import summary
from reconciler.report.findings import KEPT_BACK, left_file, of_diagnostics, place_of
from reconciler.report.paper import MOST_PARTS, Block, code, entities, fenced, parts_of, prose
from reconciler.report.plan_text import LEFT_ALONE, REPLACE, SYMBOLS, leaves
from reconciler.report.style import count, safe, value_text

COMMENT_LIMIT = 65_536  # characters of a comment on GitHub; GitLab and Gitea take more
MAX_FIELDS = 4  # fields that a row of the table names
OPEN_LINES = 40  # lines of fences that are shown without a click
MARKER = "<!-- reconciler:plan:"
MARKER_OF_ALL = "<!-- reconciler:plan -->"
MAX_SENTENCE = 100  # columns of a sentence in a fence, which does not wrap by itself

Link: TypeAlias = Callable[[Position], str | None]  # the address that shows a place, where a forge has it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One line of the table: a change, or a replace with its other half."""

    change: Change
    old: Change | None = None

    @property
    def kind(self) -> str:
        if self.old is not None:
            return "replace"
        return "left alone" if self.change.action is Action.NONE else str(self.change.action)

    @property
    def symbol(self) -> str:
        return REPLACE[0] if self.old is not None else SYMBOLS[self.change.action][0]


# What the headline counts, in its order, which is also that of the table: singular and plural. What interrupts comes first.
_COUNTED: Mapping[str, tuple[str, str]] = {
    "undeploy": ("undeploy", "undeploys"),
    "replace": ("replace", "replaces"),
    "redeploy": ("redeploy", "redeploys"),
    "retry": ("retry", "retries"),
    "hold": ("on hold", "on hold"),
    "deploy": ("new", "new"),
    "adopt": ("adopted", "adopted"),
    "rename": ("renamed", "renamed"),
    "follow": ("job followed", "jobs followed"),
    "left alone": ("left alone", "left alone"),
}
_RANK = {kind: rank for rank, kind in enumerate(_COUNTED)}


def plan_markdown(
    plans: Sequence[Plan],
    causes: Mapping[str, Causes] | None = None,
    *,
    link: Mapping[str, Link] | None = None,
    limit: int = COMMENT_LIMIT,
    most: int = MOST_PARTS,
) -> tuple[str, ...]:
    """The comments, each with its marker in the first line and at most `limit` bytes long.

    `causes` by environment, where the plan was compared with a base; `link` by environment, where the forge shows the files.
    """
    return tuple(
        part
        for plan in plans
        for part in parts_of(
            list(_blocks(plan, (causes or {}).get(plan.environment), (link or {}).get(plan.environment, _no_link))),
            limit=limit,
            most=most,
            first=partial(_marked, plan.environment),
        )
    )


def plan_summary(
    plans: Sequence[Plan],
    causes: Mapping[str, Causes] | None = None,
    *,
    link: Mapping[str, Link] | None = None,
    limit: int,
) -> str:
    """Every plan in one text, for a job's summary; each may fill its share of the limit."""
    share = limit // max(1, len(plans))
    return "\n".join(plan_markdown(plans, causes, link=link, limit=share - 1, most=1))


def refusal_markdown(
    words: Sequence[str], diagnostics: Sequence[Diagnostic] = (), *, limit: int = COMMENT_LIMIT
) -> str:
    """The comment where nothing can be planned: it stands for the plans of all environments.

    `words` say why where diagnostics do not.
    """
    blocks = [Block(lines=("### Nothing can be planned",)), *diagnostics_blocks(diagnostics)]
    if not diagnostics:
        blocks.append(fenced([line for text in words for line in _wrapped(safe(text))], "text"))
    return parts_of(blocks, limit=limit, most=1, first=lambda _: (MARKER_OF_ALL,))[0]


def diagnostics_blocks(diagnostics: Sequence[Diagnostic]) -> Iterator[Block]:
    """A table of what is wrong, and how much that is."""
    if not diagnostics:
        return
    rows = tuple(
        f"| {one.level} | {code(str(one.position or ''))} | {code(one.message)} | {code(one.code)} |"
        for one in of_diagnostics(diagnostics)
    )
    yield Block(head=("| | where | what | code |", "| --- | --- | --- | --- |"), lines=rows)
    yield Block(lines=(summary(diagnostics),))


def _marked(environment: str, number: int) -> tuple[str, ...]:
    """`<!-- reconciler:plan:production -->`, then `<!-- reconciler:plan:production:2 -->` and so on."""
    if number == 1:
        return (f"{MARKER}{environment} -->",)
    return (f"{MARKER}{environment}:{number} -->", f"### {code(environment)}, continued ({number})")


def _no_link(_: Position) -> None:
    """Nobody shows it."""


def _blocks(plan: Plan, causes: Causes | None, link: Link) -> Iterator[Block]:
    rows = sorted(_rows(plan), key=lambda row: (_RANK[row.kind], row.change.address))
    riding = frozenset(causes.riding) if causes else frozenset()
    own = [row for row in rows if row.change.address not in riding]
    others = [row for row in rows if row.change.address in riding]
    yield Block(lines=(f"### {_headline(plan, rows)}",))
    yield Block(lines=tuple(_about(plan, causes, len(others))))
    if plan.silent_suspensions:
        yield fenced(_suspensions(plan), "text", title="Suspended:")
    if plan.guards:
        yield fenced(_refusals(plan), "text", title="Refused until a person allows it:")
    yield from _section(own, link)
    if others:
        yield Block(lines=(f"#### {count(len(others), 'change')} not caused here, applied all the same",))
        yield from _section(others, link)
    if causes:
        yield from _beside(causes)
    if plan.warnings:
        yield fenced(_warnings(plan), "text", title="Runs without a manifest:")
    yield Block(lines=(f"<sub>{_foot(plan)}</sub>",))


def _suspensions(plan: Plan) -> Iterator[str]:
    """Also where there is nothing to hold back: the next change would be."""
    for one in plan.silent_suspensions:
        yield from _wrapped(safe(one.in_words()))


def _refusals(plan: Plan) -> Iterator[str]:
    for guard in plan.guards:
        yield from _wrapped(f"{safe(guard.message)} ({guard.code})")
        yield from _wrapped(f"  {safe(guard.flag)} allows it")


def _beside(causes: Causes) -> Iterator[Block]:
    """What the change under review does without a call."""
    for words, addresses in (
        ("No longer to be done because of this", causes.undone),
        ("Left without a manifest because of this, and still running", causes.orphaned),
    ):
        if addresses:
            yield Block(lines=(f"{words}: {', '.join(map(code, addresses))}.",))


def _warnings(plan: Plan) -> Iterator[str]:
    hints = {c.address: c.hint for c in plan.changes if c.hint and c.reason in {Reason.ORPHAN, Reason.PROTECTED}}
    for warning in plan.warnings:
        yield from _wrapped(safe(warning))
        hint = hints.get(warning.partition(" ")[0])
        yield from _wrapped(f"  {safe(hint)}") if hint else []


def _wrapped(text: str) -> list[str]:
    return wrap(text, MAX_SENTENCE, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _rows(plan: Plan) -> Iterator[_Row]:
    """What is done, and what is kept from being done; the old half of a replace stands in its new half's row."""
    halves = {change.replaces for change in plan.changes if change.replaces is not None}
    by_address = {change.address: change for change in plan.changes}
    for change in plan.changes:
        if change.address in halves:
            continue
        if change.action is not Action.NONE or change.reason in KEPT_BACK:
            yield _Row(change=change, old=by_address.get(change.replaces or ""))


def _headline(plan: Plan, rows: Sequence[_Row]) -> str:
    """`2 redeploys, 1 new, 41 unchanged in production`."""
    kinds = [row.kind for row in rows]
    parts = []
    for kind, (one, several) in _COUNTED.items():
        number = kinds.count(kind)
        parts += [f"{number} {one if number == 1 else several}"] if number else []
    parts = parts or ["Nothing to do"]
    quiet = [change for change in plan.changes if change.action is Action.NONE and change.reason not in KEPT_BACK]
    orphans = sum(change.reason in LEFT_ALONE for change in quiet)
    parts += [count(orphans, "orphan")] if orphans else []
    parts.append(f"{len(quiet) - orphans} unchanged")
    return f"{', '.join(parts)} in {code(plan.environment)}"


def _about(plan: Plan, causes: Causes | None, riding: int) -> Iterator[str]:
    """What was planned against what, in a sentence or two."""
    commit = f" at commit {code(plan.commit[:12])}" if plan.commit else ""
    dirty = ", with changes that are not committed" if plan.commit and plan.dirty else ""
    chosen = " ".join([*plan.globs, *(f"-l {key}={value}" for key, value in plan.labels)])
    only = f", only {code(chosen)}" if chosen else ""
    yield f"What applying would do on {code(plan.origin)}{commit}{dirty}{only}."
    if causes is None:
        return
    compared = f"compared with {code(causes.base)} at {code(causes.commit[:12])}"
    if riding:
        yield f"**{riding} of it {'rides' if riding == 1 else 'ride'} along**: pending already, {compared}."
    else:
        yield f"All of it is caused here, {compared}." if causes.caused else f"Nothing is caused here, {compared}."
    if causes.ahead:
        yield (
            f"**{code(causes.base)} has {count(causes.ahead, 'commit')} that {'is' if causes.ahead == 1 else 'are'} not planned"
            " here**: merging keeps what they did, also where this plan takes it back. Bring the branch up to date to see it."
        )
    if causes.unread:
        yield "The base has manifests with errors; what is said of them there is not known."


def _section(rows: Sequence[_Row], link: Link) -> Iterator[Block]:
    if not rows:
        return
    head = ("| | deployment | where | why |", "| --- | --- | --- | --- |")
    yield Block(head=head, lines=tuple(_table_row(row, link) for row in rows))
    diffs = [(row, tuple(_diff(row))) for row in rows]
    is_long = sum(len(lines) for _, lines in diffs) > OPEN_LINES
    for row, lines in diffs:
        # Each folded by itself: a fold that spans several comments would not close.
        yield fenced(lines, "diff", fold=_fold(row) if is_long else None)


def _fold(row: _Row) -> str:
    """Inside <summary> there is HTML and no Markdown, so no backticks either."""
    return f"{row.symbol} <code>{entities(safe(row.change.address))}</code> {row.kind}"


def _table_row(row: _Row, link: Link) -> str:
    """The place is what a reviewer looks for, so nothing that is wide stands before it: the headline has the environment,
    the fence the model.
    """
    change = row.change
    restarts = ",&nbsp;restarts" if change.restarts else ""
    kind = f"{row.symbol}&nbsp;**{row.kind}**{restarts}"
    name = change.address.removeprefix(f"{change.environment}/")
    return f"| {kind} | {code(name)} | {_where(change, link)} | {_short_why(row)} |"


def _where(change: Change, link: Link) -> str:
    place = place_of(change)
    if place is None:
        return f"no longer in {code(gone)}" if (gone := left_file(change)) else ""
    shown, address = code(f"{place.file}:{place.line}"), link(place)
    return f"[{shown}]({address})" if address else shown


def _short_why(row: _Row) -> str:
    """The fields that differ, where that is the reason; the fence below has it all."""
    fields = row.change.fields
    if row.old is not None or row.change.reason is not Reason.BODY_CHANGED or not fields:
        return prose(_order(row) if row.old is not None else row.change.detail)
    names = ", ".join(code(field.path) for field in fields[:MAX_FIELDS])
    return names if len(fields) <= MAX_FIELDS else f"{names} and {len(fields) - MAX_FIELDS} more"


def _why(row: _Row) -> str:
    restarts = "; the running model restarts" if row.change.restarts else ""
    if row.old is not None:
        return f"{_order(row)}{restarts}"
    return f"{safe(row.change.detail)}{restarts}"


def _order(row: _Row) -> str:
    """Which half of a replace comes first."""
    if any(edge.because is Because.REPLACE for edge in row.change.waits_for):
        return "undeploys, then deploys; nothing answers in between"
    return "deploys, then undeploys"


def _diff(row: _Row) -> Iterator[str]:
    """The lines of a change's fence: `-` before, `+` after, what else is to know behind `#`."""
    change = row.change
    yield f"@@ {safe(change.address)}: {row.kind} @@{'' if _shows_model(row) else f' {safe(change.model_id)}'}"
    for note in _notes(row):
        yield f"# {note}"
    if change.fields:
        for field in change.fields:
            yield from _field(field)
    elif _is_new(change):
        yield f"+ modelId: {value_text(change.model_id)}"
        for path, value in leaves("", json.loads(change.body or "{}")):
            yield f"+ {safe(path)}: {value_text(value)}"
    elif change.action is Action.UNDEPLOY:
        yield f"- modelId: {value_text(change.model_id)}"


def _shows_model(row: _Row) -> bool:
    """Whether the lines themselves say which model it is."""
    change = row.change
    return row.old is not None or change.action is Action.UNDEPLOY or (_is_new(change) and not change.fields)


def _is_new(change: Change) -> bool:
    return change.action is Action.DEPLOY and change.body is not None


def _notes(row: _Row) -> Iterator[str]:
    change = row.change
    yield _why(row)
    if change.previous_name is not None:
        yield f"renamed from {safe(change.previous_name)}"
    if change.job is not None:
        yield (
            f"waits for the running job {safe(change.job)}" if change.action is not Action.FOLLOW else safe(change.job)
        )
    for edge in change.waits_for:
        if edge.because is not Because.REPLACE or row.old is None:
            yield f"waits for {safe(edge.address)} ({edge.because})"
    if change.rollout.wave:
        yield f"wave {change.rollout.wave}"
    if change.hint is not None:
        yield safe(change.hint)


def _field(field: FieldChange) -> Iterator[str]:
    layer = f" ({safe(field.layer)})" if field.layer else ""
    place = f"  # {safe(field.position.file)}:{field.position.line}{layer}" if field.position else ""
    if field.before is not None:
        yield f"- {safe(field.path)}: {value_text(field.before)}{'' if field.after is not None else place}"
    if field.after is not None:
        yield f"+ {safe(field.path)}: {value_text(field.after)}{place}"


def _foot(plan: Plan) -> str:
    if not any(change.action.sends for change in plan.changes):
        return "Nothing is sent to the platform."
    if plan.guards:
        return "`reconciler apply` refuses this until a person allows it."
    return "Done when it is merged and `reconciler apply` runs."
