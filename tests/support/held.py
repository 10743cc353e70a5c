"""A platform that answers a deploy when the test says so: for what happens while a call is under way."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.loopback import Peer, loopback_server, reply_bytes

_PATIENCE = 60.0
_DEPLOY = re.compile(rb"POST /api/public/models/([^/]+)/deploy")
_ASKED = re.compile(rb"GET /api/public/dock-status/([^ ]+)")


@dataclass
class HeldPlatform:
    """Models named in `held` wait for `release`, those in `lost` get no reply, the jobs of `running` run until `finish`."""

    origin: str = ""
    held: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    running: frozenset[str] = frozenset()
    deployed: list[str] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    finish: threading.Event = field(default_factory=threading.Event)

    def wait_until_held(self) -> None:
        assert self.arrived.wait(_PATIENCE), "no call came"

    def serve(self, peer: Peer) -> None:
        """One connection."""
        while request := peer.read_request():
            deploy, asked = _DEPLOY.match(request), _ASKED.match(request)
            if deploy is not None:
                self._deploy(peer, deploy[1].decode())
                return
            known = asked is not None and asked[1].removeprefix(b"ds-") in {name.encode() for name in self.deployed}
            if asked is None or not known:
                peer.send(reply_bytes(b'{"message": "not found"}', status="404 Not Found"))
            else:
                model = asked[1].decode().removeprefix("ds-")
                peer.send(reply_bytes(json.dumps({"_id": f"ds-{model}", "status": self._status(model)}).encode()))

    def _deploy(self, peer: Peer, model: str) -> None:
        self.deployed.append(model)
        if model in self.held:
            self.arrived.set()
            assert self.release.wait(_PATIENCE), "nobody released it"
        if model in self.lost:
            peer.reset()
        else:
            value = {"dock-statusId": f"ds-{model}", "modelId": model, "status": self._status(model)}
            peer.send(reply_bytes(json.dumps(value).encode()))

    def _status(self, model: str) -> str:
        return "IN_PROGRESS" if model in self.running and not self.finish.is_set() else "SUCCESS"


@contextlib.contextmanager
def held_platform(*held: str, lost: tuple[str, ...] = (), running: tuple[str, ...] = ()) -> Iterator[HeldPlatform]:
    """The platform on a loopback port; whatever is still held at the end is released."""
    platform = HeldPlatform(held=frozenset(held), lost=frozenset(lost), running=frozenset(running))
    with loopback_server(platform.serve) as server:
        platform.origin = server.origin
        try:
            yield platform
        finally:
            platform.release.set()
