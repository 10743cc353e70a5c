"""When the next call may leave: rate limits over several windows at once, and the waits between tries. Pure: time comes in.

`apply` asks, sleeps and asks again; nothing here sleeps. Times are seconds on any clock that never goes back.

    delay = pacer.reserve(now)
    while delay > 0:
        await sleep(delay)
        delay = pacer.confirm(now)
"""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.model.resource import RateLimit

BURST_SHARE = 0.1  # of a quota may leave at once; more could double the quota in a window that straddles two of ours
# Calls take differently long on their way: the platform may see them closer together than they left.
SLACK = 1 / 60  # of a window


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """At most `quota` calls within any `seconds`."""

    quota: int
    seconds: float

    @property
    def burst(self) -> int:
        return max(1, int(self.quota * BURST_SHARE))

    @property
    def interval(self) -> float:
        """Seconds between calls once the burst is used up.

        A window that begins with a full burst sees `burst` calls and then one per interval: together never over the quota.
        """
        rest = self.quota - self.burst
        whole = self.seconds * (1 + SLACK)
        return whole / rest if rest else whole


def windows_of(limit: RateLimit) -> tuple[Window, ...]:
    """The windows of a limit; 0 switches one off."""
    both = (Window(quota=limit.per_minute, seconds=60), Window(quota=limit.per_hour, seconds=3600))
    return tuple(window for window in both if window.quota > 0)


# Ours: many jobs at once must not look like an attack. The platform's own limit for questions, 60 a minute and 1,800 an hour
# for each dock status id, is kept by `poll_wait` alone.
DOCK_STATUS_PER_HOST = (Window(quota=10, seconds=1),)


class Pacer:
    """One limiter for all who share it. `reserve` hands out the next free moment, first come, first served.

    Per window it keeps the one number of the generic cell rate algorithm: the moment at which the calls so far would have
    been evenly spread.
    """

    def __init__(self, windows: tuple[Window, ...]) -> None:
        self._windows = windows
        self._even = [float("-inf")] * len(windows)
        self._opens = float("-inf")

    def reserve(self, now: float) -> float:
        """Takes the next free moment and gives the seconds until then; 0: go. What is reserved is used or lost."""
        free = [
            even - (window.burst - 1) * window.interval for window, even in zip(self._windows, self._even, strict=True)
        ]
        moment = max(now, self._opens, *free)
        self._even = [
            max(even, moment) + window.interval for window, even in zip(self._windows, self._even, strict=True)
        ]
        return moment - now

    def confirm(self, now: float) -> float:
        """To be asked after sleeping: 0 when the moment still holds, else the seconds until another one, reserved anew."""
        return 0.0 if now >= self._opens else self.reserve(now)

    def close(self, until: float) -> None:
        """The platform asked to wait: nothing leaves before `until`, also not what was reserved."""
        self._opens = max(self._opens, until)


# Waits between tries; `tries` counts from 1 and is how often it was tried so far. docs/platform.md

RATE_LIMITED_WAITS = (15.0, 30.0, 60.0, 60.0, 60.0)
SENDS = 5  # a command sends that often before it gives up; the loop never does
NOT_SENT_FIRST, NOT_SENT_LAST = 5.0, 180.0
POLL_FIRST, POLL_LAST, POLL_GROWTH, POLL_JITTER = 2.0, 30.0, 1.5, 0.1


def rate_limited_wait(tries: int, retry_after: float | None = None) -> float:
    """Seconds until it is sent again: what the platform says, else 15, 30, 60, 60, …

    "At once", and a date that is past, are 1, 2, 4, 8, 16 s: whoever takes them at their word has soon used up all tries.
    """
    if retry_after is not None:
        return max(retry_after, 2.0 ** (min(tries, SENDS) - 1))
    return RATE_LIMITED_WAITS[min(tries, len(RATE_LIMITED_WAITS)) - 1]


def not_sent_wait(tries: int) -> float:
    """Seconds until the next try to connect: 5 doubling to 180."""
    return min(NOT_SENT_FIRST * 2.0 ** min(tries - 1, 16), NOT_SENT_LAST)


def poll_wait(polls: int, random: float) -> float:
    """Seconds until a job is asked about again: 2 growing to 30, give or take a tenth. `random` is from 0 to 1."""
    even = min(POLL_FIRST * POLL_GROWTH ** min(max(polls - 1, 0), 32), POLL_LAST)
    return min(even * (1 + POLL_JITTER * (2 * random - 1)), POLL_LAST)
