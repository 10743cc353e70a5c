"""Findings for forges: annotations, code quality, SARIF and JUnit, also of texts made to break them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.diagnostics import Diagnostic, Position, Severity
from reconciler.load.codes import CODES
from reconciler.model.plan import Action, Change, FieldChange, Guard, Plan, Reason
from reconciler.report.findings import PLAN_RULES, RULES, Level, below, of_diagnostics, of_plans
from reconciler.report.github import SUMMARY_LIMIT, diagnostics_summary, workflow_commands
from reconciler.report.gitlab import code_quality
from reconciler.report.junit import diagnostics_junit, plans_junit
from reconciler.report.sarif import sarif
from tests.support.formats import check_code_quality, check_junit, commands_in

HOSTILE = st.text(max_size=40) | st.sampled_from(
    [
        "a%0A::error::x",
        "\n::add-mask::x",
        "::stop-commands::x",
        "x,line=9",
        "]]>",
        "<&\"'>",
        "\x00\x1b[2J",
        "\ud800",
        "%",
    ]
)


def wrong(message: str = "too large", **more: Any) -> Diagnostic:
    usual: dict[str, Any] = {"code": "RC304", "position": Position(file="manifests/a.yaml", line=6, column=32)}
    return Diagnostic(message=message, **{**usual, **more})


def plan(*changes: Change, guards: tuple[Guard, ...] = ()) -> Plan:
    return Plan(environment="e", origin="https://h", lineage="l", changes=changes, guards=guards)


def change(action: Action, reason: Reason = Reason.NEW, name: str = "a", **more: Any) -> Change:
    usual: dict[str, Any] = {"detail": "because", "position": Position(file="m.yaml", line=2)}
    where: dict[str, Any] = {"address": f"e/{name}", "environment": "e", "name": name, "model_id": "cm"}
    return Change(**where, action=action, reason=reason, **{**usual, **more})


def test_annotation() -> None:
    """An annotation stands on the line of its finding, with code and title."""
    text = workflow_commands(of_diagnostics([wrong(path="spec.topP", value="1.5", allowed="0 to 1")]))
    assert text == (
        "::error file=manifests/a.yaml,line=6,col=32,title=out of range (RC304)::"
        "spec.topP: too large; it is 1.5; allowed: 0 to 1\n"
    )


def test_every_action_has_a_rule() -> None:
    """Each action and each diagnostic code is explained to whoever reads only the report."""
    assert {f"plan/{action}" for action in Action if action is not Action.NONE} <= PLAN_RULES.keys()
    assert CODES.keys() <= RULES.keys()


def test_levels_of_a_plan() -> None:
    """Guards are errors; what interrupts, is unknown or runs without a manifest is a warning; the rest is a note."""
    guard = Guard(code="massChange", message="all of it", flag="--allow-mass-change")
    changes = (
        change(Action.DEPLOY),
        change(Action.REDEPLOY, restarts=True),
        change(Action.UNDEPLOY),
        change(Action.HOLD),
        change(Action.NONE, Reason.ORPHAN),
        change(Action.NONE, Reason.SUSPENDED),
        change(Action.NONE, Reason.UNCHANGED),
    )
    found = [(one.code.removeprefix("plan/"), one.level) for one in of_plans([plan(*changes, guards=(guard,))])]
    assert found == [
        ("guard", Level.ERROR),
        ("deploy", Level.NOTE),
        ("redeploy", Level.WARNING),
        ("undeploy", Level.WARNING),
        ("hold", Level.WARNING),
        ("orphan", Level.WARNING),
        ("left-alone", Level.WARNING),
    ]


def test_passengers_are_told_apart() -> None:
    """What rides along has a code of its own."""
    found = of_plans([plan(change(Action.RETRY), change(Action.DEPLOY, name="b"))], {"e/a"})
    assert [one.code for one in found] == ["plan/ride-along", "plan/deploy"]


def test_seen_from_the_top_of_the_repository() -> None:
    """Where the project is a folder of the repository, files are named with it."""
    (one,) = below(of_diagnostics([wrong()]), "deploy/models")
    assert one.position == Position(file="deploy/models/manifests/a.yaml", line=6, column=32)
    (one,) = below(of_diagnostics([wrong(position=None)]), "deploy/models")
    assert one.position is None


def test_fingerprints() -> None:
    """A finding that moves to another line is the same; two that are alike differ; another message is another one."""
    first, second = (code_quality(of_diagnostics([d]), elsewhere="p") for d in (wrong(), wrong(position=_at(9))))
    twice = code_quality(of_diagnostics([wrong(), wrong(position=_at(9))]), elsewhere="p")
    other = code_quality(of_diagnostics([wrong("too small")]), elsewhere="p")
    prints = [[issue["fingerprint"] for issue in report] for report in (first, second, twice, other)]
    assert prints[0] == prints[1] == prints[2][:1]
    assert len({*prints[2], *prints[3]}) == 3


def test_without_a_place() -> None:
    """What has no place of its own is shown at the project file."""
    findings = of_diagnostics([wrong(position=None)])
    (issue,) = code_quality(findings, elsewhere="reconciler.yaml")
    assert issue["location"] == {"path": "reconciler.yaml", "lines": {"begin": 1}}
    (result,) = sarif(findings, version="1", elsewhere="a b/ä.yaml")["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "a%20b/%C3%A4.yaml"


def test_junit_of_manifests() -> None:
    """Every file is a test case; one with errors fails, one with warnings tells them."""
    found = [wrong(), wrong(severity=Severity.WARNING, position=Position(file="manifests/b.yaml"))]
    root = check_junit(diagnostics_junit(found, ["manifests/a.yaml", "manifests/b.yaml", "manifests/c.yaml"]))
    cases = {case.attrib["name"]: case for case in root.iter("testcase")}
    assert list(cases) == ["manifests/a.yaml", "manifests/b.yaml", "manifests/c.yaml"]
    assert [child.tag for child in cases["manifests/a.yaml"]] == ["failure"]
    assert [child.tag for child in cases["manifests/b.yaml"]] == ["system-out"]
    assert not list(cases["manifests/c.yaml"])


def test_junit_of_a_plan() -> None:
    """A guard and an unknown outcome fail, what is left alone is skipped, everything else passes."""
    guard = Guard(code="massChange", message="all of it", flag="--allow-mass-change")
    changes = (
        change(Action.DEPLOY),
        change(Action.HOLD, Reason.OUTCOME_UNKNOWN, "b"),
        change(Action.NONE, Reason.SUSPENDED, "c"),
        change(Action.NONE, Reason.UNCHANGED, "d"),
    )
    root = check_junit(plans_junit([plan(*changes, guards=(guard,))]))
    ends = {case.attrib["name"]: [child.tag for child in case] for case in root.iter("testcase")}
    assert ends == {
        "guard massChange": ["failure"],
        "a": ["system-out"],
        "b": ["failure"],
        "c": ["skipped", "system-out"],
        "d": [],
    }


def test_job_summary() -> None:
    """A job's page lists every mistake, within the limit, and says so when there is none."""
    assert diagnostics_summary([]) == "### Every manifest is valid\n"
    assert "| error | `manifests/a.yaml:6:32` | `too large` | `RC304` |" in diagnostics_summary([wrong()])
    assert len(diagnostics_summary([wrong("x" * 300)] * 5000).encode()) <= SUMMARY_LIMIT


