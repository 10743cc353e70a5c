"""The platform over HTTP. The only module that knows httpx.

It uses httpx's transports, below its client: no cookies, no redirects, no `.netrc`, no retries, nothing between us and the
wire but the connection. Whatever goes wrong there comes back as a value (`Sent`); nothing here decides what it means.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from reconciler import __version__
from reconciler.errors import InvalidInput, ReconcilerError
from reconciler.platform.api import MAX_REPLY, ConnectFailed, NoReply, Reply, Request, Sent, dock_status_path
from reconciler.platform.boundary import (
    checked_ca_file,
    checked_key,
    checked_origin,
    checked_proxy,
    proxy_for,
    redacted,
    redacted_text,
)
from reconciler.platform.replies import clean, decode_content, keep_headers

_POLL_CONNECTIONS = 4  # at most 10 questions a second leave (pacing), each answered within a fraction of one
_KEEP_ALIVE = 35.0  # seconds; a little more than the longest wait between two polls


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds. `connect` covers DNS, TCP, proxy and TLS together; `read` and `write` one silence.

    `reply` and `answer` cover everything from the first byte that is sent to the last that is read, of a call that changes
    something and of a question.
    """

    connect: float = 15.0
    write: float = 30.0
    read: float = 60.0
    reply: float = 90.0
    answer: float = 30.0


USUAL_TIMEOUTS = Timeouts()


