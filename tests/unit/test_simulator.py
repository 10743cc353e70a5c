"""The pretended platform as a state machine: versions, jobs, keys, rates, first deployments, and every switch of a scenario."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import InvalidInput, UsageError
from reconciler.simulator.journal import describe
from reconciler.simulator.scenario import Behaviour, Call, Scenario, Shape, parse_scenario
from reconciler.simulator.switches import FAULTS, keys_of, with_switches
from reconciler.simulator.wording import RATE_LIMIT_MESSAGE
from reconciler.simulator.world import Request, Response, World, fingerprint
from tests.support.simulator import scenario
from tests.support.vendor import SAMPLES

KEY = "kg-simulator"
BODY = SAMPLES[0].body
JSON_TYPE = "application/json"


class Account:
    """Someone who calls a world, at a time that only moves when told."""

    def __init__(self, *rules: dict[str, Any], told: Scenario | None = None, **behaviour: Any) -> None:
        self.world = World(told or scenario(*rules, **behaviour))
        self.now = 1_900_000_000.0
        self.lines: list[dict[str, Any]] = []

    def call(self, method: str, path: str, body: bytes = b"", key: str | None = KEY, **headers: str) -> Response:
        path, _, query = path.partition("?")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            named["x-api-key"] = key
        request = Request(method=method, path=f"/api/public{path}", query=query, headers=named, body=body)
        response = self.world.handle(request, self.now)
        self.lines.append(describe(request, response, self.now))
        return response

    def deploy(self, model: str = "cm-1", body: Any = None, model_type: str = "openSource", **more: Any) -> Response:
        raw = json.dumps(BODY if body is None else body).encode()
        return self.call("POST", f"/models/{model}/deploy?modelType={model_type}", raw, content_type=JSON_TYPE, **more)

    def undeploy(self, model: str = "cm-1") -> Response:
        return self.call("POST", f"/models/{model}/undeploy")

    def ask(self, dock_status_id: str) -> Response:
        return self.call("GET", f"/dock-status/{dock_status_id}")


def said(response: Response) -> Any:
    return json.loads(response.body)


def id_of(response: Response) -> str:
    found = said(response)["dock-statusId"]
    assert isinstance(found, str)
    return found


# In good order


def test_a_deploy_becomes_a_job_that_ends() -> None:
    """A deploy answers as in the vendor's sample, its job runs for its time and succeeds, its percentage rises to 100."""
    account = Account(job_seconds=20.0)
    first = account.deploy()
    assert first.status == 200
    assert list(said(first)) == ["dock-statusId", "modelId", "jobType", "action", "status"]
    assert {**said(first), "dock-statusId": "ds-"} == {
        "dock-statusId": "ds-",
        "modelId": "cm-1",
        "jobType": "MODELS",
        "action": "DEPLOY",
        "status": "IN_PROGRESS",
    }
    told = []
    for _ in range(5):
        answer = said(account.ask(id_of(first)))
        told.append((answer["status"], answer["percentageComplete"]))
        account.now += 5
    assert told == [("IN_PROGRESS", 0), ("IN_PROGRESS", 25), ("IN_PROGRESS", 50), ("IN_PROGRESS", 75), ("SUCCESS", 100)]


def test_each_deploy_makes_a_version_and_the_newest_that_succeeded_is_live() -> None:
    """Versions count per model; a failed deploy leaves the one before it live; undeploy leaves none."""
    account = Account({"match": {"nth": 2, "operation": "deploy"}, "job": {"fails": True}}, job_seconds=10.0)
    live = [account.world.live_version("cm-1", account.now)]
    for _ in range(3):
        account.deploy()
        live.append(account.world.live_version("cm-1", account.now))
        account.now += 10
        live.append(account.world.live_version("cm-1", account.now))
    account.undeploy()
    live.append(account.world.live_version("cm-1", account.now))
    assert live == [
        "by hand",
        "by hand",
        "Flant5_model_v1",
        "Flant5_model_v1",
        "Flant5_model_v1",
        "Flant5_model_v1",
        "Flant5_model_v3",
        None,
    ]
    assert [line["version"] for line in account.lines] == [
        "Flant5_model_v1",
        "Flant5_model_v2",
        "Flant5_model_v3",
        None,
    ]


