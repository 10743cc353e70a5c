"""Findings as SARIF 2.1.0 (https://docs.oasis-open.org/sarif/sarif/v2.1.0/), which code scanning services read."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from reconciler.model.values import Json
from reconciler.report.findings import RULES, Finding, Level

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
ROOT = "PROJECTROOT"  # what the places in a run are relative to
_LEVELS = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "note"}


def sarif(findings: Iterable[Finding], *, version: str, elsewhere: str) -> dict[str, Json]:
    """One run. `version` is the program's; `elsewhere` the file named for what has no place of its own."""
    found = tuple(findings)
    codes = sorted({finding.code for finding in found})
    driver: dict[str, Json] = {
        "name": "reconciler",
        "semanticVersion": version,
        "rules": [_rule(code) for code in codes],
    }
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "originalUriBaseIds": {ROOT: {"description": {"text": "The folder of the project."}}},
                "results": [_result(finding, codes.index(finding.code), elsewhere) for finding in found],
            }
        ],
    }


def _rule(code: str) -> Json:
    rule = RULES[code]
    return {
        "id": code,
        "name": "".join(word.capitalize() for word in rule.title.replace("-", " ").split()),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.meaning},
        "help": {"text": rule.remedy},
    }


def _result(finding: Finding, rule: int, elsewhere: str) -> Json:
    place = finding.position
    return {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": _LEVELS[finding.level],
        "message": {"text": finding.message},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(finding.file(elsewhere)), "uriBaseId": ROOT},
                    "region": {"startLine": place.line if place else 1, "startColumn": place.column if place else 1},
                }
            }
        ],
        "partialFingerprints": {"reconciler/v1": finding.fingerprint(elsewhere)},
    }