@given(message=HOSTILE, file=HOSTILE, path=HOSTILE, value=HOSTILE)
def test_nothing_is_injected(message: str, file: str, path: str, value: str) -> None:
    """Whatever texts say, there is one command a finding, and each format can be read by its reader."""
    found = of_diagnostics([wrong(message, position=Position(file=file, line=3), path=path, value=value), wrong()])
    text = workflow_commands(found)
    commands = list(commands_in(text))
    assert [name for name, _, _ in commands] == ["error", "error"]
    assert len(text.splitlines()) == 2
    assert commands[0][1].keys() == {"file", "line", "col", "title"}
    assert commands[0][1]["line"] == "3"
    assert commands[0][2] == found[0].message
    text.encode()
    report = json.loads(json.dumps(code_quality(found, elsewhere="p")))
    if report[0]["location"]["path"].strip("/."):  # a file has a name
        check_code_quality([{**one, "location": {**one["location"], "path": "x"}} for one in report])
    check_junit(diagnostics_junit([wrong(message, position=Position(file=file), path=path, value=value)], [file]))
    json.dumps(sarif(found, version="1", elsewhere="p")).encode()


@given(texts=st.lists(HOSTILE, min_size=4, max_size=4))
def test_nothing_is_injected_by_a_plan(texts: list[str]) -> None:
    """The same for what a plan says of the platform's and the manifests' words."""
    detail, path, message, flag = texts
    differs = FieldChange(path=path, before=detail, after=message, position=Position(file=flag))
    hostile = change(Action.HOLD, Reason.OUTCOME_UNKNOWN, detail=detail, fields=(differs,))
    one = plan(hostile, guards=(Guard(code="g", message=message, flag=flag),))
    assert [name for name, _, _ in commands_in(workflow_commands(of_plans([one])))] == ["error", "warning"]
    check_junit(plans_junit([one]))
    json.dumps(code_quality(of_plans([one]), elsewhere="p")).encode()


def _at(line: int) -> Position:
    return Position(file="manifests/a.yaml", line=line, column=1)
