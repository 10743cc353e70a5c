"""What happens during a run, as it happens: one flat value that feeds progress, log, metrics, notifications and page.

`apply` makes them, and only after what they tell is durable; the loop adds what it gives up. They are told, never asked:
nothing that a listener does changes a run. `status.event_of` makes the same of an attempt in the state, for history.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from reconciler.model.plan import Action
from reconciler.model.run import Ended


class Happened(StrEnum):
    """What an event tells."""

    STARTED = "started"  # the change was taken up
    WAITING = "waiting"  # it will be sent, or asked about, in `seconds`: `detail` says why
    SENDING = "sending"  # ATTEMPT is durable; the request leaves now
    ACCEPTED = "accepted"  # the platform started a job: `dock_status_id`
    POLLED = "polled"  # the job was asked about: `status`, `percent`
    ALARM = "alarm"  # something that no platform should do: an id given twice, a status that goes back
    ENDED = "ended"  # the change, or the job that it waited for (`follow`), ended as `ended` says
    QUARANTINED = "quarantined"  # its digest is not tried again by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One step of one change. `run` ties the events of a run together; `at` is wall-clock UTC.

    `seconds` is a wait for WAITING and the time since the change was started for the others. `percent` is from 0 to 100.
    `digest` and `commit` are of what is sent, or of what the job that is followed was sent for.
    """

    run: str
    environment: str
    address: str
    action: Action
    happened: Happened
    at: datetime
    detail: str = ""
    attempt: str | None = None
    dock_status_id: str | None = None
    status: str | None = None
    percent: float | None = None
    seconds: float | None = None
    ended: Ended | None = None
    digest: str | None = None
    commit: str | None = None


Listener = Callable[[Event], None]


def nobody_listens(_: Event) -> None:
    """For runs that nobody watches."""
