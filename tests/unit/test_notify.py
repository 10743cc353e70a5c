"""What is news and in which words, and how it gets to a channel: once, in order, not too often, and never in a pass's way."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller.board import Board, Pass, PassEnd, View
from reconciler.controller.notify import Delivered, Notifier
from reconciler.controller.notify.channels import NotDelivered, service_at, signature
from reconciler.controller.notify.facts import PATIENCE, Fact, Memory
from reconciler.controller.notify.notifier import DELAYS, QUEUE
from reconciler.controller.notify.text import FORMAT, MAX_LINES, Message
from reconciler.diagnostics import Diagnostic, Position
from reconciler.errors import AuthenticationError, NotAtRest, ReconcilerError, RunLockHeld, StateCorrupt
from reconciler.model.applied import Accepted, Applied, Hold, NotProcessed, RefusalKind, Unknown
from reconciler.model.events import Event, Happened
from reconciler.model.notification import LINE_WORDS, TITLE_WORDS, USUAL_LINE, USUAL_TITLE, Channel, Outcome
from reconciler.model.plan import Action
from reconciler.model.resource import KeyReference, Resource
from reconciler.model.run import Ended
from tests.support import situations as like
from tests.support.virtual_time import run_virtual

ENVIRONMENT = like.ENVIRONMENT
CHAT = like.resource("chat")
ADDRESS = f"{ENVIRONMENT}/chat"
LIVE = like.applied(
    like.entry(CHAT, like.attempt(CHAT, Accepted(dock_status_id="ds-1", status="SUCCESS")), is_live=CHAT)
)
FAILED = like.applied(like.entry(CHAT, like.attempt(CHAT, Accepted(dock_status_id="ds-1", status="FAILED"))))
HELD = like.applied(like.entry(CHAT, like.attempt(CHAT, Unknown(reason="reset"))))
REFUSED_KEY = like.applied(
    like.entry(CHAT, like.attempt(CHAT, NotProcessed(kind=RefusalKind.UNAUTHORIZED, message="no", status_code=401)))
)


def over(ended: Ended, address: str = ADDRESS, **fields: Any) -> Event:
    """A change of a pass has ended."""
    usual = {"happened": Happened.ENDED, "action": Action.REDEPLOY, "at": like.NOW, "digest": CHAT.digest}
    return Event(run="", environment=ENVIRONMENT, address=address, ended=ended, **{**usual, **fields})


def passed(*, end: PassEnd = PassEnd.SUCCEEDED, minutes: float = 0, **fields: Any) -> Pass:
    return Pass(
        id=f"pass-{minutes:g}",
        environment=ENVIRONMENT,
        cause="a test",
        started_at=like.NOW + timedelta(minutes=minutes),
        seconds=1.5,
        end=end,
        **fields,
    )


def view(known: Applied | None = None, **fields: Any) -> View:
    return planned(CHAT, known=known, **fields) if known is not None else View(environment=like.environment(), **fields)


def planned(*resources: Resource, known: Applied, **fields: Any) -> View:
    """In an estate of one everything is a mass change; that has a test of its own."""
    plan = replace(like.plan(like.desired(*resources), known), guards=())
    return View(environment=like.environment(), plan=plan, applied=known, **fields)


def heard(memory: Memory, done: Pass, shown: View, *events: Event) -> tuple[Fact, ...]:
    """What is news after a pass with these events."""
    for event in events:
        memory.heard(replace(event, run=done.id))
    return memory.news(done, shown)


def told(facts: Iterable[Fact]) -> list[tuple[Outcome, str]]:
    return [(fact.outcome, fact.address) for fact in facts]


# What is news


@pytest.mark.parametrize(
    ("ended", "known", "outcome"),
    [
        (Ended.SUCCEEDED, LIVE, Outcome.SUCCEEDED),
        (Ended.FAILED, FAILED, Outcome.FAILED),
        (Ended.REFUSED, LIVE, Outcome.FAILED),
        (Ended.TIMED_OUT, LIVE, Outcome.FAILED),
        (Ended.UNKNOWN, HELD, Outcome.HELD),
    ],
)
def test_an_end_is_told_once(ended: Ended, known: Applied, outcome: Outcome) -> None:
    """How a deployment ended is news; the same end of the same digest in the next pass is not."""
    memory = Memory()
    first = heard(memory, passed(), view(known), over(ended, detail="because", dock_status_id="ds-1"))
    assert told(first) == [(outcome, ADDRESS)]
    assert (first[0].detail, first[0].dock_status_id, first[0].digest) == ("because", "ds-1", CHAT.digest)
    assert first[0].pass_id == "pass-0"
    assert heard(memory, passed(minutes=5), view(known), over(ended, detail="again")) == ()


@pytest.mark.parametrize("ended", [Ended.RUNNING, Ended.WAITING, Ended.SKIPPED])
def test_what_is_not_over_is_no_news(ended: Ended) -> None:
    """A job that runs, and what was not tried, wake nobody."""
    assert heard(Memory(), passed(), view(LIVE), over(ended)) == ()


def test_success_after_failure_and_failure_after_success_are_news() -> None:
    """Each change of the outcome is told, of the same digest too."""
    memory, ends = Memory(), [Ended.FAILED, Ended.FAILED, Ended.SUCCEEDED, Ended.SUCCEEDED, Ended.FAILED]
    found = [told(heard(memory, passed(), view(LIVE), over(ended))) for ended in ends]
    assert [len(one) for one in found] == [1, 0, 1, 0, 1]


def test_another_digest_is_news() -> None:
    """The same failure of something else is told."""
    memory = Memory()
    heard(memory, passed(), view(FAILED), over(Ended.FAILED))
    other = like.resource("chat", body={"deviceType": "g5.12xlarge"})
    assert told(heard(memory, passed(), planned(other, known=FAILED), over(Ended.FAILED, digest=other.digest))) == [
        (Outcome.FAILED, ADDRESS)
    ]


def test_the_last_event_of_a_pass_counts() -> None:
    """Of an earlier job's end and of what was sent after it one fact is made; what belongs to another pass makes none."""
    memory = Memory()
    earlier = over(Ended.FAILED, action=Action.FOLLOW, digest="v1:earlier", dock_status_id="ds-1")
    later = over(Ended.SUCCEEDED, dock_status_id="ds-2")
    (fact,) = heard(memory, passed(), view(LIVE), earlier, later)
    assert (fact.outcome, fact.dock_status_id, fact.detail) == (Outcome.SUCCEEDED, "ds-2", "it is live")
    (fact,) = heard(memory, passed(minutes=1), view(LIVE), earlier, over(Ended.RUNNING))
    assert (fact.outcome, fact.digest) == (Outcome.FAILED, "v1:earlier")
    memory.heard(replace(later, run="of a pass that never ended"))
    assert memory.news(passed(minutes=2), view(LIVE)) == ()


