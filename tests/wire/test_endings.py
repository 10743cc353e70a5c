"""Every row of the ending table (docs/platform.md) for deploy, undeploy and asking, as bytes on a socket.

`tests/unit/test_endings.py` shows the same for values; here it is shown that what the wire brings becomes those values.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.model.applied import Accepted, NotProcessed, NotSent, RefusalKind, Unknown
from reconciler.platform.api import ConnectFailed
from reconciler.platform.client import Timeouts
from reconciler.platform.endings import (
    Ended,
    Later,
    NotFound,
    Running,
    Unauthorized,
    Unreachable,
    Unreadable,
)
from tests.support.loopback import Behaviour, answering, reply_bytes, silent
from tests.wire.calls import CALLS, ID, LIMIT, PATIENT, SHORT, Call, Meaning, each_call, made, over

OTHER = "ds-99999999-2222-3333-4444-555555555555"
Told = Callable[[Call], bytes]


def replies(status: int, body: bytes | str, *headers: str) -> Told:
    """The same whatever was asked."""
    raw = reply_bytes(body if isinstance(body, bytes) else body.encode(), status=f"{status} X", headers=headers)
    return lambda call: raw


def tells(code: int = 200, status: str = "IN_PROGRESS", **fields: str) -> Told:
    """A job, with these fields."""
    return lambda call: reply_bytes(call.job(status, **fields), status=f"{code} X")


MESSAGE = json.dumps({"message": "No."})
SHAPES = {
    "errors": json.dumps({"errors": [{"msg": LIMIT, "code": 4290}]}),
    "message": json.dumps({"message": LIMIT}),
    "nested": json.dumps({"error": {"message": LIMIT}}),
    "text": LIMIT,
    "html": f"<html><body><h1>{LIMIT}</h1></body></html>",
}

# What comes back -> what a call that may change the platform counts as, and what an answer to a question means.
Row = tuple[str, Told, Callable[[Meaning], bool], type]


def kind(wanted: RefusalKind) -> Callable[[Meaning], bool]:
    return lambda meaning: isinstance(meaning, NotProcessed) and meaning.kind is wanted


def unknown(meaning: Meaning) -> bool:
    return isinstance(meaning, Unknown) and meaning.candidates == ()


def accepted(status: str = "IN_PROGRESS") -> Callable[[Meaning], bool]:
    return lambda meaning: isinstance(meaning, Accepted) and (meaning.dock_status_id, meaning.status) == (ID, status)


def _answer_to_code(code: int) -> type:
    if code in {408, 425, 429} or code >= 500:
        return Later
    return {401: Unauthorized, 403: Unauthorized, 404: NotFound, 410: NotFound}.get(code, Unreadable)


CODES: dict[RefusalKind, tuple[int, ...]] = {
    RefusalKind.RATE_LIMITED: (408, 425, 429),
    RefusalKind.REDIRECTED: (307, 308),
    RefusalKind.REFUSED: (400, 404, 405, 413, 415, 422),
    RefusalKind.UNAUTHORIZED: (401, 403),
    RefusalKind.CONFLICT: (409, 423),
}
DOUBTFUL = (
    *(300, 301, 302, 303, 305, 402, 406, 410, 411, 412, 414, 417, 418, 421, 424, 426, 428, 431, 451, 499),
    *(500, 501, 502, 503, 504, 505, 506, 507, 508, 511, 520, 522, 524, 599, 600, 999),
)

ROWS: list[Row] = [
    *(
        (f"limit {shape} {code}", replies(code, text), kind(RefusalKind.RATE_LIMITED), Later)
        for shape, text in SHAPES.items()
        for code in (200, 400, 403, 409, 429, 500, 503)
    ),
    *(
        (f"{code} {form}", replies(code, body), kind(wanted), _answer_to_code(code))
        for wanted, codes in CODES.items()
        for code in codes
        for form, body in (("empty", ""), ("message", MESSAGE), ("html", "<html><body>No.</body></html>"))
    ),
    *((f"{code}", replies(code, MESSAGE), unknown, _answer_to_code(code)) for code in DOUBTFUL),
    *(
        (f"{code} although it names an id", tells(code), unknown, _answer_to_code(code))
        for code in (303, 418, 500, 503)
    ),
    *((f"{code} with an id", tells(code), accepted(), Running) for code in (200, 201, 202, 203, 207, 226)),
    ("success at once", tells(200, status="SUCCESS"), accepted("SUCCESS"), Ended),
    ("failed at once", tells(200, status="FAILED"), accepted("FAILED"), Ended),
    ("an odd word", tells(200, status="REHEARSING"), accepted("REHEARSING"), Running),
    ("no id", replies(200, '{"modelId": "cm-1"}'), unknown, Unreadable),
    ("two ids", tells(200, dockstatusId=OTHER), unknown, Running),
    ("an id that is none", replies(200, '{"dock-statusId": "../x"}'), unknown, Unreadable),
    ("not JSON", replies(200, "OK"), unknown, Unreadable),
    ("HTML", replies(200, "<html><body>Welcome</body></html>"), unknown, Unreadable),
    ("a list", replies(200, "[]"), unknown, Unreadable),
    ("null", replies(200, "null"), unknown, Unreadable),
    ("empty", replies(200, ""), unknown, Unreadable),
    ("blank", replies(200, " \r\n"), unknown, Unreadable),
    ("not UTF-8", replies(200, b'{"x": "\xff"}'), unknown, Unreadable),
    ("NaN", replies(200, '{"x": NaN}'), unknown, Unreadable),
    ("204", lambda call: b"HTTP/1.1 204 No Content\r\n\r\n", unknown, Unreadable),
    ("205", lambda call: b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", unknown, Unreadable),
]


@pytest.mark.parametrize(("told", "counts", "answer"), [pytest.param(*row[1:], id=row[0]) for row in ROWS])
@each_call
def test_a_reply(call: Call, told: Told, counts: Callable[[Meaning], bool], answer: type) -> None:
    """The reply counts as its row says, whichever call it answers, and the call is made once."""
    sent, server = made(call, answering(told(call)))
    meaning = call.meaning(sent)
    assert isinstance(meaning, answer) if call.operation is None else counts(meaning), meaning
    assert len(server.received) == 1
    assert server.received[0].count(b" HTTP/1.1\r\n") == 1


@each_call
def test_an_id_that_belongs_to_another_attempt(call: Call) -> None:
    """An id given twice is unknown for a call; asked about, it is a job like any other."""
    sent, _ = made(call, answering(reply_bytes(call.job())))
    if call.operation is None:
        assert isinstance(call.meaning(sent), Running)
    else:
        meaning = call.meaning(sent, known_ids={ID})
        assert isinstance(meaning, Unknown)
        assert "another attempt" in meaning.reason


@pytest.mark.parametrize(
    ("behave", "timeouts"),
    [
        pytest.param(lambda peer: peer.read_request(), PATIENT, id="hangs up"),
        pytest.param(lambda peer: (peer.read_request(), peer.reset()), PATIENT, id="resets"),
        pytest.param(silent, replace(PATIENT, read=SHORT), id="is silent"),
        pytest.param(silent, replace(PATIENT, reply=SHORT, answer=SHORT), id="is silent in all"),
        pytest.param(lambda peer: (peer.read(1), peer.reset()), PATIENT, id="resets after a byte"),
    ],
)
@each_call
def test_no_reply(call: Call, behave: Behaviour, timeouts: Timeouts) -> None:
    """Once a byte may have left, a call without a reply is unknown."""
    sent, server = made(call, behave, timeouts)
    assert isinstance(call.meaning(sent), Unreachable if call.operation is None else Unknown)
    assert len(server.received) == 1


def _closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


@pytest.mark.parametrize(
    "origin",
    [
        pytest.param("https://no-such-host.invalid", id="no such name"),
        pytest.param("https://" + "a" * 64 + ".example", id="a label that is too long"),
        pytest.param(None, id="refused"),
    ],
)
@each_call
def test_no_connection(call: Call, origin: str | None) -> None:
    """Where no connection is made not one byte has left, nothing is recorded, and that is certain."""
    [(sent, recorded)] = over(origin or _closed_port(), call.make)
    assert isinstance(sent, ConnectFailed)
    assert recorded == 0
    meaning = call.meaning(sent)
    assert isinstance(meaning, Unreachable if call.operation is None else NotSent)


def test_a_full_house_is_not_sent() -> None:
    """A host whose queue of connections is full is given up after the connect deadline, and nothing was sent."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        timeouts = replace(PATIENT, connect=SHORT)
        for call in CALLS:
            [(sent, recorded)] = over(origin, call.make, timeouts=timeouts)
            assert isinstance(sent, ConnectFailed)
            assert recorded == 0
