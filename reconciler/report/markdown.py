"""A plan as a comment on a pull request: Markdown that GitHub, GitLab and Gitea show alike.

One headline, what removes or restarts something first, a table with the places, then a `diff` fence a change; what is long
is folded. Each environment is a comment of its own that begins with a hidden marker, so that it can be updated in place, and
is cut into several where the forge's limit asks for it, never inside a fence.

Outside text stands in code spans and fences only, where neither Markdown, HTML, mentions nor GitLab's quick actions work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from reconciler.diagnostics import Diagnostic
from reconciler.model.plan import Action, Because, Change, FieldChange, Plan, Reason
from reconciler.plan.causes import Causes
from reconciler.plan.edges import UNSATISFIED
from reconciler.report.diagnostics import summary
from reconciler.report.findings import of_diagnostics, place_of
from reconciler.report.plan_text import LEFT_ALONE, REPLACE, SYMBOLS, leaves
from reconciler.report.style import count, one_line, safe, value_text

COMMENT_LIMIT = 65_536  # characters of a comment on GitHub; GitLab and Gitea take more
MOST_PARTS = 20  # comments for one environment; nobody reads more
MAX_FIELDS = 4  # fields that a row of the table names
MAX_LINE = 1000  # characters of a line in a fence
MAX_CODE = 300  # characters of inline code
OPEN_LINES = 40  # lines of fences that are shown without a click
MARKER = "<!-- reconciler:plan:"
MARKER_OF_ALL = "<!-- reconciler:plan -->"

_PLAIN = re.compile(r"[^`|\\\s](?:[^`|\\\n]*[^`|\\\s])?")  # may stand between single backticks, in a table too
_FENCE = re.compile(r"`{3,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Lines that may be cut between any two of them; `head` and `foot` then stand around each piece."""

    lines: tuple[str, ...]
    head: tuple[str, ...] = ()
    foot: tuple[str, ...] = ()


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
    limit: int = COMMENT_LIMIT,
    most: int = MOST_PARTS,
) -> tuple[str, ...]:
    """The comments, each with its marker in the first line and at most `limit` bytes long.

    `causes` by environment, where the plan was compared with a base.
    """
    return tuple(
        part
        for plan in plans
        for part in parts_of(
            list(_blocks(plan, (causes or {}).get(plan.environment))),
            limit=limit,
            most=most,
            first=partial(_marked, plan.environment),
        )
    )


def plan_summary(plans: Sequence[Plan], causes: Mapping[str, Causes] | None = None, *, limit: int) -> str:
    """Every plan in one text, for a job's summary; each may fill its share of the limit."""
    share = limit // max(1, len(plans))
    return "\n".join(plan_markdown(plans, causes, limit=share - 1, most=1))


def refusal_markdown(message: str, diagnostics: Sequence[Diagnostic], *, limit: int = COMMENT_LIMIT) -> str:
    """The comment where nothing can be planned: it stands for the plans of all environments."""
    words = Block(lines=("### Nothing can be planned", "", code(message)))
    return parts_of([words, *diagnostics_blocks(diagnostics)], limit=limit, most=1, first=lambda _: (MARKER_OF_ALL,))[0]


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


def code(text: str, most: int = MAX_CODE) -> str:
    """Outside text as inline code, fit for a table: nothing in it is read as Markdown or HTML."""
    text = one_line(safe(text), most)
    if not text:
        return ""
    return f"`{text}`" if _PLAIN.fullmatch(text) else f"<code>{_entities(text)}</code>"


def fenced(lines: Iterable[str], language: str, *, fold: str | None = None, title: str | None = None) -> Block:
    """A fence with more backticks than any of its lines has. `fold` is what to click on, `title` stands above."""
    kept = tuple(line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - 1]}…" for line in lines)
    longest = max((len(run) for line in kept for run in _FENCE.findall(line)), default=2)
    fence = "`" * (longest + 1)
    if fold is None:
        above = (f"**{title}**", "") if title else ()
        return Block(head=(*above, f"{fence}{language}"), lines=kept, foot=(fence,))
    opened = ("<details>", f"<summary>{fold}</summary>", "", f"{fence}{language}")
    return Block(head=opened, lines=kept, foot=(fence, "", "</details>"))