def test_what_is_held_is_told_after_a_restart() -> None:
    """A call whose outcome is unknown is told though no run touched it: somebody killed the program that sent it."""
    memory = Memory()
    assert told(memory.news(passed(), view(HELD))) == [(Outcome.HELD, ADDRESS)]
    assert memory.news(passed(), view(HELD)) == ()


def test_quarantine_is_told_instead_of_the_refusal() -> None:
    """When the digest was given up in the same pass, that is the news."""
    entry = replace(
        next(iter(FAILED.entries.values())),
        quarantine=Hold(who="reconciler watch", why="failed thrice", since=like.NOW, digest=CHAT.digest),
    )
    known = like.applied(entry)
    given_up = replace(over(Ended.FAILED), happened=Happened.QUARANTINED, detail="failed thrice")
    assert told(heard(Memory(), passed(), view(known), over(Ended.REFUSED), given_up)) == [
        (Outcome.QUARANTINED, ADDRESS)
    ]


def test_what_is_gone_is_forgotten() -> None:
    """The memory holds no more than there are deployments."""
    memory = Memory()
    heard(memory, passed(), view(FAILED), over(Ended.FAILED))
    memory.news(passed(), planned(known=like.applied()))
    assert told(heard(memory, passed(), view(FAILED), over(Ended.FAILED))) == [(Outcome.FAILED, ADDRESS)]


