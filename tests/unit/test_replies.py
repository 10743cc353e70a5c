"""Reading replies: bytes of unknown origin never raise, ids are salvaged, and what is cut is seen to be cut."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.model.applied import Accepted, Operation, Unknown
from reconciler.platform.api import MAX_REPLY, Reply
from reconciler.platform.endings import classify
from reconciler.platform.replies import (
    MAX_DEPTH,
    clean,
    decode_content,
    error_text,
    keep_headers,
    parse_json,
    plain_text,
    read_body,
    salvage,
    valid_id,
)
from tests.support import vendor

ID = "ds-11111111-2222-3333-4444-555555555555"
OTHER = "ds-99999999-2222-3333-4444-555555555555"
SUITE = Path(__file__).parents[3] / "shared" / "data" / "json-test-suite" / "test_parsing"


def _shown_safely(text: str) -> bool:
    return text.isprintable() or not text


@given(st.binary(max_size=400))
@example(b"\x00")
@example(b"\xef\xbb\xbf{}")
@example(b'{"a":' * 3000)
@example(b'"' + b'\\"' * 20000)
@example(b"<" * 20000)
@example(b"<script" * 5000)
@example(b'{"percentageComplete": 1e999}')
@example(b'{"percentageComplete": ' + b"9" * 5000 + b"}")
@example(b'{"dock-statusId": "\\ud800"}')
@example(b'{"message": "\\ud800\\u202e\\u0007"}')
def test_no_bytes_make_reading_raise(body: bytes) -> None:
    """Whatever the bytes, there are facts, at most one salvaged id, and only printable words."""
    facts = read_body(body)
    found = salvage(body)
    assert found is None or found.encode() in body
    for text in (facts.message, facts.response or "", facts.problem or "", facts.status or ""):
        assert _shown_safely(text), text
    assert facts.model_id is None or valid_id(facts.model_id)


@given(st.text(max_size=300), st.integers(1, 50))
def test_clean_text_is_one_bounded_printable_line(text: str, limit: int) -> None:
    """Outside text loses control, format and bidi characters and is bounded."""
    cleaned = clean(text, limit)
    assert _shown_safely(cleaned)
    assert len(cleaned) <= limit
    assert clean(cleaned, limit) == cleaned


def _suite() -> list[Path]:
    return sorted(SUITE.glob("*.json")) if SUITE.is_dir() else []


@pytest.mark.skipif(not _suite(), reason="the JSON parsing suite (../shared/data/json-test-suite) is not there")
def test_the_json_parsing_suite() -> None:
    """Every y_ file is read, every n_ file is refused with words, an i_ file is either, and none raises anything else."""
    wrong = []
    for path in _suite():
        body = path.read_bytes()
        try:
            parse_json(body)
            taken = True
        except ValueError:
            taken = False
        if path.name[0] in "yn" and taken is not (path.name[0] == "y"):
            wrong.append(path.name)
        read_body(body)
    assert wrong == []


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_is_bounded(depth: int, opening: str, closing: str) -> None:
    """Deep nesting is refused before the parser sees it."""
    text = opening * depth + "1" + closing * depth
    facts = read_body(text.encode())
    assert (facts.problem is not None and "deeper" in facts.problem) is (depth > MAX_DEPTH)


def test_brackets_in_strings_are_no_nesting() -> None:
    """A message full of brackets is read."""
    assert read_body(json.dumps({"message": '[{"' * 200}).encode()).problem is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"errors": [{"msg": "one", "code": 1}, {"msg": "two", "code": 2}]}, "one; two"),
        ({"errors": ["one", "one"]}, "one"),
        ({"errors": {"msg": "one"}}, "one"),
        ({"message": "one"}, "one"),
        ({"message": ["name is required", "topK is required"]}, "name is required; topK is required"),
        ({"error": "one"}, "one"),
        ({"error": {"message": "one", "code": 3}}, "one"),
        ({"error": "Bad Request", "message": "one"}, "Bad Request; one"),
        ({"title": "Bad", "detail": "one"}, "one; Bad"),
        ({"msg": "one\nline\x1b[31m"}, "one line"),
        ({"code": 7}, ""),
        ({}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_the_words_of_every_error_shape(value: object, text: str) -> None:
    """The platform's own words are found in each shape that was seen."""
    assert error_text(value) == text


def test_a_gateways_page_becomes_its_words() -> None:
    """Tags, scripts and entities are gone from an HTML page."""
    page = (
        b"<html><head><script>alert(1)</script><title>502</title></head><body>Bad&nbsp;Gateway &amp; more</body></html>"
    )
    assert plain_text(page) == "502 Bad Gateway & more"


# Cut replies

_REPLIES = {
    "page": json.dumps({**vendor.REPLY, "dock-statusId": ID}),
    "compact": json.dumps({**vendor.REPLY, "dock-statusId": ID}, separators=(",", ":")),
    "id last": json.dumps({"modelId": "cm-1", "status": "IN_PROGRESS", "_id": ID}),
    "id only": json.dumps({"dockStatusId": ID}),
    "spaced": json.dumps({"dockstatusId": ID, "modelId": "cm-1", "status": "IN_PROGRESS"}, indent=4),
}


