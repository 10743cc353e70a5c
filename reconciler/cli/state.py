"""`reconciler state`: show, unlock, repair."""

from __future__ import annotations

from collections.abc import Sequence

import click

from reconciler import wiring
from reconciler.cli.options import Command, environments_option, examples
from reconciler.cli.session import Session, now
from reconciler.errors import GuardError, UsageError
from reconciler.model.applied import Applied
from reconciler.model.records import LockEvent, LockRecord, Record
from reconciler.state.format import encode_snapshot
from reconciler.wiring import Opened


@click.group(short_help="Look at, unlock or repair the state.")
def state() -> None:
    """Look at, unlock or repair the state of an environment. Its format: docs/state.md."""


@state.command(cls=Command, epilog=examples("reconciler state show -e production | jq '.entries'"))
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
@click.option("--epoch", type=int, required=True, help="Which lock, as the message about it says.")
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


def _one(opened: Opened, environments: tuple[str, ...]) -> str:
    """The environment that is meant. Raises UsageError when that is not plain."""
    names = environments or opened.names
    if len(names) != 1:
        raise UsageError(
            f"Each environment has a state of its own: {', '.join(opened.names)}.", next_step="Name one with -e ENV."
        )
    return names[0]
