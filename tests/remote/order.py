"""Pipelines of two commits: every generation deployed exactly once, in order, and the newest commit's is what stays.

In each round an older commit changes the first model and the second one; the newer commit changes the first one again and puts
the second one back. So a pipeline of the older commit that comes late has something to undo in each: one that the newer one has
deployed too, and one that it never touched.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from reconciler.model.applied import Accepted
from tests.remote.pipelines import APPLY, CODES, LATE, Ended, Pipelines

When = Literal["at once", "older first", "newer first"]
WHENS: tuple[When, ...] = get_args(When)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two commits, each checked out, and what was live and sent before. Temperatures by model."""

    older: Path
    newer: Path
    before: dict[str, float]
    first: dict[str, float]
    last: dict[str, float]
    posts: int


def two_commits(estate: Pipelines, number: int, depth: int | None) -> Pair:
    """`depth` is how many commits a checkout has; None is all."""
    before, more = dict(estate.wanted), number / 1000  # told apart from every other round
    one, other = list(before)[:2]
    first = {**before, one: 0.25 + more, other: 0.5 + more}
    last = {**before, one: 0.75 + more}
    folders = (estate.folder / f"{name}{number}" for name in ("older", "newer"))
    older, newer = (
        estate.place.checkout_of(estate.commit(wanted), folder, depth)
        for wanted, folder in zip((first, last), folders, strict=True)
    )
    return Pair(older=older, newer=newer, before=before, first=first, last=last, posts=len(estate.posts))


def two_in_order(estate: Pipelines, number: int, when: When, depth: int | None) -> bool:
    """One round of two pipelines on two commits. Raises AssertionError."""
    pair = two_commits(estate, number, depth)
    if when == "at once":
        ends = estate.at_once([APPLY, APPLY], checkouts=[pair.older, pair.newer])
    else:
        turns = [(pair.older, 0), (pair.newer, 0)] if when == "older first" else [(pair.newer, 0), (pair.older, LATE)]
        ends = [_ended_with(code, estate, folder) for folder, code in turns]
    in_order_in_the_end(estate, pair, ends)
    return True


def overtaken(estate: Pipelines, number: int, at: int, depth: int | None) -> bool:
    """One round in which the older pipeline sleeps at a piece of its traffic while the newer one runs. Raises AssertionError.

    False when the older one had ended before.
    """
    pair = two_commits(estate, number, depth)
    slept, *ends = estate.overtaken(at, pair.older, pair.newer)
    in_order_in_the_end(estate, pair, ends)
    return slept


def _ended_with(code: int, estate: Pipelines, folder: Path) -> Ended:
    end = estate.ended(estate.start(APPLY, checkout=folder))
    assert end.code == code, end.text
    return end


def in_order_in_the_end(estate: Pipelines, pair: Pair, ends: Sequence[Ended]) -> None:
    """Once both have ended the newest commit's pipeline is run until nothing remains, and the older one's once more."""
    for end in ends:
        assert end.code in CODES | {LATE}, end.text
    in_order(estate, pair)
    estate.converge()  # the newest commit's pipeline, run again as somebody would after a 6, 7 or 9
    done = len(estate.posts)
    _ended_with(LATE, estate, pair.older)
    assert len(estate.posts) == done, "a late pipeline sent something"
    in_order(estate, pair)
    assert _live(estate) == pair.last


def in_order(estate: Pipelines, pair: Pair) -> None:
    """By the platform's own log: first what the older commit says, then what the newer one says, and each once."""
    steps: list[tuple[int, str]] = []
    for line in estate.posts[pair.posts :]:
        model = line["modelId"].removeprefix("cm-")
        sent = json.loads(line["body"])["hyperParameters"]["temperature"]
        assert sent in {pair.first[model], pair.last[model]}, f"{model}: {sent} is nobody's"
        steps.append((0 if sent == pair.first[model] else 1, model))
    assert len(set(steps)) == len(steps), f"sent twice: {steps}"
    assert [commit for commit, _ in steps] == sorted(commit for commit, _ in steps), (
        f"the older one after the newer: {steps}"
    )


def _live(estate: Pipelines) -> dict[str, float]:
    applied = estate.applied
    assert applied is not None
    bodies = {}
    for name in estate.wanted:
        entry = applied.entries[f"cm-{name}"]
        assert entry.live is not None
        assert entry.last is not None
        assert isinstance(entry.last.outcome, Accepted)
        bodies[name] = json.loads(entry.live.body)["hyperParameters"]["temperature"]
    return bodies