def test_a_deploy_is_not_idempotent() -> None:
    """The same request twice starts two jobs with two ids."""
    account = Account()
    assert id_of(account.deploy()) != id_of(account.deploy())
    assert sum(line["accepted"] for line in account.lines) == 2


def test_an_undeploy_succeeds_at_once_and_needs_something_live() -> None:
    """As in the vendor's sample; what is not deployed cannot be undeployed."""
    account = Account()
    assert said(account.undeploy())["status"] == "SUCCESS"
    again = account.undeploy()
    assert (again.status, "not deployed" in said(again)["errors"][0]["msg"]) == (400, True)


def test_the_same_calls_give_the_same_bytes() -> None:
    """Nothing is random: two worlds that hear the same at the same times say the same, another seed says other ids."""

    def story(seed: str) -> list[bytes]:
        account = Account(seed=seed)
        first = account.deploy()
        replies = [first, account.deploy("cm-2"), account.ask(id_of(first)), account.undeploy("cm-3")]
        return [repr(reply).encode() for reply in replies]

    assert story("a") == story("a")
    assert story("a") != story("b")


# What is refused


@pytest.mark.parametrize(
    ("key", "status"),
    [(None, 401), ("", 401), ("kg-other", 401), ("kg-ask", 403), ("kg-deploy", 200), ("kg-all", 200), ("kg-star", 200)],
)
def test_keys_and_scopes(key: str | None, status: int) -> None:
    """A wrong key is 401, one without the scope 403."""
    keys = {"kg-ask": ["status"], "kg-deploy": ["deploy"], "kg-all": None, "kg-star": "*"}
    account = Account(keys=keys)
    assert account.deploy(key=key).status == status
    expected = {"kg-ask": 404, "kg-deploy": 403}.get(key or "", 404 if status == 200 else 401)
    assert account.call("GET", "/dock-status/ds-1", key=key).status == expected


def test_the_log_tells_keys_apart_without_showing_them() -> None:
    """A key is a fingerprint in the log, other headers are names."""
    account = Account()
    account.deploy(cookie="secret=1")
    [line] = account.lines
    assert line["key"] == fingerprint(KEY)
    assert "secret" not in json.dumps(line)
    assert KEY not in json.dumps(line)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/models/cm-1/deploy", 405),
        ("PUT", "/models/cm-1/undeploy", 405),
        ("POST", "/dock-status/ds-1", 405),
        ("POST", "/models/cm-1", 404),
        ("POST", "/models//deploy", 404),
        ("POST", "/models/a/b/deploy", 404),
        ("GET", "/dock-status/", 404),
        ("GET", "/models", 404),
        ("GET", "/dock-status/ds-1", 404),
        ("GET", "/../../etc/passwd", 404),
    ],
)
def test_other_calls_do_not_exist(method: str, path: str, status: int) -> None:
    """Three calls exist; everything else is 404, the wrong method 405."""
    assert Account().call(method, path).status == status


@pytest.mark.parametrize("model_type", ["", "opensource", "openSource&modelType=fineTune", "other"])
def test_the_model_type_is_checked(model_type: str) -> None:
    """Exactly one of the two documented words."""
    assert Account().deploy(model_type=model_type).status == 400
    assert Account().deploy(model_type="fineTune").status == 200


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"name": NaN}', b'{"a": 1, "a": 2}', b"\xff", b"[" * 9999]
)
def test_bodies_that_are_no_object_are_refused(body: bytes) -> None:
    """Not JSON, not an object, a key twice: 400, whatever the bytes."""
    account = Account()
    response = account.call("POST", "/models/cm-1/deploy?modelType=openSource", body, content_type=JSON_TYPE)
    assert (response.status, account.lines[0]["accepted"]) == (400, False)


def test_the_content_type_is_checked() -> None:
    """JSON must say that it is JSON."""
    raw = json.dumps(BODY).encode()
    path = "/models/cm-1/deploy?modelType=openSource"
    assert Account().call("POST", path, raw).status == 415
    assert Account().call("POST", path, raw, content_type="text/plain").status == 415
    assert Account().call("POST", path, raw, content_type="Application/JSON; charset=utf-8").status == 200


def test_all_mistakes_of_a_body_are_listed() -> None:
    """One refusal names every field that is wrong."""
    body = {
        **BODY,
        "deviceType": "toaster",
        "hyperParameters": {"temperature": 3, "maxTokens": "many"},
        "colour": "red",
    }
    message = said(Account().deploy(body=body))["errors"][0]["msg"]
    for part in (
        "temperature must be between",
        "maxTokens must be of type",
        "topP is required",
        "deviceType",
        "colour",
    ):
        assert part in message


