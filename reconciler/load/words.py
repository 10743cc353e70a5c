"""Which word was probably meant. Knows words only; `hints` knows the models."""

from __future__ import annotations

from collections.abc import Iterable

_WORD = 64  # longer words are no misspelled field


def closest(word: str, words: Iterable[str]) -> str | None:
    """The one that was probably meant: the same but for case, dashes and underscores, or nearly the same."""
    if len(word) > _WORD:
        return None
    plain = {squeezed(other): other for other in words if isinstance(other, str)}
    if squeezed(word) in plain:
        return plain[squeezed(word)]
    from difflib import get_close_matches

    close = get_close_matches(squeezed(word), plain, n=1)
    return plain[close[0]] if close else None


def same(word: str, other: str) -> bool:
    """Whether two words differ in case, dashes and underscores only."""
    return squeezed(word) == squeezed(other)


def squeezed(word: str) -> str:
    """A word without what people get wrong first."""
    return word.replace("_", "").replace("-", "").lower()
