"""What `watch` has around its loop: the page, metrics, notifications and systemd. All of it shows or tells; none of it decides.

Nothing here keeps the loop from running unless somebody asked for it: without the extra `server`, or where the usual port is
taken, it says so and goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from reconciler import wiring
from reconciler.errors import ReconcilerError, UsageError
from reconciler.model.resource import KeyReference

if TYPE_CHECKING:
    from reconciler.controller.board import Board
    from reconciler.controller.notify import Notifier
    from reconciler.controller.notify.notifier import Tally
    from reconciler.controller.web.options import Network, Options
    from reconciler.wiring import Opened

F = TypeVar("F", bound=Callable[..., Any])

USUAL = "127.0.0.1:8080"
SILENCE = 60.0  # seconds that the loop may be without a sign of life


class Reference(click.ParamType):  # type: ignore[type-arg]  # generic in the stubs of newer versions only
    """`env:NAME` or `file:PATH`: never the secret itself, which every user of the machine could read in its list of processes."""

    name = "env:NAME|file:PATH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> KeyReference:
        kind, _, rest = str(value).partition(":")
        if kind not in {"env", "file"} or not rest:
            self.fail("write env:NAME or file:PATH, never the secret itself", param, ctx)
        return KeyReference(kind=kind, value=rest)


class Networks(click.ParamType):  # type: ignore[type-arg]  # as above
    """`10.0.0.0/8`, or one address."""

    name = "network"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Network:
        from ipaddress import ip_network

        try:
            return ip_network(str(value))
        except ValueError as error:
            self.fail(f"{value!r} is no network such as 10.0.0.0/8: {error}", param, ctx)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What the command line says of the page. `listen` None is what it does not say."""

    listen: str | None = None
    token: KeyReference | None = None
    webhook_secret: KeyReference | None = None
    user_header: str | None = None
    trusted_proxies: tuple[Network, ...] = ()
    allowed_hosts: tuple[str, ...] = ()


def serving_options(function: F) -> F:
    """The options of the page; they arrive as one parameter, `serving`."""
    options = (
        click.option(
            "--listen",
            metavar="HOST:PORT",
            help=f"Where the page, metrics and probes are served (RECONCILER_LISTEN). Default {USUAL}; none: nowhere.",
        ),
        click.option("--token", type=Reference(), help="What visitors must know; needed beyond this machine."),
        click.option("--webhook-secret", type=Reference(), help="Lets a signed POST to /webhook ask for a look."),
        click.option("--user-header", metavar="NAME", help="Instead of a token: the header of a trusted proxy."),
        click.option(
            "--trusted-proxy",
            "trusted_proxies",
            multiple=True,
            type=Networks(),
            metavar="NETWORK",
            help="Where such a proxy asks from, as 10.0.0.0/8. Default: this machine.",
        ),
        click.option(
            "--allowed-host", "allowed_hosts", multiple=True, metavar="NAME", help="Under which the page is asked for."
        ),
    )

    def gathered(*args: Any, **kwargs: Any) -> Any:
        names = ("listen", "token", "webhook_secret", "user_header", "trusted_proxies", "allowed_hosts")
        return function(*args, serving=Serving(**{name: kwargs.pop(name) for name in names}), **kwargs)

    gathered.__name__, gathered.__doc__ = function.__name__, function.__doc__
    gathered.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    for option in reversed(options):
        gathered = option(gathered)
    return gathered  # type: ignore[return-value]


def secrets_of(opened: Opened, serving: Serving) -> Iterator[str]:
    """What the page and the channels are opened with, for the log to leave out. What cannot be read is told where it is used."""
    references = [serving.token, serving.webhook_secret]
    for channel in opened.project.notifications:
        references += [channel.url, channel.secret]
    for reference in filter(None, references):
        with suppress(ReconcilerError):
            secret = wiring.key_reader(reference, opened.settings.root, opened.settings.environ)()
            yield secret.partition("://")[2] or secret  # the scheme of an address is no secret


