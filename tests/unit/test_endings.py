"""Every row of "How each ending of a POST counts" (docs/platform.md), and its like for the dock status."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.applied import Accepted, NotProcessed, NotSent, Operation, Outcome, RefusalKind, Unknown
from reconciler.platform.api import ConnectFailed, NoReply, Reply
from reconciler.platform.endings import (
    FIRST_DEPLOYMENT_HINT,
    MAX_RETRY_AFTER,
    TABLE,
    DockAnswer,
    Ended,
    Later,
    NotFound,
    Running,
    Unauthorized,
    Unreachable,
    Unreadable,
    classify,
    read_dock_status,
    retry_after,
)

ID = "ds-11111111-2222-3333-4444-555555555555"
OTHER = "ds-99999999-2222-3333-4444-555555555555"
LIMIT = "Rate limit for this API has been reached. Please try again later"
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
OPERATIONS = tuple(Operation)
TAKEN = {"modelId": "cm-1", "jobType": "MODELS", "action": "DEPLOY", "status": "IN_PROGRESS"}

# The table of docs/platform.md a second time, from the page: code -> how it counts when it carries no id and no rate limit words.
# Codes that are not listed are unknown.
BY_CODE: dict[int, RefusalKind] = {
    **dict.fromkeys((408, 425, 429), RefusalKind.RATE_LIMITED),
    **dict.fromkeys((307, 308), RefusalKind.REDIRECTED),
    **dict.fromkeys((400, 404, 405, 413, 415, 422), RefusalKind.REFUSED),
    **dict.fromkeys((401, 403), RefusalKind.UNAUTHORIZED),
    **dict.fromkeys((409, 423), RefusalKind.CONFLICT),
}


def reply(code: int = 200, body: Any = b"", *, error: str | None = None, **headers: str) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Reply(status_code=code, headers=named, body=raw, error=error)


def shapes(message: str) -> dict[str, bytes]:
    """The error bodies that were seen on the vendor's APIs and in front of them."""
    return {
        "errors": json.dumps({"errors": [{"msg": message, "code": 4002}]}).encode(),
        "message": json.dumps({"message": message}).encode(),
        "error": json.dumps({"error": message}).encode(),
        "nested": json.dumps({"error": {"message": message}}).encode(),
        "string": json.dumps(message).encode(),
        "text": message.encode(),
        "html": f"<html><head><title>x</title></head><body><h1>{message}</h1></body></html>".encode(),
    }


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("body", [b"", *shapes("No.").values()], ids=["empty", *shapes("")])
def test_every_code_without_an_id_counts_as_its_row_says(operation: Operation, body: bytes) -> None:
    """Each HTTP status from 200 to 599 falls into the class of its row, with and without a message; the rest is unknown."""
    for code in range(200, 600):
        outcome = classify(reply(code, body), operation=operation)
        if code in BY_CODE:
            assert isinstance(outcome, NotProcessed), code
            assert (outcome.kind, outcome.status_code) == (BY_CODE[code], code)
        else:
            assert isinstance(outcome, Unknown), code
            assert outcome.status_code == code


@pytest.mark.parametrize("operation", OPERATIONS)
def test_only_success_codes_accept_an_id(operation: Operation) -> None:
    """An id in a reply that is no success starts nothing to follow."""
    for code in range(200, 600):
        outcome = classify(reply(code, {"dock-statusId": ID, **TAKEN}), operation=operation)
        assert isinstance(outcome, Accepted) is (code < 300), code
        if code >= 300 and code not in BY_CODE:
            assert isinstance(outcome, Unknown)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("shape", shapes(""))
