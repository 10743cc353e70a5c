"""Findings as GitLab reads them: a code quality report (https://docs.gitlab.com/ci/testing/code_quality/).

GitLab compares the reports of two commits by fingerprint, so a fingerprint holds no line number: a finding that only moves
is not a new one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from reconciler.model.values import Json
from reconciler.report.findings import Finding, Level

_SEVERITIES = {Level.ERROR: "major", Level.WARNING: "minor", Level.NOTE: "info"}


def code_quality(findings: Iterable[Finding], *, elsewhere: str) -> list[Json]:
    """The report. `elsewhere` is the file named for what has no place of its own."""
    seen: Counter[str] = Counter()
    report: list[Json] = []
    for finding in findings:
        alike = finding.fingerprint(elsewhere)
        report.append(_issue(finding, elsewhere, seen[alike]))
        seen[alike] += 1
    return report


def _issue(finding: Finding, elsewhere: str, number: int) -> Json:
    return {
        "description": finding.message,
        "check_name": finding.code,
        "fingerprint": finding.fingerprint(elsewhere, number),
        "severity": _SEVERITIES[finding.level],
        "location": {
            "path": finding.file(elsewhere),
            "lines": {"begin": finding.position.line if finding.position else 1},
        },
    }
