"""Which changes a command is about: address globs and labels. A selection only ever leaves out; it never adds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from reconciler.errors import UsageError
from reconciler.model.plan import Action, Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """`globs` match a name or a whole address, any of them; `labels` must all be there. Empty selects everything."""

    globs: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    def takes(self, change: Change) -> bool:
        """A replace is selected as a whole: both halves carry the same name."""
        named = not self.globs or any(
            fnmatchcase(s, glob) for glob in self.globs for s in (change.name, change.address)
        )
        return named and set(self.labels) <= set(change.metadata.labels)


EVERYTHING = Selection()


def select(changes: tuple[Change, ...], selection: Selection) -> tuple[Change, ...]:
    """The selected changes. Raises UsageError when nothing matches, or naming what a selected change would wait for."""
    if selection == EVERYTHING:
        return changes
    taken = tuple(change for change in changes if selection.takes(change))
    if changes and not taken:
        raise UsageError(
            f"the selection matches nothing: {_say(selection)}",
            next_step="`reconciler status` lists the addresses; a glob matches a name or a whole address.",
        )
    _refuse_missing(taken, [change for change in changes if not selection.takes(change)])
    return taken


def _refuse_missing(taken: Iterable[Change], left_out: list[Change]) -> None:
    pending = {change.address: change for change in left_out if change.action is not Action.NONE}
    for change in taken:
        if not change.action.sends:
            continue
        for edge in change.waits_for:
            if edge.address in pending:
                raise _missing(change, pending[edge.address], f"it waits for it ({edge.because})")
        if change.action is Action.UNDEPLOY:
            continue  # undeploys follow nobody's wave
        for other in pending.values():
            if other.rollout.wave < change.rollout.wave and other.action is not Action.UNDEPLOY:
                raise _missing(change, other, f"its wave {change.rollout.wave} comes after wave {other.rollout.wave}")


def _missing(change: Change, other: Change, why: str) -> UsageError:
    return UsageError(
        f"{change.address} is selected and {other.address} is not, but {why} and it has a pending {other.action}",
        next_step=f"Select {other.name} too, or apply it first.",
    )


def _say(selection: Selection) -> str:
    return " ".join([*selection.globs, *(f"-l {key}={value}" for key, value in selection.labels)])