@asynccontextmanager
async def around(
    opened: Opened, board: Board, serving: Serving, *, look: Callable[[str], None], say: Callable[[str], None]
) -> AsyncIterator[None]:
    """Serves and tells while the context is open. Raises UsageError for what was asked for and cannot be had."""
    from reconciler.controller.sdnotify import Systemd

    systemd = Systemd(opened.settings.environ)
    async with AsyncExitStack() as stack:
        metrics, tally = _metrics(board, opened)
        await stack.enter_async_context(_notifier(opened, board, tally))
        address = await _page(stack, opened, board, serving, look=look, metrics=metrics, say=say)
        watchdog = asyncio.create_task(systemd.watchdog(lambda: _is_alive(board)))
        stack.callback(watchdog.cancel)
        systemd.ready(f"watching {board.source}" + (f", {address}" if address else ""))
        stack.callback(systemd.stopping)
        yield


def _is_alive(board: Board) -> bool:
    return board.beat is not None and asyncio.get_running_loop().time() - board.beat < SILENCE


def _metrics(board: Board, opened: Opened) -> tuple[Callable[[], tuple[bytes, str]] | None, Tally]:
    from reconciler.controller.notify.notifier import nobody_counts

    try:
        from reconciler.controller.metrics import Metrics
    except ModuleNotFoundError:  # without the extra
        return None, nobody_counts
    metrics = Metrics(board)
    metrics.has_channels(channel.name for channel in opened.project.notifications)
    return metrics.exposition, metrics.notified


def _notifier(opened: Opened, board: Board, tally: Tally) -> Notifier:
    from reconciler.controller.notify import Notifier, sender_for

    environ = opened.settings.environ

    def read(reference: KeyReference) -> str:
        return wiring.key_reader(reference, opened.settings.root, environ)()

    channels = [(channel, sender_for(channel, read, environ)) for channel in opened.project.notifications]
    return Notifier(board, channels, tally=tally)


async def _page(
    stack: AsyncExitStack,
    opened: Opened,
    board: Board,
    serving: Serving,
    *,
    look: Callable[[str], None],
    metrics: Callable[[], tuple[bytes, str]] | None,
    say: Callable[[str], None],
) -> str | None:
    said = serving.listen or opened.settings.environ.get("RECONCILER_LISTEN") or None
    if said == "none":
        return None
    try:
        from reconciler.controller.web.options import Hands
        from reconciler.controller.web.server import serve
    except ModuleNotFoundError as error:
        if said is None:
            say("no page is served: the extra reconciler[server] is not installed")
            return None
        raise UsageError("--listen needs what is not installed.", next_step="Install reconciler[server].") from error
    from reconciler.cli.session import now

    options = _options(opened, serving, said or USUAL)
    try:
        address = await stack.enter_async_context(serve(board, options, Hands(look=look, metrics=metrics, now=now)))
    except UsageError as error:
        if said is not None:
            raise
        say(f"no page is served: {error}")
        return None
    say(f"the page is at {address}/")
    return address


def _options(opened: Opened, serving: Serving, listen: str) -> Options:
    from reconciler.controller.web.options import LOOPBACK, Options

    if serving.trusted_proxies and serving.user_header is None:
        raise UsageError("--trusted-proxy needs --user-header.", next_step="Name the header in which it says who asks.")
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"--listen {listen!r} is not HOST:PORT.", next_step=f"Write it as {USUAL}.")

    def secret(reference: KeyReference | None) -> str | None:
        if reference is None:
            return None
        return wiring.key_reader(reference, opened.settings.root, opened.settings.environ)()

    return Options(
        host=host.removeprefix("[").removesuffix("]"),
        port=int(port),
        token=secret(serving.token),
        webhook_secret=secret(serving.webhook_secret),
        user_header=serving.user_header,
        trusted_proxies=serving.trusted_proxies or LOOPBACK,
        allowed_hosts=serving.allowed_hosts,
        silence=SILENCE,
    )
