"""The seam to the platform: the requests we make, the replies we may get, and the Protocol that carries them.

The source of every fact here is the vendor's "Deploy a Model API" page and the pages around it (docs/platform.md).
`client` implements the Protocol over HTTP; nothing above it knows httpx.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias
from urllib.parse import quote

MAX_REPLY = 1024 * 1024  # bytes, decoded; more is cut and `Reply.error` says so
MAX_KEPT = 64 * 1024  # bytes of a reply that the state keeps


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A call that may change the platform. `path` starts with `/api/public` and includes the query; `body` is sent as it is."""

    method: str
    path: str
    body: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back. `headers` are the few we keep, names in lower case. `error` is set when the reply is not whole."""

    status_code: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectFailed:
    """Not one byte left. `trust` is True for TLS name or authority errors, which no retry mends."""

    error: str
    trust: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NoReply:
    """Bytes may have left and no status line came back: reset, EOF, timeout."""

    error: str


Sent: TypeAlias = Reply | ConnectFailed | NoReply


class Aborted(Exception):
    """Raised by `before_first_byte` to stop a request of which nothing has left yet; `send` raises it on."""


class Platform(Protocol):
    """One host and one key. All methods may wait for I/O; none raises for what the network or the platform does."""

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        ...

    async def send(self, request: Request, before_first_byte: Callable[[], Awaitable[None]]) -> Sent:
        """Send on a fresh connection; `before_first_byte` is awaited once the connection (TLS included) is up.

        What `before_first_byte` raises is raised on, and then not one byte has left. Redirects are not followed.
        """
        ...

    async def ask(self, dock_status_id: str) -> Sent:
        """`GET /dock-status/{id}` over the pool. Harmless; retry freely."""
        ...

    async def close(self) -> None: ...


def deploy_request(model_id: str, model_type: str, body: str) -> Request:
    """`POST /models/{modelId}/deploy?modelType=…`."""
    path = f"/api/public/models/{quote(model_id, safe='')}/deploy?modelType={quote(model_type, safe='')}"
    return Request(method="POST", path=path, body=body.encode())


def undeploy_request(model_id: str) -> Request:
    """`POST /models/{modelId}/undeploy`, without a body."""
    return Request(method="POST", path=f"/api/public/models/{quote(model_id, safe='')}/undeploy")


def dock_status_path(dock_status_id: str) -> str:
    return f"/api/public/dock-status/{quote(dock_status_id, safe='')}"
