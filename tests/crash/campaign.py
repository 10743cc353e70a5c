"""Random histories: an estate that grows, changes, shrinks and replaces models on a platform that fails, refuses and loses
replies, applied by processes that keep dying. Everything is chosen by a seed; the order of replies alone is the network's.

The platform quotes the API key in its replies, spelled in twelve ways. Once a history is over, every command that reads shows
what there is, and everything that was said, written or given to git is looked through for the key.

The suite runs some, `tools/torture.py campaign --seed S --runs N` as many as one likes, with any store. A history that fails is
repeated by its own seed; how far a process comes until a moment is a little different each time.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reconciler.model.applied import Situation, situation_of
from reconciler.simulator.scenario import Scenario
from tests.crash.history import APPLY, ENVIRONMENT, KEY, PLAN, History, Wanted, told, write_manifests, write_project
from tests.crash.injector import SLOW, Fault, How
from tests.crash.judge import KILLED, Evidence
from tests.crash.nursery import Nursery
from tests.crash.tally import Counts
from tests.remote.places import Place
from tests.security.canary import LOOKS, check_the_look, echoing, look_through, watched_git

KINDS: tuple[How, ...] = ("kill", "torn", "torn", "power", "power-some", "moment", "moment", "moment")
KINDS_ELSEWHERE: tuple[How, ...] = ("kill", "torn", "moment", "moment", "moment")  # what is written is not on this disk
# An apply begins to write at about its 75,000th moment, and ends between the 130,000th and the 250,000th.
FIRST_MOMENT = 60_000
LAST_MOMENTS = (100_000, 160_000, 250_000)
MOST_RUNS = 24  # of one step; every run but the crashed ones brings it nearer to its end

# What may happen to the nth call for a model, and whether the platform starts a job all the same.
MISFORTUNES: tuple[dict[str, Any], ...] = (
    {"lost": "after"},
    {"lost": "after", "lostBy": "eof"},
    {"lost": "before"},
    {"cutBody": 0},
    {"cutBody": 25},
    {"cutBody": 70},
    {"cut": 40},
    {"answer": {"status": 429, "message": "Rate limit for this API has been reached. Please try again later"}},
    {"answer": {"status": 429, "message": "slow down", "retryAfter": 7}},
    {"answer": {"status": 503, "message": "no", "accepted": True}},
    {"answer": {"status": 502, "message": "no", "shape": "html"}},
    {"answer": {"status": 400, "message": "not today"}},
    {"answer": {"status": 409, "message": "a job is running"}},
    {"reply": {"idKey": "none"}},
    {"reply": {"idKey": "two"}},
)
JOBS: tuple[dict[str, Any], ...] = (
    {"statuses": ["IN_PROGRESS", "SUCCESS"]},
    {"statuses": ["QUEUED", "IN_PROGRESS", "IN_PROGRESS", "SUCCESS"]},
    {"seconds": 0},
)
FAILING = {"statuses": ["IN_PROGRESS", "FAILED"]}


@dataclass(slots=True, kw_only=True)
class Tally(Counts):
    """What happened in all, for the report."""

    histories: int = 0
    runs: int = 0
    deaths: int = 0
    calls: int = 0
    jobs: int = 0
    resolved: int = 0
    steps: int = 0
    files: int = 0
    kilobytes: int = 0


@dataclass(slots=True)
class _Story:
    """One history as it is being made up."""

    chance: random.Random
    wanted: dict[str, Wanted]
    crashes: int
    kinds: tuple[How, ...] = KINDS
    temperatures: int = 1
    reasons: Counter[str] = field(default_factory=Counter)  # model id -> how many deploys have a reason
    removals: Counter[str] = field(default_factory=Counter)
    models: int = 0


def play(nursery: Nursery, folder: Path, seed: int, *, looks: bool = True, place: Place | None = None) -> Tally:
    """One history to its end, with its state in a folder or at a place elsewhere. Raises AssertionError.

    `looks` shows in the end what can be shown, in every format.
    """
    chance = random.Random(seed)
    names = [f"m{number}" for number in range(chance.randint(2, 7))]
    story = _Story(chance=chance, wanted=_first(names, chance), crashes=chance.randint(1, 5))
    project = folder / "project"
    if place is not None:
        story.kinds = KINDS_ELSEWHERE
        place.checkout(project)
    write_project(project, story.wanted.values())
    home = place.home(folder / "home") if place is not None else None
    history = History(nursery, folder, project, echoing(_platform(chance), KEY), home)
    history.environ = _surroundings(folder, seed)
    story.reasons.update(wanted.model for wanted in story.wanted.values())
    tally = Tally(histories=1)
    try:
        for step in range(chance.randint(1, 4)):
            if step:
                _change(story)
                write_manifests(project, story.wanted.values())
            tally.resolved += _settle(history, story)
            tally.steps += 1
        evidence = history.judge()
        tally.runs, tally.deaths = len(history.said), sum(said.code == KILLED for said in history.said)
        tally.calls, tally.jobs = len(evidence.lines), evidence.accepted.total()
        explained = (("explain", f"{ENVIRONMENT}/{name}") for name in story.wanted)
        _look_for_the_key(history, tally, (*LOOKS, *explained) if looks else LOOKS[:1])
        return tally
    finally:
        history.close()


def _surroundings(folder: Path, seed: int) -> dict[str, str]:
    """A git that notes what it is given, a folder for temporary files that is looked through, and every third time a log."""
    (folder / "temporary").mkdir()
    log = {"RECONCILER_LOG_LEVEL": "debug", "RECONCILER_LOG_FORMAT": "json"} if seed % 3 == 0 else {}
    return {"PATH": str(watched_git(folder / "bin")), "TMPDIR": str(folder / "temporary"), **log}


def _look_for_the_key(history: History, tally: Tally, looks: tuple[tuple[str, ...], ...]) -> None:
    """P11, over all that a history leaves, and all that can be shown of it."""
    told = history.run(*looks, ("plan", "--out", str(history.folder / "plan.json")))
    assert told.code == 0, told
    assert (history.folder / "git.noted").stat().st_size, "git was not watched"
    check_the_look(history.folder, KEY)
    seen = look_through(history.folder, KEY)
    tally.files, tally.kilobytes = seen.files, seen.bytes // 1000


def _first(names: list[str], chance: random.Random) -> dict[str, Wanted]:
    """Dependencies point to earlier names, so there is no circle."""
    found: dict[str, Wanted] = {}
    for number, name in enumerate(names):
        wave = chance.choice((0, 0, 0, 1))
        before = [other for other in names[:number] if found[other].wave <= wave]
        depends = tuple(chance.sample(before, 1)) if before and chance.random() < 0.3 else ()
        strategy = chance.choice(("DeployFirst", "UndeployFirst"))
        found[name] = Wanted(name=name, wave=wave, depends_on=depends, strategy=strategy)
    return found


def _platform(chance: random.Random) -> Scenario:
    """Misfortunes for some calls, and how jobs go; each model id has rules of its own."""
    rules: list[dict[str, Any]] = []
    for number in range(7):
        for operation in ("deploy", "undeploy"):
            match = {"model": f"cm-m{number}*", "operation": operation}
            for nth in range(1, 6):
                if chance.random() < 0.15:
                    rules.append({"match": {**match, "nth": nth}, **chance.choice(MISFORTUNES)})
                elif chance.random() < 0.08:
                    rules.append({"match": {**match, "nth": nth}, "job": FAILING})
            rules.append({"match": match, "job": chance.choice(JOBS)})
    return told(*rules)


def _change(story: _Story) -> None:
    """A commit: some manifests are edited, added, removed, or given another model. One stays: an empty folder is refused."""
    chance = story.chance
    for name in list(story.wanted):
        dice = chance.random()
        if dice < 0.35:
            story.temperatures += 1
            _want(story, replace(story.wanted[name], temperature=story.temperatures / 1000))
        elif dice < 0.5:
            story.models += 1
            story.removals[story.wanted[name].model] += 1
            _want(story, replace(story.wanted[name], model_id=f"cm-{name}-{story.models}"))
        elif (
            dice < 0.62
            and len(story.wanted) > 1
            and not any(name in other.depends_on for other in story.wanted.values())
        ):
            story.removals[story.wanted.pop(name).model] += 1
    if chance.random() < 0.3:
        free = [f"m{number}" for number in range(7) if f"m{number}" not in story.wanted]
        for name in free[:1]:
            story.models += 1
            _want(story, Wanted(name=name, model_id=f"cm-{name}-{story.models}"))


def _want(story: _Story, wanted: Wanted) -> None:
    story.wanted[wanted.name] = wanted
    story.reasons[wanted.model] += 1


def _settle(history: History, story: _Story) -> int:
    """Apply, dying now and then, resolve what is in doubt, until nothing remains. Gives how often a person decided."""
    chance, resolved = story.chance, 0
    for _ in range(MOST_RUNS):
        evidence = history.judge()
        check_reasons(evidence, story.reasons, story.removals)
        commands = history.resolve(evidence) if chance.random() < 0.7 else ()
        commands = (*history.unlock(), *commands)
        if story.crashes and chance.random() < 0.8:
            story.crashes -= 1
            history.run(*commands, *_beside(chance), APPLY, fault=_fault(story))
            continue
        resolved += len(commands)
        said = history.run(*commands, APPLY, PLAN)
        assert said.code in {0, 8, 9}, said  # 2: apply said that all was done, and the plan is not empty
        if said.code == 0:
            evidence = history.judge()
            check_reasons(evidence, story.reasons, story.removals)
            check_end(evidence, story.wanted.values())
            return resolved
    raise AssertionError(f"not converged after {MOST_RUNS} runs: {history.said[-1]}")


def _fault(story: _Story) -> Fault:
    chance = story.chance
    how = chance.choice(story.kinds)
    at = chance.randint(1, chance.choice((10, 30, 60, 120)))
    if how == "moment":
        at = chance.randint(FIRST_MOMENT, chance.choice(LAST_MOMENTS))
    return Fault(at=at, how=how, slow=chance.choice((0.0, 0.0, SLOW)), seed=chance.getrandbits(30))


def _beside(chance: random.Random) -> tuple[tuple[str, ...], ...]:
    """Commands that only poll, in the same process before the apply."""
    return (("status", "--wait"),) if chance.random() < 0.2 else ()


def check_reasons(evidence: Evidence, reasons: Counter[str], removals: Counter[str]) -> None:
    """No model is started more often than its manifest asked for it and jobs for it failed (P4, whatever the generations)."""
    failed = _failed(evidence)
    for (call, model), count in evidence.accepted.items():
        asked = reasons[model] if call == "deploy" else removals[model]
        assert count <= asked + failed[call, model], f"{model}: {count} times {call} for {asked} reasons (P4)"


def _failed(evidence: Evidence) -> Counter[tuple[str, str]]:
    """How many jobs ended with FAILED, as the log tells, by call and model id."""
    found: Counter[tuple[str, str]] = Counter()
    for attempt in evidence.attempts.values():
        if getattr(attempt.outcome, "status", None) == "FAILED":
            found[str(attempt.operation), evidence.attempt_record(attempt.id)["modelId"]] += 1
    return found


def check_end(evidence: Evidence, manifests: Collection[Wanted]) -> None:
    """The platform runs what is wanted and nothing else, and the state says so."""
    assert evidence.applied is not None
    entries = evidence.applied.entries
    for wanted in manifests:
        live = entries[wanted.model].live
        assert live is not None, f"{wanted.name} is not live"
        assert live.body == wanted.body, f"{wanted.name} is live as something else"
        last = [line for line in evidence.lines if line["accepted"] and line["modelId"] == wanted.model][-1]
        assert (last["call"], last["body"]) == ("deploy", wanted.body), (
            f"the platform runs something else as {wanted.name}"
        )
    models = {wanted.model for wanted in manifests}
    for model in {line["modelId"] for line in evidence.lines if line["accepted"]} - models:
        last = [line for line in evidence.lines if line["accepted"] and line["modelId"] == model][-1]
        assert last["call"] == "undeploy", f"{model} still runs and nobody wants it"
        assert situation_of(entries.get(model)) is Situation.ABSENT, (
            f"{model} is undeployed and the state says otherwise"
        )
