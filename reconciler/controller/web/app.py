"""The addresses: what is served where, to whom, and under which headers.

`Gate` stands in front of everything: the name the server is asked under, who asks, and the headers of each answer. The
routes behind it read the board and answer; none of them waits for the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs, quote

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.controller.board import Board, View
from reconciler.controller.web.api import StatusApi
from reconciler.controller.web.auth import COOKIE, SESSION_SECONDS, Doorkeeper, Visitor, is_from_here, is_our_name
from reconciler.controller.web.kept import Kept, Rendered, TooBusy
from reconciler.controller.web.options import Hands, Options
from reconciler.controller.web.pages import Pages, assets
from reconciler.controller.web.sse import Streams
from reconciler.controller.web.webhook import MAX_BODY, Verdict, Webhook
from reconciler.report.style import safe

MAX_FORM = 4096
BODY_PATIENCE = 10.0  # seconds for a body to arrive

# Whoever has no session yet needs these; they say nothing that is not for everybody.
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/login", "/webhook"})
OPEN_FOLDER = "/static/"

POLICY = (
    "default-src 'none'; "
    "script-src 'self'; "
    "style-src 'self'; "
    "img-src 'self'; "
    "connect-src 'self'; "
    "form-action 'self'; "
    "base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = (
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),  # not no-referrer: browsers then send forms with `Origin: null`
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
)


class TooLarge(Exception):
    """A body has more bytes than it may."""


class Site:
    """Everything behind the gate. `close` ends what would not end by itself."""

    def __init__(self, board: Board, options: Options, hands: Hands) -> None:
        self._board, self._options, self._hands = board, options, hands
        kept = Kept(board)
        self._pages = Pages(board, kept, hands.now)
        self._api = StatusApi(board, self._pages, kept)
        self._streams = Streams(board, kept.instance)
        self._webhook = Webhook(options.webhook_secret, hands.look)
        self._doorkeeper = Doorkeeper(options)

    def app(self) -> ASGIApp:
        routes = [
            Route("/", self._index),
            Route("/d/{environment}/{name}", self._details),
            Route("/events", self._events),
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", self._metrics),
            Route("/api/v1/status", self._status),
            Route("/webhook", self._hook, methods=["POST"]),
            Route("/login", self._login_page, methods=["GET"]),
            Route("/login", self._login, methods=["POST"]),
            Route("/logout", self._logout, methods=["POST"]),
            Route("/static/{name}", self._static),
        ]
        handlers: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
            404: self._not_found,
            TooBusy: _too_busy,
        }
        return Gate(Starlette(routes=routes, exception_handlers=handlers), self._options, self._hands, self._doorkeeper)

    def close(self) -> None:
        self._streams.close()
        self._webhook.close()

    # Pages

    async def _index(self, request: Request) -> Response:
        return _page(request, await self._pages.index(request.query_params, _visitor(request)))

    async def _details(self, request: Request) -> Response:
        parts = request.path_params
        page = await self._pages.details(parts["environment"], parts["name"], _visitor(request))
        return _page(request, page) if page is not None else await self._not_found(request, Exception())

    async def _events(self, _: Request) -> Response:
        return self._streams.response()

    async def _static(self, request: Request) -> Response:
        asset = assets().get(request.path_params["name"])
        if asset is None:
            return PlainTextResponse("There is no such file.\n", 404)
        is_named = request.query_params.get("v") == asset.mark
        keep = "public, max-age=31536000, immutable" if is_named else "no-cache"
        return Response(asset.data, headers={"content-type": asset.content_type, "cache-control": keep})

    async def _not_found(self, request: Request, _: Exception) -> Response:
        text = "No deployment and no page has this address. It may have been renamed or undeployed."
        if _wants_html(request.headers):
            return HTMLResponse(self._pages.message("There is nothing here", text, _visitor(request)), 404)
        return JSONResponse({"error": text}, 404)

    # Machines

    async def _healthz(self, _: Request) -> Response:
        beat = self._board.beat
        if beat is None:
            return PlainTextResponse("The loop has not turned yet.\n", 503)
        age = asyncio.get_running_loop().time() - beat
        if age > self._options.silence:
            return PlainTextResponse(f"The loop has given no sign of life for {age:.0f} s.\n", 503)
        return PlainTextResponse("ok\n")

    async def _readyz(self, request: Request) -> Response:
        """Everybody learns where not; why not, which names files and hosts, is for visitors."""
        views = self._board.views.values()
        if not views:
            return PlainTextResponse("No pass has ended yet.\n", 503)
        waiting = [view for view in views if view.last_success_at is None]
        if not waiting:
            return PlainTextResponse("ok\n")
        is_visitor = request.scope["visitor"] is not None
        lines = [
            f"{view.environment.name}: no pass has succeeded yet; {_last_end(view, whole=is_visitor)}"
            for view in waiting
        ]
        return PlainTextResponse("\n".join([*lines, ""]), 503)

    async def _metrics(self, _: Request) -> Response:
        if self._hands.metrics is None:
            return PlainTextResponse("There are no metrics.\n", 404)
        data, content_type = self._hands.metrics()
        return Response(data, headers={"content-type": content_type, "cache-control": "no-store"})

    async def _status(self, request: Request) -> Response:
        environment = request.query_params.get("environment")
        if environment is not None and environment not in self._board.views:
            return JSONResponse({"error": "There is no such environment."}, 404)
        return _packed(request, await self._api.status(environment), "application/json")

    async def _hook(self, request: Request) -> Response:
        if not self._webhook.is_on:
            return _verdict(Verdict.OFF)
        claim = self._webhook.claim(request.headers, self._hands.now())
        try:
            async for part in _parts(request, MAX_BODY):
                if claim is not None:
                    claim.hears(part)
        except TooLarge:
            return _verdict(Verdict.TOO_LARGE)
        except (TimeoutError, ClientDisconnect):
            return _verdict(Verdict.TOO_SLOW)
        return _verdict(self._webhook.judge(claim, self._hands.now()))

    # The door

    async def _login_page(self, request: Request) -> Response:
        return self._door(_local(request.query_params.get("next", "/")), wrong=False)

    async def _login(self, request: Request) -> Response:
        try:
            form = parse_qs((await _body(request, MAX_FORM)).decode("utf-8", "replace"), max_num_fields=8)
        except (TooLarge, TimeoutError, ClientDisconnect, ValueError):
            return PlainTextResponse("The form cannot be read.\n", 400)
        next_path = _local(form.get("next", ["/"])[0])
        if not is_from_here(request.headers) or not self._doorkeeper.is_token(form.get("token", [""])[0]):
            return self._door(next_path, wrong=True)
        response = RedirectResponse(next_path, 303)
        response.set_cookie(
            COOKIE,
            self._doorkeeper.session(self._hands.now()),
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="lax",
            secure=request.headers.get("x-forwarded-proto") == "https",
        )
        return response

    async def _logout(self, request: Request) -> Response:
        response = RedirectResponse("/login", 303)
        if is_from_here(request.headers):
            response.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return response

    def _door(self, next_path: str, *, wrong: bool) -> Response:
        html = self._pages.login(next_path=next_path, wrong=wrong, has_token=self._options.token is not None)
        return HTMLResponse(html, 401 if wrong else 200, headers={"cache-control": "no-store"})


class Gate:
    """The outermost layer: refuses foreign names and strangers, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp, options: Options, hands: Hands, doorkeeper: Doorkeeper) -> None:
        self._app, self._options, self._hands, self._doorkeeper = app, options, hands, doorkeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _dress(message)
            await send(message)

        answer = self._refusal(scope) or self._app
        await answer(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not is_our_name(headers.get("host", ""), self._options):
            text = "This server is not known under that name. Allow the name, or use its address.\n"
            return PlainTextResponse(text, 421)
        peer = scope["client"][0] if scope.get("client") else None
        visitor = self._doorkeeper.visitor(headers, peer, self._hands.now())
        scope["visitor"] = visitor
        path = scope["path"]
        if visitor is not None or path in OPEN_PATHS or path.startswith(OPEN_FOLDER):
            return None
        return _stay_out(scope, headers)


def _stay_out(scope: Scope, headers: Headers) -> Response:
    if _wants_html(headers) and scope["method"] in {"GET", "HEAD"}:
        query = scope["query_string"].decode("latin-1")
        target = scope["path"] + (f"?{query}" if query else "")
        return RedirectResponse(f"/login?next={quote(target, safe='/')}", 303)
    text = "A token is needed: Authorization: Bearer …"
    return JSONResponse({"error": text}, 401, headers={"www-authenticate": 'Bearer realm="reconciler"'})


def _dress(message: MutableMapping[str, Any]) -> None:
    headers = MutableHeaders(raw=message["headers"])
    for name, value in HEADERS:
        headers[name] = value
    headers.setdefault("cache-control", "no-cache")
    message["headers"] = headers.raw


def _visitor(request: Request) -> Visitor:
    return request.scope.get("visitor") or Visitor()


def _wants_html(headers: Headers) -> bool:
    return "text/html" in headers.get("accept", "")


def _local(path: str) -> str:
    """A path on this server, whatever was asked for: no other host, no scheme."""
    is_path = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_path else "/"


def _page(request: Request, page: Rendered) -> Response:
    return _packed(request, page, "text/html; charset=utf-8")


def _packed(request: Request, page: Rendered, content_type: str) -> Response:
    """What is packed already, or 304 where the visitor has it. Nobody else may keep it: it may be behind a token."""
    headers = {
        "content-type": content_type,
        "etag": page.etag,
        "cache-control": "private, no-cache",
        "vary": "accept-encoding, cookie",
    }
    if page.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(page.packed, headers={**headers, "content-encoding": "gzip"})
    return StreamingResponse(page.unpacked(), headers={**headers, "content-length": str(page.size)})


def _last_end(view: View, *, whole: bool) -> str:
    detail = view.held_up if view.last is None else view.last.detail
    why = f": {safe(detail)}" if whole and detail else "."
    return f"none has ended{why}" if view.last is None else f"the last one: {view.last.end}{why}"


def _verdict(verdict: Verdict) -> Response:
    return PlainTextResponse(f"{verdict.text}\n", verdict.status)


async def _too_busy(_: Request, __: Exception) -> Response:
    return PlainTextResponse("Too many visitors at once.\n", 503, headers={"retry-after": "5"})


async def _body(request: Request, limit: int) -> bytes:
    return b"".join([part async for part in _parts(request, limit)])


async def _parts(request: Request, limit: int) -> AsyncIterator[bytes]:
    """A body as it arrives. Raises TooLarge, TimeoutError, ClientDisconnect."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 9 or int(length) > limit):  # noqa: PLR2004 - digits of a gigabyte
        raise TooLarge
    size = 0
    async with asyncio.timeout(BODY_PATIENCE):
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise TooLarge
            yield part
