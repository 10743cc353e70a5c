"""desired x applied -> changes: the classification table of DESIGN.md, and nothing else. Pure.

`table` holds the table, `differ` reads it for every address, `fields` compares bodies, `replaces` joins the halves of a replace.
`plan.build` adds dependencies, selection and guards to what comes out of here.
"""

from __future__ import annotations

from datetime import datetime

from reconciler.diff.differ import Differ, Naming, metadata_of
from reconciler.diff.replaces import with_replace_edges
from reconciler.diff.table import TABLE, Wish, cell_of
from reconciler.model.applied import Applied
from reconciler.model.plan import Change
from reconciler.model.resource import Desired, Locate


def diff(desired: Desired, applied: Applied, *, prune: bool, now: datetime, locate: Locate) -> tuple[Change, ...]:
    """Every address of one environment with its action and reason, sorted by address.

    `applied.lock` must be None unless its holder may be alive. `now` decides only whether suspensions have lapsed.
    """
    wanted = {resource.model_id for resource in desired.resources}
    gone = sorted((e for e in applied.entries.values() if e.model_id not in wanted), key=lambda e: e.model_id)
    names = Naming.of(desired, gone)
    differ = Differ(desired=desired, applied=applied, prune=prune, now=now, locate=locate, names=names)
    changes = [differ.of_resource(resource) for resource in desired.resources]
    changes += [change for entry in gone if (change := differ.of_gone(entry)) is not None]
    changes += differ.of_broken({change.address for change in changes})
    changes.sort(key=lambda change: change.address)
    return tuple(with_replace_edges(changes))


__all__ = ["TABLE", "Wish", "cell_of", "diff", "metadata_of"]
