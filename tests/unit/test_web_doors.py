"""Who may look, under which name, and which deliveries are listened to."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
from datetime import datetime, timedelta

import pytest
from starlette.datastructures import Headers

from reconciler.controller.web.auth import COOKIE, Doorkeeper, Visitor, is_from_here, is_our_name
from reconciler.controller.web.options import Options, check
from reconciler.controller.web.views import commit_address
from reconciler.controller.web.webhook import WINDOW, Verdict, Webhook
from reconciler.errors import UsageError
from reconciler.source.remote import web_address
from tests.support.boards import NOW
from tests.support.virtual_time import run_virtual

TOKEN = "0123456789abcdef-token"
SECRET = "0123456789abcdef-secret"


@pytest.mark.parametrize(
    "options",
    [
        Options(host="0.0.0.0"),
        Options(host="10.1.2.3"),
        Options(host="::"),
        Options(token="short"),
        Options(webhook_secret="short"),
    ],
)
def test_open_doors_and_weak_locks_are_refused(options: Options) -> None:
    """Anything but loopback needs a token or a proxy, and what can be guessed is no secret."""
    with pytest.raises(UsageError):
        check(options)


def test_secrets_are_not_in_what_options_look_like() -> None:
    """Neither secret is in the text of the options."""
    assert "0123456789" not in repr(Options(token=TOKEN, webhook_secret=SECRET))


def test_three_ways_in() -> None:
    """The token, a session made with it, and a trusted proxy's word open the door; nothing else does."""
    options = Options(
        host="0.0.0.0", token=TOKEN, user_header="X-User", trusted_proxies=(ipaddress.ip_network("10.0.0.0/8"),)
    )
    check(options)
    door = Doorkeeper(options)

    def visitor(peer: str = "192.0.2.1", **headers: str) -> Visitor | None:
        return door.visitor(Headers({name.replace("_", "-"): value for name, value in headers.items()}), peer, NOW)

    assert visitor() is None
    assert visitor(authorization=f"Bearer {TOKEN}") == Visitor()
    assert visitor(authorization=f"Bearer {TOKEN}x") is None
    assert visitor(authorization=f"Basic {TOKEN}") is None
    assert visitor(cookie=f"{COOKIE}={door.session(NOW)}") == Visitor(can_leave=True)
    assert visitor(cookie=f"{COOKIE}={door.session(NOW - timedelta(days=1))}") is None
    assert visitor(cookie=f"{COOKIE}=99999999999.{'0' * 64}") is None
    assert visitor(cookie=f"{COOKIE}={Doorkeeper(Options(token=TOKEN * 2)).session(NOW)}") is None
    assert visitor("10.0.0.7", X_User="ada") == Visitor(name="ada")
    assert visitor("10.0.0.7") is None
    assert visitor("192.0.2.1", X_User="ada") is None


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost:8080", True),
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("deploy.example.com", True),
        ("DEPLOY.example.com:443", True),
        ("a.pages.example.com", True),
        ("pages.example.com", False),
        ("evil.example.net", False),
        ("deploy.example.com.evil.example.net", False),
        ("127.0.0.1.evil.example.net", False),
        ("", False),
        ("[", False),
    ],
)
def test_only_our_names_are_answered(host: str, ours: bool) -> None:
    """Addresses and allowed names are answered; a name that somebody else points at us is not."""
    options = Options(allowed_hosts=("deploy.example.com", "*.pages.example.com"))
    assert is_our_name(host, options) is ours


def test_forms_of_other_pages_are_not_taken() -> None:
    """A form counts only when the browser says that our page sent it."""
    assert is_from_here(Headers({"host": "a:1", "origin": "http://a:1"}))
    assert not is_from_here(Headers({"host": "a:1", "origin": "http://b:1"}))
    assert not is_from_here(Headers({"host": "a:1", "origin": "null"}))
    assert not is_from_here(Headers({"host": "a:1", "sec-fetch-site": "cross-site"}))


def signed(message: bytes, secret: str = SECRET) -> str:
    return f"sha256={hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()}"


def generic(body: bytes, at: int) -> dict[str, str]:
    return {"x-reconciler-timestamp": str(at), "x-reconciler-signature": signed(f"{at}.".encode() + body)}


def deliver(hook: Webhook, headers: dict[str, str], body: bytes, now: datetime) -> Verdict:
    """One delivery, its body in parts of a byte."""
    claim = hook.claim(headers, now)
    for byte in body:
        if claim is not None:
            claim.hears(bytes([byte]))
    return hook.judge(claim, now)


