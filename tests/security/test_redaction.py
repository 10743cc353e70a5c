"""A platform that gives the key back in its reply, however it spells it, does not bring it past the seam."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.platform.api import MAX_REPLY
from reconciler.platform.boundary import REDACTED, redacted, redacted_text
from reconciler.platform.replies import read_body
from tests.security.spellings import SPELLINGS, echoes, found_in, spelled, variants

KEY = "kg-3f1b6a52-0000-5000-8000-ca4a2900beef-5ec2e701-0000-5000-8000-ca4a2900cafe"


def test_there_are_twelve_spellings_and_each_is_another() -> None:
    """The list is as long as it says, and each of its spellings is found as itself."""
    assert len(set(spelled(KEY).values())) == len(SPELLINGS) == 12
    for name, text in spelled(KEY).items():
        assert name in found_in(b"before " + text.encode() + b" after", KEY)


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_spelling_is_taken_out(name: str) -> None:
    """A reply with the key in it is kept without it; the words around it stay."""
    body = f'{{"message": "you sent <{SPELLINGS[name](KEY)}> to us"}}'.encode()
    kept = redacted(body, KEY)
    assert found_in(kept, KEY) == []
    assert kept == f'{{"message": "you sent <{REDACTED}> to us"}}'.encode()
    assert found_in(read_body(kept).message.encode(), KEY) == []


@pytest.mark.parametrize(("name", "text"), list(variants(KEY)), ids=[name for name, _ in variants(KEY)])
def test_a_library_spells_it(name: str, text: bytes) -> None:
    """What libraries make of a key is taken out, mixed, nested and in lines too; little of it is left."""
    kept = redacted(b"<" + text + b">", KEY)
    assert REDACTED.encode() in kept
    assert kept.startswith(b"<")
    assert kept.endswith(b">")
    assert len(text) - len(kept) >= len(KEY) - len(REDACTED) - 2


@given(st.sampled_from(sorted(SPELLINGS)), st.integers(0, 2000))
def test_a_reply_that_ends_inside_the_key(name: str, length: int) -> None:
    """A spelling that is cut anywhere leaves less than eight characters of the key."""
    text = SPELLINGS[name](KEY)
    cut = text[: 1 + length % len(text)]
    kept = redacted(f"you sent {cut}".encode(), KEY)
    eight = SPELLINGS[name](KEY[:8]) if name != "reversed" else KEY[:-9:-1]
    assert eight.encode() not in kept.removeprefix(b"you sent ") or name.startswith("base64")
    assert len(kept) <= len("you sent ") + 8 * 6 + len(REDACTED)


@given(st.binary(max_size=200))
def test_other_bytes_are_left_alone(body: bytes) -> None:
    """What does not hold the key is kept byte for byte."""
    assert redacted(body, KEY) == body
    assert redacted(body + echoes(KEY).encode() + b" end", KEY).startswith(body)


@pytest.mark.parametrize(
    "piece", [b"\\", b"%25", b"&amp;", b"k", b"kg-3f1b6a5", b"k\x00", b"=\n", b"6b67", b"a2ct"], ids=repr
)
def test_a_reply_cannot_make_it_slow(piece: bytes) -> None:
    """A mebibyte of what a spelling begins with is read to its end; looking again at each place would take hours."""
    assert redacted((piece * MAX_REPLY)[:MAX_REPLY] + b"!", KEY).endswith(b"!")


def test_texts_and_short_keys() -> None:
    """Text is redacted as bytes are; what is too short to be a key is not looked for."""
    assert redacted_text(f"a {KEY} b", KEY) == f"a {REDACTED} b"
    assert redacted(b"a short b", "short") == b"a short b"
