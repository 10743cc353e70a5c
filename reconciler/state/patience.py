"""How long a store elsewhere is waited for, once a run has to end. For the stores whose servers may never answer.

What is given up goes on by itself, where nobody waits for it; whoever asked says that the outcome is in doubt.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from reconciler.errors import StateError

T = TypeVar("T")

GLANCE = 0.1  # seconds between looks whether something is still to be waited for
TOO_LATE = "no answer until the run had to end"


class GaveUp(StateError):
    """Nothing is known of what was asked."""

    next_step = "When the store can be reached again, `reconciler status` shows what was recorded."


class Patience:
    """Endless, until it is told when to end. Safe to share between threads."""

    def __init__(self) -> None:
        self._until = math.inf

    def ends_in(self, seconds: float) -> None:
        self._until = min(self._until, time.monotonic() + seconds)

    @property
    def left(self) -> float:
        return self._until - time.monotonic()

    def wait(self, call: Callable[[], T]) -> T:
        """What the call gives or raises; it has a thread of its own. Raises GaveUp when patience ends before it does."""
        future: Future[T] = Future()
        if self.left > 0:
            threading.Thread(target=_settle, args=(future, call), daemon=True).start()
        while (left := self.left) > 0:
            if wait((future,), timeout=min(left, GLANCE)).done:
                return future.result()
        raise GaveUp(TOO_LATE)


def _settle(future: Future[T], call: Callable[[], T]) -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - whoever asked must hear of it, whatever it is
        future.set_exception(error)
    else:
        future.set_result(result)