def test_the_rate_limit_message_means_not_processed_whatever_the_code(operation: Operation, shape: str) -> None:
    """The documented words in any error shape mean: wait and send again, on every HTTP status."""
    for code in range(200, 600):
        outcome = classify(reply(code, shapes(LIMIT)[shape]), operation=operation)
        assert isinstance(outcome, NotProcessed), code
        assert outcome.kind is RefusalKind.RATE_LIMITED


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"dock-statusId": ID, "message": LIMIT}, None),
        ({"dock-statusId": ID[:9], "message": LIMIT}, None),
        (b'{"message": "' + LIMIT.encode() + b'", "dock-sta', "the reply ended after 9 bytes of its body: EOF"),
        (b'{"message": "' + LIMIT.encode() + b'", "x": "ds-', None),
    ],
)
def test_a_success_that_may_have_started_a_job_is_never_called_rate_limited(body: Any, error: str | None) -> None:
    """The limiter's words inside a success that names an id, or is cut before it could, prove nothing."""
    outcome = classify(reply(200, body, error=error), operation=Operation.DEPLOY)
    assert not isinstance(outcome, NotProcessed)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("trust", [True, False])
def test_a_failed_connection_is_not_sent(operation: Operation, trust: bool) -> None:
    """When connecting failed not one byte left."""
    outcome = classify(ConnectFailed(error="Connection refused", trust=trust), operation=operation)
    assert outcome == NotSent(error="Connection refused")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_reply_is_unknown(operation: Operation) -> None:
    """Reset, EOF or timeout after the first byte was due says nothing about the work."""
    outcome = classify(NoReply(error="Connection reset by peer"), operation=operation)
    assert outcome == Unknown(reason="the connection ended without a reply: Connection reset by peer")


ID_KEYS = ("dock-statusId", "dockStatusId", "dockstatusId", "DockStatusID", "dock_status_id", "dock-status-id", "_id")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("key", ID_KEYS)
@pytest.mark.parametrize("code", [200, 201, 202, 207, 299])
def test_every_spelling_of_the_id_is_accepted(operation: Operation, key: str, code: int) -> None:
    """A success with one valid id is followed, however the page of the day spells the key."""
    assert classify(reply(code, {key: ID, **TAKEN}), operation=operation) == Accepted(dock_status_id=ID)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("status", ["SUCCESS", "FAILED", "success", " Failed "])
def test_an_answer_that_is_already_terminal_needs_no_poll(operation: Operation, status: str) -> None:
    """SUCCESS or FAILED in the reply itself is the job's status, with its response."""
    body = {"dockStatusId": ID, "status": status, "response": {"message": "no capacity"}}
    expected = Accepted(dock_status_id=ID, status=status.strip().upper(), detail="no capacity")
    assert classify(reply(200, body), operation=operation) == expected


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"<html><body>OK</body></html>",
        b"OK",
        b"[]",
        b"null",
        b'"ds-1"',
        b"{",
        b"\xff\xfe{}",
        b'{"status": NaN}',
        b"[" * 60 + b"]" * 60,
        b" " * (1024 * 1024 + 1) + b"{}",
        json.dumps(TAKEN).encode(),
        json.dumps({"dock-statusId": None}).encode(),
        json.dumps({"dock-statusId": ""}).encode(),
        json.dumps({"dock-statusId": 7}).encode(),
        json.dumps({"dock-statusId": ["ds-1"]}).encode(),
        json.dumps({"dock-statusId": "ds-1/../undeploy"}).encode(),
        json.dumps({"dock-statusId": "ds-" + "1" * 126}).encode(),
        json.dumps({"dock-statusId": ID, "_id": OTHER}).encode(),
        f'{{"dock-statusId": "{ID}", "dock-statusId": "{OTHER}"}}'.encode(),
        json.dumps({"dock-statusId": ID, "_id": 7}).encode(),
        json.dumps([{"dock-statusId": ID}]).encode(),
    ],
)
def test_a_success_without_one_valid_id_is_unknown(operation: Operation, body: bytes) -> None:
    """Without an id, with two that differ, not JSON, HTML, empty or oversized: taken, and nothing to follow."""
    outcome = classify(reply(200, body), operation=operation)
    assert isinstance(outcome, Unknown)
    assert outcome.status_code == 200