def test_unknown_fields_may_be_ignored() -> None:
    """Where the documentation is silent a switch chooses."""
    body = {**BODY, "colour": "red", "hyperParameters": {**BODY["hyperParameters"], "topZ": 1}}
    assert Account().deploy(body=body).status == 400
    assert Account(unknown_fields="ignore").deploy(body=body).status == 200


@pytest.mark.parametrize(
    "path", ["/models/cm-1/deploy?modelType=openSource&", "/models/cm-1/undeploy?", "/dock-status/ds-1?"]
)
def test_unknown_query_parameters(path: str) -> None:
    """A call with a parameter that is not documented is refused, and does nothing, unless a switch lets it pass."""
    raw = json.dumps(BODY).encode()
    for policy, refused in (("refuse", True), ("ignore", False)):
        account = Account(unknown_fields=policy)
        answer = account.call("GET" if "status" in path else "POST", f"{path}colour=red", raw, content_type=JSON_TYPE)
        assert (answer.status == 400 and "colour" in answer.body.decode()) is refused
        assert not (refused and account.world.jobs)


# First deployments and models


@pytest.mark.parametrize(
    ("policy", "declared", "status"),
    [
        ("refuse", True, 400),
        ("refuse", False, 400),
        ("whenDeclared", True, 400),
        ("whenDeclared", False, 200),
        ("accept", True, 200),
        ("accept", False, 200),
    ],
)
def test_a_first_deployment(policy: str, declared: bool, status: int) -> None:
    """What was never deployed by hand is refused, unless a switch says otherwise; others are not touched."""
    account = Account(never_deployed=("cm-9*",), first_deployment=policy)
    body = {**BODY, "isDeployedPreviously": declared}
    assert account.deploy("cm-91", body).status == status
    assert account.deploy("cm-1", body).status == 200


def test_models_that_do_not_exist() -> None:
    """Only what the globs fit exists."""
    account = Account(models=("cm-1*", "cm-2"))
    assert [account.deploy(model).status for model in ("cm-1", "cm-19", "cm-2", "cm-21")] == [200, 200, 200, 404]


def test_percent_encoded_ids_are_one_segment() -> None:
    """An encoded slash does not make another path; the id is decoded once."""
    account = Account()
    account.deploy("cm-1%2Fundeploy")
    assert account.lines[0]["modelId"] == "cm-1/undeploy"
    assert account.lines[0]["call"] == "deploy"


def test_a_second_job_may_be_a_conflict() -> None:
    """With `whileRunning: conflict` a call for a model whose job runs is 409."""
    account = Account(while_running="conflict", job_seconds=10.0)
    account.deploy()
    assert [account.deploy().status, account.undeploy().status, account.deploy("cm-2").status] == [409, 409, 200]
    account.now += 10
    assert account.deploy().status == 200


# Rates


@given(st.lists(st.floats(0, 40), min_size=1, max_size=60), st.integers(1, 6), st.integers(1, 12))
def test_rates_are_sliding_windows(gaps: list[float], per_minute: int, per_hour: int) -> None:
    """No minute and no hour ever holds more accepted calls than its limit, and no call below the limits is refused."""
    account = Account(per_minute=per_minute, per_hour=per_hour)
    taken: list[float] = []
    for gap in gaps:
        account.now += gap
        minute = sum(moment > account.now - 60 for moment in taken)
        hour = sum(moment > account.now - 3600 for moment in taken)
        status = account.deploy().status
        assert status == (200 if minute < per_minute and hour < per_hour else 429)
        if status == 200:
            taken.append(account.now)


def test_rates_are_per_key_and_per_dock_status() -> None:
    """One key's calls do not use up another's; each dock status has a limit of its own."""
    account = Account(keys={KEY: None, "kg-2": None}, per_minute=1, status_per_minute=2)
    first, second = account.deploy(), account.deploy(key="kg-2")
    assert account.deploy().status == 429
    ids = [id_of(first), id_of(second)]
    assert [account.ask(ids[turn % 2]).status for turn in range(6)] == [200, 200, 200, 200, 429, 429]


