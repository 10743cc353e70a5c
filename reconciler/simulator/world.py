"""The platform as a state machine: calls in, answers out. No I/O, no clock, no randomness: time is a parameter.

How it differs from the real platform, or may differ, because the vendor's pages do not say:
- Only models and dock statuses exist; no tools, guardrails, connections or console.
- Every `cm-…` id is a model in the state Ready to Deploy that was deployed by hand before (`models`, `neverDeployed`), and
  what was deployed by hand counts as live, so it can be undeployed. Undeploying what is not live is refused with 400.
- A deploy of a model whose job still runs starts a second job (`whileRunning: conflict` answers 409).
- Jobs take `jobSeconds` whatever the device; nothing ever lacks capacity. Dock statuses are kept for ever.
- An undeploy succeeds at once, as in the vendor's sample (`undeploy: job`).
- Fields, values and query parameters outside the documentation are refused with 400 (`unknownFields: ignore`). Cross-field rules
  are not documented, so there are none here.
- A key is wrong: 401; it lacks the scope: 403. Scopes are called `deploy` and `status`; the real names are not public.
- Rates are strict sliding windows per key and per dock status id; a call refused by them is not counted. Over them the
  answer is 429 with the documented message (`rateLimitStatus`, `retryAfter`).
- Errors are JSON in one shape at a time (`errorShape`); their wording is this program's own.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal
from urllib.parse import parse_qs, unquote

from reconciler.simulator import body as bodies
from reconciler.simulator.scenario import NO_RULE, Answer, Behaviour, Call, Rule, Scenario, Scope, Slow
from reconciler.simulator.wording import JSON, RATE_LIMIT_MESSAGE, error_body, id_fields, retry_after_header, to_json

RETRY_AFTER = 30  # seconds, where the behaviour asks for the header

# path -> call; ids are one segment, still percent-encoded
ROUTES: tuple[tuple[Call, str, re.Pattern[str]], ...] = (
    (Call.DEPLOY, "POST", re.compile(r"/api/public/models/([^/]+)/deploy")),
    (Call.UNDEPLOY, "POST", re.compile(r"/api/public/models/([^/]+)/undeploy")),
    (Call.STATUS, "GET", re.compile(r"/api/public/dock-status/([^/]+)")),
)
MODEL_TYPES = ("openSource", "fineTune")
TERMINAL = ("SUCCESS", "FAILED")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A whole HTTP request. `path` is as it was sent, percent-encoded; header names are in lower case."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What happens to a reply on its way; see `scenario.Rule`."""

    delay: float = 0.0
    lost: Literal["reset", "eof"] | None = None
    cut: int | None = None
    cut_body: int | None = None
    slow: Slow | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the platform made of a call; a line of the log. `accepted` is True when the call started a job."""

    call: Call | None = None
    subject: str | None = None
    model_id: str | None = None
    accepted: bool = False
    reason: str = ""
    dock_status_id: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A reply, how it travels, and what the log says about the call."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    delivery: Delivery = Delivery()
    judgement: Judgement = Judgement()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One dock status. `ends` is None for a job that never ends; `polls` counts the times it was asked for."""

    id: str
    model_id: str
    call: Call
    version: str | None
    starts: float
    ends: float | None
    rule: Rule
    direct: str | None = None
    polls: int = 0

    def status(self, now: float) -> str:
        script = self.rule.job.statuses
        if script:
            return script[min(self.polls, len(script) - 1)]
        if self.direct is not None:
            return self.direct
        if self.ends is None or now < self.ends:
            return "IN_PROGRESS"
        return "FAILED" if self.rule.job.fails else "SUCCESS"


@dataclass(slots=True)
class Model:
    """What the platform knows of one model: its jobs, oldest first, and how many versions were made."""

    by_hand: bool
    versions: int = 0
    jobs: list[str] = field(default_factory=list)


