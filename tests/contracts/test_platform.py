"""What every `Platform` promises, run for the one in memory, the real client over ASGI, and the real client over sockets.

Tests elsewhere use the cheapest of the three; this suite is why they may.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest

from reconciler.model.applied import Accepted, NotProcessed, Operation, Outcome, RefusalKind, Unknown
from reconciler.platform.api import Aborted, NoReply, Platform, Reply, Request, deploy_request, undeploy_request
from reconciler.platform.client import HttpPlatform, Timeouts
from reconciler.platform.endings import Ended, Later, NotFound, Running, Unauthorized, classify, read_dock_status
from reconciler.simulator.scenario import DEFAULT_KEY, Scenario
from reconciler.simulator.world import World
from tests.support.simulator import MemoryPlatform, RunningSimulator, asgi_platform, running_simulator, scenario
from tests.support.virtual_time import run_virtual

BODY = '{"deviceType":"g5.xlarge","hyperParameters":{"maxTokens":512,"temperature":1,"topK":50,"topP":1},"name":"flan"}'
DEPLOY = deploy_request("cm-1", "openSource", BODY)
UNDEPLOY = undeploy_request("cm-1")


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A platform and the log of what its other side saw."""

    platform: Platform
    lines: list[dict[str, Any]]

    @property
    def accepted(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["accepted"]]

    async def outcome(self, request: Request = DEPLOY) -> Outcome:
        """How sending ends."""
        return classify(await self.platform.send(request, at_once), operation=Operation.DEPLOY)


Story: TypeAlias = Callable[[Setup], Awaitable[None]]
Runner: TypeAlias = Callable[[Scenario, str, Story], None]
Run: TypeAlias = Callable[..., None]


async def at_once() -> None:
    """A record that takes no time."""


def _in_memory(told: Scenario, key: str, story: Story) -> None:
    async def main() -> None:
        platform = MemoryPlatform(World(told), key=key)
        await story(Setup(platform=platform, lines=platform.journal.lines))

    run_virtual(main())


def _over_asgi(told: Scenario, key: str, story: Story) -> None:
    async def main() -> None:
        platform = asgi_platform(World(told), key=key)
        await story(Setup(platform=platform, lines=platform.journal.lines))
        await platform.close()

    run_virtual(main())


def _over_sockets(running: RunningSimulator) -> Runner:
    def runner(told: Scenario, key: str, story: Story) -> None:
        async def main() -> None:
            timeouts = Timeouts(connect=60, write=60, read=60, reply=60, answer=60)
            platform = HttpPlatform(running.origin, lambda: key, timeouts=timeouts, environ={})
            try:
                await story(Setup(platform=platform, lines=running.journal.lines))
            finally:
                await platform.close()

        running.journal.lines.clear()
        running.world.become(told)
        asyncio.run(main())

    return runner


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSimulator]:
    """One server for all tests of this file; each begins its world anew."""
    with running_simulator() as found:
        yield found