@pytest.mark.parametrize(
    ("how", "header"),
    [("none", None), ("seconds", "30"), ("date", "Tue, 01 Jan 2030 00:00:30 GMT")],
)
@pytest.mark.parametrize("status", [429, 403, 400, 200])
def test_what_a_limited_call_is_told(how: str, header: str | None, status: int) -> None:
    """The documented message on any status, with Retry-After or without."""
    account = Account(per_minute=1, rate_limit_status=status, retry_after=how)
    account.now = 1_893_456_000.0
    account.deploy()
    limited = account.deploy()
    assert limited.status == status
    assert said(limited)["errors"][0]["msg"] == RATE_LIMIT_MESSAGE
    assert dict(limited.headers).get("retry-after") == header
    assert (account.lines[1]["accepted"], account.lines[1]["reason"]) == (False, "rate limit")


# Odd spellings and misbehaviour


@pytest.mark.parametrize("key", ["dock-statusId", "dockStatusId", "dockstatusId", "_id"])
def test_every_spelling_of_the_id(key: str) -> None:
    """The id comes under the name that is told."""
    assert key in said(Account(id_key=key).deploy())


def test_replies_without_an_id_or_with_two() -> None:
    """`none` and `two` make the replies nobody can follow."""
    assert "ds-" not in Account(id_key="none").deploy().body.decode()
    two = said(Account(id_key="two").deploy())
    assert two["dock-statusId"] != two["_id"]


@pytest.mark.parametrize("shape", list(Shape))
def test_every_shape_of_an_error(shape: Shape) -> None:
    """An error body has the shape that is told, and its words unless it is empty."""
    response = Account(error_shape=shape).deploy(key="kg-no")
    text = response.body.decode()
    assert ("The API key is missing" in text) is (shape is not Shape.EMPTY)
    is_json = dict(response.headers)["content-type"].startswith("application/json")
    assert is_json is (shape in {Shape.ERRORS, Shape.MESSAGE, Shape.ERROR})
    if shape is Shape.ERRORS:
        assert said(response) == {"errors": [{"msg": "The API key is missing or not valid", "code": 401}]}


def test_a_script_of_statuses() -> None:
    """Statuses are told question by question, the last one for ever, whatever the time."""
    account = Account({"job": {"statuses": ["QUEUED", "in_progress", "SUCCESS", "IN_PROGRESS"]}})
    first = account.deploy()
    told = [said(first)["status"]] + [said(account.ask(id_of(first)))["status"] for _ in range(5)]
    assert told == ["QUEUED", "QUEUED", "in_progress", "SUCCESS", "IN_PROGRESS", "IN_PROGRESS"]


def test_failed_stuck_and_hidden_jobs() -> None:
    """A job may fail with words, never end, or not be known for a while."""
    account = Account(
        {"match": {"model": "cm-f"}, "job": {"fails": True, "response": {"message": "no capacity"}}},
        {"match": {"model": "cm-s"}, "job": {"stuck": True}},
        {"match": {"model": "cm-h"}, "job": {"hiddenSeconds": 5}},
        job_seconds=1.0,
    )
    failed, stuck, hidden = (id_of(account.deploy(model)) for model in ("cm-f", "cm-s", "cm-h"))
    assert account.ask(hidden).status == 404
    account.now += 5
    assert said(account.ask(hidden))["status"] == "SUCCESS"
    account.now += 86_400 * 365
    assert said(account.ask(stuck))["status"] == "IN_PROGRESS"
    answer = said(account.ask(failed))
    assert (answer["status"], answer["response"]) == ("FAILED", {"message": "no capacity"})


def test_lost_replies_and_what_had_been_done() -> None:
    """A reply may be lost before or after the call is accepted; the log knows which."""
    account = Account(
        {"match": {"model": "cm-b"}, "lost": "before"},
        {"match": {"model": "cm-a"}, "lost": "after", "lostBy": "eof"},
    )
    before, after = account.deploy("cm-b"), account.deploy("cm-a")
    assert (before.delivery.lost, after.delivery.lost) == ("reset", "eof")
    assert [line["accepted"] for line in account.lines] == [False, True]
    assert [line["status"] for line in account.lines] == [None, None]


