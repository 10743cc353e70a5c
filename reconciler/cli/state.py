"""`reconciler state`: show, unlock, repair, migrate."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from reconciler import wiring
from reconciler.cli.deciding import confirm
from reconciler.cli.options import Command, environments_option, examples
from reconciler.cli.session import Session, now, spelled_safely
from reconciler.errors import GuardError, UsageError
from reconciler.model.applied import Applied, Holder
from reconciler.model.records import LockEvent, LockRecord, Record
from reconciler.report.style import Style, count
from reconciler.report.tables import NOTHING, fitted
from reconciler.state.format import encode_snapshot
from reconciler.wiring import Opened

if TYPE_CHECKING:
    from reconciler.state.lease import Leased
    from reconciler.state.repair import Findings
    from reconciler.state.store import Store


@click.group(short_help="Look at, unlock, repair or move the state.")
def state() -> None:
    """Look at, unlock, repair or move the state of an environment. Its format and where it may be kept: docs/state.md."""


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
    applied = wiring.read_applied(wiring.store_for(opened, environment))
    session.show(spelled_safely(encode_snapshot(applied).decode()))
    return 0


@state.command(
    cls=Command,
    epilog=examples(
        "reconciler state unlock -e production --epoch 12          a folder: what a dead run left behind",
        "reconciler state unlock -e production --id 77646bb592d6   a store elsewhere: breaks the lock of that id",
    ),
)
@environments_option
@click.option("--epoch", metavar="N", type=int, help="Which lock, as the message about it says.")
@click.option("--id", "lease_id", metavar="ID", help="Which lock, where the state is kept elsewhere.")
@click.pass_context
def unlock(ctx: click.Context, environments: tuple[str, ...], epoch: int | None, lease_id: str | None) -> int:
    """Clear a run lock that a dead run left behind.

    In a folder, a lock whose holder lives is not broken: stop the holder. Elsewhere nobody can see whether the holder lives;
    its lock runs out by itself, and this breaks it at once. Be certain that the run is dead: what it has sent and not recorded
    is then held as unknown.
    """
    from reconciler.state.lease import Leased

    session = Session.of(ctx)
    opened = wiring.open_project(session.settings, only=environments)
    store = wiring.store_for(opened, opened.environment(_one(opened, environments)))
    leased = store if isinstance(store, Leased) else None
    if (epoch is None) == (lease_id is None) or (leased is None) != (lease_id is None):
        how = "--id ID" if leased else "--epoch N"
        raise UsageError(f"Which lock? Here it is named by {how}, as the message about it says.")
    if leased is not None and lease_id is not None:
        session.say(_break_lease(store, leased, lease_id))
    elif epoch is not None:
        session.say(_clear(store, epoch))
    return 0


def _clear(store: Store, epoch: int) -> str:
    """A lock that dies with its process: only the log still speaks of it."""
    lock = wiring.read_logged(store).lock
    if lock is None:
        return "Nobody holds the run lock; there is nothing to unlock."
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
    _log_release(store, lock.holder)
    return f"The run lock of epoch {epoch} is cleared."


def _break_lease(store: Store, leased: Leased, lease_id: str) -> str:
    lease = leased.lease()
    if lease is None:
        return "Nobody holds the run lock; there is nothing to unlock."
    if not leased.break_lease(lease_id):
        raise UsageError(
            f"The run lock has the id {lease.id}, held by {lease.holder}.",
            next_step=f"If it is that one that you mean: --id {lease.id}.",
        )
    _log_release(store, lease.holder)
    return f"The run lock {lease_id} of {lease.holder} is broken."


def _log_release(store: Store, holder: Holder) -> None:
    from reconciler.apply.journal import Journal

    def release(applied: Applied) -> Sequence[Record]:
        if applied.lock is None or applied.lock.holder != holder:
            return ()
        return (LockRecord(event=LockEvent.RELEASED, epoch=applied.lock.epoch, holder=holder, at=now()),)

    Journal(store).transact_now(release)


@state.command(
    cls=Command,
    epilog=examples(
        "reconciler state migrate --to git:                          to a branch of this repository",
        "reconciler state migrate --to s3://bucket/prefix --yes      to a bucket",
        "reconciler state migrate -e staging --to postgresql://host/reconciler",
    ),
)
@environments_option
@click.option("--to", metavar="URL", required=True, help="The new place, as `state` in the project file names it.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.pass_context
def migrate(ctx: click.Context, environments: tuple[str, ...], to: str, *, yes: bool) -> int:
    """Move the state of each environment to another store.

    Nothing may send meanwhile. Lineage and numbers go with it; a place that holds another state is refused. The old one is
    suspended, so that nobody goes on there; name the new one in the project file. Interrupted, it is safe to run again.
    """
    from reconciler.cli.running import holder_of
    from reconciler.state.address import without_credentials
    from reconciler.state.migrate import migrate as move

    session = Session.of(ctx)
    opened = wiring.open_project(session.settings, only=environments)
    old, new = wiring.state_place(opened), wiring.state_place(opened, to)
    if old.shown == new.shown:
        raise UsageError(f"The state is kept in {old.shown} already.")
    wiring.refuse_leftovers(opened)
    chosen = opened.chosen(environments)
    names = ", ".join(environment.name for environment in chosen)
    confirm(f"Move the state of {names} from {old.shown} to {new.shown}?", yes=yes)
    for environment in chosen:
        holder = holder_of(session, "state migrate", "-")
        moved = move(old.store(environment.name), new.store(environment.name), holder, now=now())
        how = "moved" if moved.copied else "completed"
        entries = count(len(moved.applied.entries), "entry", "entries")
        session.say(f"{how}  {environment.name}: {entries}, record {moved.applied.seq}")
    session.say(f"Now write `state: {without_credentials(to)}` into the project file; the old state is suspended.")
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
