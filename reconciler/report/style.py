"""How text output looks: two decisions that the caller takes once, and a few words for colours.

`cli` decides (a terminal, NO_COLOR, the width); the renderers here only follow. Everything that came from outside goes
through `safe` before it stands in a line.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from reconciler.model.text import one_line, safe, without_keys
from reconciler.model.values import Json

MAX_VALUE = 200  # characters of a value that a line shows

_COLOURS = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "dim": "2",
    "bold": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """`colour` says whether escape sequences may be written, `width` how many columns a line should have at most.

    `wraps` is True on a terminal, which breaks a longer line anywhere; elsewhere a table is as wide as it is.
    """

    colour: bool = False
    width: int = 120
    wraps: bool = False

    def paint(self, text: str, colour: str | None) -> str:
        """The text in a colour, or as it is."""
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self.colour and colour and text else text


PLAIN = Style()


def value_text(value: Json, limit: int = MAX_VALUE) -> str:
    """A JSON value on one line, bounded; what cannot be seen is spelled as an escape; None is what is not there."""
    if value is None:
        return "(absent)"
    text = json.dumps(_without_keys(value), ensure_ascii=False)
    if not text.isprintable():
        text = "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)
    text = safe(text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _without_keys(value: Json) -> Json:
    """Before it is spelled as JSON: after an escaped line break a key would not be seen to begin."""
    if isinstance(value, str):
        return without_keys(value)
    if isinstance(value, list):
        return [_without_keys(item) for item in value]
    return {without_keys(k): _without_keys(v) for k, v in value.items()} if isinstance(value, dict) else value


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 error`, `2 errors`; `1 entry`, `2 entries` with a plural of its own."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or f'{noun}s'}"


def duration(seconds: float) -> str:
    """`35s`, `4m10s`, `3h02m`, `5d04h`: two units, because nobody reads more."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes_left = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    if days:
        return f"{days}d{hours_left:02}h"
    if hours:
        return f"{hours}h{minutes_left:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


__all__ = ["PLAIN", "Style", "count", "duration", "one_line", "safe", "value_text"]
