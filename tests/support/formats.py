"""What forges accept, written down from what they publish: each function fails for a document that its reader would refuse.

- code quality: https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
- JUnit: the schema that Jenkins publishes with its xUnit plugin, junit-10.xsd (elements, their children and attributes)
- workflow commands: https://docs.github.com/actions/reference/workflow-commands-for-github-actions, read as the runner reads
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema

CODE_QUALITY = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
        "additionalProperties": False,
        "properties": {
            "description": {"type": "string", "minLength": 1},
            "check_name": {"type": "string", "minLength": 1},
            "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{32,64}$"},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "required": ["path", "lines"],
                "properties": {
                    "path": {"type": "string", "pattern": r"^(?!\./|/)[^\x00-\x1f]+$"},
                    "lines": {
                        "type": "object",
                        "required": ["begin"],
                        "properties": {"begin": {"type": "integer", "minimum": 1}},
                    },
                },
            },
        },
    },
}

# element -> (attributes it must have, those it may have, children it may have, may it have text)
JUNIT: Mapping[str, tuple[set[str], set[str], set[str], bool]] = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}, False),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url", "version"},
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
        False,
    ),
    "testcase": (
        {"name"},
        {"time", "classname", "group"},
        {"skipped", "errors", "failure", "system-out", "system-err"},
        False,
    ),
    "failure": (set(), {"type", "message"}, set(), True),
    "skipped": (set(), {"type", "message"}, set(), True),
    "system-out": (set(), set(), set(), True),
}

# The runner's own reading of a line: https://github.com/actions/runner, ActionCommand.TryParseV2.
_COMMAND = re.compile(r"\s*::(?P<name>[^ :]+)(?: (?P<properties>.*?))?::(?P<data>.*)\Z")
_UNESCAPED = (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%"))


def check_code_quality(report: Any) -> None:
    """GitLab shows the first finding of each fingerprint only, so they must differ."""
    jsonschema.validate(report, CODE_QUALITY)
    prints = [issue["fingerprint"] for issue in report]
    assert len(prints) == len(set(prints))


def check_junit(text: str) -> ET.Element:
    """The root element; every element, attribute and count is as the schema and its readers have it."""
    root = ET.fromstring(text)
    assert root.tag == "testsuites"
    for element in root.iter():
        must, may, children, has_text = JUNIT[element.tag]
        names = set(element.attrib)
        assert must <= names <= must | may, (element.tag, names)
        assert {child.tag for child in element} <= children
        assert has_text or not (element.text or "").strip()
    for suite in root.iter("testsuite"):
        cases = suite.findall("testcase")
        assert int(suite.attrib["tests"]) == len(cases)
        assert int(suite.attrib["failures"]) == sum(case.find("failure") is not None for case in cases)
        assert int(suite.attrib["skipped"]) == sum(case.find("skipped") is not None for case in cases)
    return root


def commands_in(text: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """Every workflow command: its name, its properties and its message."""
    for line in text.splitlines():
        found = _COMMAND.match(line)
        if found:
            pairs = (part.partition("=") for part in (found["properties"] or "").split(",") if part)
            properties = {key: _unescaped(value) for key, _, value in pairs}
            yield found["name"], properties, _unescaped(found["data"])


def _unescaped(text: str) -> str:
    for escape, char in _UNESCAPED:
        text = text.replace(escape, char)
    return text
