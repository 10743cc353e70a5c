"""Strings made to hurt whoever is shown them, and what each kind of output must be, whatever it shows."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from xml.etree import ElementTree as ET

import yaml
from markdown_it import MarkdownIt

from tests.support.formats import check_code_quality, check_junit, commands_in

HURTFUL: Mapping[str, str] = {
    "escapes": "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b]8;;http://evil.example\x1b\\link",
    "eight-bit-escapes": "\x9b31m\x90q\x9c\x85::error::next line",
    "workflow-commands": "a\n::error file=x::owned\n::add-mask::e\n  ::stop-commands::x\r\n::set-env name=A::b",
    "first-thing": "::error::at the very start",
    "agent-commands": "##vso[task.setvariable variable=x]y ##[error]z ###[group]w",
    "bidi": "\u202egnp.exe\u2066x\u2069\u200b\u200e\ufeff\u2028y\u2029",
    "html": "<script>hurt()</script><img src=x onerror=hurt()> &lt;b&gt;",
    "markdown": "</code></details> [x](javascript:hurt()) @everyone ` ``` ```` \n```\n# owned\n<!-- reconciler:plan:x -->",
    "xml": "]]> <!ENTITY x SYSTEM 'file:///etc/passwd'> &x; \x0b\ufffe\uffff",
    "forged-lines": 'x\r\nPlan: production: nothing to do.\nRECOVERY {"forged": true}\nError: none',
    "long": "A" * 10_000,
    "a-key": "the key is kg-0b5c0000-1111-5222-8333-444455556666.",
    "look-alikes": "\u0440roduction/\u0430lpha \uff50\uff52\uff4f\uff44 %s {0} $(touch x) `touch x` ${{ secrets.X }}",
}

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_AGENT = re.compile(r"##(?:vso)?\[")
_KEY = re.compile(r"kg-[0-9A-Za-z-]{8,}")
_FORGE = MarkdownIt("gfm-like", {"html": True, "linkify": False})
_OURS = re.compile(r"</?(?:details|summary|sub|code)>|<!-- reconciler:plan(?::production)?(?::[0-9]+)? -->")
_STARTS = re.compile(r"^\s*::[a-z-]+", re.MULTILINE | re.IGNORECASE)


def check_calm(text: str) -> None:
    """Nothing that a terminal, a log or a reader's eye would obey."""
    text.encode()
    hidden = {char for char in text if char != "\n" and unicodedata.category(char) in _HIDDEN}
    assert not hidden, f"{hidden} in {text[:2000]!r}"
    assert not _AGENT.search(text), text


def check_text(text: str) -> None:
    """Calm, no key, and no line that a job's runner takes for a command, nor one that pretends to be ours."""
    check_calm(text)
    assert not _KEY.search(text), text
    assert not _STARTS.search(text), text
    assert not re.search(r"^(?:RECOVERY|Error: none)", text, re.MULTILINE), text
    assert not re.search(r"^Plan: production: nothing to do\.$", text, re.MULTILINE), text


def check_json(text: str) -> None:
    """One document in ASCII: what is in its strings is data, and directs nobody that only shows it."""
    check_calm(text)
    assert text.isascii()
    json.loads(text)


def check_yaml(text: str) -> None:
    check_calm(text)
    assert not _STARTS.search(text), text
    assert yaml.safe_load(text) is not None


def check_markdown(text: str) -> None:
    """As a forge reads it: no link, no image, and no HTML but ours."""
    check_calm(text)
    assert not _KEY.search(text), text
    blocks = _FORGE.parse(text)
    for token in (one for block in blocks for one in (block, *(block.children or ()))):
        assert token.type not in {"link_open", "image"}, token
        if token.type in {"html_block", "html_inline"}:
            assert "<" not in _OURS.sub("", token.content), token


def check_github(text: str) -> None:
    """Text for people, and below it a command for each finding, of three that only annotate; each is one of ours."""
    check_calm(text)
    assert not _KEY.search(text), text
    head, sign, tail = text.partition("\n::") if not text.startswith("::") else ("", "::", text[2:])
    check_text(head)
    lines = (sign + tail).strip("\n").splitlines()
    commands = list(commands_in("\n".join(lines)))
    assert len(commands) == len(lines)
    for name, fields, message in commands:
        assert name in {"error", "warning", "notice"}
        assert {"file", "title"} <= fields.keys() <= {"file", "line", "col", "title"}
        check_calm(message)


def check_sarif(text: str) -> None:
    """A report that is uploaded: no key either, though somebody wrote it into a manifest."""
    check_json(text)
    assert not _KEY.search(text), text


def check_gitlab(text: str) -> None:
    check_sarif(text)
    check_code_quality(json.loads(text))


def check_xml(text: str) -> None:
    check_calm(text)
    assert not _KEY.search(text), text
    check_junit(text)
    assert "<!ENTITY" not in text
    assert len(ET.fromstring(text)) > 0


def check_log(text: str) -> None:
    """Each line is one event."""
    for line in text.splitlines():
        check_json(line)
        assert {"event", "level"} <= json.loads(line).keys()


CHECKS: Mapping[str, Callable[[str], None]] = {
    "text": check_text,
    "wide": check_text,
    "json": check_json,
    "yaml": check_yaml,
    "markdown": check_markdown,
    "github": check_github,
    "gitlab": check_gitlab,
    "junit": check_xml,
    "sarif": check_sarif,
}
