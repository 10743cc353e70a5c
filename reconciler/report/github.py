"""Findings as GitHub reads them: annotations, and the table of a job's summary.

Annotations are workflow commands, one a line; the format and its escapes are those of
https://docs.github.com/actions/reference/workflow-commands-for-github-actions. GitHub shows ten of each level a step, so
the summary, which is Markdown, has them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reconciler.diagnostics import Diagnostic, errors_in
from reconciler.report.findings import Finding, Level
from reconciler.report.markdown import diagnostics_blocks
from reconciler.report.paper import Block, parts_of
from reconciler.report.style import safe

SUMMARY_LIMIT = 1024 * 1024  # bytes of $GITHUB_STEP_SUMMARY that one step may write
_COMMANDS = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "notice"}


def workflow_commands(findings: Iterable[Finding]) -> str:
    """One workflow command a finding."""
    return "".join(f"{_annotation(finding)}\n" for finding in findings)


def diagnostics_summary(diagnostics: Sequence[Diagnostic], *, limit: int = SUMMARY_LIMIT) -> str:
    """The diagnostics as a table, for a job's summary."""
    if not diagnostics:
        return "### Every manifest is valid\n"
    wrong = errors_in(diagnostics)
    title = "### The manifests have errors" if wrong else "### Every manifest is valid, with warnings"
    return parts_of([Block(lines=(title,)), *diagnostics_blocks(diagnostics)], limit=limit, most=1)[0]


def _annotation(finding: Finding) -> str:
    properties = {"title": f"{finding.rule.title} ({finding.code})"}
    if finding.position is not None:
        place = finding.position
        properties = {"file": safe(place.file), "line": str(place.line), "col": str(place.column), **properties}
    said = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{_COMMANDS[finding.level]} {said}::{_data(finding.message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
