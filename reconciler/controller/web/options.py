"""Where the server listens and whom it lets in, settled once at the edge, and the rules that such settings must keep.

`cli.watch` makes the options; no secret in them is ever shown.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from reconciler.errors import UsageError

MIN_SECRET = 16  # characters: what is shorter can be guessed

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`port` 0 takes a free one.

    `token` is asked of every visitor where it is set. `user_header` is the header in which a proxy names the person that it
    let in; it is believed only from a peer in `trusted_proxies`. `allowed_hosts` are the names under which the server may be
    asked, beside `localhost` and plain addresses; `*.example.com` stands for every name below it. `silence` is how many
    seconds the loop may be without a sign of life before `/healthz` fails.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = field(default=None, repr=False)
    user_header: str | None = None
    trusted_proxies: tuple[Network, ...] = LOOPBACK
    allowed_hosts: tuple[str, ...] = ()
    webhook_secret: str | None = field(default=None, repr=False)
    silence: float = 60.0

    @property
    def is_open(self) -> bool:
        """Whether anybody who reaches the port may look."""
        return self.token is None and self.user_header is None


def _nothing(_: str) -> None:
    """For a server that nobody gave a loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """What the server may ask of the rest of the program.

    `look` asks for a look; its argument says who asked. `metrics` gives the text of the metrics and its content type. `now`
    is the wall clock in UTC.
    """

    look: Callable[[str], None] = _nothing
    metrics: Callable[[], tuple[bytes, str]] | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


def check(options: Options) -> None:
    """Raises UsageError for a door left open, or a lock that is none."""
    if not is_loopback(options.host) and options.is_open:
        raise UsageError(
            f"The page would be open to everybody who reaches {options.host}:{options.port}.",
            next_step="Give a token or the header of a trusted proxy, or listen on 127.0.0.1.",
        )
    for name, secret in (("token", options.token), ("webhook secret", options.webhook_secret)):
        if secret is not None and len(secret) < MIN_SECRET:
            raise UsageError(
                f"The {name} has {len(secret)} characters, and {MIN_SECRET} are the least.",
                next_step="Make one with `openssl rand -hex 32`.",
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    if host == "localhost":
        return True
    address = address_of(host)
    return address is not None and address.is_loopback


def address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that a text is, with or without the brackets of a URL."""
    try:
        return ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