def test_answers_instead_of_the_usual() -> None:
    """A rule may answer anything; `accepted` says whether the job starts all the same."""
    account = Account(
        {"match": {"model": "cm-1"}, "answer": {"status": 502, "shape": "html", "message": "Bad Gateway"}},
        {"match": {"model": "cm-2"}, "answer": {"status": 504, "accepted": True, "retryAfter": "date:5"}},
        {
            "match": {"model": "cm-3"},
            "answer": {"status": 200, "body": "OK", "headers": {"Content-Type": "text/plain"}},
        },
    )
    gateway, late, odd = (account.deploy(model) for model in ("cm-1", "cm-2", "cm-3"))
    assert [line["accepted"] for line in account.lines] == [False, True, False]
    assert b"Bad Gateway" in gateway.body
    assert dict(late.headers)["retry-after"].endswith("GMT")
    assert (odd.body, dict(odd.headers)["content-type"]) == (b"OK", "text/plain")


def test_an_accepting_answer_still_checks_the_call() -> None:
    """A call that would be refused is refused, whatever a rule would answer once it is accepted."""
    account = Account({"answer": {"status": 504, "accepted": True}})
    assert account.deploy(body={}).status == 400


def test_rules_take_turns() -> None:
    """`nth` counts the calls that a rule fits; the first rule whose turn it is applies, alone."""
    account = Account(
        {"match": {"model": "cm-*", "operation": "deploy", "nth": [1, 3]}, "answer": {"status": 500}},
        {"match": {"operation": "deploy", "nth": 2}, "answer": {"status": 503}},
        {"match": {"operation": "undeploy"}, "answer": {"status": 501}},
    )
    assert [account.deploy().status for _ in range(4)] == [500, 503, 500, 200]
    assert account.undeploy().status == 501


def test_slow_and_cut_replies() -> None:
    """Delays, cuts and slow bodies are told to whoever delivers the reply."""
    account = Account(
        {"match": {"model": "cm-1"}, "cut": 10},
        {"match": {"model": "cm-2"}, "cutBody": 3},
        {"match": {"model": "cm-3"}, "slow": {"chunk": 2, "every": 0.5}, "delay": 9},
        latency=1.0,
    )
    cut, cut_body, slow = (account.deploy(f"cm-{number}").delivery for number in (1, 2, 3))
    assert (cut.cut, cut.delay) == (10, 1.0)
    assert cut_body.cut_body == 3
    assert slow.slow is not None
    assert (slow.slow.chunk, slow.slow.every, slow.delay) == (2, 0.5, 9.0)


_ANY_REQUEST = st.builds(
    Request,
    method=st.sampled_from(["GET", "POST", "PUT", "", "é"]),
    path=st.one_of(
        st.text(max_size=40),
        st.builds("/api/public/models/{}/{}".format, st.text(max_size=20), st.sampled_from(["deploy", "undeploy"])),
        st.builds("/api/public/dock-status/{}".format, st.text(max_size=20)),
    ),
    query=st.one_of(st.just("modelType=openSource"), st.text(max_size=20)),
    headers=st.dictionaries(
        st.sampled_from(["x-api-key", "content-type", "host"]), st.sampled_from([KEY, JSON_TYPE, "", "\xff"])
    ),
    body=st.one_of(st.binary(max_size=50), st.just(json.dumps(BODY).encode())),
)


@given(st.lists(_ANY_REQUEST, max_size=6), st.booleans())
def test_no_request_breaks_the_world(requests: list[Request], strict: bool) -> None:
    """Whatever arrives is answered and logged, and only good calls start jobs."""
    world = World(scenario(error_shape="errors" if strict else "html", never_deployed=("*",) if strict else ()))
    for moment, request in enumerate(requests):
        response = world.handle(request, float(moment))
        line = describe(request, response, float(moment))
        assert json.dumps(line)
        assert line["accepted"] is (response.judgement.dock_status_id is not None and line["call"] != "status")
        assert 200 <= response.status < 600


# Scenario files and switches