def parts_of(
    blocks: Sequence[Block], *, limit: int, most: int = MOST_PARTS, first: Callable[[int], Sequence[str]] = lambda _: ()
) -> tuple[str, ...]:
    """The blocks with a blank line between them, cut into texts of at most `limit` bytes (8 KiB or more).

    `first` gives each text its first lines. Beyond `most` texts the last one says how much is missing.
    """
    paper = _Paper(limit=limit, most=most, first=first)
    for block in blocks:
        paper.write(block)
    return paper.texts()


class _Paper:
    """Texts being filled, one line after the other."""

    def __init__(self, *, limit: int, most: int, first: Callable[[int], Sequence[str]]) -> None:
        self._limit, self._most, self._first = limit - _WORDS, most, first
        self._texts: list[list[str]] = []
        self._begun = 0  # lines of the last text that `first` gave
        self._room = 0
        self._missing = 0
        self._turn()

    def write(self, block: Block) -> None:
        whole = _size(("", *block.head, *block.lines, *block.foot))
        if self._room < whole <= self._limit:
            self._turn()
        is_open = False
        for line in block.lines:
            lines = (line,) if is_open else ("", *block.head, line)
            if _size(lines) + _size(block.foot) > self._room and not self._is_blank:
                self._put(block.foot if is_open else ())
                self._turn()
                lines, is_open = ("", *block.head, line), False
            if self._missing:
                self._missing += 1
            else:
                self._put(lines)
                is_open = True
        self._put(block.foot if is_open else ())

    def texts(self) -> tuple[str, ...]:
        if self._missing:
            words = f"**Cut here: {count(self._missing - 1, 'more line')}.** `reconciler plan` prints everything."
            self._texts[-1] += ["", words]
        return tuple("\n".join(lines) + "\n" for lines in self._texts)

    @property
    def _is_blank(self) -> bool:
        return len(self._texts[-1]) == self._begun

    def _put(self, lines: Sequence[str]) -> None:
        lines = lines[1:] if lines and not lines[0] and not self._texts[-1] else lines
        self._texts[-1] += lines
        self._room -= _size(lines)

    def _turn(self) -> None:
        """Begin another text; where there are enough already, what follows is only counted."""
        if len(self._texts) >= self._most:
            self._missing = self._missing or 1
            return
        self._texts.append([])
        self._room = self._limit
        self._put(self._first(len(self._texts)))
        self._begun = len(self._texts[-1])


_WORDS = 100  # bytes kept for the words at a cut


def _size(lines: Iterable[str]) -> int:
    return sum(len(line.encode("utf-8", "replace")) + 1 for line in lines)


def _marked(environment: str, number: int) -> tuple[str, ...]:
    """`<!-- reconciler:plan:production -->`, then `<!-- reconciler:plan:production:2 -->` and so on."""
    if number == 1:
        return (f"{MARKER}{environment} -->",)
    return (f"{MARKER}{environment}:{number} -->", f"### {code(environment)}, continued ({number})")


def _blocks(plan: Plan, causes: Causes | None) -> Iterator[Block]:
    rows = sorted(_rows(plan), key=lambda row: (_RANK[row.kind], row.change.address))
    riding = frozenset(causes.riding) if causes else frozenset()
    own = [row for row in rows if row.change.address not in riding]
    others = [row for row in rows if row.change.address in riding]
    yield Block(lines=(f"### {_headline(plan, rows)}",))
    yield Block(lines=tuple(_about(plan, causes, len(others))))
    if plan.guards:
        refused = [f"{safe(guard.message)} ({guard.code}); {safe(guard.flag)} allows it" for guard in plan.guards]
        yield fenced(refused, "text", title="Refused until a person allows it:")
    yield from _section(own)
    if others:
        yield Block(lines=(f"#### {count(len(others), 'change')} not caused here, applied all the same",))
        yield from _section(others)
    if causes and causes.undone:
        names = ", ".join(code(address) for address in causes.undone)
        yield Block(lines=(f"No longer to be done because of this: {names}.",))
    if plan.warnings:
        yield fenced(_warnings(plan), "text", title="Runs without a manifest:")
    yield Block(lines=(f"<sub>{_foot(plan)}</sub>",))


