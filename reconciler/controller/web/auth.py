"""Who may look, and under which name the server may be asked. Pure but for the clock that it is given.

Three ways in: the token in an `Authorization` header (machines), the token typed once into a form and a cookie from then on
(people), or a header set by a proxy that is trusted (single sign-on). The cookie holds no token: it is signed with it, so a
new token ends every session.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from reconciler.controller.web.options import Options, address_of

_HOST = re.compile(r"([A-Za-z0-9_.-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?")

COOKIE = "reconciler_session"
SESSION_SECONDS = 12 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who looks. `name` is what a proxy said; `can_leave` is True for a session that a person may end."""

    name: str | None = None
    can_leave: bool = False


ANYBODY = Visitor()


class Doorkeeper:
    """Knows the options, and whom they let in."""

    def __init__(self, options: Options) -> None:
        self._options = options
        token = (options.token or "").encode()
        self._token = token
        self._signing_key = hashlib.sha256(b"reconciler session\0" + token).digest()

    def visitor(self, headers: Headers, peer: str | None, now: datetime) -> Visitor | None:
        """None for somebody who may not look."""
        if self._options.is_open:
            return ANYBODY
        named = self._named_by_proxy(headers, peer)
        if named is not None:
            return Visitor(name=named)
        if self._options.token is None:
            return None
        if self._bears_token(headers):
            return ANYBODY
        return Visitor(can_leave=True) if self._has_session(headers, now) else None

    def is_token(self, text: str) -> bool:
        return self._options.token is not None and hmac.compare_digest(text.encode(), self._token)

    def session(self, now: datetime) -> str:
        """The value of a fresh cookie."""
        until = str(int(now.timestamp()) + SESSION_SECONDS)
        return f"{until}.{self._signature(until)}"

    def _named_by_proxy(self, headers: Headers, peer: str | None) -> str | None:
        name = self._options.user_header
        address = address_of(peer or "")
        if name is None or address is None or not any(address in network for network in self._options.trusted_proxies):
            return None
        return headers.get(name) or None

    def _bears_token(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.is_token(token.strip())

    def _has_session(self, headers: Headers, now: datetime) -> bool:
        until, _, signature = _cookie(headers).partition(".")
        is_ours = hmac.compare_digest(signature.encode(), self._signature(until).encode())
        return is_ours and until.isdecimal() and int(until) > now.timestamp()

    def _signature(self, until: str) -> str:
        return hmac.new(self._signing_key, until.encode(), hashlib.sha256).hexdigest()


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def is_our_name(host: str, options: Options) -> bool:
    """Whether a Host header names this server. A page elsewhere can make a name of its own point here, but no address."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found[1].lower()
    if name == "localhost" or address_of(name) is not None:
        return True
    return any(_is_named(name, allowed.lower()) for allowed in options.allowed_hosts)


def _is_named(name: str, allowed: str) -> bool:
    if allowed.startswith("*."):
        return name.endswith(allowed[1:]) and len(name) > len(allowed) - 1
    return name == allowed


def is_from_here(headers: Headers) -> bool:
    """Whether a form was sent by a page of ours, as far as the browser says."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "same-origin") in {"same-origin", "none"}
    return urlsplit(origin).netloc == headers.get("host")
