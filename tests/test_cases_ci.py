"""What a pull request shows of twenty scenario folders: a comment, annotations, code quality, JUnit and SARIF, each valid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from reconciler.report.findings import of_diagnostics, of_plans
from reconciler.report.github import workflow_commands
from reconciler.report.gitlab import code_quality
from reconciler.report.junit import diagnostics_junit, plans_junit
from reconciler.report.markdown import plan_markdown, refusal_markdown
from reconciler.report.sarif import sarif
from tests.support.cases import CASES, findings_of
from tests.support.formats import check_code_quality, check_junit, commands_in
from tests.support.npm import package

PROJECT = "reconciler.yaml"
NAMES = (
    "002-none-adopt",
    "007-live-redeploy",
    "009-live-gone-orphan",
    "010-live-gone-prune",
    "015-running-other-redeploy-after",
    "018-running-gone-follow",
    "032-failed-same-retry",
    "039-unknown-same-hold",
    "048-suspended-environment",
    "054-quarantined",
    "059-rename-and-body",
    "062-replace-deploy-first",
    "063-replace-undeploy-first",
    "064-replace-protected",
    "075-waves",
    "092-guard-mass-change",
    "099-broken-manifest-lenient",
    "108-several-environments",
    "120-out-of-range",
    "130-hostile-strings",
)


def made(name: str) -> dict[str, str]:
    """Everything that a forge is given, by file name."""
    diagnostics, files, plans = findings_of(name)
    findings = (*of_diagnostics(diagnostics), *of_plans(plans))
    comment = "\n".join(plan_markdown(plans)) if plans else refusal_markdown((), diagnostics)
    return {
        "ci/comment.md": comment,
        "ci/github.txt": workflow_commands(findings),
        "ci/code-quality.json": _json(code_quality(findings, elsewhere=PROJECT)),
        "ci/junit.xml": plans_junit(plans) if plans else diagnostics_junit(diagnostics, files),
        "ci/reconciler.sarif": _json(sarif(findings, version="1.2.3", elsewhere=PROJECT)),
    }


@pytest.mark.parametrize("name", NAMES)
def test_case(name: str, request: pytest.FixtureRequest) -> None:
    """A scenario folder shows exactly what it expects, and every format is what its reader accepts."""
    texts = made(name)
    if request.config.getoption("--update"):
        for file, text in texts.items():
            (CASES / name / file).parent.mkdir(exist_ok=True)
            (CASES / name / file).write_text(text, "utf-8")
    expected = {file: (CASES / name / file).read_text("utf-8") for file in texts}
    assert texts == expected
    check_code_quality(json.loads(texts["ci/code-quality.json"]))
    check_junit(texts["ci/junit.xml"])
    findings = len(json.loads(texts["ci/code-quality.json"]))
    commands = list(commands_in(texts["ci/github.txt"]))
    assert len(commands) == findings == texts["ci/github.txt"].count("\n")
    assert {command for command, _, _ in commands} <= {"error", "warning", "notice"}


@pytest.mark.node
def test_sarif_schema() -> None:
    """Every SARIF document is valid by the schema that Microsoft's own matchers carry."""
    folder = package("@microsoft/jest-sarif", "1.0.0-beta.0")
    schema = json.loads((folder / "lib" / "schemas" / "sarif-2.1.0-rtm.5.json").read_text("utf-8"))
    check = jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker())
    for name in NAMES:
        document = json.loads((CASES / name / "ci" / "reconciler.sarif").read_text("utf-8"))
        assert [error.message for error in check.iter_errors(document)] == []


def test_every_folder_is_tested() -> None:
    """No folder holds outputs that nothing looks at."""
    assert {Path(path).parent.name for path in CASES.glob("*/ci")} == set(NAMES)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