def test_the_same_id_twice_is_one_id() -> None:
    """Two keys with the same value agree."""
    body = {"dock-statusId": ID, "_id": ID}
    assert classify(reply(200, body), operation=Operation.DEPLOY) == Accepted(dock_status_id=ID)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_id_of_another_attempt_is_unknown(operation: Operation) -> None:
    """One id for two calls, or a replayed reply: neither attempt can be trusted."""
    outcome = classify(reply(200, {"dock-statusId": ID, **TAKEN}), operation=operation, known_ids={ID})
    assert isinstance(outcome, Unknown)
    assert ID in outcome.reason
    assert "another attempt" in outcome.reason


@pytest.mark.parametrize("known", [True, False])
def test_a_damaged_success_names_a_candidate(known: bool) -> None:
    """The one id that a cut reply names is to be asked about, unless it belongs to another attempt."""
    cut = reply(
        200, f'{{"dock-statusId": "{ID}", "mod'.encode(), error="the reply ended after 60 bytes of its body: EOF"
    )
    outcome = classify(cut, operation=Operation.DEPLOY, known_ids={ID} if known else ())
    assert isinstance(outcome, Unknown)
    assert outcome.candidates == (() if known else (ID,))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"dock-statusId": ID, **TAKEN}, "the reply ended after 60 bytes of its body: EOF"),
        (f'{{"dock-statusId": "{ID}"}} and more'.encode(), None),
        (f'<p>"{ID}"</p>'.encode(), None),
    ],
)
def test_a_reply_in_which_anything_is_wrong_is_only_asked_about(body: Any, error: str | None) -> None:
    """A reply that is not whole although it can be read, or whole and cannot be read, accepts nothing by itself."""
    outcome = classify(reply(200, body, error=error), operation=Operation.DEPLOY)
    assert isinstance(outcome, Unknown)
    assert outcome.candidates == (ID,)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_declared_codes_are_not_processed(operation: Operation) -> None:
    """A code that the operator declares counts as not processed: a 5xx is sent again, a 4xx is not."""
    for code in (501, 503, 504):
        outcome = classify(reply(code), operation=operation, extra_not_processed=frozenset({501, 503, 504}))
        assert isinstance(outcome, NotProcessed)
        assert outcome.kind is RefusalKind.RATE_LIMITED
    gone = classify(reply(410), operation=operation, extra_not_processed=frozenset({410}))
    assert isinstance(gone, NotProcessed)
    assert gone.kind is RefusalKind.REFUSED


def test_a_declaration_overrules_no_certainty() -> None:
    """What the table knows for certain stays, whatever codes are declared."""
    everything = frozenset(range(100, 600))
    for code in range(200, 600):
        before = classify(reply(code, {"_id": ID}), operation=Operation.DEPLOY)
        after = classify(reply(code, {"_id": ID}), operation=Operation.DEPLOY, extra_not_processed=everything)
        assert after == before or isinstance(before, Unknown), code


def test_redirects_name_their_target() -> None:
    """307 and 308 say where they lead, since it is a host that is configured wrongly."""
    outcome = classify(reply(308, location="https://elsewhere.example.com/\x1b[2J"), operation=Operation.DEPLOY)
    assert isinstance(outcome, NotProcessed)
    assert "https://elsewhere.example.com/" in outcome.message
    assert "\x1b" not in outcome.message


@pytest.mark.parametrize(("first", "operation", "hinted"), [
    (True, Operation.DEPLOY, True),
    (False, Operation.DEPLOY, False),
    (True, Operation.UNDEPLOY, False),
])  # fmt: skip
def test_a_refused_first_deploy_hints_at_the_console(first: bool, operation: Operation, hinted: bool) -> None:
    """The platform's reason is shown, and on a first deploy the usual cause."""
    outcome = classify(reply(400, {"message": "Bad request"}), operation=operation, first_deploy=first)
    assert isinstance(outcome, NotProcessed)
    assert outcome.message.startswith("Bad request")
    assert (FIRST_DEPLOYMENT_HINT in outcome.message) is hinted


