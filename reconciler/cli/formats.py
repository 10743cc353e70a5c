"""The output formats that `plan` and `validate` share, for people, scripts and forges. Commands use it; it knows no command."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from reconciler import __version__
from reconciler.cli.session import Session, dumps
from reconciler.diagnostics import Diagnostic, Position
from reconciler.errors import ReconcilerError

if TYPE_CHECKING:  # who validates has no plan
    from reconciler.model.plan import Plan
    from reconciler.plan.causes import Causes
    from reconciler.report.findings import Finding
    from reconciler.report.markdown import Link

FORGES = ("github", "gitlab", "junit", "sarif")


def show_diagnostics(
    session: Session, output: str, diagnostics: Sequence[Diagnostic], files: Mapping[str, bytes]
) -> None:
    """What is wrong, in one of the formats; `files` are all that were read, with their text."""
    if output == "text" and not diagnostics:
        return
    from reconciler.report.diagnostics import diagnostics_json, diagnostics_text

    if output in {"json", "yaml"}:
        session.show_value(diagnostics_json(diagnostics), output)
    elif output == "junit":
        from reconciler.report.junit import diagnostics_junit

        session.show(diagnostics_junit(diagnostics, files))
    elif output in FORGES:
        from reconciler.report.findings import of_diagnostics

        if output == "github":
            from reconciler.report.github import diagnostics_summary

            session.show(diagnostics_text(diagnostics, files, session.style(sys.stdout)))
            _summarize(session, diagnostics_summary(diagnostics))
        _show_findings(session, output, of_diagnostics(diagnostics))
    else:
        session.show(diagnostics_text(diagnostics, files, session.style(sys.stdout)))


def show_plans(
    session: Session, output: str, plans: Sequence[Plan], causes: Sequence[Causes], *, verbose: bool = False
) -> None:
    """Plans in one of the formats, with what rides along where they were compared with a base."""
    if output in {"json", "yaml"}:
        from reconciler.report.plan_text import plans_json

        session.show_value(plans_json(plans, causes), output)
    elif output == "markdown":
        session.show(comments(session, plans, causes))
    elif output == "junit":
        from reconciler.report.junit import plans_junit

        session.show(plans_junit(plans))
    elif output in {"gitlab", "sarif"}:
        _show_findings(session, output, _findings(plans, causes))
    else:
        _show_text(session, plans, causes, verbose=verbose)
        if output == "github":
            from reconciler.report.github import SUMMARY_LIMIT
            from reconciler.report.markdown import plan_summary

            links = _links(session, plans)
            _summarize(session, plan_summary(plans, _by_environment(causes), link=links, limit=SUMMARY_LIMIT))
            _show_findings(session, output, _findings(plans, causes))


def show_refusal(session: Session, output: str, error: ReconcilerError, comment: str) -> None:
    """Why there is no plan, for a forge, where it is no mistake in a file; `comment` says it on the job's page."""
    from reconciler.report.findings import of_refusal

    finding = of_refusal(" ".join([str(error), *error.details, error.next_step]))
    if output == "junit":
        from reconciler.report.junit import findings_junit

        session.show(findings_junit("reconciler plan", [finding]))
        return
    if output == "github":
        _summarize(session, comment)
    _show_findings(session, output, [finding])


def comments(session: Session, plans: Sequence[Plan], causes: Sequence[Causes]) -> str:
    """All comments after one another; each begins with a line that only a marker has."""
    from reconciler.report.markdown import plan_markdown

    return "\n".join(plan_markdown(plans, _by_environment(causes), link=_links(session, plans)))


def json_text(value: Mapping[str, object]) -> bytes:
    """A JSON value as a file."""
    return f"{dumps(value, 'json')}\n".encode()


def _show_text(session: Session, plans: Sequence[Plan], causes: Sequence[Causes], *, verbose: bool) -> None:
    from reconciler.report.plan_text import plan_text

    style = session.style(sys.stdout)
    session.show(plan_text(plans, style, verbose=verbose))
    if causes:
        from reconciler.report.causes_text import causes_text

        session.show(f"\n{causes_text(causes, plans, style)}")


def _findings(plans: Sequence[Plan], causes: Sequence[Causes]) -> tuple[Finding, ...]:
    from reconciler.report.findings import of_plans

    return of_plans(plans, frozenset(address for one in causes for address in one.riding))


def _show_findings(session: Session, output: str, findings: Iterable[Finding]) -> None:
    """Forges name files from the top of the repository, also where the project is a folder in it."""
    from reconciler.report.findings import below

    folder = _folder(session)
    found = below(findings, folder)
    elsewhere = "/".join(filter(None, (folder, session.settings.project.name)))
    if output == "github":
        from reconciler.report.github import workflow_commands

        session.show(workflow_commands(found))
    elif output == "gitlab":
        from reconciler.report.gitlab import code_quality

        session.show_value(code_quality(found, elsewhere=elsewhere), "json")
    else:
        from reconciler.report.sarif import sarif

        session.show_value(sarif(found, version=__version__, elsewhere=elsewhere), "json")


def _links(session: Session, plans: Sequence[Plan]) -> dict[str, Link]:
    """How the forge shows the lines of what was planned; not of what it has no commit of."""
    shown = session.settings.files_url
    if shown is None:
        return {}
    folder = _folder(session)
    return {
        plan.environment: partial(_link, f"{shown}/{plan.commit}", folder)
        for plan in plans
        if plan.commit and not plan.dirty
    }


def _link(commit: str, folder: str, place: Position) -> str:
    path = "/".join(filter(None, (folder, place.file)))
    return f"{commit}/{quote(path, errors='surrogateescape')}#L{place.line}"


def _folder(session: Session) -> str:
    """The project's folder in the repository that CI checked out; empty for its top, and where that is not known."""
    top, root = session.settings.checkout, session.settings.root.resolve()
    if top is None or not root.is_relative_to(top.resolve()):
        return ""
    inside = root.relative_to(top.resolve())
    return "" if inside == Path() else inside.as_posix()


def _summarize(session: Session, text: str) -> None:
    """Onto the page of the job, where there is one. Raises ReconcilerError."""
    path = session.settings.step_summary
    if path is None:
        return
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise ReconcilerError(
            f"The job's summary {path} cannot be written: {error.strerror}.", next_step="Unset GITHUB_STEP_SUMMARY."
        ) from error


def _by_environment(causes: Iterable[Causes]) -> dict[str, Causes]:
    return {one.environment: one for one in causes}