def test_a_scenario_file() -> None:
    """YAML in camelCase; what is left out is as usual."""
    told = parse_scenario(
        """
        behaviour: {jobSeconds: 2, errorShape: html, keys: {kg-1: [deploy], kg-2: "*"}}
        rules:
          - match: {model: cm-2*, operation: deploy, nth: 1}
            answer: {status: 429, retryAfter: 7}
        """
    )
    assert told.behaviour.job_seconds == 2
    assert told.behaviour.error_shape is Shape.HTML
    assert told.rules[0].match.nth == (1,)
    assert parse_scenario("") == Scenario()


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("behaviour: {jobSecond: 2}", "behaviour.jobSecond"),
        ("behaviour: {jobSeconds: -2}", "behaviour.jobSeconds"),
        ("behaviour: {latency: .inf}", "behaviour.latency"),
        ("rules: [{answer: {status: 99}}]", "rules[0].answer.status"),
        ("rules: [{match: {nth: 0}}]", "rules[0].match.nth[0]"),
        ("rules: [{match: {operation: destroy}}]", "rules[0].match.operation"),
        ("kind: Project", "kind"),
        ("[]", ""),
        ("a: b: c", ""),
        ("{", ""),
        ("!!python/object:os.system {}", ""),
        ("\0", ""),
    ],
)
def test_a_bad_scenario_names_its_mistakes(text: str, path: str) -> None:
    """Every mistake is a diagnostic with its path."""
    with pytest.raises(InvalidInput) as caught:
        parse_scenario(text, name="bad.yaml")
    assert path in {diagnostic.path for diagnostic in caught.value.diagnostics}


@pytest.mark.parametrize("switch", FAULTS)
def test_every_switch_makes_a_rule(switch: str) -> None:
    """A switch says which models and which of their calls; without an argument it has a usual one."""
    told = with_switches(Scenario(), {}, [(switch, "cm-2*@2,3")], Call.UNDEPLOY)
    [rule] = told.rules
    assert (rule.match.model, rule.match.operation, rule.match.nth) == ("cm-2*", Call.UNDEPLOY, (2, 3))
    assert rule.model_copy(update={"match": type(rule.match)()}) != type(rule)()


@pytest.mark.parametrize(
    ("switch", "value", "field", "expected"),
    [
        ("answer", "*:418", "answer.status", 418),
        ("lose", "*:before", "lost", "before"),
        ("lose", "*", "lost", "after"),
        ("cut", "*:7", "cut_body", 7),
        ("slow", "*:0.5@1", "slow.every", 0.5),
        ("delay", "*:3", "delay", 3.0),
        ("statuses", "*:A,B", "job.statuses", ("A", "B")),
        ("rate-limited", "*", "answer.status", 403),
        ("rate-limited", "*", "answer.retry_after", "date:30"),
    ],
)
def test_the_arguments_of_switches(switch: str, value: str, field: str, expected: object) -> None:
    """Arguments follow a colon; a rate limit is told as the behaviour says."""
    told = with_switches(Scenario(), {"rate_limit_status": 403, "retry_after": "date"}, [(switch, value)])
    found: Any = told.rules[0]
    for name in field.split("."):
        found = getattr(found, name)
    assert found == expected


def test_switches_win_over_the_file() -> None:
    """Behaviour is replaced field by field; the switches' rules stand before the file's."""
    file = Scenario(behaviour=Behaviour(job_seconds=5, latency=1), rules=scenario({"lost": "after"}).rules)
    told = with_switches(file, {"job_seconds": 9.0}, [("fail", "cm-1")])
    assert (told.behaviour.job_seconds, told.behaviour.latency) == (9.0, 1.0)
    assert [rule.job.fails for rule in told.rules] == [True, False]
    assert told.rules[1] == file.rules[0]


@pytest.mark.parametrize(
    ("switch", "value"),
    [
        ("answer", "*:99"),
        ("answer", "*:x"),
        ("lose", "*:never"),
        ("cut", "*:-1"),
        ("fail", ""),
        ("fail", "*@0"),
        ("fail", "*@x"),
    ],
)
def test_bad_switches_are_usage_errors(switch: str, value: str) -> None:
    """What no scenario file could say no switch can."""
    with pytest.raises(UsageError, match=f"--{switch}"):
        with_switches(Scenario(), {}, [(switch, value)])


def test_bad_behaviour_is_a_usage_error() -> None:
    """The message names the flag."""
    with pytest.raises(UsageError, match="--job-seconds"):
        with_switches(Scenario(), {"job_seconds": float("inf")}, [])


def test_keys_on_the_command_line() -> None:
    """A key may do everything unless scopes follow it."""
    told = with_switches(Scenario(), {"keys": keys_of(["kg-1", "kg-2:status", "kg-3:deploy,status"])}, [])
    assert {key: sorted(scopes) for key, scopes in told.behaviour.keys.items()} == {
        "kg-1": ["deploy", "status"],
        "kg-2": ["status"],
        "kg-3": ["deploy", "status"],
    }