@pytest.mark.parametrize(
    ("headers", "now", "seconds"),
    [
        ({"retry_after": "30"}, None, 30.0),
        ({"retry_after": " 30 "}, None, 30.0),
        ({"retry_after": "0"}, None, 0.0),
        ({"retry_after": "999999999999"}, None, MAX_RETRY_AFTER),
        ({"retry_after": "1.5"}, None, None),
        ({"retry_after": "-5"}, None, None),
        ({"retry_after": "soon"}, None, None),
        ({"retry_after": ""}, None, None),
        ({}, None, None),
        ({"retry_after": "٣٠"}, None, None),
        ({"retry_after": "Tue, 01 Jan 2030 12:00:45 GMT", "date": "Tue, 01 Jan 2030 12:00:00 GMT"}, None, 45.0),
        ({"retry_after": "Tue, 01 Jan 2030 12:00:45 GMT"}, NOON, 45.0),
        ({"retry_after": "Tue, 01 Jan 2030 11:00:00 GMT"}, NOON, 0.0),
        ({"retry_after": "Wed, 01 Jan 2031 12:00:00 GMT"}, NOON, MAX_RETRY_AFTER),
        ({"retry_after": "Tue, 01 Jan 2030 12:00:45 GMT"}, None, None),
        ({"retry_after": "Tue, 99 Jan 2030 12:00:45 GMT"}, NOON, None),
    ],
)
def test_retry_after(headers: dict[str, str], now: datetime | None, seconds: float | None) -> None:
    """Seconds or a date, counted from the reply's own Date, capped; nonsense is as good as nothing."""
    assert retry_after(reply(429, **headers), now) == seconds


def test_only_what_is_sent_again_waits() -> None:
    """Retry-After is kept for rate limits and dropped for refusals."""
    limited = classify(reply(429, retry_after="7"), operation=Operation.DEPLOY)
    refused = classify(reply(400, retry_after="7"), operation=Operation.DEPLOY)
    assert isinstance(limited, NotProcessed)
    assert isinstance(refused, NotProcessed)
    assert (limited.retry_after, refused.retry_after) == (7.0, None)


_ANY_REPLY = st.builds(
    lambda code, headers, body, error: Reply(status_code=code, headers=tuple(headers.items()), body=body, error=error),
    st.integers(100, 999),
    st.dictionaries(st.sampled_from(["retry-after", "date", "location", "server"]), st.text(max_size=40)),
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.just(ID)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(st.sampled_from([*ID_KEYS, "status", "errors", "message", "response"]), inner),
            ),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
    ),
    st.one_of(st.none(), st.text(max_size=40)),
)


@given(_ANY_REPLY, st.sampled_from(OPERATIONS))
def test_no_reply_makes_the_table_raise(sent: Reply, operation: Operation) -> None:
    """Whatever comes back has an outcome and an answer, and accepted ids are well formed."""
    outcome: Outcome = classify(sent, operation=operation, now=NOON)
    read_dock_status(sent, dock_status_id=ID, now=NOON)
    if isinstance(outcome, Accepted):
        assert outcome.dock_status_id is not None
        assert 200 <= sent.status_code < 300
        assert outcome.dock_status_id.encode() in sent.body
        assert sent.error is None


def test_every_row_decides_something() -> None:
    """No row is hidden by the rows above it."""
    decided = set()
    endings: list[tuple[Any, dict[str, Any]]] = [
        (reply(400, {"message": LIMIT}), {}),
        (reply(429), {}),
        (ConnectFailed(error="x"), {}),
        (NoReply(error="x"), {}),
        (reply(200, b"{"), {}),
        (reply(200, {"_id": ID, "dockStatusId": OTHER}), {}),
        (reply(200, {}), {}),
        (reply(200, {"_id": ID}), {"known_ids": {ID}}),
        (reply(200, {"_id": ID}), {}),
        (reply(307), {}),
        (reply(400), {}),
        (reply(401), {}),
        (reply(409), {}),
        (reply(500), {"extra_not_processed": frozenset({500})}),
        (reply(303), {}),
        (reply(500), {}),
    ]
    for sent, more in endings:
        decided.add(repr(classify(sent, operation=Operation.DEPLOY, **more)))
    assert len(decided) == len(endings) == len(TABLE)