def test_deliveries() -> None:
    """Each kind of proof is believed, once within the window; anything else is not."""
    looks: list[str] = []
    at = int(NOW.timestamp())

    async def story() -> None:
        hook = Webhook(SECRET, looks.append)
        github = {"x-hub-signature-256": signed(b"{}")}
        assert deliver(hook, github, b"{}", NOW) is Verdict.ACCEPTED
        assert deliver(hook, github, b"{}", NOW) is Verdict.SEEN
        assert deliver(hook, github, b"{ }", NOW) is Verdict.UNSIGNED
        assert deliver(hook, {"x-hub-signature-256": "sha256=é"}, b"{}", NOW) is Verdict.UNSIGNED
        assert deliver(hook, {"x-gitlab-token": SECRET}, b"", NOW) is Verdict.ACCEPTED
        assert deliver(hook, {"x-gitlab-token": "other"}, b"", NOW) is Verdict.UNSIGNED
        assert deliver(hook, generic(b"x", at), b"x", NOW) is Verdict.ACCEPTED
        assert deliver(hook, generic(b"x", at), b"x", NOW) is Verdict.SEEN
        assert deliver(hook, generic(b"x", at - WINDOW - 1), b"x", NOW) is Verdict.UNSIGNED
        assert (
            deliver(hook, {**generic(b"x", at), "x-reconciler-timestamp": str(at + 1)}, b"x", NOW) is Verdict.UNSIGNED
        )
        assert (
            deliver(hook, {"x-reconciler-timestamp": "²", "x-reconciler-signature": ""}, b"", NOW) is Verdict.UNSIGNED
        )
        assert deliver(hook, {}, b"", NOW) is Verdict.UNSIGNED
        assert deliver(Webhook(None, looks.append), github, b"{}", NOW) is Verdict.OFF
        assert looks == ["webhook from GitHub"]
        await asyncio.sleep(5)

    run_virtual(story())
    assert looks == ["webhook from GitHub", "webhook from its sender"]


def test_a_storm_of_deliveries_is_a_look_a_second() -> None:
    """The first delivery is heard at once, the last is never lost, and between them there is one look a second."""
    looks: list[float] = []

    async def story() -> None:
        hook = Webhook(SECRET, lambda _: looks.append(asyncio.get_running_loop().time()))
        for _ in range(1000):
            assert deliver(hook, {"x-gitlab-token": SECRET}, b"", NOW) is Verdict.ACCEPTED
            await asyncio.sleep(0.005)
        await asyncio.sleep(10)
        hook.close()

    run_virtual(story())
    assert looks == pytest.approx([0, 1, 2, 3, 4, 5], abs=0.01)


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://github.com/a/b.git", "https://github.com/a/b/commit/abcdef1"),
        ("https://user:secret@github.com/a/b", "https://github.com/a/b/commit/abcdef1"),
        ("https://gitlab.example.com:8443/a/b/", "https://gitlab.example.com:8443/a/b/-/commit/abcdef1"),
        ("https://bitbucket.org/a/b", "https://bitbucket.org/a/b/commits/abcdef1"),
        ("http://github.com/a/b", None),
        ("javascript:alert(1)", None),
        ("git@github.com:a/b.git", None),
        ("https://a b/c", None),
        ("https://[::1/c", None),
        (None, None),
    ],
)
def test_commits_are_linked_over_https_only(remote: str | None, address: str | None) -> None:
    """A commit is linked where the remote is plain https, without the user it may name."""
    assert commit_address(remote, "abcdef1") == address
    assert commit_address(remote, "abcdef1'><script>") is None


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://github.com/a/b.git", "https://github.com/a/b.git"),
        ("https://user:canary@git.example.com:8443/a/b?token=canary#canary", "https://git.example.com:8443/a/b"),
        ("git@github.com:a/b.git", "https://github.com/a/b.git"),
        ("git.example.com:/a/b.git", "https://git.example.com/a/b.git"),
        ("ssh://git@git.example.com:2222/a/b", "https://git.example.com/a/b"),
        ("http://git.example.com/a/b", None),
        ("file:///srv/a.git", None),
        ("/srv/a:b.git", None),
        ("https://git.example.com/", None),
        ("https://git.example.com/a\x1b[2J", None),
        ("https://[::1/c", None),
        ("https://git.example.com:port/c", None),
        ("", None),
        (None, None),
    ],
)
def test_where_a_forge_shows_a_repository(remote: str | None, address: str | None) -> None:
    """Addresses of https and ssh tell it, without what they hold of users, passwords and tokens."""
    assert web_address(remote) == address