def _warnings(plan: Plan) -> Iterator[str]:
    hints = {c.address: c.hint for c in plan.changes if c.hint and c.reason in {Reason.ORPHAN, Reason.PROTECTED}}
    for warning in plan.warnings:
        yield safe(warning)
        hint = hints.get(warning.partition(" ")[0])
        yield from [f"  {safe(hint)}"] if hint else []


def _rows(plan: Plan) -> Iterator[_Row]:
    """What is done, and what is kept from being done; the old half of a replace stands in its new half's row."""
    halves = {change.replaces for change in plan.changes if change.replaces is not None}
    by_address = {change.address: change for change in plan.changes}
    for change in plan.changes:
        if change.address in halves:
            continue
        if change.action is not Action.NONE or change.reason in UNSATISFIED:
            yield _Row(change=change, old=by_address.get(change.replaces or ""))


def _headline(plan: Plan, rows: Sequence[_Row]) -> str:
    """`2 redeploys, 1 new, 41 unchanged in production`."""
    kinds = [row.kind for row in rows]
    parts = []
    for kind, (one, several) in _COUNTED.items():
        number = kinds.count(kind)
        parts += [f"{number} {one if number == 1 else several}"] if number else []
    parts = parts or ["Nothing to do"]
    quiet = [change for change in plan.changes if change.action is Action.NONE and change.reason not in UNSATISFIED]
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
    if causes.unread:
        yield "The base has manifests with errors; what is said of them there is not known."


def _section(rows: Sequence[_Row]) -> Iterator[Block]:
    if not rows:
        return
    head = ("| | deployment | model | why | where |", "| --- | --- | --- | --- | --- |")
    yield Block(head=head, lines=tuple(_table_row(row) for row in rows))
    diffs = [(row, tuple(_diff(row))) for row in rows]
    is_long = sum(len(lines) for _, lines in diffs) > OPEN_LINES
    for row, lines in diffs:
        # Each folded by itself: a fold that spans several comments would not close.
        yield fenced(lines, "diff", fold=_fold(row) if is_long else None)


def _fold(row: _Row) -> str:
    """Inside <summary> there is HTML and no Markdown, so no backticks either."""
    return f"{row.symbol} <code>{_entities(safe(row.change.address))}</code> {row.kind}"


def _entities(text: str) -> str:
    """For HTML and Markdown at once: whatever could mean something to either is spelled as a number."""
    return "".join(char if char.isalnum() or char in " /.-" else f"&#{ord(char)};" for char in text)


def _table_row(row: _Row) -> str:
    change = row.change
    where = place_of(change)
    place = code(f"{where.file}:{where.line}") if where else ""
    model = code(change.model_id)
    if row.old is not None:
        model = f"{code(row.old.model_id)} → {model}"
    kind = f"{row.symbol} **{row.kind}**{', restarts' if change.restarts else ''}"
    return f"| {kind} | {code(change.address)} | {model} | {_short_why(row)} | {place} |"


def _short_why(row: _Row) -> str:
    """The fields that differ, where that is the reason; the fence below has it all."""
    fields = row.change.fields
    if row.old is not None or row.change.reason is not Reason.BODY_CHANGED or not fields:
        return code(_order(row) if row.old is not None else row.change.detail)
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
    yield f"@@ {safe(change.address)}: {row.kind} @@"
    for note in _notes(row):
        yield f"# {note}"
    if change.fields:
        for field in change.fields:
            yield from _field(field)
    elif change.action is Action.DEPLOY and change.body is not None:
        yield f"+ modelId: {value_text(change.model_id)}"
        for path, value in leaves("", json.loads(change.body)):
            yield f"+ {safe(path)}: {value_text(value)}"
    elif change.action is Action.UNDEPLOY:
        yield f"- modelId: {value_text(change.model_id)}"


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
    changes = any(change.action.sends for change in plan.changes)
    return "Done when it is merged and `reconciler apply` runs." if changes else "Nothing is sent to the platform."
