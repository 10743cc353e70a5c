"""Rates: never over a quota in any window, bursts bounded, Retry-After obeyed; and the waits between tries."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.resource import RateLimit
from reconciler.platform.pacing import (
    DOCK_STATUS_PER_HOST,
    NOT_SENT_FIRST,
    NOT_SENT_LAST,
    POLL_LAST,
    SLACK,
    Pacer,
    Window,
    not_sent_wait,
    poll_wait,
    rate_limited_wait,
    windows_of,
)

_WINDOWS = st.lists(
    st.builds(Window, quota=st.integers(1, 40), seconds=st.sampled_from([1.0, 10.0, 60.0, 3600.0])),
    min_size=1,
    max_size=2,
).map(tuple)
_GAPS = st.lists(st.one_of(st.just(0.0), st.floats(0, 5), st.floats(0, 4000)), min_size=1, max_size=120)


def departures(windows: tuple[Window, ...], gaps: list[float]) -> list[float]:
    """When calls leave that ask one after the other with these gaps between their asking."""
    pacer, now, moments = Pacer(windows), 0.0, []
    for gap in gaps:
        now += gap
        moments.append(now + pacer.reserve(now))
    return moments


@given(_WINDOWS, _GAPS)
def test_no_window_ever_sees_more_than_its_quota(windows: tuple[Window, ...], gaps: list[float]) -> None:
    """Whatever the pattern of arrivals, any window of that length holds at most the quota, with some slack to spare."""
    moments = departures(windows, gaps)
    for window in windows:
        for first, moment in enumerate(moments):
            beyond = first + window.quota
            if beyond < len(moments):
                assert moments[beyond] - moment > window.seconds * (1 + SLACK / 2)


@given(_WINDOWS, _GAPS)
def test_calls_leave_in_their_order_and_never_early(windows: tuple[Window, ...], gaps: list[float]) -> None:
    """First come, first served."""
    moments = departures(windows, gaps)
    asked = 0.0
    for gap, moment in zip(gaps, moments, strict=True):
        asked += gap
        assert moment >= asked
    assert all(earlier <= later for earlier, later in pairwise(moments))


@given(st.integers(1, 200), st.sampled_from([1.0, 60.0, 3600.0]))
def test_a_burst_is_a_tenth_of_the_quota(quota: int, seconds: float) -> None:
    """At most a tenth of the quota leaves at one moment, and the whole quota within about one window."""
    window = Window(quota=quota, seconds=seconds)
    moments = departures((window,), [0.0] * (quota + 1))
    assert sum(moment < 1e-6 for moment in moments) == window.burst == max(1, quota // 10)
    assert moments[quota - 1] <= seconds * (1 + 2 * SLACK)


def test_the_vendors_limits() -> None:
    """60 a minute and 1,800 an hour: six leave at once, a minute never sees more than 60, an hour never more than 1,800."""
    windows = windows_of(RateLimit())
    assert [(window.quota, window.seconds) for window in windows] == [(60, 60), (1800, 3600)]
    moments = departures(windows, [0.0] * 2000)
    assert sum(moment < 1e-6 for moment in moments) == 6
    assert max(sum(start <= m < start + 60 for m in moments) for start in moments[:100]) <= 60
    assert max(sum(start <= m < start + 3600 for m in moments) for start in moments[:5]) <= 1800
    assert moments[60] - moments[0] > 60 * (1 + SLACK)
    assert moments[1800] - moments[0] > 3600 * (1 + SLACK)
    assert moments[1799] <= 3600 * (1 + 2 * SLACK)


def test_a_limit_of_zero_is_off() -> None:
    """0 switches a window off; without windows everything leaves at once."""
    assert windows_of(RateLimit(per_minute=0, per_hour=0)) == ()
    assert departures((), [0.0] * 1000) == [0.0] * 1000
    assert [window.quota for window in windows_of(RateLimit(per_minute=0))] == [1800]


def test_questions_are_ten_a_second_and_host() -> None:
    """Polling many jobs at once stays below ten questions a second."""
    moments = departures(DOCK_STATUS_PER_HOST, [0.0] * 50)
    assert all(later - earlier >= 0.1 for earlier, later in pairwise(moments))


@given(st.floats(0, 600), st.lists(st.floats(0, 100), max_size=30))
def test_nothing_leaves_while_the_platform_asks_to_wait(until: float, gaps: list[float]) -> None:
    """After Retry-After nothing leaves before its end, neither what comes later nor what had its moment already."""
    pacer = Pacer(windows_of(RateLimit()))
    early = pacer.reserve(0.0)
    pacer.close(until)
    assert early == 0.0
    assert pacer.confirm(0.0) >= until
    now = 0.0
    for gap in gaps:
        now += gap
        assert now + pacer.reserve(now) >= until - 1e-6  # two floats were added


def test_closing_never_shortens() -> None:
    """A shorter wait does not open what a longer one closed, and a moment that still holds is kept."""
    pacer = Pacer(windows_of(RateLimit()))
    pacer.close(100.0)
    pacer.close(50.0)
    assert pacer.reserve(0.0) == 100.0
    assert pacer.confirm(100.0) == 0.0


@pytest.mark.parametrize(("tries", "seconds"), [(1, 15), (2, 30), (3, 60), (4, 60), (5, 60), (99, 60)])
def test_waits_after_a_rate_limit(tries: int, seconds: float) -> None:
    """Without Retry-After 15, 30, 60, 60, 60 s; with it what it says, but each time a little more than at once."""
    assert rate_limited_wait(tries) == seconds
    assert rate_limited_wait(tries, 17.0) == 17.0
    assert rate_limited_wait(tries, 0.0) == min(2.0 ** (tries - 1), 16)


def test_waits_after_a_failed_connection() -> None:
    """5 s doubling to 3 minutes, for ever."""
    waits = [not_sent_wait(tries) for tries in range(1, 100_000, 997)]
    assert [not_sent_wait(tries) for tries in range(1, 8)] == [5, 10, 20, 40, 80, 160, 180]
    assert set(waits[1:]) == {NOT_SENT_LAST}
    assert waits[0] == NOT_SENT_FIRST


@given(st.integers(0, 100_000), st.floats(0, 1))
def test_waits_between_questions(polls: int, random: float) -> None:
    """2 s growing to 30 s, give or take a tenth, never longer."""
    assert 1.8 <= poll_wait(polls, random) <= POLL_LAST


def test_questions_about_one_job_stay_within_its_limit() -> None:
    """However the jitter falls, one job is asked about at most 60 times in any minute and 1,800 times in any hour."""
    moments, now = [], 0.0
    for polls in range(1, 2500):
        now += poll_wait(polls, 0.0)
        moments.append(now)
    for window in (Window(quota=60, seconds=60), Window(quota=1800, seconds=3600)):
        counted = max(sum(start <= m < start + window.seconds for m in moments) for start in moments[:50])
        assert counted <= window.quota
