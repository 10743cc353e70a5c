"""The three calls that the program makes, each made over a real socket and understood as the program understands it.

A test gives a behaviour of the other side (`support.loopback`) and gets what the call means; the tables of this folder are
these calls times what the other side does. What goes over the wire is exactly what users' machines send.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest

from reconciler.model.applied import Operation, Outcome
from reconciler.platform.api import Platform, Sent, deploy_request, undeploy_request
from reconciler.platform.client import HttpPlatform, Timeouts
from reconciler.platform.endings import (
    DockAnswer,
    classify,
    read_dock_status,
)
from tests.support.loopback import Behaviour, LoopbackServer, loopback_server
from tests.support.vendor import SAMPLES

ID = "ds-11111111-2222-3333-4444-555555555555"
KEY = "kg-0badc0de-0000-5000-8000-000000000000"
LIMIT = "Rate limit for this API has been reached. Please try again later"
PATIENT = Timeouts(connect=60.0, write=60.0, read=60.0, reply=60.0, answer=60.0)  # none of them ever ends a test
SHORT = 0.05  # seconds, for a timeout that is expected

Meaning: TypeAlias = Outcome | DockAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """`make` gives how it ended, and how often a record was asked for; `meaning` what that counts as."""

    name: str
    operation: Operation | None

    async def make(self, platform: Platform) -> tuple[Sent, int]:
        recorded = 0

        async def record() -> None:
            nonlocal recorded
            recorded += 1

        match self.operation:
            case Operation.DEPLOY:
                body = json.dumps(SAMPLES[0].body, separators=(",", ":"))
                return await platform.send(deploy_request("cm-1", "openSource", body), record), recorded
            case Operation.UNDEPLOY:
                return await platform.send(undeploy_request("cm-1"), record), recorded
            case None:
                return await platform.ask(ID), recorded

    def meaning(self, sent: Sent, **known: Any) -> Meaning:
        if self.operation is None:
            return read_dock_status(sent, dock_status_id=ID)
        return classify(sent, operation=self.operation, **known)

    def job(self, status: str = "IN_PROGRESS", **more: Any) -> bytes:
        """The body of a good answer."""
        key = "_id" if self.operation is None else "dock-statusId"
        action = (self.operation or Operation.DEPLOY).upper()
        told = {key: ID, "modelId": "cm-1", "jobType": "MODELS", "action": action, "status": status, **more}
        return json.dumps(told).encode()


CALLS = (
    Call(name="deploy", operation=Operation.DEPLOY),
    Call(name="undeploy", operation=Operation.UNDEPLOY),
    Call(name="status", operation=None),
)
each_call = pytest.mark.parametrize("call", CALLS, ids=[call.name for call in CALLS])

Use: TypeAlias = Callable[[HttpPlatform], Awaitable[tuple[Sent, int]]]


def over(
    origin: str,
    *uses: Use,
    timeouts: Timeouts = PATIENT,
    ca_file: str | None = None,
    environ: Mapping[str, str] = {},
) -> list[tuple[Sent, int]]:
    """Each use on a client of its own, so that none finds what another has left in the pool."""

    async def main() -> list[tuple[Sent, int]]:
        return [await use_one(use) for use in uses]

    async def use_one(use: Use) -> tuple[Sent, int]:
        platform = HttpPlatform(origin, lambda: KEY, ca_file=ca_file, timeouts=timeouts, environ=environ)
        try:
            return await use(platform)
        finally:
            await platform.close()

    return asyncio.run(main())


def in_turn(origin: str, uses: Sequence[Use], **options: Any) -> list[tuple[Sent, int]]:
    """As `over`, on one client: for servers that leave nothing in its pool. Knowing whom to trust is dear to find out."""
    endings: list[tuple[Sent, int]] = []

    async def all_of_them(platform: HttpPlatform) -> tuple[Sent, int]:
        endings.extend([await use(platform) for use in uses])
        return endings[-1]

    over(origin, all_of_them, **options)
    return endings


def made(call: Call, behaviour: Behaviour, timeouts: Timeouts = PATIENT) -> tuple[Sent, LoopbackServer]:
    """One call to a server that behaves so."""
    with loopback_server(behaviour) as server:
        [(sent, _)] = over(server.origin, call.make, timeouts=timeouts)
    return sent, server


def made_times(call: Call, behaviour: Behaviour, times: int) -> tuple[list[Sent], LoopbackServer]:
    """The call so often, one after the other, each on a connection of its own; `peer.number` counts them."""
    with loopback_server(behaviour) as server:
        if call.operation is None:
            endings = over(server.origin, *[call.make] * times)
        else:  # no connection outlives its POST
            endings = in_turn(server.origin, [call.make] * times)
    return [sent for sent, _ in endings], server
