"""`reconciler resume`."""

from __future__ import annotations

import click

from reconciler import wiring
from reconciler.apply import decisions
from reconciler.apply.decisions import By, Subject
from reconciler.apply.journal import Journal
from reconciler.cli.deciding import addressed, decided_by, record, subject_of
from reconciler.cli.names import complete_address
from reconciler.cli.options import Command, examples, why_option
from reconciler.cli.session import Session, now
from reconciler.errors import UsageError
from reconciler.model.applied import Applied
from reconciler.model.records import DecisionRecord


@click.command(
    cls=Command,
    epilog=examples(
        "reconciler resume production --reason 'compared with the console'   the whole environment",
        "reconciler resume production/flan-t5                                one deployment",
        "reconciler resume production --allow-mass-change                    let watch change a large share, once",
    ),
)
@click.argument("address", metavar="ENV[/NAME]", shell_complete=complete_address)
@click.option(
    "--allow-mass-change", is_flag=True, help="Let the next run that sends change a large share of the environment."
)
@why_option
@click.pass_context
def resume(ctx: click.Context, address: str, reason: str, *, allow_mass_change: bool) -> int:
    """Let go on what waits for a person: end a suspension, or allow a change of a large share of an environment.

    After `state repair`, which suspends where records were lost, look in the platform's console first whether what runs is
    what `reconciler status` says. Before allowing a mass change, read `reconciler plan`.
    """
    session = Session.of(ctx)
    opened = wiring.open_project(session.settings)
    if allow_mass_change and address not in opened.names:
        raise UsageError("--allow-mass-change is about a whole environment.", next_step="Write ENV, not ENV/NAME.")
    if address in opened.names:
        by = By(who=session.settings.user, why=reason, at=now())
        decide = _allow if allow_mass_change else decisions.resume
        store = wiring.store_for(opened, opened.environment(address))
        Journal(store).transact_now(lambda applied: (decide(applied, None, by),))
        what = "may change as a whole, once" if allow_mass_change else "is no longer suspended"
        session.say(f"{address} {what}. `reconciler plan -e {address}` shows what comes next.")
        return 0
    project, found = addressed(ctx, address)
    by = decided_by(project, reason)
    record(found, lambda applied: decisions.resume(applied, subject_of(found), by))
    session.say(f"{found.change.address} is no longer suspended. `reconciler plan` shows what comes next.")
    return 0


def _allow(applied: Applied, _: Subject | None, by: By) -> DecisionRecord:
    return decisions.allow_mass_change(applied, by)
