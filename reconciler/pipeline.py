"""The path of DESIGN.md, one call per step: snapshot -> desired -> plan -> outcomes.

`cli` (and, later, the watch loop) call these three; what they are given is chosen in `wiring`. `check` and `make_plan` are
pure; `apply_plan` is the one step that does something.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from reconciler.diagnostics import Diagnostic, errors_counted, errors_in, in_order
from reconciler.errors import InvalidInput
from reconciler.load import Memo, load, places_in
from reconciler.load.project import Settled, at_their_lines
from reconciler.load.yaml import MAX_MISTAKES
from reconciler.model.resource import Desired, Environment, Locate
from reconciler.model.snapshot import Snapshot
from reconciler.resolve import locator, resolve

if TYPE_CHECKING:  # who only validates needs no plan, and who only plans no event loop
    from reconciler.apply.context import RunContext
    from reconciler.apply.journal import Journal
    from reconciler.model.applied import Applied
    from reconciler.model.plan import Plan
    from reconciler.model.run import RunReport
    from reconciler.plan.build import Choices
    from reconciler.platform.api import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the manifests say, for every environment, and everything that is wrong with them."""

    snapshot: Snapshot
    environments: Mapping[str, Environment]
    desired: Mapping[str, Desired]
    diagnostics: tuple[Diagnostic, ...]
    locate: Locate

    def or_refuse(self) -> Checked:
        """Itself. Raises InvalidInput with every diagnostic when any of them is an error."""
        wrong = errors_in(self.diagnostics)
        if wrong:
            raise InvalidInput(errors_counted(len(wrong)), diagnostics=self.diagnostics)
        return self


def check(snapshot: Snapshot, project: Settled, memo: Memo | None = None) -> Checked:
    """Load and resolve everything, over all environments."""
    loaded = load(snapshot.files, project.widening, memo)
    places = places_in(snapshot.files, snapshot.project)
    of_mistakes = places_in(snapshot.files, snapshot.project, at_most=MAX_MISTAKES)
    unread = {d.position.file if d.position else "" for d in snapshot.diagnostics}
    resolved = resolve(loaded, project.environments, memo, places=of_mistakes, unread=unread)
    listed = at_their_lines(snapshot.diagnostics, project, of_mistakes)
    found = (*listed, *(d for file in loaded for d in file.diagnostics), *resolved.diagnostics)
    return Checked(
        snapshot=snapshot,
        environments={environment.name: environment for environment in project.environments},
        desired={desired.environment: desired for desired in resolved.desired},
        diagnostics=in_order(found),
        locate=locator(loaded, project.environments, places),
    )


def make_plan(
    checked: Checked, environment: str, applied: Applied, *, now: datetime, choices: Choices | None = None
) -> Plan:
    """What applying would do in one environment. Raises UsageError for a selection that cannot be applied on its own."""
    from reconciler.diff import diff
    from reconciler.model.applied import without_lapsed
    from reconciler.plan.build import USUAL_CHOICES, build_plan

    where, desired = checked.environments[environment], checked.desired[environment]
    changes = diff(desired, applied, prune=where.prune, now=now, locate=checked.locate)
    provenance = checked.snapshot.provenance
    return build_plan(
        changes, without_lapsed(applied, now), where, provenance=provenance, choices=choices or USUAL_CHOICES
    )


async def apply_plan(plan: Plan, platform: Platform, journal: Journal, context: RunContext) -> RunReport:
    """Do what the plan says, follow every job, record everything. Raises what stops a run before it sends anything."""
    from reconciler.apply.executor import run_plan

    return await run_plan(plan, platform, journal, context=context)
