"""`reconciler plan`, also called `diff`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from reconciler import wiring
from reconciler.cli.files import write_file
from reconciler.cli.formats import FORGES, comments, json_text, show_diagnostics, show_plans, show_refusal
from reconciler.cli.options import Command, environments_option, examples, output_option, selection_options
from reconciler.cli.planning import Allowed, Project, compare, plan_all, read_project, signed_commit
from reconciler.cli.session import Session, labels_of
from reconciler.errors import GuardError, InvalidInput, StateError, UsageError
from reconciler.model.plan import Plan
from reconciler.plan.build import Choices
from reconciler.plan.causes import Causes
from reconciler.plan.codec import encode_plan
from reconciler.plan.select import Selection
from reconciler.report.plan_text import plans_json

CHANGES = 2  # the exit code of --detailed-exitcode when there is anything to do
RIDE_ALONG = "ride-along"


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What is written beside the output."""

    out: Path | None
    json: Path | None
    markdown: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commits:
    """What is planned, and since when; None means the checkout, and nothing to compare with."""

    ref: str | None
    base: str | None
    signed: bool


@click.command(
    cls=Command,
    epilog=examples(
        "reconciler plan                      every environment",
        "reconciler plan -e production 'flan*'",
        "reconciler plan -l team=support -o json",
        "reconciler plan -e production --out plan.json   then: reconciler apply --plan plan.json",
        "reconciler plan --base origin/main -o markdown  a comment for a pull request",
        "reconciler plan --ref v1.2           another commit, without checking it out",
    ),
)
@selection_options
@environments_option
@output_option("text", "json", "yaml", "markdown", *FORGES)
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when there is anything to do.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the plan, for apply --plan.")
@click.option("--json-into", type=click.Path(dir_okay=False, path_type=Path), help="Write what -o json prints, too.")
@click.option("--markdown-into", type=click.Path(dir_okay=False, path_type=Path), help="Write the comment, too.")
@click.option("--ref", metavar="COMMIT", help="Plan this commit, read from git; the checkout is left alone.")
@click.option("--base", metavar="COMMIT", help="Say what is caused since this commit, and what only rides along.")
@click.option(
    "--fail-on", type=click.Choice([RIDE_ALONG]), multiple=True, help="Exit 5 when anything rides along; with --base."
)
@click.option("--require-signed", is_flag=True, help="Plan the commit itself, and only if git verifies its signature.")
@click.option("--verbose", "-v", is_flag=True, help="Also what is unchanged.")
@click.option("--allow-mass-change", is_flag=True, help="Plan as if a person had allowed a mass change.")
@click.option("--init-state", is_flag=True, help="Plan as if the state were new, where there is none.")
@click.option("--rebind", is_flag=True, help="Plan although the state is bound to another host or key reference.")
@click.pass_context
def plan(  # one parameter an option
    ctx: click.Context,
    globs: tuple[str, ...],
    labels: tuple[str, ...],
    environments: tuple[str, ...],
    output: str,
    out: Path | None,
    json_into: Path | None,
    markdown_into: Path | None,
    ref: str | None,
    base: str | None,
    fail_on: tuple[str, ...],
    *,
    detailed_exitcode: bool,
    require_signed: bool,
    verbose: bool,
    allow_mass_change: bool,
    init_state: bool,
    rebind: bool,
) -> int:
    """Show what apply would do, and why. Needs no API key and no network, and changes nothing.

    NAME is a name, an address or a glob of them; without one everything is planned.
    """
    session = Session.of(ctx)
    if fail_on and base is None:
        raise UsageError(f"--fail-on {RIDE_ALONG} needs to know since when.", next_step="Add --base, as origin/main.")
    files = Files(out=out, json=json_into, markdown=markdown_into)
    selection = Selection(globs=globs, labels=labels_of(labels))
    choices = Choices(selection=selection, allow_mass_change=allow_mass_change)
    commits = Commits(ref=ref, base=base, signed=require_signed)
    allowed = Allowed(init_state=init_state, rebind=rebind)
    try:
        plans, compared = _plans(session, environments, commits, choices, allowed)
    except (InvalidInput, StateError, GuardError) as error:
        return _refused(session, output, files, error)
    _write(session, files, plans, compared)
    show_plans(session, output, plans, compared, verbose=verbose)
    if out is not None:
        session.say(f"The plan is in {out}. Apply exactly this with: reconciler apply --plan {out}")
    if fail_on:
        _refuse_riding(compared)
    return CHANGES if detailed_exitcode and any(not one.is_empty for one in plans) else 0


def _plans(
    session: Session, environments: tuple[str, ...], commits: Commits, choices: Choices, allowed: Allowed
) -> tuple[list[Plan], Sequence[Causes]]:
    project = _project(session, environments, commits.ref, signed=commits.signed)
    planned = plan_all(project, environments, choices, allowed)
    plans = [one.plan for one in planned]
    if commits.base is None:
        return plans, ()
    return plans, compare(project, planned, _base(session, commits.base, commits.ref or "HEAD"))


def _project(session: Session, environments: tuple[str, ...], ref: str | None, *, signed: bool) -> Project:
    """Of the checkout; of the commit itself where one is named or must be signed: a signature says nothing of the checkout."""
    if ref is None and not signed:
        return read_project(session, environments)
    name = ref or "HEAD"
    commit = signed_commit(session, name) if signed else wiring.commit_at(session.settings, name)
    return read_project(session, environments, commit=commit)


def _base(session: Session, base: str, head: str) -> wiring.Base:
    found = wiring.base_of(session.settings, base, head)
    if found.ahead:
        session.say(
            f"{base} has {found.ahead} commits that are not planned here; merging does what they do, too."
            if found.ahead > 1
            else f"{base} has a commit that is not planned here; merging does what it does, too."
        )
    return found


def _write(session: Session, files: Files, plans: Sequence[Plan], compared: Sequence[Causes]) -> None:
    if files.out is not None:
        if len(plans) != 1:
            raise UsageError("--out writes the plan of one environment.", next_step="Name it with -e ENV.")
        write_file(files.out, encode_plan(plans[0]))
    if files.json is not None:
        write_file(files.json, json_text(plans_json(plans, compared)))
    if files.markdown is not None:
        write_file(files.markdown, comments(session, plans, compared).encode())


def _refused(session: Session, output: str, files: Files, error: InvalidInput | StateError | GuardError) -> int:
    """No plan: what reads the other formats learns from them why, so that no outdated comment stays. Raises the error where
    words say it all.
    """
    from reconciler.report.diagnostics import diagnostics_json
    from reconciler.report.markdown import refusal_markdown

    diagnostics = error.diagnostics if isinstance(error, InvalidInput) else ()
    comment = refusal_markdown([str(error), *error.details, error.next_step], diagnostics)
    if files.markdown is not None:
        write_file(files.markdown, comment.encode())
    if files.json is not None and diagnostics:
        write_file(files.json, json_text(diagnostics_json(diagnostics)))
    if output == "markdown":
        session.show(comment)
    if not diagnostics and output in FORGES:
        show_refusal(session, output, error, comment)
    if not diagnostics or output not in FORGES:
        raise error
    show_diagnostics(session, output, diagnostics, {})
    return error.exit_code


def _refuse_riding(compared: Sequence[Causes]) -> None:
    riding = [address for one in compared for address in one.riding]
    if riding:
        raise GuardError(
            "Refused: merging this does more than it causes. These ride along:",
            details=riding,
            next_step="Apply what is merged first, or see why it failed: reconciler explain ENV/NAME.",
        )
