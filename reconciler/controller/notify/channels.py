"""Carrying a message to its receiver: a signed webhook, or one of the services that apprise knows.

A channel's address is a secret, so nothing here ever says it: failures are told by kind. Called by `notifier`, which tries
again what may be tried again.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import hmac
import logging
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from reconciler import __version__
from reconciler.controller.notify.text import Message
from reconciler.errors import ReconcilerError, UsageError
from reconciler.load.project import is_loopback
from reconciler.model.notification import Channel
from reconciler.model.resource import KeyReference
from reconciler.platform.boundary import proxy_for

if TYPE_CHECKING:
    import apprise
    import httpx

Read = Callable[
    [KeyReference], str
]  # gives what a reference leads to; asked each time, so that a rotated file is picked up

TIMEOUT = 10.0  # seconds for one delivery
_AGAIN = frozenset({408, 425, 429})
_TOO_LONG = 600.0  # a receiver that asks for more patience than this is not waited for any longer


class NotDelivered(Exception):
    """Why, by kind. `again` is whether to try again, `after` how many seconds the receiver asked to wait."""

    def __init__(self, why: str, *, again: bool, after: float | None = None) -> None:
        super().__init__(why)
        self.again = again
        self.after = after


class Sender(Protocol):
    """One channel's way out."""

    async def send(self, message: Message) -> None:
        """Raises NotDelivered."""

    async def close(self) -> None: ...


def sender_for(channel: Channel, read: Read, environ: Mapping[str, str]) -> Sender:
    """`environ` holds the usual proxy variables. Raises UsageError when the channel's library is not installed."""
    if channel.type == "webhook":
        return Webhook(channel, read, environ)
    from importlib.util import find_spec

    if find_spec("apprise") is None:
        raise UsageError(
            f"The channel {channel.name} is of type apprise, which is not installed.",
            next_step="Install reconciler[notify], or use a webhook.",
        )
    return Apprise(channel, read)


def signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """As https://www.standardwebhooks.com says: HMAC-SHA256 over id, time and the bytes of the body."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest()).decode()


def _key(secret: str) -> bytes:
    """`whsec_…` is base64, anything else the text itself."""
    if secret.startswith("whsec_"):
        with contextlib.suppress(binascii.Error):
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    return secret.encode()


class Webhook:
    """POSTs the message's JSON. Redirects are not followed, and of the answer only its status code counts."""

    def __init__(self, channel: Channel, read: Read, environ: Mapping[str, str]) -> None:
        self._channel = channel
        self._read = read
        self._environ = environ
        self._client: httpx.AsyncClient | None = None
        self._reached: str | None = None

    async def send(self, message: Message) -> None:
        import httpx

        url = _checked(_referenced(self._read, self._channel.url))
        now = datetime.now(UTC)
        body, timestamp = message.body(now), str(int(now.timestamp()))
        headers = {
            "content-type": "application/json",
            "user-agent": f"reconciler/{__version__}",
            "webhook-id": message.id,
            "webhook-timestamp": timestamp,
        }
        if self._channel.secret is not None:
            secret = _referenced(self._read, self._channel.secret)
            headers["webhook-signature"] = signature(secret, message.id, timestamp, body)
        client = await self._client_for(url)
        try:
            async with asyncio.timeout(TIMEOUT), client.stream("POST", url, content=body, headers=headers) as answer:
                _judge(answer.status_code, answer.headers.get("retry-after"))
        except TimeoutError as error:
            raise NotDelivered(f"no answer within {TIMEOUT:.0f} s", again=True) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise NotDelivered("its address is not one", again=False) from error
        except httpx.HTTPError as error:
            raise NotDelivered(type(error).__name__, again=True) from None  # its words may hold the address

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _client_for(self, url: str) -> httpx.AsyncClient:
        """One client as long as the address is the same; making one reads the authorities, which takes its time."""
        if self._client is None or self._reached != url:
            await self.close()
            self._client = await asyncio.to_thread(_client, url, self._environ)
            self._reached = url
        return self._client


class Apprise:
    """Hands title and text to apprise, on a thread of its own: it waits in its own way and takes half a second to load."""

    def __init__(self, channel: Channel, read: Read) -> None:
        self._channel = channel
        self._read = read

    async def send(self, message: Message) -> None:
        url = _referenced(self._read, self._channel.url)
        try:
            async with asyncio.timeout(3 * TIMEOUT):
                accepted = await _on_a_thread(lambda: _hand_over(url, message.title, message.text))
        except TimeoutError as error:
            raise NotDelivered("no answer", again=True) from error
        if accepted is None:
            raise NotDelivered("its address is not one that apprise knows", again=False)
        if not accepted:
            raise NotDelivered("the service did not take it", again=True)

    async def close(self) -> None:
        """Nothing is kept."""


def _hand_over(url: str, title: str, text: str) -> bool | None:
    """None for an address that apprise cannot read."""
    service = service_at(url)
    if service is None:
        return None
    import apprise

    return bool(service.notify(body=text, title=title, body_format=apprise.NotifyFormat.TEXT))


def service_at(url: str) -> apprise.Apprise | None:
    """None for an address that apprise cannot read. Its log would repeat addresses, so it is silenced."""
    log = logging.getLogger("apprise")
    log.handlers, log.propagate = [logging.NullHandler()], False
    import apprise

    service = apprise.Apprise()
    return service if service.add(url) else None


async def _on_a_thread(work: Callable[[], bool | None]) -> bool | None:
    """On a daemon thread: one that hangs must not keep the program from ending, as one of the loop's pool would."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[bool | None] = loop.create_future()

    def settle(result: bool | None) -> None:
        if not future.done():
            future.set_result(result)

    def run() -> None:
        try:
            result = work()
        except Exception:  # noqa: BLE001 - whatever a plug-in raises means that it was not taken
            result = False
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=run, name="notify", daemon=True).start()
    return await future


def _referenced(read: Read, reference: KeyReference) -> str:
    try:
        return read(reference)
    except ReconcilerError as error:
        raise NotDelivered(f"{reference} cannot be read", again=True) from error


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise NotDelivered("its address is not one", again=False) from None
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        return url
    raise NotDelivered("its address is not https", again=False)


def _judge(status: int, retry_after: str | None) -> None:
    if 200 <= status < 300:  # noqa: PLR2004 - what HTTP calls success
        return
    after = float(retry_after) if retry_after is not None and retry_after.isdecimal() else None
    again = status in _AGAIN or status >= 500  # noqa: PLR2004 - the receiver's own trouble
    raise NotDelivered(f"HTTP {status}", again=again and (after is None or after <= _TOO_LONG), after=after)


def _client(url: str, environ: Mapping[str, str]) -> httpx.AsyncClient:
    import httpx

    parts = urlsplit(url)
    proxy = proxy_for(parts.hostname or "", parts.port or 443, environ)
    trust = httpx.create_ssl_context()
    trust.load_default_certs()  # the system's authorities too, as for the platform
    limits = httpx.Limits(max_keepalive_connections=0)
    transport = httpx.AsyncHTTPTransport(verify=trust, proxy=proxy, trust_env=False, limits=limits)
    return httpx.AsyncClient(transport=transport, timeout=TIMEOUT, follow_redirects=False, trust_env=False)
