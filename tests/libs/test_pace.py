"""What comes seldom goes at once, what comes fast goes in even steps."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from daytwo.pace import Pace

EVERY_S = 0.01
BURST = 3


def went(came: list[float]) -> list[float]:
    """When each went that came then; who waits lets nobody else ask."""
    pace, moments, now = Pace(BURST), list[float](), 0.0
    for moment in came:
        now = max(now, moment)
        now += pace.wait_s(now, EVERY_S)
        moments.append(now)
    return moments


def test_who_comes_no_faster_than_the_pace_never_waits() -> None:
    came = [5 + number * EVERY_S * 1.001 for number in range(100)]
    assert went(came) == came


def test_a_burst_goes_at_once_and_what_comes_faster_goes_in_even_steps() -> None:
    moments = went([5.0] * 6)
    assert [round(moment - 5, 6) for moment in moments] == [0, 0, 0, EVERY_S, 2 * EVERY_S, 3 * EVERY_S]


def test_after_a_rest_a_burst_goes_at_once_again() -> None:
    assert went([5.0] * 5 + [6.0] * 3)[5:] == [6.0] * 3


@given(st.lists(st.floats(0, 0.05), min_size=1, max_size=200))
def test_in_no_span_of_time_do_more_go_than_a_burst_and_one_for_each_step(gaps: list[float]) -> None:
    moments = went(list(accumulate(gaps)))

    for first in range(len(moments)):
        for last in range(first, len(moments)):
            assert last - first + 1 <= BURST + (moments[last] - moments[first]) / EVERY_S + 1e-6
