"""Diagnostics and plans as JUnit XML, in the dialect that Jenkins publishes as junit-10.xsd and every CI system reads.

A manifest file is a test case that fails when it has errors; in a plan each deployment is one, which fails when its outcome
is unknown and is skipped when it is left alone. Guards are test cases of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from reconciler.diagnostics import Diagnostic
from reconciler.model.plan import Action, Plan
from reconciler.report.findings import Finding, Level, of_change, of_diagnostics
from reconciler.report.style import count, safe


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """`verdict` is the element that says how it ended, None when it passed; `said` are lines to show."""

    group: str
    name: str
    verdict: str | None = None
    code: str = ""
    message: str = ""
    said: tuple[str, ...] = ()


def diagnostics_junit(diagnostics: Sequence[Diagnostic], files: Iterable[str]) -> str:
    """One suite with one case a file."""
    return findings_junit("reconciler validate", of_diagnostics(diagnostics), files)


def findings_junit(suite: str, findings: Iterable[Finding], files: Iterable[str] = ()) -> str:
    """One suite with one case a file; what has no file belongs to the case `project`."""
    by_file: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_file[finding.position.file if finding.position else "project"].append(finding)
    names = sorted({*files, *by_file})
    return _document([(suite, [_file_case(name, by_file[name]) for name in names])])


def plans_junit(plans: Sequence[Plan]) -> str:
    """One suite an environment."""
    return _document([(f"reconciler plan {safe(plan.environment)}", list(_plan_cases(plan))) for plan in plans])


def _file_case(name: str, findings: Sequence[Finding]) -> _Case:
    errors = [finding for finding in findings if finding.level is Level.ERROR]
    said = tuple(f"{_place(finding)}{finding.level} {finding.code}: {finding.message}" for finding in findings)
    failed = {"verdict": "failure", "code": errors[0].code, "message": count(len(errors), "error")} if errors else {}
    return _Case(group="manifests", name=safe(name), said=said, **failed)


def _place(finding: Finding) -> str:
    return f"{safe(str(finding.position))}: " if finding.position else ""


def _plan_cases(plan: Plan) -> Iterator[_Case]:
    for guard in plan.guards:
        message = f"{safe(guard.message)}; {safe(guard.flag)} allows it"
        name = f"guard {guard.code}"
        yield _Case(group=safe(plan.environment), name=name, verdict="failure", code="plan/guard", message=message)
    for change in plan.changes:
        finding = of_change(change)
        name = safe(change.address.partition("/")[2])
        if finding is None:
            yield _Case(group=safe(plan.environment), name=name)
            continue
        left_alone = "skipped" if change.action is Action.NONE else None
        verdict = "failure" if change.action is Action.HOLD else left_alone
        said = (f"{_place(finding)}{finding.message}",)
        yield _Case(
            group=safe(plan.environment),
            name=name,
            verdict=verdict,
            code=finding.code,
            message=finding.rule.title,
            said=said,
        )


def _document(suites: Sequence[tuple[str, Sequence[_Case]]]) -> str:
    every = [case for _, cases in suites for case in cases]
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<testsuites {_counts(every, skipped=False)}>"]
    for name, cases in suites:
        lines.append(f"  <testsuite name={quoteattr(name)} {_counts(cases, skipped=True)}>")
        for case in cases:
            lines += _case(case)
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>"]) + "\n"


def _counts(cases: Sequence[_Case], *, skipped: bool) -> str:
    """The schema has `skipped` on a suite only."""
    failures = sum(case.verdict == "failure" for case in cases)
    text = f'tests="{len(cases)}" failures="{failures}" errors="0"'
    return f'{text} skipped="{sum(case.verdict == "skipped" for case in cases)}"' if skipped else text


def _case(case: _Case) -> Iterator[str]:
    head = f"    <testcase classname={quoteattr(case.group)} name={quoteattr(case.name)}"
    said = escape("\n".join(case.said))
    if case.verdict is None and not said:
        yield f"{head}/>"
        return
    yield f"{head}>"
    if case.verdict == "failure":
        yield f"      <failure type={quoteattr(case.code)} message={quoteattr(case.message)}>{said}</failure>"
    elif case.verdict == "skipped":
        yield f"      <skipped message={quoteattr(case.message)}/>"
    if said and case.verdict != "failure":
        yield f"      <system-out>{said}</system-out>"
    yield "    </testcase>"
