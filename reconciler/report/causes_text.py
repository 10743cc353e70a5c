"""What a change under review causes and what rides along, as text and as JSON; `report.markdown` says it in a comment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from reconciler.model.plan import Plan
from reconciler.model.values import Json
from reconciler.plan.causes import Causes
from reconciler.report.style import Style, count, safe


def causes_text(causes: Sequence[Causes], plans: Iterable[Plan], style: Style) -> str:
    """A sentence an environment, and a line for each that rides along, is not done any more, or is an orphan."""
    by_environment = {plan.environment: plan for plan in plans}
    return "".join(f"{line}\n" for one in causes for line in _lines(one, by_environment[one.environment], style))


def causes_json(causes: Iterable[Causes]) -> list[Json]:
    """The same facts as JSON values."""
    return [
        {
            "environment": one.environment,
            "base": one.base,
            "commit": one.commit,
            "caused": list(one.caused),
            "ridesAlong": list(one.riding),
            "undone": list(one.undone),
            "orphaned": list(one.orphaned),
            "baseHasErrors": one.unread,
            "baseAhead": one.ahead,
        }
        for one in causes
    ]


def _lines(one: Causes, plan: Plan, style: Style) -> Iterator[str]:
    said = f"{count(len(one.caused), 'change')} caused here, {len(one.riding)} riding along"
    yield style.paint(f"{safe(plan.environment)}, compared with {safe(one.base)} at {one.commit[:12]}: {said}.", "bold")
    if one.unread:
        yield "  The base has manifests with errors; what is said of them there is not known."
    why = {change.address: f"{change.action}: {safe(change.detail)}" for change in plan.changes}
    for address in one.riding:
        yield f"  {style.paint('rides along', 'yellow')}  {safe(address)}  {why[address]}"
    for address in one.undone:
        yield f"  {style.paint('no longer', 'cyan')}    {safe(address)}"
    for address in one.orphaned:
        yield f"  {style.paint('orphaned', 'yellow')}     {safe(address)}  its manifest is gone, it keeps running"
