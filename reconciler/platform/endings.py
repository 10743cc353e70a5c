"""How each ending of a call counts: the table of docs/platform.md, row for row. Pure and total.

`classify` is for the calls that may change the platform, `read_dock_status` for the harmless one. What cannot be told for
certain is never called "not processed": a second deploy costs more than a question.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeAlias

from reconciler.model.applied import Accepted, NotProcessed, NotSent, Operation, Outcome, RefusalKind, Unknown
from reconciler.platform.api import ConnectFailed, NoReply, Reply, Sent
from reconciler.platform.replies import Facts, clean, read_body, salvage, valid_id

RATE_LIMIT_WORDS = "rate limit for this api has been reached"  # the documented message, in lower case
MAX_RETRY_AFTER = 600.0  # seconds; whoever asks for more is asked again after that
FIRST_DEPLOYMENT_HINT = "If the model was never deployed, make its first deployment in the platform's console."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """An ending with all that the rows look at."""

    sent: Sent
    facts: Facts
    first_deploy: bool
    known_ids: Container[str]
    extra: frozenset[int]
    now: datetime | None

    @property
    def code(self) -> int:
        return self.sent.status_code if isinstance(self.sent, Reply) else 0

    @property
    def retry_after(self) -> float | None:
        return retry_after(self.sent, self.now) if isinstance(self.sent, Reply) else None

    @property
    def said(self) -> str:
        return self.facts.message or f"HTTP {self.code} without a message"


_Test: TypeAlias = Callable[[_Seen], bool]
_Verdict: TypeAlias = Callable[[_Seen], Outcome]


# Tests


def _code(*codes: int) -> _Test:
    wanted = frozenset(codes)
    return lambda seen: seen.code in wanted


def _anything(_: _Seen) -> bool:
    return True


def _connect_failed(seen: _Seen) -> bool:
    return isinstance(seen.sent, ConnectFailed)


def _no_reply(seen: _Seen) -> bool:
    return isinstance(seen.sent, NoReply)


def _rate_limit_words(seen: _Seen) -> bool:
    return isinstance(seen.sent, Reply) and _is_rate_limit_message(seen.sent, seen.facts)


def _success(seen: _Seen) -> bool:
    return 200 <= seen.code < 300  # noqa: PLR2004  # the class of HTTP


def _damaged(seen: _Seen) -> bool:
    whole = isinstance(seen.sent, Reply) and seen.sent.error is None
    return _success(seen) and (not whole or seen.facts.problem is not None)


def _several_ids(seen: _Seen) -> bool:
    return _success(seen) and len(seen.facts.ids) > 1


def _no_valid_id(seen: _Seen) -> bool:
    return _success(seen) and not any(map(valid_id, seen.facts.ids))


def _known_id(seen: _Seen) -> bool:
    return _success(seen) and seen.facts.ids[0] in seen.known_ids


def _declared(seen: _Seen) -> bool:
    return seen.code in seen.extra


# Verdicts


def _not_sent(seen: _Seen) -> Outcome:
    return NotSent(error=clean(seen.sent.error) if isinstance(seen.sent, ConnectFailed) else "")


def _not_processed(kind: RefusalKind) -> _Verdict:
    def verdict(seen: _Seen) -> Outcome:
        # Waiting is only for what is sent again.
        wait = seen.retry_after if kind is RefusalKind.RATE_LIMITED else None
        return NotProcessed(kind=kind, message=seen.said, status_code=seen.code, retry_after=wait)

    return verdict


def _refused(seen: _Seen) -> Outcome:
    hint = f". {FIRST_DEPLOYMENT_HINT}" if seen.first_deploy else ""
    return NotProcessed(kind=RefusalKind.REFUSED, message=f"{seen.said}{hint}", status_code=seen.code)


def _as_declared(seen: _Seen) -> Outcome:
    # Who declares a 5xx means a gateway before the platform: it passes, so it is sent again. A 4xx does not pass.
    kind = RefusalKind.RATE_LIMITED if seen.code >= 500 else RefusalKind.REFUSED  # noqa: PLR2004  # the class of HTTP
    return _not_processed(kind)(seen)


def _redirected(seen: _Seen) -> Outcome:
    target = dict(seen.sent.headers).get("location", "") if isinstance(seen.sent, Reply) else ""
    said = (
        f"HTTP {seen.code}: the platform redirects to {clean(target, 200) or 'nowhere'}; redirects are never followed"
    )
    return NotProcessed(kind=RefusalKind.REDIRECTED, message=said, status_code=seen.code)


def _accepted(seen: _Seen) -> Outcome:
    status = seen.facts.status or "IN_PROGRESS"
    return Accepted(dock_status_id=seen.facts.ids[0], status=status, detail=seen.facts.response)


def _unknown(reason: str) -> _Verdict:
    def verdict(seen: _Seen) -> Outcome:
        error = getattr(seen.sent, "error", None)
        told = [reason, clean(error) if error else "", seen.facts.message]
        return Unknown(reason=": ".join(filter(None, told)), status_code=seen.code or None)

    return verdict


def _salvaged(seen: _Seen) -> Outcome:
    reply = seen.sent
    found = salvage(reply.body) if isinstance(reply, Reply) else None
    # An id of another attempt says nothing about this one.
    candidates = (found,) if found and valid_id(found) and found not in seen.known_ids else ()
    why = clean(getattr(reply, "error", None) or seen.facts.problem or "")
    reason = f"the platform took the call with HTTP {seen.code}, but its reply is damaged: {why}"
    return Unknown(reason=reason, status_code=seen.code, candidates=candidates)


def _ambiguous(seen: _Seen) -> Outcome:
    ids = ", ".join(clean(text, 140) for text in seen.facts.ids[:5])
    return Unknown(reason=f"the reply names several dock status ids: {ids}", status_code=seen.code)


def _of_another(seen: _Seen) -> Outcome:
    known = seen.facts.ids[0]
    return Unknown(reason=f"the reply names {known}, which belongs to another attempt", status_code=seen.code)


def _without_id(seen: _Seen) -> Outcome:
    named = f" (only {clean(seen.facts.ids[0], 140)!r}, which is not an id)" if seen.facts.ids else ""
    said = f": {seen.facts.message}" if seen.facts.message else ""
    return Unknown(reason=f"the reply names no dock status id{named}{said}", status_code=seen.code)


# docs/platform.md, "How each ending …": read top-down, the first row that matches decides.
TABLE: tuple[tuple[_Test, _Verdict], ...] = (
    # The limiter stands before everything else; its HTTP status is not documented, its message is.
    (_rate_limit_words, _not_processed(RefusalKind.RATE_LIMITED)),
    # By their definition in HTTP the request was not worked on.
    (_code(408, 425, 429), _not_processed(RefusalKind.RATE_LIMITED)),
    # Bad host, DNS, refused, connect timeout, TLS: not one byte left.
    (_connect_failed, _not_sent),
    # Reset, EOF or timeout after the first byte was due: the platform may have the whole request.
    (_no_reply, _unknown("the connection ended without a reply")),
    # Taken, but cut, oversized, HTML, empty or not JSON: an id that can be read from it is asked about.
    (_damaged, _salvaged),
    # Two ids that differ: following the wrong one would call a failed job a success.
    (_several_ids, _ambiguous),
    # Taken, but there is nothing to follow.
    (_no_valid_id, _without_id),
    # The platform gave one id to two calls, or a proxy replayed a reply: neither can be trusted.
    (_known_id, _of_another),
    # The usual end. An answer that is already SUCCESS or FAILED needs no poll.
    (_success, _accepted),
    # Defined as: not done here, send the same request elsewhere.
    (_code(307, 308), _redirected),
    # Validation answers before anything is started.
    (_code(400, 404, 405, 413, 415, 422), _refused),
    # The key is checked before anything is started.
    (_code(401, 403), _not_processed(RefusalKind.UNAUTHORIZED)),
    # Not done because of the state the model is in, which may be the work of an earlier unknown attempt.
    (_code(409, 423), _not_processed(RefusalKind.CONFLICT)),
    # What the operator knows about a gateway of their own; it cannot overrule what is known for certain.
    (_declared, _as_declared),
    # "See other" may be the answer to a request that was done; some servers turn a POST into it.
    (_code(301, 302, 303), _unknown("the platform answered with a redirect, which is never followed")),
    # 5xx may come from a gateway behind which the work goes on; other codes say nothing about the work.
    (_anything, _unknown("the answer does not say whether it was done")),
)


def classify(
    sent: Sent,
    *,
    operation: Operation,
    known_ids: Container[str] = (),
    extra_not_processed: frozenset[int] = frozenset(),
    first_deploy: bool = False,
    now: datetime | None = None,
) -> Outcome:
    """What an ending means for its attempt.

    `known_ids` are the dock status ids of all other attempts in the state. `extra_not_processed` are status codes that the
    operator declares as certainly not processed; codes that the table knows for certain are not changed by it.
    `first_deploy` says that we never deployed this model, so that a refusal comes with the usual cause. `now` (with a time
    zone) is the wall clock for a Retry-After date when the reply has no Date of its own.
    """
    seen = _Seen(
        sent=sent,
        facts=read_body(sent.body) if isinstance(sent, Reply) else Facts(),
        first_deploy=first_deploy and operation is Operation.DEPLOY,
        known_ids=known_ids,
        extra=extra_not_processed,
        now=now,
    )
    return next(verdict(seen) for test, verdict in TABLE if test(seen))


def _is_rate_limit_message(reply: Reply, facts: Facts) -> bool:
    """Whether the documented message of the limiter is what the reply says.

    A success that names an id, or is cut before it could, may have started a job whatever else it says.
    """
    if RATE_LIMIT_WORDS not in facts.message.lower():
        return False
    success = 200 <= reply.status_code < 300  # noqa: PLR2004  # the class of HTTP
    return not success or (reply.error is None and not facts.ids and b"ds-" not in reply.body)


def retry_after(reply: Reply, now: datetime | None = None) -> float | None:
    """Seconds that the platform asks to wait, from 0 to MAX_RETRY_AFTER; None when it does not say or says nonsense.

    A date counts from the reply's own Date, because two clocks differ; without one from `now`. Of several headers the longest
    counts: a gateway may have added its own.
    """
    since = _http_date(dict(reply.headers).get("date", "")) or now
    asked = [_seconds(value.strip(), since) for name, value in reply.headers if name == "retry-after"]
    return max((seconds for seconds in asked if seconds is not None), default=None)


def _seconds(text: str, since: datetime | None) -> float | None:
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), MAX_RETRY_AFTER)
    until = _http_date(text)
    if until is None or since is None:
        return None
    return min(max((until - since).total_seconds(), 0.0), MAX_RETRY_AFTER)


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# What asking for a dock status gave.


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The job runs. `word` is the platform's own, usually IN_PROGRESS; another one is worth a log line."""

    word: str
    percent: float | None = None
    model_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The job is over: `status` is SUCCESS or FAILED, `detail` its own words."""

    status: str
    detail: str | None = None
    model_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFound:
    """The platform does not know it, or not yet."""

    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unauthorized:
    """401 or 403: the key may not ask."""

    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """Too many questions, or the platform is out of order: ask again, after `retry_after` seconds where it says so."""

    reason: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """An answer that says nothing about the job; asking again may."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """No answer. `trust` is True for TLS name and authority errors."""

    error: str
    trust: bool = False


DockAnswer: TypeAlias = Running | Ended | NotFound | Unauthorized | Later | Unreadable | Unreachable
TERMINAL = frozenset({"SUCCESS", "FAILED"})


def read_dock_status(sent: Sent, *, dock_status_id: str | None = None, now: datetime | None = None) -> DockAnswer:
    """What an answer to `GET /dock-status/{id}` means. With `dock_status_id` an answer about another one is unreadable."""
    match sent:
        case ConnectFailed():
            return Unreachable(error=clean(sent.error), trust=sent.trust)
        case NoReply():
            return Unreachable(error=clean(sent.error))
        case Reply():
            return _read_reply(sent, read_body(sent.body), dock_status_id, now)


def _read_reply(reply: Reply, facts: Facts, dock_status_id: str | None, now: datetime | None) -> DockAnswer:
    code = reply.status_code
    said = facts.message or f"HTTP {code}"
    if _is_rate_limit_message(reply, facts) or code in {408, 425, 429} or code >= 500:  # noqa: PLR2004  # the class of HTTP
        return Later(reason=said, retry_after=retry_after(reply, now))
    if code in {401, 403}:
        return Unauthorized(message=said)
    if code in {404, 410}:
        return NotFound(message=said)
    if not 200 <= code < 300:  # noqa: PLR2004  # the class of HTTP
        return Unreadable(reason=f"HTTP {code}: {said}" if facts.message else said)
    return _read_job(reply, facts, dock_status_id)


def _read_job(reply: Reply, facts: Facts, dock_status_id: str | None) -> DockAnswer:
    problem = reply.error or facts.problem
    if problem:
        return Unreadable(reason=clean(problem))
    if dock_status_id is not None and facts.ids and dock_status_id not in facts.ids:
        return Unreadable(reason=f"the answer is about {clean(facts.ids[0], 140)}, not {dock_status_id}")
    if facts.status is None:
        return Unreadable(reason="the answer has no status")
    if facts.status in TERMINAL:
        return Ended(status=facts.status, detail=facts.response or facts.message or None, model_id=facts.model_id)
    return Running(word=facts.status, percent=facts.percent, model_id=facts.model_id)
