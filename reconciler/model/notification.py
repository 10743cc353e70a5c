"""Who is told of what: the channels of `notifications:` in the project file, understood.

`load.project` makes them, `controller.notify` sends. The words of `Outcome` are the words of `on:`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from string import Template

from reconciler.model.resource import KeyReference


class Outcome(StrEnum):
    """What can be told. The first five are about one deployment, the rest about an environment."""

    SUCCEEDED = "succeeded"  # what was sent is live, or undeployed
    FAILED = "failed"  # the job failed, was refused by the platform, or was not over when time was up
    HELD = "held"  # whether the platform did it is unknown: a person must say
    QUARANTINED = "quarantined"  # this digest is not tried again by itself
    ALARM = "alarm"  # the platform did what no platform should
    REFUSED = "refused"  # manifests, state or source forbid changes
    WAITING = "waiting"  # a person must allow something first
    UNAUTHORIZED = "unauthorized"  # the platform does not accept the key, or its certificate is not trusted
    UNREACHABLE = "unreachable"  # for some minutes nothing could be sent
    RECOVERED = "recovered"  # one of the four above is over


# A deployment that went as planned wakes nobody unless that is asked for.
USUAL_OUTCOMES = frozenset(Outcome) - {Outcome.SUCCEEDED}
USUAL_PER_MINUTE = 10
USUAL_TITLE = "reconciler: $summary"
USUAL_LINE = "$sign $address $outcome: $detail"

# What a template may name, and what it stands for.
TITLE_WORDS = {
    "summary": "as `2 failed, 1 held in production`",
    "environment": "one name, or several",
    "source": "what is watched",
}
LINE_WORDS = {
    "sign": "✓, ✗, ? or !",
    "address": "`environment/name`, or the environment",
    "environment": "its name",
    "outcome": "a word of `on`",
    "detail": "what happened, in a sentence",
    "action": "deploy, redeploy, undeploy, …",
    "dockStatusId": "the job's id",
    "commit": "the manifests' commit, 12 digits",
    "digest": "the digest of what was sent",
    "next": "the command that says more",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One receiver. `environments` empty means all. `url` and `secret` say where the address and the HMAC key are found."""

    name: str
    type: str
    url: KeyReference
    secret: KeyReference | None = None
    on: frozenset[Outcome] = USUAL_OUTCOMES
    environments: frozenset[str] = frozenset()
    per_minute: int = USUAL_PER_MINUTE
    title: str = USUAL_TITLE
    line: str = USUAL_LINE


def unknown_words(template: str, words: dict[str, str]) -> tuple[str, ...]:
    """What a template names and nothing gives; `$` for one that is not written as `$name`, `${name}` or `$$`."""
    parsed = Template(template)
    if not parsed.is_valid():
        return ("$",)
    return tuple(name for name in parsed.get_identifiers() if name not in words)