class HttpPlatform:
    """One host and one key over HTTP/1.1; implements `api.Platform`. Belongs to one event loop.

    `key` is called for every request, so that a key that is rotated on disk is picked up; what it raises is raised on.
    `ca_file` is trusted beside the system's authorities. `environ` holds the usual proxy variables. `transport` carries
    the requests instead of the network: a simulator in the same process.

    Raises InvalidInput for an origin, proxy or file that cannot be used, AuthenticationError for plain http to another
    machine.
    """

    def __init__(
        self,
        origin: str,
        key: Callable[[], str],
        *,
        ca_file: str | None = None,
        timeouts: Timeouts = USUAL_TIMEOUTS,
        environ: Mapping[str, str] = os.environ,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._origin = checked_origin(origin)
        self._url = _parsed(self._origin)
        self._proxy = checked_proxy(proxy_for(self._url.host, self._url.port or 443, environ))
        self._ca_file = checked_ca_file(ca_file)
        self._key = key
        self._timeouts = timeouts
        self._trust: ssl.SSLContext | None = None
        self._own_transports = transport is None
        self._posts = transport
        self._polls = transport

    def __repr__(self) -> str:
        return f"HttpPlatform({self._origin!r})"

    @property
    def origin(self) -> str:
        return self._origin

    async def send(self, request: Request, before_first_byte: Callable[[], Awaitable[None]]) -> Sent:
        """See `Platform.send`. Raises AuthenticationError for a key that no header can carry."""
        key = checked_key(self._key())
        if self._posts is None:
            # No connection outlives its request: a keep-alive that the platform closes under a POST would make unknowns.
            self._posts = self._transport(httpx.Limits(max_connections=None, max_keepalive_connections=0))
        length = len(request.body or b"")
        headers = [*self._headers(key), (b"Connection", b"close"), (b"Content-Length", b"%d" % length)]
        if request.body is not None:
            headers.append((b"Content-Type", b"application/json"))
        exchange = _Exchange(self._posts, self._timeouts, self._timeouts.reply, before_first_byte)
        return await exchange.run(request, self._url, headers, key)

    async def ask(self, dock_status_id: str) -> Sent:
        """See `Platform.ask`. Raises AuthenticationError for a key that no header can carry."""
        key = checked_key(self._key())
        if self._polls is None:
            limits = httpx.Limits(
                max_connections=_POLL_CONNECTIONS,
                max_keepalive_connections=_POLL_CONNECTIONS,
                keepalive_expiry=_KEEP_ALIVE,
            )
            self._polls = self._transport(limits)
        exchange = _Exchange(self._polls, self._timeouts, self._timeouts.answer, _nothing)
        request = Request(method="GET", path=dock_status_path(dock_status_id))
        return await exchange.run(request, self._url, self._headers(key), key)

    async def close(self) -> None:
        """Close what is open. A platform that was given its transport leaves it alone."""
        if not self._own_transports:
            return
        opened, self._posts, self._polls = (self._posts, self._polls), None, None
        for transport in opened:
            if transport is not None:
                with contextlib.suppress(*_BROKEN):
                    await transport.aclose()

    def _headers(self, key: str) -> list[tuple[bytes, bytes]]:
        return [
            (b"Host", self._url.netloc),
            (b"User-Agent", b"reconciler/" + __version__.encode()),
            (b"Accept", b"application/json"),
            (b"Accept-Encoding", b"identity"),
            (b"x-api-key", key.encode("ascii")),
        ]

    def _transport(self, limits: httpx.Limits) -> httpx.AsyncBaseTransport:
        if self._url.scheme == "http":
            return httpx.AsyncHTTPTransport(verify=False, limits=limits, trust_env=False)
        self._trust = self._trust or _trust_store(self._ca_file)
        return httpx.AsyncHTTPTransport(
            verify=self._trust, limits=limits, proxy=_proxy(self._proxy, self._trust), trust_env=False
        )


async def _nothing() -> None:
    """A question needs no record."""


# What may come out of a transport; other exceptions are mistakes of ours. anyio's own derive from Exception directly, and
# h11's do too, so the seam takes Exception: an attempt must end with a record, whatever broke.
_BROKEN = (Exception,)


@dataclass(frozen=True, slots=True)
class _Head:
    """Status line and headers of a reply."""

    status_code: int
    headers: tuple[tuple[str, str], ...]
    encoding: str


class _Exchange:
    """One request on its way, and how far it came."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        timeouts: Timeouts,
        in_all: float,
        before_first_byte: Callable[[], Awaitable[None]],
    ) -> None:
        self._transport = transport
        self._timeouts = timeouts
        self._in_all = in_all
        self._before_first_byte = before_first_byte
        self._deadline: asyncio.Timeout
        self._stream: Any = None  # httpx's stream under the connection, once it is up
        self._due = False  # before_first_byte was called
        self._objection: BaseException | None = None  # what it raised
        self._head: _Head | None = None
        self._body = bytearray()

    async def run(self, request: Request, url: httpx.URL, headers: list[tuple[bytes, bytes]], key: str) -> Sent:
        """Send, and read the reply. Raises what `before_first_byte` raises, nothing else."""
        try:
            async with asyncio.timeout(self._timeouts.connect) as self._deadline:
                message = httpx.Request(
                    request.method,
                    url.copy_with(raw_path=request.path.encode("ascii")),
                    headers=headers,
                    stream=_Body(request.body or b"", self),
                    extensions={"timeout": self._phases(), "trace": self._trace},
                )
                head, problem = await self._read(await self._transport.handle_async_request(message))
        except _BROKEN as error:
            if self._objection is not None:
                raise self._objection from None
            if isinstance(error, _TraceMissing):
                raise
            return self._broken(error, key)
        finally:
            await self._hang_up()
        return self._reply(head, problem, key)

    def _phases(self) -> dict[str, float]:
        t = self._timeouts
        return {"connect": t.connect, "pool": t.connect, "write": t.write, "read": min(t.read, self._in_all)}

    async def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """The transport tells each step; ours is the one before the first byte of our request, not of a proxy's CONNECT."""
        if event.endswith("connect_tcp.complete"):
            self._stream = info.get("return_value")
        if self._due or not event.endswith("send_request_headers.started"):
            return
        if info["request"].method == b"CONNECT":
            return
        self._deadline.reschedule(None)  # recording takes the time that it takes
        self._due = True
        try:
            await self._before_first_byte()
        except BaseException as error:
            self._objection = error
            raise
        self._deadline.reschedule(asyncio.get_running_loop().time() + self._in_all)

    async def _hang_up(self) -> None:
        """Close a connection that was given up while TLS was being set up; httpx forgets it and leaves it open."""
        if self._stream is not None and not self._due:
            with contextlib.suppress(*_BROKEN):
                await self._stream.aclose()

    def check_due(self) -> None:
        """A request that nobody recorded must not be completed, should a version of httpx stop telling its steps."""
        if not self._due:
            raise _TraceMissing(
                "The installed httpx did not say when the connection was up; the request was cut short.",
                next_step="Install the versions that requirements/runtime.lock names.",
            )

    async def _read(self, response: httpx.Response) -> tuple[_Head, str | None]:
        """Read the reply; gives its head, and why it is not whole when it is not."""
        self.check_due()
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw]
        self._head = _Head(response.status_code, keep_headers(headers), response.headers.get("content-encoding", ""))
        whole = False
        try:
            async for chunk in response.aiter_raw():
                self._body += chunk
                if len(self._body) > MAX_REPLY:
                    del self._body[MAX_REPLY:]
                    return self._head, f"the reply is larger than {MAX_REPLY} bytes and was cut"
            whole = True
        finally:
            with contextlib.suppress(*(_BROKEN if whole else ())):
                await response.aclose()
        return self._head, None

    def _reply(self, head: _Head, problem: str | None, key: str) -> Reply:
        body, undecodable = decode_content(head.encoding, bytes(self._body))
        return Reply(
            status_code=head.status_code,
            headers=tuple((name, redacted_text(value, key)) for name, value in head.headers),
            body=redacted(body, key),
            error=problem or undecodable,
        )

    def _broken(self, error: BaseException, key: str) -> Sent:
        told = redacted_text(_describe(error), key)
        if self._head is not None:
            return self._reply(self._head, f"the reply ended after {len(self._body)} bytes of its body: {told}", key)
        if self._due:
            return NoReply(error=told)
        return ConnectFailed(error=told, trust=any(isinstance(e, ssl.SSLCertVerificationError) for e in _chain(error)))