class _Refused(Exception):
    """The platform does not do it: status and message."""

    def __init__(self, status: int, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason or message


class World:
    """One account on one host. Not thread-safe; a call is handled as one moment."""

    def __init__(self, scenario: Scenario | None = None) -> None:
        self.scenario = scenario or Scenario()
        self.jobs: dict[str, Job] = {}
        self.models: dict[str, Model] = {}
        self._turns = [0] * len(self.scenario.rules)
        self._calls: dict[str, deque[float]] = {}

    @property
    def behaviour(self) -> Behaviour:
        return self.scenario.behaviour

    def live_version(self, model_id: str, now: float) -> str | None:
        """The version that serves: the newest whose deploy succeeded, `by hand` before that, None once undeployed."""
        model = self.models.get(model_id) or self._new_model(model_id)
        live = "by hand" if model.by_hand else None
        for job in (self.jobs[job_id] for job_id in model.jobs):
            if job.status(now) == "SUCCESS":
                live = job.version if job.call is Call.DEPLOY else None
        return live

    def handle(self, request: Request, now: float) -> Response:
        """What the platform does and answers at `now` (seconds since 1970). Never raises."""
        call, subject, method = _route(request.path)
        if call is None or subject is None:
            return self._refusal(_Refused(404, "Not found"), NO_RULE, Judgement(), now)
        model_id = self._model_of(call, subject)
        rule = self._rule_for(call, model_id)
        judgement = Judgement(call=call, subject=subject, model_id=model_id)
        if rule.lost == "before":
            return self._lost(rule, replace(judgement, reason="lost before it was accepted"))
        if rule.answer is not None and not rule.answer.accepted:
            return self._answer(rule.answer, rule, replace(judgement, reason="answered by a rule"), now)
        try:
            _check_method(request, method)
            response = self._do(call, subject, request, rule, now)
        except _Refused as refused:
            return self._refusal(refused, rule, replace(judgement, reason=refused.reason), now)
        if rule.lost == "after":
            return self._lost(rule, response.judgement)
        if rule.answer is not None:
            return self._answer(rule.answer, rule, response.judgement, now)
        return response

    def _do(self, call: Call, subject: str, request: Request, rule: Rule, now: float) -> Response:
        key = self._check_key(request, Scope.STATUS if call is Call.STATUS else Scope.DEPLOY)
        self._check_query(request, call)
        if call is Call.STATUS:
            self._check_rate(f"status {subject}", self.behaviour.status_per_minute, self.behaviour.status_per_hour, now)
            return self._tell(subject, rule, now)
        self._check_rate(f"key {key}", self.behaviour.per_minute, self.behaviour.per_hour, now)
        if not _fits_any(subject, self.behaviour.models):
            raise _Refused(404, f"Model {subject} does not exist")
        body = self._check_deploy(request) if call is Call.DEPLOY else None
        self._check_model(call, subject, body, now)
        return self._start(call, subject, body, rule, now)

    # What is refused

    def _check_key(self, request: Request, scope: Scope) -> str:
        key = request.headers.get("x-api-key", "")
        scopes = self.behaviour.keys.get(key)
        if scopes is None:
            raise _Refused(401, "The API key is missing or not valid")
        if scope not in scopes:
            raise _Refused(403, "The API key lacks the scope for this call")
        return key

    def _check_rate(self, name: str, per_minute: int, per_hour: int, now: float) -> None:
        if not per_minute and not per_hour:
            return
        calls = self._calls.setdefault(name, deque())
        while calls and calls[0] <= now - 3600:
            calls.popleft()
        if (per_hour and len(calls) >= per_hour) or (per_minute and sum(t > now - 60 for t in calls) >= per_minute):
            raise _Refused(self.behaviour.rate_limit_status, RATE_LIMIT_MESSAGE, "rate limit")
        calls.append(now)

    def _check_query(self, request: Request, call: Call) -> None:
        known = {"modelType"} if call is Call.DEPLOY else set()
        unknown = sorted(parse_qs(request.query, keep_blank_values=True).keys() - known)
        if unknown and self.behaviour.unknown_fields != "ignore":
            raise _Refused(400, f"Unknown query parameters: {', '.join(unknown)}")

    def _check_deploy(self, request: Request) -> dict[str, Any]:
        model_type = parse_qs(request.query, keep_blank_values=True).get("modelType", [])
        if model_type not in [[word] for word in MODEL_TYPES]:
            raise _Refused(400, f"modelType must be one of {', '.join(MODEL_TYPES)}")
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise _Refused(415, "The content type must be application/json")
        try:
            body = bodies.read_json(request.body)
        except ValueError as error:
            raise _Refused(400, f"The body is not JSON: {error}") from error
        found = bodies.mistakes(body, unknown_fields=self.behaviour.unknown_fields == "ignore")
        if found:
            raise _Refused(400, "; ".join(found))
        return dict(body)

    def _check_model(self, call: Call, model_id: str, body: dict[str, Any] | None, now: float) -> None:
        model = self.models.setdefault(model_id, self._new_model(model_id))
        running = any(self.jobs[job_id].status(now) not in TERMINAL for job_id in model.jobs)
        if running and self.behaviour.while_running == "conflict":
            raise _Refused(409, f"A job for {model_id} is already running")
        if call is Call.UNDEPLOY:
            if not running and self.live_version(model_id, now) is None:
                raise _Refused(400, f"Model {model_id} is not deployed")
            return
        declared = body is not None and body.get("isDeployedPreviously") is False
        first = not model.by_hand and not model.versions
        policy = self.behaviour.first_deployment
        if first and not (policy == "accept" or (policy == "whenDeclared" and declared)):
            raise _Refused(400, f"Model {model_id} was never deployed: make its first deployment in the console")

    # What is done

    def _start(self, call: Call, model_id: str, body: dict[str, Any] | None, rule: Rule, now: float) -> Response:
        model = self.models[model_id]
        if body is not None:
            model.versions += 1
        version = None if body is None else f"{body['name']}_v{model.versions}"
        at_once = call is Call.UNDEPLOY and self.behaviour.undeploy == "atOnce" and rule.job == NO_RULE.job
        seconds = self.behaviour.job_seconds if rule.job.seconds is None else rule.job.seconds
        job = Job(
            id=self._new_id(),
            model_id=model_id,
            call=call,
            version=version,
            starts=now,
            ends=None if rule.job.stuck else now if at_once else now + seconds,
            rule=rule,
            direct=rule.reply.status if rule.reply.status in TERMINAL else None,
        )
        self.jobs[job.id] = job
        model.jobs.append(job.id)
        return self._accept(job, rule, now)

    def _accept(self, job: Job, rule: Rule, now: float) -> Response:
        reply = rule.reply
        status = reply.status or job.status(now)
        known = {"modelId": job.model_id, "jobType": "MODELS", "action": job.call.upper(), "status": status}
        body = {**id_fields(reply.id_key or self.behaviour.id_key, reply.id or job.id), **known, **reply.extra}
        judgement = Judgement(
            call=job.call,
            subject=job.model_id,
            model_id=job.model_id,
            accepted=True,
            dock_status_id=job.id,
            version=job.version,
        )
        return self._reply(200, to_json(body), JSON, rule, judgement)

    def _tell(self, dock_status_id: str, rule: Rule, now: float) -> Response:
        job = self.jobs.get(dock_status_id)
        if job is None or now < job.starts + self._hidden_seconds(job):
            raise _Refused(404, f"Dock status {dock_status_id} does not exist")
        status = job.status(now)
        self.jobs[job.id] = replace(job, polls=job.polls + 1)
        body: dict[str, Any] = {
            **id_fields(rule.reply.id_key or "_id", rule.reply.id or job.id),
            "modelId": job.model_id,
            "jobType": "MODELS",
            "action": job.call.upper(),
            "status": rule.reply.status or status,
            **rule.reply.extra,
        }
        if job.call is Call.DEPLOY:
            body["percentageComplete"] = _percent(job, status, now)
        response = job.rule.job.response
        if response is None and status == "FAILED":
            response = {"message": "The deployment failed: the model could not be loaded on the device"}
        if response is not None:
            body["response"] = response
        judgement = Judgement(call=Call.STATUS, subject=job.id, model_id=job.model_id, dock_status_id=job.id)
        return self._reply(200, to_json(body), JSON, rule, judgement)

    def _hidden_seconds(self, job: Job) -> float:
        hidden = job.rule.job.hidden_seconds
        return self.behaviour.hidden_seconds if hidden is None else hidden

    # How it is said

    def _reply(  # the fields of a reply
        self, status: int, body: bytes, content_type: str, rule: Rule, judgement: Judgement, *more: tuple[str, str]
    ) -> Response:
        delay = self.behaviour.latency if rule.delay is None else rule.delay
        delivery = Delivery(delay=delay, cut=rule.cut, cut_body=rule.cut_body, slow=rule.slow)
        headers = (("content-type", content_type), *more)
        return Response(status=status, headers=headers, body=body, delivery=delivery, judgement=judgement)

    def _lost(self, rule: Rule, judgement: Judgement) -> Response:
        delay = self.behaviour.latency if rule.delay is None else rule.delay
        delivery = Delivery(delay=delay, lost=rule.lost_by)
        return Response(status=0, headers=(), body=b"", delivery=delivery, judgement=judgement)

    def _refusal(self, refused: _Refused, rule: Rule, judgement: Judgement, now: float) -> Response:
        body, content_type = error_body(self.behaviour.error_shape, refused.status, refused.message)
        how = self.behaviour.retry_after if refused.reason == "rate limit" else "none"
        more = retry_after_header({"none": None, "seconds": RETRY_AFTER, "date": f"date:{RETRY_AFTER}"}[how], now)
        return self._reply(refused.status, body, content_type, rule, replace(judgement, reason=refused.reason), *more)

    def _answer(self, answer: Answer, rule: Rule, judgement: Judgement, now: float) -> Response:
        body, content_type = error_body(answer.shape or self.behaviour.error_shape, answer.status, answer.message)
        if answer.body is not None:
            body, content_type = answer.body.encode(), JSON
        given = {name.lower(): value for name, value in answer.headers.items()}
        content_type = given.pop("content-type", content_type)
        more = (*retry_after_header(answer.retry_after, now), *given.items())
        return self._reply(answer.status, body, content_type, rule, judgement, *more)

    # Bookkeeping

    def _rule_for(self, call: Call, model_id: str) -> Rule:
        chosen = NO_RULE
        for number, rule in enumerate(self.scenario.rules):
            if rule.match.fits(call, model_id):
                self._turns[number] += 1
                if chosen is NO_RULE and (not rule.match.nth or self._turns[number] in rule.match.nth):
                    chosen = rule
        return chosen

    def _model_of(self, call: Call, subject: str) -> str:
        if call is not Call.STATUS:
            return subject
        job = self.jobs.get(subject)
        return job.model_id if job else ""

    def _new_model(self, model_id: str) -> Model:
        return Model(by_hand=not _fits_any(model_id, self.behaviour.never_deployed))

    def _new_id(self) -> str:
        return f"ds-{uuid.uuid5(uuid.NAMESPACE_OID, f'{self.behaviour.seed}/{len(self.jobs)}')}"


def fingerprint(key: str) -> str:
    """What the log says of a key: enough to tell two apart, nothing to use."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _check_method(request: Request, method: str) -> None:
    if request.method != method:
        raise _Refused(405, f"{request.method} is not allowed here")


def _route(path: str) -> tuple[Call | None, str | None, str]:
    for call, method, pattern in ROUTES:
        found = pattern.fullmatch(path)
        if found:
            return call, unquote(found[1]), method
    return None, None, ""


def _fits_any(model_id: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(model_id, glob) for glob in globs)


def _percent(job: Job, status: str, now: float) -> int:
    if status != "IN_PROGRESS" or job.ends is None:
        return 100 if status == "SUCCESS" else 50
    whole = job.ends - job.starts
    return min(99, int(100 * (now - job.starts) / whole)) if whole > 0 else 99