def test_an_alarm_is_told_once_a_pass() -> None:
    """An alarm is news at once, and not again in the same pass."""
    event = Event(
        run="p",
        environment=ENVIRONMENT,
        address=ADDRESS,
        action=Action.DEPLOY,
        happened=Happened.ALARM,
        at=like.NOW,
        detail="twice",
    )
    memory = Memory()
    assert told(memory.heard(event)) == [(Outcome.ALARM, ADDRESS)]
    assert memory.heard(event) == ()
    assert memory.heard(replace(event, happened=Happened.POLLED)) == ()


# Trouble of an environment

BROKEN = Diagnostic(code="RC304", message="too large", position=Position(file="a.yaml", line=3, column=2))
TROUBLES: dict[str, tuple[Pass, View, Outcome, tuple[Event, ...]]] = {
    "refused": (
        passed(end=PassEnd.REFUSED, detail="no manifests", problem=StateCorrupt("x")),
        view(),
        Outcome.REFUSED,
        (),
    ),
    "broken manifests": (passed(end=PassEnd.WAITING), view(LIVE, diagnostics=(BROKEN,)), Outcome.REFUSED, ()),
    "an unexpected error": (
        passed(end=PassEnd.FAILED, detail="e", problem=ReconcilerError("e")),
        view(),
        Outcome.REFUSED,
        (),
    ),
    "a key that is refused": (
        passed(),
        view(REFUSED_KEY, held_up="refused"),
        Outcome.UNAUTHORIZED,
        (over(Ended.UNAUTHORIZED, detail="401"),),
    ),
    "a key that is missing": (
        passed(end=PassEnd.FAILED, problem=AuthenticationError("no key")),
        view(held_up="no key"),
        Outcome.UNAUTHORIZED,
        (),
    ),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble_is_told_once_and_so_is_its_end(name: str) -> None:
    """What stands in the way of an environment is told once, however often it is met, and that it is over."""
    done, shown, outcome, events = TROUBLES[name]
    memory = Memory()
    environment = [one for one in heard(memory, done, shown, *events) if one.address == ENVIRONMENT]
    assert told(environment) == [(outcome, ENVIRONMENT)]
    assert not [one for one in heard(memory, replace(done, id="later"), shown, *events) if one.address == ENVIRONMENT]
    assert told(memory.news(passed(minutes=9), view(LIVE))) == [(Outcome.RECOVERED, ENVIRONMENT)]
    assert memory.news(passed(minutes=10), view(LIVE)) == ()


def test_a_mass_change_waits_for_a_person() -> None:
    """A plan that nobody may carry out by itself is told."""
    plan = like.plan(like.desired(), like.applied(*(_live(n) for n in range(5))), prune=True)
    assert plan.guards
    shown = View(environment=like.environment(), plan=plan, applied=LIVE, held_up="5 of 5 would be undeployed")
    (fact,) = [one for one in Memory().news(passed(end=PassEnd.WAITING), shown) if one.address == ENVIRONMENT]
    assert (fact.outcome, fact.detail) == (Outcome.WAITING, "5 of 5 would be undeployed")


def _live(number: int) -> Any:
    one = like.resource(f"m{number}")
    return like.entry(one, like.attempt(one, Accepted(dock_status_id=f"ds-{number}", status="SUCCESS")), is_live=one)


def test_unreachable_for_a_moment_is_nobodys_business() -> None:
    """A host that does not answer is told when it stays away, and the pauses between tries are the same trouble."""
    memory, minutes = Memory(), PATIENCE.total_seconds() / 60
    silent = over(Ended.UNREACHABLE, detail="cannot be reached")
    assert heard(memory, passed(), view(LIVE), silent) == ()
    assert memory.news(passed(end=PassEnd.WAITING, minutes=1), view(LIVE, held_up="cannot be reached")) == ()
    assert told(heard(memory, passed(minutes=minutes), view(LIVE), silent)) == [(Outcome.UNREACHABLE, ENVIRONMENT)]
    assert heard(memory, passed(minutes=minutes + 5), view(LIVE), silent) == ()
    assert told(memory.news(passed(minutes=minutes + 9), view(LIVE))) == [(Outcome.RECOVERED, ENVIRONMENT)]
    assert heard(memory, passed(minutes=60), view(LIVE), silent) == ()


def test_files_that_are_not_at_rest_are_news_after_a_while() -> None:
    """What git or an editor needs for a moment is not told; what stays is told once, whatever the words, and so is its end."""
    memory = Memory()

    def waits(minutes: float) -> list[tuple[Outcome, str]]:
        problem = NotAtRest("git", since=like.NOW, next_step="")
        one = passed(end=PassEnd.REFUSED, detail=f"git, {minutes:g} min", problem=problem, minutes=minutes)
        return told(memory.news(one, view()))

    assert waits(1) == []
    assert waits(4) == [(Outcome.REFUSED, ENVIRONMENT)]
    assert waits(7) == []
    assert told(memory.news(passed(minutes=8), view(LIVE))) == [(Outcome.RECOVERED, ENVIRONMENT)]


def test_somebody_elses_run_is_no_trouble() -> None:
    """A run lock that somebody holds neither begins nor ends a trouble."""
    memory = Memory()
    locked = passed(end=PassEnd.FAILED, detail="held", problem=RunLockHeld("held"))
    assert memory.news(locked, view(held_up="held")) == ()
    memory.news(passed(end=PassEnd.REFUSED, detail="broken", problem=StateCorrupt("x")), view())
    assert memory.news(locked, view(held_up="held")) == ()


# Words

CHANNEL = Channel(name="ops", type="webhook", url=KeyReference(kind="env", value="URL"), on=frozenset(Outcome))


def fact(outcome: Outcome = Outcome.FAILED, address: str = ADDRESS, detail: str = "no GPU", **fields: Any) -> Fact:
    return Fact(
        outcome=outcome, environment=ENVIRONMENT, address=address, detail=detail, at=like.NOW, pass_id="p", **fields
    )


def message(*facts: Fact, channel: Channel = CHANNEL) -> Message:
    return Message(id="msg_1", channel=channel, source="main", facts=facts)


def test_words() -> None:
    """The title counts, each line says what, and the worst comes first."""
    shown = message(fact(Outcome.SUCCEEDED, f"{ENVIRONMENT}/a", "live"), fact(), fact(Outcome.HELD, detail="reset"))
    assert shown.title == "reconciler: 1 succeeded, 1 failed, 1 held in production"
    assert shown.text.splitlines() == [
        "✗ production/chat failed: no GPU",
        "? production/chat held: reset",
        "✓ production/a succeeded: live",
    ]


def test_templates() -> None:
    """A channel may have its own title and line."""
    channel = replace(CHANNEL, title="$environment of $source", line="$outcome $commit $next $$5")
    shown = message(fact(commit="0123456789abcdef"), channel=channel)
    assert shown.title == "production of main"
    assert shown.text == "failed 0123456789ab reconciler explain production/chat $5"


def test_many_facts_are_cut() -> None:
    """A text stays short, and says how much it leaves out."""
    lines = message(*(fact(address=f"{ENVIRONMENT}/m{n}") for n in range(MAX_LINES + 7))).text.splitlines()
    assert (len(lines), lines[-1]) == (MAX_LINES + 1, "… and 7 more")


def test_json() -> None:
    """A webhook gets every fact with its pass, digest and dock status id."""
    body = json.loads(message(fact(dock_status_id="ds-1", digest="v1:ab", action=Action.DEPLOY)).body(like.NOW))
    assert (body["format"], body["id"], body["source"], body["more"]) == (FORMAT, "msg_1", "main", 0)
    assert body["facts"] == [
        {
            "outcome": "failed",
            "environment": "production",
            "address": "production/chat",
            "detail": "no GPU",
            "at": like.NOW.isoformat(),
            "pass": "p",
            "action": "deploy",
            "digest": "v1:ab",
            "dockStatusId": "ds-1",
            "commit": None,
            "next": "reconciler explain production/chat",
        }
    ]


HOSTILE = (
    "<!channel> @everyone <https://evil.example|click>",
    "kg-12345678-1234",
    "a\r\nb\x1b[31mred\x1b[0m\x1b]8;;https://evil.example\x07link\x07",
    "\u202egnp.exe\u2066\u2028::error::$detail ${next} \ud800",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_do_no_harm(text: str) -> None:
    """What the platform says calls nobody, breaks no line, and shows no key."""
    shown = message(fact(detail=text), fact(detail=text * 50))
    assert len(shown.text.splitlines()) == 2
    assert shown.text.replace("\n", "").isprintable()
    for bad in ("<", ">", "@everyone", "kg-1234"):
        assert bad not in shown.text
    json.loads(shown.body(like.NOW))


def test_signature_is_the_standards() -> None:
    """The signature of a known message is the one that the Standard Webhooks specification gives."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    assert signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )
    assert signature("plain text", "a", "1", b"") != signature("plain texT", "a", "1", b"")


# The notifier


class Recorder:
    """A channel's way out that does what a test says: `fates` are raised in turn, then everything is taken."""

    def __init__(self, *fates: Exception, seconds: float = 0.0) -> None:
        self.fates = list(fates)
        self.seconds = seconds
        self.taken: list[tuple[float, Message]] = []
        self.tries: list[str] = []

    async def send(self, message: Message) -> None:
        self.tries.append(message.id)
        await asyncio.sleep(self.seconds)
        if self.fates:
            raise self.fates.pop(0)
        self.taken.append((asyncio.get_running_loop().time(), message))

    async def close(self) -> None:
        """Nothing to close."""


def failing(board: Board, number: int) -> None:
    """A pass in which one more deployment failed."""
    address = f"{ENVIRONMENT}/m{number}"
    ends(board, passed(minutes=number), over(Ended.FAILED, address, detail="no GPU"))


def ends(board: Board, done: Pass, *events: Event) -> None:
    for event in events:
        board.tell(replace(event, run=done.id))
    board.finish(done, View(environment=like.environment()))


def notified(
    channels: list[tuple[Channel, Recorder]], story: Any, counted: list[tuple[str, Delivered]] | None = None
) -> None:
    async def tell() -> None:
        board = Board(source="main")
        tally = (lambda *one: counted.append(one)) if counted is not None else (lambda *_: None)
        async with Notifier(board, channels, tally=tally):
            await story(board)

    run_virtual(tell())


def test_one_pass_one_message_to_those_who_asked() -> None:
    """A channel gets what it asked for, of the environments that it asked for, a pass at a time."""
    everything, nothing, elsewhere = Recorder(), Recorder(), Recorder()

    async def story(board: Board) -> None:
        ends(board, passed(), *[over(Ended.FAILED, f"{ENVIRONMENT}/{n}") for n in "ab"])
        ends(board, passed(minutes=1), over(Ended.SUCCEEDED))

    notified(
        [
            (CHANNEL, everything),
            (replace(CHANNEL, on=frozenset({Outcome.HELD})), nothing),
            (replace(CHANNEL, environments=frozenset({"staging"})), elsewhere),
        ],
        story,
    )
    assert [[one.address for one in sent.facts] for _, sent in everything.taken] == [
        ["production/a", "production/b"],
        ["production/chat"],
    ]
    assert (nothing.tries, elsewhere.tries) == ([], [])


def test_tries_again_with_the_same_id() -> None:
    """What a receiver could not take is tried again, later each time, and can be told from a new message."""
    again = NotDelivered("HTTP 503", again=True)
    recorder, counted = Recorder(again, NotDelivered("HTTP 429", again=True, after=60)), list[tuple[str, Delivered]]()

    async def story(board: Board) -> None:
        failing(board, 1)
        await asyncio.sleep(3600)

    notified([(CHANNEL, recorder)], story, counted)
    assert len(recorder.tries) == 3
    assert len(set(recorder.tries)) == 1
    assert recorder.taken[0][0] == DELAYS[0] + 60
    assert counted == [("ops", Delivered.SENT)]


@pytest.mark.parametrize(
    "fate", [NotDelivered("HTTP 410", again=False), RuntimeError("a library's"), *[NotDelivered("x", again=True)]]
)
def test_gives_up(fate: Exception) -> None:
    """A message that cannot be delivered is counted, and the next one goes."""
    tries = len(DELAYS) + 1 if isinstance(fate, NotDelivered) and fate.again else 1
    recorder, counted = Recorder(*[fate] * tries), list[tuple[str, Delivered]]()

    async def story(board: Board) -> None:
        failing(board, 1)
        await asyncio.sleep(3600)
        failing(board, 2)
        await asyncio.sleep(1)

    notified([(CHANNEL, recorder)], story, counted)
    assert counted == [("ops", Delivered.FAILED), ("ops", Delivered.SENT)]
    assert recorder.taken[0][1].facts[0].address == "production/m2"


def test_too_many_messages_go_together() -> None:
    """Over its pace a channel gets one message with everything that came meanwhile."""
    recorder = Recorder()

    async def story(board: Board) -> None:
        for number in range(30):
            failing(board, number)
            await asyncio.sleep(1)
        await asyncio.sleep(100)

    notified([(replace(CHANNEL, per_minute=3), recorder)], story)
    assert [len(sent.facts) for _, sent in recorder.taken] == [1, 1, 1, 27]
    assert [round(at) for at, _ in recorder.taken] == [0, 1, 2, 60]


def test_a_slow_channel_holds_up_nothing() -> None:
    """Passes and other channels go on while a channel hangs; what it cannot hold is dropped and counted."""
    stuck, quick, counted = Recorder(seconds=1e6), Recorder(), list[tuple[str, Delivered]]()
    per_minute = 600

    async def story(board: Board) -> None:
        for number in range(QUEUE + 6):
            failing(board, number)
            await asyncio.sleep(0.2)
        assert asyncio.get_running_loop().time() < 30
        assert len(quick.taken) == QUEUE + 6

    slow = replace(CHANNEL, name="slow", per_minute=per_minute)
    notified([(slow, stuck), (replace(CHANNEL, per_minute=per_minute), quick)], story, counted)
    assert counted.count(("slow", Delivered.DROPPED)) == 5


def test_the_end_is_not_waited_for_long() -> None:
    """What waits when the program ends gets one try; a channel that hangs does not keep it."""
    stuck, good = Recorder(seconds=1e6), Recorder()

    async def story(board: Board) -> None:
        failing(board, 1)

    async def tell() -> float:
        board = Board(source="main")
        async with Notifier(board, [(CHANNEL, stuck), (CHANNEL, good)]):
            await story(board)
        return asyncio.get_running_loop().time()

    assert run_virtual(tell()) == 2.0
    assert len(good.taken) == 1


def test_nobody_to_tell() -> None:
    """Without channels nothing is listened to."""

    async def story(board: Board) -> None:
        failing(board, 1)

    notified([], story)


def test_the_page_lists_every_word() -> None:
    """docs/notifications.md explains each outcome and each word of a template."""
    page = (Path(__file__).parent.parent.parent / "docs" / "notifications.md").read_text(encoding="utf-8")
    assert set(Outcome) == set(re.findall(r"^\| `(\w+)` \| (?:a deployment|an environment) \|", page, re.MULTILINE))
    assert {f"${word}" for word in (*TITLE_WORDS, *LINE_WORDS)} <= set(re.findall(r"`(\$\w+)`", page))
    assert USUAL_TITLE in page
    assert USUAL_LINE in page


FLOW = "triggers/manual/paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=abcDEF123_-xyz"


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # one of apprise's plug-ins loads it
@pytest.mark.parametrize(
    ("url", "service"),
    [
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#models", "NotifySlack"),
        ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "NotifySlack"),
        ("workflows://prod-01.westeurope.logic.azure.com:443/3e4a5b6c7d8e9f0a1b2c/abcDEF123_-xyz", "NotifyWorkflows"),
        (f"https://prod-01.westeurope.logic.azure.com:443/workflows/3e4a5b6c7d8e9f0a1b2c/{FLOW}", "NotifyWorkflows"),
        ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "NotifyDiscord"),
        ("https://discord.com/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "NotifyDiscord"),
        ("mailto://ops:secret@example.com", "NotifyEmail"),
        ("mailtos://ops:secret@mail.example.com:587?from=reconciler@example.com&to=team@example.com", "NotifyEmail"),
        ("slack://", None),
        ("nobody://knows/this", None),
        ("https://example.com/hook", None),
    ],
)
def test_addresses_that_apprise_knows(url: str, service: str | None) -> None:
    """Slack, Teams, Discord and mail, by apprise's addresses and by those that the services give; another is refused."""
    found = service_at(url)
    assert [type(one).__name__ for one in found or ()] == ([service] if service else [])