@pytest.mark.parametrize("name", _REPLIES)
@pytest.mark.parametrize("operation", list(Operation))
@pytest.mark.parametrize("seen_to_be_cut", [True, False])
def test_a_reply_cut_after_every_byte(name: str, operation: Operation, seen_to_be_cut: bool) -> None:
    """A success cut anywhere is unknown, never accepted, and its id is a candidate as soon as all of it has come."""
    body = _REPLIES[name].encode()
    received = body.index(ID.encode()) + len(ID)
    for count in range(len(body)):
        error = f"the reply ended after {count} bytes of its body: EOF" if seen_to_be_cut else None
        cut = Reply(status_code=200, headers=(), body=body[:count], error=error)
        outcome = classify(cut, operation=operation)
        assert isinstance(outcome, Unknown), count
        assert outcome.candidates == ((ID,) if count >= received else ()), count
    whole = Reply(status_code=200, headers=(), body=body)
    assert isinstance(classify(whole, operation=operation), Accepted)


def test_the_masked_ids_of_the_page_are_salvaged_once_quoted() -> None:
    """Ids are opaque: one that is not of the usual length counts once its closing quote has come."""
    masked = vendor.REPLY["dock-statusId"]
    body = json.dumps(vendor.REPLY).encode()
    closing = body.index(masked.encode()) + len(masked) + 1
    assert [salvage(body[:count]) for count in range(closing)] == [None] * closing
    assert all(salvage(body[:count]) == masked for count in range(closing, len(body) + 1))


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (f'{{"dock-statusId": "{ID}", "_id": "{OTHER}"', None),
        (f'{{"dock-statusId": "{ID}", "_id": "{ID}"', ID),
        (f'<html>"{ID}"</html>', ID),
        (f'{{"message": "see {ID}"', None),
        ('{"x": "ds-"', None),
        ('{"x": "ds-../../undeploy"', None),
        (f'{{"x": "{ID[:-1]}', None),
        (f'{{"x": "{ID[:-1]}"', ID[:-1]),
        ("", None),
    ],
)
def test_salvage(body: str, found: str | None) -> None:
    """Exactly one id that stands whole in the text is salvaged."""
    assert salvage(body.encode()) == found


# Encodings and headers


def test_a_bomb_is_decoded_to_its_bound() -> None:
    """A compressed reply is expanded to at most MAX_REPLY bytes, and says that it was cut."""
    bomb = gzip.compress(b"\0" * (64 * MAX_REPLY))
    body, problem = decode_content("gzip", bomb)
    assert len(body) == MAX_REPLY
    assert problem == f"the reply is larger than {MAX_REPLY} bytes and was cut"


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP ", "deflate"])
def test_compressed_replies_are_read_all_the_same(encoding: str) -> None:
    """A gateway that compresses although identity was asked for is understood; a cut one is seen to be cut."""
    packed = zlib.compress(b'{"a": 1}') if encoding == "deflate" else gzip.compress(b'{"a": 1}')
    assert decode_content(encoding, packed) == (b'{"a": 1}', None)
    _, problem = decode_content(encoding, packed[:-3])
    assert problem == "the reply's compressed body is cut"


@given(st.sampled_from(["", "identity", "gzip", "deflate", "br", "zstd", "\x1b["]), st.binary(max_size=100))
def test_no_encoding_makes_decoding_raise(encoding: str, body: bytes) -> None:
    """Lies about the encoding give the bytes and a sentence."""
    decoded, problem = decode_content(encoding, body)
    if encoding in {"", "identity"}:
        assert (decoded, problem) == (body, None)
    elif encoding not in {"gzip", "deflate"}:
        assert problem is not None
        assert problem.isprintable()


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_refused(word: str) -> None:
    """A word that some writers of JSON use for a number makes the whole reply unreadable."""
    facts = read_body(f'{{"dock-statusId": "ds-1", "percentageComplete": {word}}}'.encode())
    assert facts.ids == ()
    assert facts.problem is not None
    assert word in facts.problem


def test_only_useful_headers_are_kept() -> None:
    """Cookies and what else a reply may carry never reach the state; values are harmless."""
    kept = keep_headers(
        [("Set-Cookie", "s=1"), ("Retry-After", "7"), ("X-Request-Id", "a\x1b[2Jb"), ("X-Api-Key", "k")]
    )
    assert dict(kept) == {"retry-after": "7", "x-request-id": "ab"}


@pytest.mark.parametrize("text", ["", "-a", ".a", "a b", "a/b", "a?b", "a#b", "a%2f", "é", "a\n", "a" * 129, "../x"])
def test_what_is_no_id(text: str) -> None:
    """Nothing that could change a path is an id."""
    assert not valid_id(text)
