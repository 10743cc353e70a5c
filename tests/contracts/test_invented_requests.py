"""The simulator and the status API answer as their OpenAPI descriptions say, whatever schemathesis thinks of asking them.

For each call: requests that fit the description, and ones that break it somewhere. `make wire` invents 500 of each.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from starlette.types import ASGIApp, Receive, Scope, Send

from reconciler.controller.board import Board
from reconciler.controller.web.app import Site
from reconciler.controller.web.options import Hands, Options
from reconciler.simulator.app import create_app
from reconciler.simulator.scenario import DEFAULT_KEY
from reconciler.simulator.world import World
from tests.support import boards
from tests.support.openapi import DESCRIPTION, Description
from tests.support.simulator import scenario

ASKED = settings().max_examples // 2
TOKEN = "0123456789abcdef-token"
SECRET = "0123456789abcdef-secret"
FITS, BREAKS = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


class Described:
    """A description as schemathesis knows it, and the app that it is asked of."""

    def __init__(self, description: Description, base: str) -> None:
        schema = schemathesis.openapi.from_dict(description.document)
        schema.app = self._front
        schema.config.update(base_url=base)
        self.operations = {one.label: one for one in _sound(schema)}
        self.app: ASGIApp = _nobody

    async def _front(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self.app(scope, receive, send)

    def asked(self, label: str, app: ASGIApp) -> Any:
        """The operation, which now is asked of `app`."""
        self.app = app
        return self.operations[label]


def _sound(schema: Any) -> list[Any]:
    return [found.ok() for found in schema.get_all_operations()]


async def _nobody(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("no app was given")


PLATFORM = Described(DESCRIPTION, "http://127.0.0.1/api/public")
STATUS_API = Described(
    Description(Path(__file__).parents[2] / "schemas" / "status-api.openapi.yaml"), "http://127.0.0.1:8080"
)
DEPLOY, UNDEPLOY, ASK = PLATFORM.operations


def answers(operation: Any, mode: GenerationMode, headers: dict[str, str], *excluded: Any) -> set[int]:
    """Ask as many requests as the profile says; each answer is held to the description. Gives the codes that were seen."""
    codes: set[int] = set()

    @settings(suppress_health_check=list(HealthCheck), phases=[Phase.generate], max_examples=ASKED)
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        assume(_is_sent_whole(case))
        response = case.call(headers=headers)
        codes.add(response.status_code)
        case.validate_response(response, headers=headers, excluded_checks=list(excluded))

    ask()
    return codes


def _is_sent_whole(case: Case[Any]) -> bool:
    """A query parameter that is empty is not sent, and without it what was to break the description may fit it."""
    return all(value not in (None, [], {}) for value in (case.query or {}).values())


# The simulator

KEY = {"x-api-key": DEFAULT_KEY}


async def fresh(scope: Scope, receive: Receive, send: Send) -> None:
    """A simulator of its own for each request: none is about what an earlier one has left."""
    await create_app(World(scenario()), clock=lambda: 0.0)(scope, receive, send)


@pytest.mark.parametrize(("label", "code"), [(DEPLOY, 200), (UNDEPLOY, 200), (ASK, 404)])
def test_the_simulator_takes_what_is_described(label: str, code: int) -> None:
    """A call that fits the description is done, or asks about a job that does not exist; its answer fits too."""
    assert answers(PLATFORM.asked(label, fresh), FITS, KEY) == {code}


@pytest.mark.parametrize("label", [DEPLOY, UNDEPLOY, ASK])
def test_the_simulator_refuses_what_is_not_described(label: str) -> None:
    """A call that breaks the description, its key included, is refused, and the refusal fits."""
    codes = answers(PLATFORM.asked(label, fresh), BREAKS, KEY)
    assert 401 in codes
    assert (400 in codes) == (label == DEPLOY)
    assert max(codes) < 500


def test_jobs_that_exist() -> None:
    """Asking about the jobs that deploys have started fits the description too, while they run and when they are over."""
    world = World(scenario(job_seconds=60.0))
    app = create_app(world, clock=lambda: 0.0)
    assert answers(PLATFORM.asked(DEPLOY, app), FITS, KEY) == {200}
    for moment, status in ((30.0, "IN_PROGRESS"), (90.0, "SUCCESS")):
        operation = PLATFORM.asked(ASK, create_app(world, clock=partial(float, moment)))
        for job in world.jobs:
            answer = operation.Case(path_parameters={"dockStatusId": job}).call_and_validate(headers=KEY)
            assert answer.json()["status"] == status


# The status API

ENTITLED = {"authorization": f"Bearer {TOKEN}"}


def site(board: Board, secret: str | None = None) -> ASGIApp:
    hands = Hands(now=lambda: boards.NOW, metrics=lambda: (b"x 1\n", "text/plain; version=0.0.4"))
    return Site(board, Options(token=TOKEN, webhook_secret=secret), hands).app()


@pytest.mark.parametrize("mode", [FITS, BREAKS], ids=["fits", "breaks"])
@pytest.mark.parametrize("label", ["GET /api/v1/status", "GET /metrics"])
def test_the_status_api(label: str, mode: GenerationMode) -> None:
    """Every answer is described: to who is entitled and who is not, for environments that are there and that are not."""
    operation = STATUS_API.asked(label, site(boards.board()))
    codes = answers(operation, mode, ENTITLED, negative_data_rejection)  # what a query may not hold is left alone
    assert 200 in codes
    assert (401 in codes) == (mode is BREAKS)


@pytest.mark.parametrize("label", STATUS_API.operations)
def test_foreign_names(label: str) -> None:
    """Under a name that is not its own the server answers nothing but what the description has for that."""
    operation = STATUS_API.asked(label, site(boards.board(), SECRET))
    assert answers(operation, FITS, {**ENTITLED, "host": "rebound.example.com"}, positive_data_acceptance) == {421}


def test_no_metrics() -> None:
    """A server that was given no metrics says so, as described."""
    app = Site(boards.board(), Options(token=TOKEN), Hands(now=lambda: boards.NOW)).app()
    assert answers(STATUS_API.asked("GET /metrics", app), FITS, ENTITLED) == {404}


@pytest.mark.parametrize("code", [200, 503])
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_the_probes(path: str, code: int) -> None:
    """A probe answers as described, whether all is well or not."""
    board = boards.board() if code == 503 else Board(source="a folder")
    app = site(board)
    if code == 200:
        board.publish(boards.staging(boards.NOW))

    async def beating(scope: Scope, receive: Receive, send: Send) -> None:
        if code == 200:
            board.alive()
        await app(scope, receive, send)

    assert answers(STATUS_API.asked(f"GET {path}", beating), FITS, {}, not_a_server_error) == {code}


@pytest.mark.parametrize(
    ("secret", "headers", "code"),
    [
        (None, {}, 404),
        (SECRET, {"x-gitlab-token": "another"}, 401),
        (SECRET, {"x-gitlab-token": SECRET, "x-hub-signature-256": ""}, 401),
        (SECRET, {"x-gitlab-token": SECRET}, 202),
    ],
)
def test_the_webhook(secret: str | None, headers: dict[str, str], code: int) -> None:
    """Whatever a delivery says and however it is signed, it is answered as described."""
    operation = STATUS_API.asked("POST /webhook", site(boards.board(), secret))
    assert code in answers(operation, FITS, headers)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("label", STATUS_API.operations)
def test_other_methods(label: str, method: str) -> None:
    """A method that is not described is refused, and the answer says which are allowed."""
    described = {one.method.upper() for one in STATUS_API.operations.values() if one.path == label.split()[1]}
    operation = STATUS_API.asked(label, site(boards.board(), SECRET))
    response = operation.Case(method=method).call(headers=ENTITLED)
    assert (response.status_code == 405) == (method not in described)
    if method not in described:
        assert described <= set(response.headers["allow"][0].split(", "))
