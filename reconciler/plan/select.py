"""Which changes a command is about: address globs and labels. A selection only ever leaves out; it never adds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from reconciler.errors import UsageError
from reconciler.model.plan import Action, Change
from reconciler.plan.edges import is_satisfied


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """`globs` match a name or a whole address, any of them; `labels` must all be there. Empty selects everything."""

    globs: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    def takes(self, change: Change) -> bool:
        """Whether a change is asked for by itself; `select` adds the other half of a replace."""
        named = not self.globs or any(
            fnmatchcase(s, glob) for glob in self.globs for s in (change.name, change.address)
        )
        return named and set(self.labels) <= set(change.metadata.labels)


EVERYTHING = Selection()


def select(changes: tuple[Change, ...], selection: Selection) -> tuple[Change, ...]:
    """The selected changes. Raises UsageError when nothing matches, or naming what a selected change would wait for."""
    if selection == EVERYTHING:
        return changes
    chosen = {change.address for change in changes if selection.takes(change)}
    if changes and not chosen:
        raise UsageError(
            f"The selection matches nothing: {_say(selection)}",
            next_step="`reconciler status` lists the addresses; a glob matches a name or a whole address.",
        )
    chosen |= {change.replaces for change in changes if change.replaces is not None and change.address in chosen}
    taken = tuple(change for change in changes if change.address in chosen)
    _refuse_missing(taken, [change for change in changes if change.address not in chosen])
    return taken


def _refuse_missing(taken: Iterable[Change], left_out: list[Change]) -> None:
    unsettled = {c.address: c for c in left_out if c.action is not Action.NONE or not is_satisfied(c)}
    in_waves = (c for c in unsettled.values() if c.action is not Action.UNDEPLOY)
    first = min(in_waves, key=lambda c: (c.rollout.wave, c.address), default=None)
    for change in taken:
        if not change.action.sends:
            continue
        for edge in change.waits_for:
            if edge.address in unsettled:
                raise _missing(change, unsettled[edge.address], f"it waits for it ({edge.because})")
        if change.action is Action.UNDEPLOY:
            continue  # undeploys follow nobody's wave
        if first is not None and first.rollout.wave < change.rollout.wave:
            raise _missing(change, first, f"its wave {change.rollout.wave} comes after wave {first.rollout.wave}")


def _missing(change: Change, other: Change, why: str) -> UsageError:
    state = f"has a pending {other.action}" if other.action is not Action.NONE else f"is {other.reason}"
    return UsageError(
        f"{change.address} is selected and {other.address} is not, but {why} and it {state}",
        next_step=f"Select {other.name} too, or apply it first.",
    )


def _say(selection: Selection) -> str:
    return " ".join([*selection.globs, *(f"-l {key}={value}" for key, value in selection.labels)])
