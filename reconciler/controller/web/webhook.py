"""`/webhook`: somebody says that there may be something new. Whatever it says, it only means "look again".

Three ways to prove that it comes from somebody who knows the secret, all over the raw bytes:

    X-Hub-Signature-256      GitHub, Gitea, Forgejo: `sha256=` and the HMAC of the body
    X-Gitlab-Token           GitLab: the secret itself
    X-Reconciler-Signature   anybody: `sha256=` and the HMAC of `TIMESTAMP.BODY`, and X-Reconciler-Timestamp in Unix seconds

The body is never parsed, and never kept either: its signature is reckoned while it arrives. What was seen
before is not listened to again within the window; what comes in bursts is one look.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

WINDOW = 300  # seconds that a signature may be old, and is remembered
MAX_BODY = 1024 * 1024
MAX_SEEN = 4096
PAUSE = 1.0  # seconds from one look to the next


class Verdict(Enum):
    """What is answered."""

    ACCEPTED = (202, "A look was asked for.")
    SEEN = (200, "This was delivered before; nothing was done.")
    UNSIGNED = (401, "The signature is missing or wrong, or its time is past.")
    TOO_LARGE = (413, "The body is over 1 MiB.")
    TOO_SLOW = (408, "The body did not come in time.")
    OFF = (404, "There is no webhook secret, so there is no webhook.")

    @property
    def status(self) -> int:
        return self.value[0]

    @property
    def text(self) -> str:
        return self.value[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who says that they signed, to be held against the body that `hears` it; without a `mac` the head alone has proved it.

    `key` tells this delivery from others, and is None where it cannot be told from another.
    """

    sender: str
    key: str | None
    mac: hmac.HMAC | None = None

    def hears(self, part: bytes) -> None:
        """The next bytes of the body."""
        if self.mac is not None:
            self.mac.update(part)

    @property
    def is_true(self) -> bool:
        """Once the whole body was heard."""
        if self.mac is None or self.key is None:
            return self.mac is None
        return hmac.compare_digest(self.key.encode(), f"sha256={self.mac.hexdigest()}".encode())


class Webhook:
    """Judges deliveries. Belongs to one event loop."""

    def __init__(self, secret: str | None, look: Callable[[str], None]) -> None:
        self._secret = secret.encode() if secret is not None else None
        self._bell = Bell(look)
        self._seen: OrderedDict[str, float] = OrderedDict()

    @property
    def is_on(self) -> bool:
        return self._secret is not None

    def claim(self, headers: Mapping[str, str], now: datetime) -> Claim | None:
        """What a delivery's head claims; `headers` have names in lower case."""
        return claim_of(headers, self._secret, now.timestamp()) if self._secret is not None else None

    def judge(self, claim: Claim | None, now: datetime) -> Verdict:
        """After the body: asks for a look where the delivery is genuine and new."""
        if self._secret is None:
            return Verdict.OFF
        if claim is None or not claim.is_true:
            return Verdict.UNSIGNED
        if claim.key is not None and not self._is_new(claim.key, now.timestamp()):
            return Verdict.SEEN
        self._bell.ring(f"webhook from {claim.sender}")
        return Verdict.ACCEPTED

    def close(self) -> None:
        self._bell.close()

    def _is_new(self, key: str, now: float) -> bool:
        while self._seen and (len(self._seen) >= MAX_SEEN or next(iter(self._seen.values())) < now - 2 * WINDOW):
            self._seen.popitem(last=False)
        is_new = key not in self._seen
        self._seen.setdefault(key, now)
        return is_new


def claim_of(headers: Mapping[str, str], secret: bytes, now: float) -> Claim | None:
    """None where nobody signed who can know the secret. The first kind of proof that is offered counts."""
    signature, token = headers.get("x-hub-signature-256"), headers.get("x-gitlab-token")
    if signature is not None:
        # GitHub names each delivery, but does not sign the name: the signature itself tells them apart.
        return Claim(sender="GitHub", key=signature, mac=hmac.new(secret, digestmod=hashlib.sha256))
    if token is not None:
        return Claim(sender="GitLab", key=None) if hmac.compare_digest(token.encode(), secret) else None
    signature, at = headers.get("x-reconciler-signature", ""), headers.get("x-reconciler-timestamp", "")
    if not (at.isascii() and at.isdecimal() and len(at) <= 12 and abs(int(at) - now) <= WINDOW):  # noqa: PLR2004 - digits of a time
        return None
    return Claim(sender="its sender", key=signature, mac=hmac.new(secret, f"{at}.".encode(), hashlib.sha256))


class Bell:
    """Passes the first ring on at once, and all that come within the pause after it as one at its end."""

    def __init__(self, look: Callable[[str], None], pause: float = PAUSE) -> None:
        self._look, self._pause = look, pause
        self._timer: asyncio.TimerHandle | None = None
        self._next: str | None = None

    def ring(self, cause: str) -> None:
        if self._timer is not None:
            self._next = cause
            return
        self._look(cause)
        self._timer = asyncio.get_running_loop().call_later(self._pause, self._over)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _over(self) -> None:
        self._timer = None
        cause, self._next = self._next, None
        if cause is not None:
            self.ring(cause)