@pytest.fixture(params=["memory", "asgi", "sockets"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a story on one of the three; rules and behaviour as for `scenario`."""
    runners = {"memory": _in_memory, "asgi": _over_asgi}
    on = runners.get(request.param) or _over_sockets(request.getfixturevalue("running"))

    def runner(story: Story, *rules: dict[str, Any], key: str = DEFAULT_KEY, **behaviour: Any) -> None:
        on(scenario(*rules, **behaviour), key, story)

    return runner


def test_a_deploy_is_accepted_and_followed(run: Run) -> None:
    """A deploy is answered with an id, and asking for it tells how the job is doing."""

    async def story(setup: Setup) -> None:
        outcome = await setup.outcome()
        assert isinstance(outcome, Accepted)
        assert outcome.dock_status_id is not None
        assert outcome.status == "IN_PROGRESS"
        assert outcome.dock_status_id == setup.accepted[0]["dockStatusId"]
        answer = read_dock_status(
            await setup.platform.ask(outcome.dock_status_id), dock_status_id=outcome.dock_status_id
        )
        assert isinstance(answer, Running)
        assert (answer.word, answer.model_id) == ("IN_PROGRESS", "cm-1")

    run(story, job_seconds=3600.0)


@pytest.mark.parametrize(("fails", "status"), [(False, "SUCCESS"), (True, "FAILED")])
def test_a_job_ends(run: Run, fails: bool, status: str) -> None:
    """A job that is over says how it ended."""

    async def story(setup: Setup) -> None:
        outcome = await setup.outcome()
        assert isinstance(outcome, Accepted)
        assert outcome.dock_status_id is not None
        answer = read_dock_status(await setup.platform.ask(outcome.dock_status_id))
        assert isinstance(answer, Ended)
        assert answer.status == status
        assert bool(answer.detail) is fails

    run(story, {"job": {"fails": fails}}, job_seconds=0.0)


def test_an_undeploy(run: Run) -> None:
    """An undeploy has no body and may be over at once."""

    async def story(setup: Setup) -> None:
        outcome = await setup.outcome(UNDEPLOY)
        assert isinstance(outcome, Accepted)
        assert outcome.status == "SUCCESS"
        assert setup.lines[0]["body"] == ""

    run(story)


def test_what_is_sent_is_what_was_given(run: Run) -> None:
    """Method, path, query and body arrive byte for byte."""
    body = ' {"name": "é\\u0000", "n": 1.0}\n'

    async def story(setup: Setup) -> None:
        await setup.platform.send(deploy_request("cm-1/x?y=é", "fine&Tune", body), at_once)
        [line] = setup.lines
        assert (line["method"], line["path"], line["query"]) == (
            "POST",
            "/api/public/models/cm-1%2Fx%3Fy%3D%C3%A9/deploy",
            "modelType=fine%26Tune",
        )
        assert line["body"] == body

    run(story)


def test_the_record_comes_before_the_first_byte(run: Run) -> None:
    """`before_first_byte` is awaited exactly once, before the other side has seen anything."""

    async def story(setup: Setup) -> None:
        seen = []

        async def record() -> None:
            await asyncio.sleep(0)
            seen.append(len(setup.lines))

        await setup.platform.send(DEPLOY, record)
        await setup.platform.send(DEPLOY, record)
        assert seen == [0, 1]

    run(story)


@pytest.mark.parametrize("objection", [Aborted("held"), OSError("disk full"), KeyboardInterrupt()])
def test_an_objection_stops_the_request(run: Run, objection: BaseException) -> None:
    """What `before_first_byte` raises is raised on, and the other side has seen nothing."""

    async def story(setup: Setup) -> None:
        async def object_to_it() -> None:
            raise objection

        with pytest.raises(type(objection)) as caught:
            await setup.platform.send(DEPLOY, object_to_it)
        assert caught.value is objection
        assert setup.lines == []
        assert isinstance(await setup.outcome(), Accepted)

    run(story)


@pytest.mark.parametrize("how", ["reset", "eof"])
@pytest.mark.parametrize(("when", "done"), [("before", 0), ("after", 1)])
def test_a_lost_reply_is_no_reply(run: Run, how: str, when: str, done: int) -> None:
    """Lost before or after the call was accepted looks alike: NoReply, and unknown."""

    async def story(setup: Setup) -> None:
        sent = await setup.platform.send(DEPLOY, at_once)
        assert isinstance(sent, NoReply)
        assert isinstance(classify(sent, operation=Operation.DEPLOY), Unknown)
        assert (len(setup.lines), len(setup.accepted)) == (1, done)

    run(story, {"lost": when, "lostBy": how})


@pytest.mark.parametrize("cut", [{"cut": 0}, {"cut": 9}, {"cut": 60}])
def test_a_reply_cut_inside_its_head_is_no_reply(run: Run, cut: dict[str, int]) -> None:
    """Without a whole head there is no status to count."""

    async def story(setup: Setup) -> None:
        assert isinstance(await setup.platform.send(DEPLOY, at_once), NoReply)

    run(story, cut)


@pytest.mark.parametrize("count", [0, 10, 60, 100])
def test_a_reply_cut_inside_its_body_says_so(run: Run, count: int) -> None:
    """What came of the body is kept, with an error, and its id is a candidate once it is whole."""

    async def story(setup: Setup) -> None:
        sent = await setup.platform.send(DEPLOY, at_once)
        assert isinstance(sent, Reply)
        assert (sent.status_code, len(sent.body)) == (200, count)
        assert sent.error is not None
        outcome = classify(sent, operation=Operation.DEPLOY)
        assert isinstance(outcome, Unknown)
        assert outcome.candidates == ((setup.accepted[0]["dockStatusId"],) if count >= 60 else ())

    run(story, {"cutBody": count})


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"status": 400, "message": "no"}, RefusalKind.REFUSED),
        ({"status": 409, "shape": "message"}, RefusalKind.CONFLICT),
        (
            {"status": 403, "shape": "text", "message": "Rate limit for this API has been reached."},
            RefusalKind.RATE_LIMITED,
        ),
        ({"status": 308, "headers": {"Location": "https://x.example.com"}}, RefusalKind.REDIRECTED),
        ({"status": 401, "shape": "empty"}, RefusalKind.UNAUTHORIZED),
    ],
)
def test_refusals(run: Run, answer: dict[str, Any], kind: RefusalKind) -> None:
    """Refusals come back as replies, whatever their shape."""

    async def story(setup: Setup) -> None:
        outcome = await setup.outcome()
        assert isinstance(outcome, NotProcessed)
        assert outcome.kind is kind

    run(story, {"answer": answer})


@pytest.mark.parametrize("answer", [{"status": 502, "shape": "html"}, {"status": 200, "body": "OK"}, {"status": 302}])
def test_answers_that_say_nothing(run: Run, answer: dict[str, Any]) -> None:
    """A gateway's page, an answer without an id and a redirect are unknown."""

    async def story(setup: Setup) -> None:
        assert isinstance(await setup.outcome(), Unknown)

    run(story, {"answer": answer})


@pytest.mark.parametrize(("how", "seconds"), [("none", None), ("seconds", 30.0), ("date", 30.0)])
def test_retry_after(run: Run, how: str, seconds: float | None) -> None:
    """What the platform asks to wait arrives, in seconds or as a date."""

    async def story(setup: Setup) -> None:
        await setup.outcome()
        outcome = await setup.outcome()
        assert isinstance(outcome, NotProcessed)
        assert outcome.kind is RefusalKind.RATE_LIMITED
        assert (outcome.retry_after is None) is (seconds is None)
        # A date has whole seconds, on a platform whose clock may tick between its two dates.
        assert seconds is None or seconds - 1 <= (outcome.retry_after or 0) <= seconds

    # A rule instead of a rate: over ASGI in virtual time and over sockets in real time alike.
    wait = {"none": None, "seconds": 30, "date": "date:30"}[how]
    message = "Rate limit for this API has been reached. Please try again later"
    run(story, {"match": {"nth": 2}, "answer": {"status": 429, "message": message, "retryAfter": wait}})


def test_questions_that_have_no_answer(run: Run) -> None:
    """An unknown id, a gateway's page and a lost reply are told apart."""

    async def story(setup: Setup) -> None:
        assert isinstance(read_dock_status(await setup.platform.ask("ds-none")), NotFound)
        assert isinstance(read_dock_status(await setup.platform.ask("ds-none")), Later)
        assert isinstance(await setup.platform.ask("ds-none"), NoReply)

    run(
        story,
        {"match": {"operation": "status", "nth": 2}, "answer": {"status": 503, "shape": "html"}},
        {"match": {"operation": "status", "nth": 3}, "lost": "before"},
    )


def test_a_wrong_key(run: Run) -> None:
    """Sending and asking with a wrong key are refused as such."""

    async def story(setup: Setup) -> None:
        outcome = await setup.outcome()
        assert isinstance(outcome, NotProcessed)
        assert outcome.kind is RefusalKind.UNAUTHORIZED
        assert isinstance(read_dock_status(await setup.platform.ask("ds-1")), Unauthorized)

    run(story, key="kg-wrong")


def test_many_at_once(run: Run) -> None:
    """Sends at the same time are answered one by one, each with an id of its own."""

    async def story(setup: Setup) -> None:
        outcomes = await asyncio.gather(*(setup.outcome() for _ in range(20)))
        ids = {outcome.dock_status_id for outcome in outcomes if isinstance(outcome, Accepted)}
        assert len(ids) == 20 == len(setup.accepted)

    run(story)


def test_slow_replies_are_whole(run: Run) -> None:
    """A reply that comes late and in pieces is one reply."""

    async def story(setup: Setup) -> None:
        assert isinstance(await setup.outcome(), Accepted)

    run(story, {"slow": {"chunk": 50, "every": 0.001}}, latency=0.001)


def test_closing_twice_is_no_mistake(run: Run) -> None:
    """Close may be called again."""

    async def story(setup: Setup) -> None:
        await setup.platform.ask("ds-1")
        await setup.platform.close()
        await setup.platform.close()

    run(story)


def test_an_origin_has_no_path(run: Run) -> None:
    """The origin is scheme, host and port."""

    async def story(setup: Setup) -> None:
        scheme, _, rest = setup.platform.origin.partition("://")
        assert scheme in {"http", "https"}
        assert rest
        assert "/" not in rest

    run(story)