# The dock status


STATUS_BY_CODE: dict[int, type] = {
    **dict.fromkeys((408, 425, 429), Later),
    **dict.fromkeys((401, 403), Unauthorized),
    **dict.fromkeys((404, 410), NotFound),
}


@pytest.mark.parametrize("body", [b"", *shapes("No.").values()], ids=["empty", *shapes("")])
def test_every_code_of_a_dock_status_without_a_job(body: bytes) -> None:
    """No HTTP status without a readable job ever says that a job ended."""
    for code in range(200, 600):
        expected = STATUS_BY_CODE.get(code, Later if code >= 500 else Unreadable)
        assert type(read_dock_status(reply(code, body))) is expected, code


def test_only_success_codes_tell_a_status() -> None:
    """A body that says SUCCESS in a reply that is no success says nothing."""
    for code in range(200, 600):
        answer = read_dock_status(reply(code, {"_id": ID, "status": "SUCCESS"}))
        assert isinstance(answer, Ended) is (code < 300), code


@pytest.mark.parametrize("shape", shapes(""))
def test_a_limited_question_is_asked_later(shape: str) -> None:
    """The documented words mean: ask again, after Retry-After where it is given."""
    for code in range(200, 600):
        answer = read_dock_status(reply(code, shapes(LIMIT)[shape], retry_after="9"))
        assert isinstance(answer, Later), code
        assert answer.retry_after == 9.0


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (ConnectFailed(error="no route", trust=False), Unreachable(error="no route")),
        (ConnectFailed(error="self-signed", trust=True), Unreachable(error="self-signed", trust=True)),
        (NoReply(error="reset"), Unreachable(error="reset")),
        (reply(200, {"_id": ID, "status": "SUCCESS"}), Ended(status="SUCCESS")),
        (
            reply(200, {"_id": ID, "status": "FAILED", "response": {"message": "no capacity"}, "modelId": "cm-1"}),
            Ended(status="FAILED", detail="no capacity", model_id="cm-1"),
        ),
        (reply(200, {"status": "failed", "message": "why"}), Ended(status="FAILED", detail="why")),
        (
            reply(200, {"_id": ID, "status": "IN_PROGRESS", "percentageComplete": 40}),
            Running(word="IN_PROGRESS", percent=40),
        ),
        (reply(200, {"_id": ID, "status": "QUEUED"}), Running(word="QUEUED")),
        (reply(200, {"_id": ID, "status": "SUCCEEDED"}), Running(word="SUCCEEDED")),
        (reply(200, {"_id": OTHER, "status": "SUCCESS"}), Unreadable(reason=f"the answer is about {OTHER}, not {ID}")),
        (reply(200, {"_id": ID}), Unreadable(reason="the answer has no status")),
        (reply(200, {"_id": ID, "status": 1}), Unreadable(reason="the answer has no status")),
        (reply(200, {"_id": ID, "status": "SUCCESS"}, error="cut"), Unreadable(reason="cut")),
        (reply(500, {"message": "down"}), Later(reason="down")),
        (reply(302, location="https://x.example.com"), Unreadable(reason="HTTP 302")),
    ],
)
def test_what_an_answer_means(sent: Any, expected: DockAnswer) -> None:
    """Each answer to a question is one of the variants, and only SUCCESS and FAILED about this id end a job."""
    assert read_dock_status(sent, dock_status_id=ID) == expected


@pytest.mark.parametrize("percent", [-1, 101, "40", True, None, 10**400, [], 1e999])
def test_a_percentage_that_is_none_is_left_out(percent: Any) -> None:
    """Only a number from 0 to 100 is progress."""
    body = json.dumps({"_id": ID, "status": "IN_PROGRESS", "percentageComplete": percent}).replace("Infinity", "1e999")
    assert read_dock_status(reply(200, body.encode())) == Running(word="IN_PROGRESS")
