"""Text that came from outside, made harmless: the one place that knows what must not reach a terminal, a log or a CI job.

Used at every sink (`report`) and where outside text enters (`platform.replies`). Pure and total.
"""

from __future__ import annotations

import re
import unicodedata

# Whole escape sequences go, not only their first byte: colours, cursor moves, titles, hyperlinks.
_ESCAPES = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI
    # OSC, DCS, SOS, PM, APC. One that another begins in never ends: else many without an end would take quadratic time.
    "|(?:\x1b[\\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\\\|\x9c)"
    "|\x1b[ -/]*[0-~]"  # the rest
)
_DROPPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # controls, bidi and other format marks, surrogates, …
# What CI systems read as commands: `::error::` at the start of a line, `##[…` and `##vso[…` anywhere.
_COMMAND = re.compile(r"^(\s*):(?=:)|##(?=\w*\[)")

# What may be an API key of the platform, where a key can stand at all.
KEY_PATTERN = r"\bkg-[0-9A-Za-z-]{8,}"
# What its keys look like: UUIDs. A key that is known is redacted by its text; this finds one that somebody wrote where none
# belongs, and leaves a deployment named kg-knowledge-graph alone.
_KEY = re.compile(r"\bkg-(?=[0-9A-Za-z-]*[0-9])[0-9A-Za-z]{8}(?![0-9A-Za-z])[0-9A-Za-z-]*")

# A field that people call a key (a webhook's address is one too), and what they wrote there; `{env: NAME}`
# is a reference and may be shown. `maxToken` is `maxTokens` misspelled.
_KEY_FIELD = re.compile(
    r"((?:api[_-]?key|(?<!max)(?<!max_)token|secret|password|url)[\"']?\s*:\s*)([^\s{][^,}\n]*)", re.IGNORECASE
)

# Name and password in a URL.
_USER = re.compile(r"(://)([^/@\s]+)@")


def without_keys(text: str) -> str:
    """The text with everything that looks like an API key blotted out."""
    return _KEY.sub("kg-[redacted]", text) if "kg-" in text else text


def masked(line: str) -> str:
    """A line of a file as long as it was, with stars where an API key stands or seems to stand."""
    line = _USER.sub(lambda match: match[1] + "*" * len(match[2]) + "@", line)
    line = _KEY_FIELD.sub(lambda match: match[1] + "*" * len(match[2]), line)
    return _KEY.sub(lambda match: "*" * len(match[0]), line)


def with_stop(clause: str) -> str:
    """With the full stop that a sentence after it needs."""
    return clause if clause.endswith((".", "!", "?")) else f"{clause}."


def one_line(text: str, limit: int | None = None) -> str:
    """One line without control, format and bidi characters; white space is one blank. At most `limit` characters."""
    if limit is not None:
        text = text[: 4 * limit]
    text = " ".join(text.split())
    if not (text.isascii() and text.isprintable()):
        text = _without_marks(text)
    return text if limit is None or len(text) <= limit else f"{text[: limit - 1]}…"


def safe(text: str) -> str:
    """As it may stand in a line of output: white space becomes blanks; control characters, CI commands and keys are gone."""
    if not text.isprintable():
        text = "".join(_kept(char) for char in _ESCAPES.sub("", text))
    text = without_keys(text)
    return _COMMAND.sub(_blunted, text) if "::" in text or "##" in text else text


def _without_marks(text: str) -> str:
    text = _ESCAPES.sub("", text)
    return " ".join("".join(char for char in text if unicodedata.category(char) not in _DROPPED).split())


def _kept(char: str) -> str:
    if char.isspace():
        return " "
    return "" if unicodedata.category(char) in _DROPPED else char


def _blunted(match: re.Match[str]) -> str:
    return f"{match.group(1)}: " if match.group(1) is not None else "# #"
