"""`reconciler state`: show, unlock, repair."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from reconciler import wiring
from reconciler.cli.deciding import confirm
from reconciler.cli.options import Command, environments_option, examples
from reconciler.cli.session import Session, now
from reconciler.errors import GuardError, UsageError
from reconciler.model.applied import Applied
from reconciler.model.records import LockEvent, LockRecord, Record
from reconciler.report.style import Style, count
from reconciler.report.tables import NOTHING, fitted
from reconciler.state.format import encode_snapshot
from reconciler.wiring import Opened

if TYPE_CHECKING:
    from reconciler.state.repair import Findings


@click.group(short_help="Look at, unlock or repair the state.")
def state() -> None:
    """Look at, unlock or repair the state of an environment. Its format: docs/state.md."""


@state.command(
    short_help="Print the state as one JSON document.",
    cls=Command,
    epilog=examples("reconciler state show -e production | jq '.state.entries'"),
)
@environments_option
@click.pass_context
def show(ctx: click.Context, environments: tuple[str, ...]) -> int:
    """Print the state as one JSON document, snapshot and log folded together. Takes no lock."""
    session = Session.of(ctx)
    opened = wiring.open_project(session.settings, only=environments)
    environment = opened.environment(_one(opened, environments))
    session.show(encode_snapshot(wiring.read_applied(wiring.store_for(opened, environment))).decode())
    return 0


@state.command(cls=Command, epilog=examples("reconciler state unlock -e production --epoch 12"))
@environments_option
@click.option("--epoch", metavar="N", type=int, required=True, help="Which lock, as the message about it says.")
@click.pass_context
def unlock(ctx: click.Context, environments: tuple[str, ...], epoch: int) -> int:
    """Clear a run lock that a dead run left behind. A lock whose holder lives is not broken: stop the holder."""
    from reconciler.apply.journal import Journal

    session = Session.of(ctx)
    opened = wiring.open_project(session.settings, only=environments)
    store = wiring.store_for(opened, opened.environment(_one(opened, environments)))
    journal = Journal(store)
    lock = journal.applied.lock
    if lock is None:
        session.say("Nobody holds the run lock; there is nothing to unlock.")
        return 0
    if lock.epoch != epoch:
        raise UsageError(
            f"The run lock has the epoch {lock.epoch}, held by {lock.holder}.",
            next_step=f"If it is that one that you mean: --epoch {lock.epoch}.",
        )
    if not store.sender_is_dead():
        raise GuardError(
            f"The run lock is held by {lock.holder}, which is alive.",
            next_step="Stop that process; its lock is free as soon as it has ended.",
        )

    def release(applied: Applied) -> Sequence[Record]:
        if applied.lock is None or applied.lock.epoch != epoch:
            return ()
        return (LockRecord(event=LockEvent.RELEASED, epoch=epoch, holder=applied.lock.holder, at=now()),)

    journal.transact_now(release)
    session.say(f"The run lock of epoch {epoch} is cleared.")
    return 0


@state.command(
    cls=Command,
    epilog=examples(
        "reconciler state repair -e production         shows what is damaged, and asks",
        "reconciler state repair -e production --yes   in a script",
    ),
)
@environments_option
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.pass_context
def repair(ctx: click.Context, environments: tuple[str, ...], *, yes: bool) -> int:
    """Go on from what can still be read of a damaged state. Every damaged file is kept beside it.

    Where records are lost, or may be, a call may be lost with them: the environment is then suspended, and nothing is sent
    until a person has looked at what runs and says `reconciler resume`.
    """
    from reconciler.state import repair as repairs

    session = Session.of(ctx)
    opened = wiring.open_project(session.settings, only=environments)
    environment = opened.environment(_one(opened, environments))
    folder = wiring.state_folder(opened)
    found = repairs.inspect(folder, environment.name)
    session.show(_findings(found, session.style(sys.stdout)))
    if found.healthy:
        session.say("The state is healthy; there is nothing to repair.")
        return 0
    session.say(f"What is wrong: {found.problem}")
    if found.snapshot is not None:
        session.say(_what_repair_does(found))
        confirm(f"Repair the state of {environment.name}?", yes=yes)
    done = repairs.repair(folder, environment.name, now=now())
    for line in done.done:
        session.say(f"  {line}")
    if done.lost is not None:
        session.say(
            f"{environment.name} is suspended, because {done.lost} is lost. Compare `reconciler status` with the platform's"
            f" console; `reconciler resume {environment.name}` lets apply send again."
        )
    return 0


def _findings(found: Findings, style: Style) -> str:
    rows = [(one.path.name, one.holds, one.problem or NOTHING) for one in found.files]
    return fitted(("FILE", "HOLDS", "PROBLEM"), rows, style, below=("PROBLEM",))


def _what_repair_does(found: Findings) -> str:
    """What would be gone on with, and what would be missing from it."""
    assert found.snapshot is not None  # noqa: S101 - asked for by the caller
    entries = count(len(found.snapshot.entries), "entry", "entries")
    lost = f"lost: {found.lost}" if found.lost else "nothing is lost"
    return f"A repair goes on with {entries} up to record {found.snapshot.seq}; {lost}. The damaged files are kept."


def _one(opened: Opened, environments: tuple[str, ...]) -> str:
    """The environment that is meant. Raises UsageError when that is not plain."""
    names = environments or opened.names
    if len(names) != 1:
        raise UsageError(
            f"Each environment has a state of its own: {', '.join(opened.names)}.", next_step="Name one with -e ENV."
        )
    return names[0]
