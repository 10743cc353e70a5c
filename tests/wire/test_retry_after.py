"""`Retry-After` of every shape, on every answer that asks to wait: obeyed up to ten minutes, and nonsense is as good as nothing.

The wire half plays the header to each call; the other half runs a whole apply in virtual time and counts how long it took.
"""

from __future__ import annotations

import pytest

from reconciler.model.applied import NotProcessed
from reconciler.model.events import Happened
from reconciler.platform.endings import MAX_RETRY_AFTER, Later
from tests.support.estates import Estate, resource
from tests.support.loopback import answering, reply_bytes
from tests.support.simulator import scenario
from tests.wire.calls import LIMIT, Call, each_call, made

DATE = "Date: Tue, 01 Jan 2030 12:00:00 GMT"
MOST = MAX_RETRY_AFTER

# What stands in the head -> the seconds that are waited; None: the usual ones.
SHAPES: dict[str, tuple[tuple[str, ...], float | None]] = {
    "none": ((), None),
    "seconds": (("Retry-After: 30",), 30),
    "blanks": (("Retry-After: \t 30  ",), 30),
    "leading zeros": (("Retry-After: 00030",), 30),
    "zero": (("Retry-After: 0",), 0),
    "an hour": (("Retry-After: 3600",), MOST),
    "a century": (("Retry-After: 3155760000",), MOST),
    "very many digits": (("Retry-After: " + "9" * 500,), MOST),
    "digits without end": (("Retry-After: " + "9" * 5000,), None),
    "negative": (("Retry-After: -5",), None),
    "a plus": (("Retry-After: +5",), None),
    "a fraction": (("Retry-After: 1.5",), None),
    "an exponent": (("Retry-After: 1e3",), None),
    "infinity": (("Retry-After: inf",), None),
    "not a number": (("Retry-After: nan",), None),
    "with a unit": (("Retry-After: 30s",), None),
    "hexadecimal": (("Retry-After: 0x10",), None),
    "other digits": (("Retry-After: ٣٠",), None),
    "words": (("Retry-After: soon",), None),
    "empty": (("Retry-After:",), None),
    "a date": ((DATE, "Retry-After: Tue, 01 Jan 2030 12:00:45 GMT"), 45),
    "an old date form": ((DATE, "Retry-After: Tuesday, 01-Jan-30 12:00:45 GMT"), 45),
    "a date elsewhere": ((DATE, "Retry-After: Tue, 01 Jan 2030 14:00:45 +0200"), 45),
    "a past date": ((DATE, "Retry-After: Tue, 01 Jan 2030 11:00:00 GMT"), 0),
    "a far date": ((DATE, "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT"), MOST),
    "a date that is none": ((DATE, "Retry-After: Tue, 99 Jan 2030 12:00:45 GMT"), None),
    "a year that is none": ((DATE, "Retry-After: Tue, 01 Jan 99999 12:00:45 GMT"), None),
    "a date without a Date": (("Retry-After: Tue, 01 Jan 2030 12:00:45 GMT",), None),
    "two": (("Retry-After: 5", "Retry-After: 50"), 50),
    "two, the longer first": (("Retry-After: 50", "Retry-After: 5"), 50),
    "one of two is nonsense": (("Retry-After: 50", "Retry-After: soon"), 50),
    "two in one": (("Retry-After: 5, 50",), None),
    "in capitals": (("RETRY-AFTER: 30",), 30),
    "another header": (("X-Retry-After: 30", "RateLimit-Reset: 30"), None),
}
LIMITS = ("429 Too Many Requests", "425 Too Early", "408 Request Timeout", "400 Bad Request", "503 Service Unavailable")


@pytest.mark.parametrize("shape", SHAPES)
@each_call
def test_what_is_asked(call: Call, shape: str) -> None:
    """Each shape means the same on each answer that asks to wait, whichever call it answers."""
    headers, seconds = SHAPES[shape]
    for status in LIMITS:
        raw = reply_bytes(b'{"message": "%s"}' % LIMIT.encode(), status=status, headers=headers)
        meaning = call.meaning(made(call, answering(raw))[0])
        assert isinstance(meaning, Later if call.operation is None else NotProcessed)
        assert meaning.retry_after == seconds, status


@pytest.mark.parametrize(
    "seconds", ["0", "1", "599", "3600", "3155760000", "-1", "1.5", "soon", "date:-86400", "date:999999999"]
)
def test_no_apply_sleeps_for_hours(seconds: str) -> None:
    """An apply that is told to wait again and again gives up after six sends, an hour at most, and never hammers."""
    told = scenario({"match": {"operation": "deploy"}, "answer": {"status": 429, "retryAfter": seconds}})
    estate = Estate([resource("a")], platform_says=told)
    began = estate.now()
    assert estate.ends(estate.apply()) == {"a": "refused"}
    assert len(estate.calls) == 6
    assert 30 <= (estate.now() - began).total_seconds() <= 5 * MOST + 60
    waits = [event.seconds or 0 for event in estate.events if event.happened is Happened.WAITING]
    assert all(1 <= wait <= MOST for wait in waits)


@pytest.mark.parametrize("seconds", ["0", "3155760000", "soon"])
def test_no_question_waits_past_its_deadline(seconds: str) -> None:
    """Who is told to ask again in a century still gives the job up when its timeout is over."""
    told = scenario(
        {"match": {"operation": "status"}, "answer": {"status": 429, "retryAfter": seconds}}, job_seconds=9e9
    )
    estate = Estate([resource("a", timeout=900)], platform_says=told)
    began = estate.now()
    assert estate.ends(estate.apply()) == {"a": "timedOut"}
    assert 900 <= (estate.now() - began).total_seconds() <= 960