class _TraceMissing(ReconcilerError):
    """The safety net of `_Exchange.check_due`."""


class _Body(httpx.AsyncByteStream):
    """The request's body, in one piece, once it may leave."""

    def __init__(self, body: bytes, exchange: _Exchange) -> None:
        self._body = body
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._exchange.check_due()
        if self._body:
            yield self._body


# What went wrong, in words


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what caused it, outermost first; of several simultaneous ones the first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
        error = inner or error.__cause__ or error.__context__


def _describe(error: BaseException) -> str:
    """The most telling words in a chain of exceptions; libraries wrap the operating system's in several of their own."""
    chain = list(_chain(error))
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return clean(f"the certificate is not trusted: {cause.verify_message or cause}", 500)
    for cause in reversed(chain):
        if isinstance(cause, OSError) and cause.strerror and not isinstance(cause, _WAITING):
            return clean(_strerror(cause), 500)
    for kind, words in _WORDS:
        if isinstance(error, kind):
            return words
    return clean(str(error) or type(error).__name__, 500)


_WAITING = (ssl.SSLWantReadError, ssl.SSLWantWriteError)  # how TLS says "not yet": no cause of anything


def _strerror(error: OSError) -> str:
    """The operating system's words; asyncio puts "Connect call failed" and an address in their place."""
    said = error.strerror or ""
    return os.strerror(error.errno) if error.errno and said.startswith("Connect call failed") else said


_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (httpx.ConnectTimeout, "no connection in time"),
    (httpx.PoolTimeout, "no free connection in time"),
    (httpx.WriteTimeout, "the request could not be written in time"),
    (httpx.ReadTimeout, "no answer in time"),
    (TimeoutError, "not finished in time"),
    (httpx.ReadError, "the connection was lost while reading"),
    (httpx.WriteError, "the connection was lost while writing"),
)


def _parsed(origin: str) -> httpx.URL:
    try:
        return httpx.URL(origin)
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise InvalidInput(f"The host {clean(origin, 200)!r} is not an address.") from error


def _proxy(address: str | None, trust: ssl.SSLContext) -> httpx.Proxy | None:
    if address is None:
        return None
    # A context is only allowed for a proxy that is itself reached over TLS.
    return httpx.Proxy(address, ssl_context=trust if address.startswith("https:") else None)


def _trust_store(ca_file: str | None) -> ssl.SSLContext:
    """Whom we trust: the bundle that comes with httpx (or SSL_CERT_FILE), the system's authorities, and `ca_file`."""
    context = httpx.create_ssl_context()
    context.load_default_certs()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context
