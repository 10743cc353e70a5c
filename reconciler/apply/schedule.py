"""What may run now: the order of a plan as a small state machine. No I/O, no clock; deterministic.

A stage is a wave, or, after all waves, a wave of undeploys in reverse. Within a stage, edges decide. `executor` asks for
`take_ready`, and tells each end with `settle`; every change ends in exactly one of settled or skipped.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from reconciler.model.plan import Action, Change, Reason
from reconciler.plan.edges import is_satisfied


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A change that is not tried, and why, as a clause."""

    change: Change
    why: str


class _Phase(Enum):
    WAITING = auto()
    TAKEN = auto()
    SATISFIED = auto()
    STOPPED = auto()


Stage = tuple[int, int]


def stage_of(change: Change) -> Stage:
    """(0, wave) for everything, replaces' undeploys included; (1, -wave) for other undeploys: last, in reverse."""
    if change.action is Action.UNDEPLOY and change.reason is not Reason.MODEL_REPLACED:
        return (1, -change.rollout.wave)
    return (0, change.rollout.wave)


class Schedule:
    """Walks the changes of one plan. Addresses are unique in it."""

    def __init__(self, changes: Iterable[Change]) -> None:
        self._changes = {change.address: change for change in changes}
        self._phase = dict.fromkeys(self._changes, _Phase.WAITING)
        self._waits: dict[str, set[str]] = {}
        self._dependants: dict[str, list[str]] = defaultdict(list)
        self._open: dict[Stage, int] = defaultdict(int)
        self._members: dict[Stage, list[str]] = defaultdict(list)
        self._ready: deque[str] = deque()
        self._skipped: deque[Skipped] = deque()
        self._ends: deque[tuple[str, _Phase]] = deque()
        self._failed = False
        self._stopped_stage: Stage | None = None
        self._unsent = sum(change.action.sends for change in self._changes.values())
        for change in self._changes.values():
            self._enter(change)
        self._order_undeploys()
        self._stages = deque(sorted(self._members))
        self._entered: Stage | None = None
        self._begin()

    def take_ready(self) -> Change | None:
        """The next change that may run now, in order of address within a stage; None when there is none at present."""
        while self._ready:
            address = self._ready.popleft()
            if self._phase[address] is _Phase.WAITING:
                return self._take(address)
        return None

    def take_skipped(self) -> tuple[Skipped, ...]:
        """The changes that will not be tried because of what was settled since the last call."""
        taken = tuple(self._skipped)
        self._skipped.clear()
        return taken

    def settle(self, address: str, *, satisfied: bool) -> None:
        """Tell how a taken change ended: dependants go on when it is satisfied, and are skipped when not."""
        self._ends.append((address, _Phase.SATISFIED if satisfied else _Phase.STOPPED))
        self._work()

    @property
    def unsettled(self) -> tuple[Change, ...]:
        """Changes that are neither settled nor skipped."""
        return tuple(c for a, c in self._changes.items() if self._phase[a] in {_Phase.WAITING, _Phase.TAKEN})

    @property
    def waiting(self) -> tuple[Change, ...]:
        """Changes that were not taken yet and may still become ready."""
        return tuple(c for a, c in self._changes.items() if self._phase[a] is _Phase.WAITING)

    @property
    def may_still_send(self) -> bool:
        """Whether any change that was not taken yet would send something."""
        return self._unsent > 0

    def _take(self, address: str) -> Change:
        change = self._changes[address]
        self._phase[address] = _Phase.TAKEN
        self._unsent -= change.action.sends
        return change

    def _enter(self, change: Change) -> None:
        address, stage = change.address, stage_of(change)
        waits = {edge.address for edge in change.waits_for if edge.address in self._changes}
        self._waits[address] = waits
        for other in waits:
            self._dependants[other].append(address)
        self._members[stage].append(address)
        self._open[stage] += 1

    def _order_undeploys(self) -> None:
        """Undeploys of what depends on another one go first.

        What entries remember of their dependencies may be of different days, so it may close a circle: there it is ignored.
        """
        last = {c.name: c.address for c in self._changes.values() if stage_of(c)[0] == 1}
        for change in self._changes.values():
            for address in (last[name] for name in change.metadata.depends_on if name in last):
                together = stage_of(change) == stage_of(self._changes[address])
                if together and not self._waits_for(change.address, address):
                    self._waits[address].add(change.address)
                    self._dependants[change.address].append(address)

    def _waits_for(self, address: str, other: str) -> bool:
        """Whether `address` waits, through however many, for `other`, or is it."""
        seen, todo = {address}, [address]
        while todo:
            further = self._waits[todo.pop()] - seen
            seen |= further
            todo.extend(further)
        return other in seen

    def _begin(self) -> None:
        """Everything that waits for nobody's leave: what is satisfied, held, followed, or only written down."""
        for address, change in self._changes.items():
            if change.action is Action.NONE and is_satisfied(change):
                self._ends.append((address, _Phase.SATISFIED))
            elif change.action in {Action.HOLD, Action.NONE}:
                self._ends.append((address, _Phase.STOPPED))
            elif not change.action.sends:
                self._ready.append(address)
        self._work()

    def _work(self) -> None:
        """Carries every end through: to its dependants, and to the stage after it. A loop, so chains may be long."""
        while True:
            while self._ends:
                self._end(*self._ends.popleft())
            while self._stages and self._open[self._stages[0]] == 0:
                self._stages.popleft()
            if not self._stages or self._entered == self._stages[0]:
                return
            self._enter_stage(self._stages[0])

    def _end(self, address: str, phase: _Phase) -> None:
        if self._phase[address] in {_Phase.SATISFIED, _Phase.STOPPED}:
            return
        stage = stage_of(self._changes[address])
        self._phase[address] = phase
        self._open[stage] -= 1
        if phase is _Phase.STOPPED:
            self._failed = True
            self._stopped_stage = min(stage, self._stopped_stage or stage)
        for dependant in self._dependants[address]:
            if phase is _Phase.STOPPED:
                self._skip(dependant, f"it waits for {address}")
            else:
                self._waits[dependant].discard(address)
                self._offer(dependant)

    def _skip(self, address: str, why: str) -> None:
        if self._phase[address] is _Phase.WAITING and self._changes[address].action.sends:
            self._skipped.append(Skipped(change=self._take(address), why=why))  # once, although several ends may say so
            self._ends.append((address, _Phase.STOPPED))

    def _offer(self, address: str) -> None:
        change = self._changes[address]
        if not self._waits[address] and change.action.sends and self._entered == stage_of(change):
            self._ready.append(address)

    def _enter_stage(self, stage: Stage) -> None:
        self._entered = stage
        why = self._why_closed(stage)
        for address in self._members[stage]:
            if why is not None:
                self._skip(address, why)
            else:
                self._offer(address)

    def _why_closed(self, stage: Stage) -> str | None:
        if stage[0] == 1 and self._failed:
            return "undeploys are not tried after a failure or a hold"
        if self._stopped_stage is not None and self._stopped_stage < stage:
            return f"something in wave {self._stopped_stage[1]} failed or is held"
        return None
