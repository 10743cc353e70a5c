"""Facts as words: a title, a line each, and the JSON that a webhook gets. Pure.

Everything that came from outside is one harmless line: no control characters, no API keys, nothing that a chat would read as
a call to everybody.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from string import Template

from reconciler.controller.notify.facts import Fact
from reconciler.model.notification import Channel, Outcome
from reconciler.model.text import one_line, safe
from reconciler.model.values import Json

FORMAT = "reconciler/notification/v1"
MAX_LINES = 20  # of a text; a person opens the page for more
MAX_FACTS = 200  # of a webhook
_MAX_DETAIL = 300
_MAX_TITLE = 200

SIGNS = {
    Outcome.SUCCEEDED: "✓",
    Outcome.RECOVERED: "✓",
    Outcome.FAILED: "✗",
    Outcome.QUARANTINED: "✗",
    Outcome.REFUSED: "✗",
    Outcome.UNAUTHORIZED: "✗",
    Outcome.UNREACHABLE: "✗",
    Outcome.HELD: "?",
    Outcome.WAITING: "?",
    Outcome.ALARM: "!",
}
_CRY = re.compile(r"@(?=(?:everyone|here|channel|all)\b)", re.IGNORECASE)
# <!channel>, <@U123>, <https://…|a lie>: what stands instead looks alike on purpose.
_AWAKE = {ord("<"): "‹", ord(">"): "›"}  # noqa: RUF001 - as above


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What one channel gets at once. `id` stays the same over retries, so that a receiver can tell a repetition."""

    id: str
    channel: Channel
    source: str
    facts: tuple[Fact, ...]

    @property
    def title(self) -> str:
        words = {
            "summary": summary(self.facts),
            "environment": ", ".join(sorted({fact.environment for fact in self.facts})),
            "source": self.source,
        }
        return one_line(Template(self.channel.title).safe_substitute(_quiet(words)), _MAX_TITLE)

    @property
    def text(self) -> str:
        """A line each, the worst first."""
        ordered = sorted(self.facts, key=lambda fact: fact.outcome in {Outcome.SUCCEEDED, Outcome.RECOVERED})
        lines = [_line(self.channel.line, fact) for fact in ordered[:MAX_LINES]]
        hidden = len(ordered) - len(lines)
        return "\n".join([*lines, f"… and {hidden} more"] if hidden else lines)

    def body(self, sent_at: datetime) -> bytes:
        """The webhook's JSON, ASCII only."""
        shown = self.facts[:MAX_FACTS]
        content: dict[str, Json] = {
            "format": FORMAT,
            "id": self.id,
            "sentAt": sent_at.isoformat(),
            "source": safe(self.source),
            "title": self.title,
            "text": self.text,
            "facts": [_object(fact) for fact in shown],
            "more": len(self.facts) - len(shown),
        }
        return json.dumps(content, separators=(",", ":")).encode("ascii")


def summary(facts: Sequence[Fact]) -> str:
    """`2 failed, 1 held in production`."""
    counted = Counter(fact.outcome for fact in facts)
    said = ", ".join(f"{counted[outcome]} {outcome}" for outcome in Outcome if counted[outcome])
    where = sorted({fact.environment for fact in facts})
    return f"{said} in {', '.join(where)}"


def _line(template: str, fact: Fact) -> str:
    words = {
        "sign": SIGNS[fact.outcome],
        "address": fact.address,
        "environment": fact.environment,
        "outcome": str(fact.outcome),
        "detail": fact.detail,
        "action": str(fact.action or ""),
        "dockStatusId": fact.dock_status_id or "",
        "commit": (fact.commit or "")[:12],
        "digest": fact.digest or "",
        "next": _next(fact),
    }
    return one_line(Template(template).safe_substitute(_quiet(words)), 3 * _MAX_DETAIL)


def _quiet(words: dict[str, str]) -> dict[str, str]:
    return {
        key: _CRY.sub("＠", safe(one_line(value, _MAX_DETAIL))).translate(_AWAKE)  # noqa: RUF001 - it looks alike on purpose
        for key, value in words.items()
    }


def _next(fact: Fact) -> str:
    about = "status -e " if fact.address == fact.environment else "explain "
    return f"reconciler {about}{fact.address}"


def _object(fact: Fact) -> Json:
    return {
        "outcome": str(fact.outcome),
        "environment": fact.environment,
        "address": fact.address,
        "detail": safe(one_line(fact.detail, _MAX_DETAIL)),
        "at": fact.at.isoformat(),
        "pass": fact.pass_id,
        "action": str(fact.action) if fact.action else None,
        "digest": fact.digest,
        "dockStatusId": safe(fact.dock_status_id) if fact.dock_status_id else None,
        "commit": fact.commit,
        "next": _next(fact),
    }
