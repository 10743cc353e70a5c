"""`/webhook`: somebody says that there may be something new. Whatever it says, it only means "look again".

Three ways to prove that it comes from somebody who knows the secret, all over the raw bytes:

    X-Hub-Signature-256      GitHub, Gitea, Forgejo: `sha256=` and the HMAC of the body
    X-Gitlab-Token           GitLab: the secret itself
    X-Reconciler-Signature   anybody: `sha256=` and the HMAC of `TIMESTAMP.BODY`, and X-Reconciler-Timestamp in Unix seconds

The body is never parsed. What was seen before is not listened to again within the window; what comes in bursts is one look.
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
class Proof:
    """Who signed, and what tells this delivery from others; `once` is False where a delivery cannot be told from another."""

    sender: str
    key: str
    once: bool = True


class Webhook:
    """Judges deliveries. Belongs to one event loop."""

    def __init__(self, secret: str | None, look: Callable[[str], None]) -> None:
        self._secret = secret.encode() if secret is not None else None
        self._bell = Bell(look)
        self._seen: OrderedDict[str, float] = OrderedDict()

    @property
    def is_on(self) -> bool:
        return self._secret is not None

    def deliver(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Verdict:
        """Asks for a look where the delivery is genuine and new. `headers` have names in lower case."""
        if self._secret is None:
            return Verdict.OFF
        proof = prove(headers, body, self._secret, now.timestamp())
        if proof is None:
            return Verdict.UNSIGNED
        if proof.once and not self._is_new(proof.key, now.timestamp()):
            return Verdict.SEEN
        self._bell.ring(f"webhook from {proof.sender}")
        return Verdict.ACCEPTED

    def close(self) -> None:
        self._bell.close()

    def _is_new(self, key: str, now: float) -> bool:
        while self._seen and (len(self._seen) >= MAX_SEEN or next(iter(self._seen.values())) < now - 2 * WINDOW):
            self._seen.popitem(last=False)
        is_new = key not in self._seen
        self._seen.setdefault(key, now)
        return is_new


def prove(headers: Mapping[str, str], body: bytes, secret: bytes, now: float) -> Proof | None:
    """Who signed the delivery; None where nobody did who knows the secret. The first kind of proof that is offered counts."""
    signature, token = headers.get("x-hub-signature-256"), headers.get("x-gitlab-token")
    if signature is not None:
        # GitHub names each delivery, but does not sign the name: the signature itself tells them apart.
        return Proof(sender="GitHub", key=signature) if _is_signed(signature, body, secret) else None
    if token is not None:
        return Proof(sender="GitLab", key="", once=False) if hmac.compare_digest(token.encode(), secret) else None
    signature, at = headers.get("x-reconciler-signature", ""), headers.get("x-reconciler-timestamp", "")
    if not (at.isascii() and at.isdecimal() and len(at) <= 12 and abs(int(at) - now) <= WINDOW):  # noqa: PLR2004 - digits of a time
        return None
    return (
        Proof(sender="its sender", key=signature) if _is_signed(signature, f"{at}.".encode() + body, secret) else None
    )


def _is_signed(signature: str, message: bytes, secret: bytes) -> bool:
    wanted = f"sha256={hmac.new(secret, message, hashlib.sha256).hexdigest()}"
    return hmac.compare_digest(signature.encode(), wanted.encode())


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
