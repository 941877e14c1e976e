from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daytwo.money.trends import LEAST_NANO, WEEKS, Totals, Trend, forecast, judge, week_so_far
from daytwo.money.weeks import DAY_MS, HOUR_MS, WEEK_MS, start_of

DOLLAR = 1_000_000_000
MONDAY = 1_767_571_200_000  # 2026-01-05


def week(dollars: float, requests: int = 1_000, tokens: int = 1_000_000) -> Totals:
    return Totals(requests, tokens, round(dollars * DOLLAR))


def judged(this: float, *before: float) -> Trend:
    return judge(week(this), [week(each) for each in before])


@pytest.mark.parametrize(
    ("this", "before", "judgement"),
    [
        (10, [10] * 8, "usual"),
        (15, [10] * 8, "usual"),  # equal by chance is no promise
        (20, [10] * 8, "high"),
        (5, [10] * 8, "low"),
        (20, [5, 18, 9, 22, 11, 7, 16, 12], "usual"),  # a tenant that is never the same
        (200, [5, 18, 9, 22, 11, 7, 16, 12], "high"),
        (11, [10, 10, 300, 10, 11, 9, 10, 10], "usual"),  # one odd week before does not hide what is usual
        (100, [10, 10, 300, 10, 11, 9, 10, 10], "high"),
        (21, [10 * 1.1**n for n in range(8)], "usual"),  # growth of ten percent a week goes on
        (0, [10] * 8, "low"),
        (0, [0] * 8, "usual"),
        (0.05, [0.01] * 8, "usual"),  # cents
        (40, [10, 10, 10], "too_short"),
        (40, [10, 10, 10, 10], "high"),
    ],
)
def test_known_series_are_judged_as_a_person_would(this: float, before: list[float], judgement: str) -> None:
    assert judged(this, *before).judgement == judgement


def test_only_the_last_eight_weeks_count() -> None:
    assert judged(20, *([1_000] * 10), *([10] * 8)).judgement == "high"


def test_what_made_a_week_dear_is_said_first() -> None:
    before = [week(10)] * 8

    more, longer, dearer = (
        judge(this, before).reason for this in (week(40, 4_000, 4_000_000), week(40, 1_000, 4_000_000), week(40, 1_000, 1_000_000))
    )

    assert more.startswith("$40.00 against $10.00: requests 4 times")
    assert longer.startswith("$40.00 against $10.00: tokens a request 4 times")
    assert dearer.startswith("$40.00 against $10.00: price of a token 4 times")


@given(st.lists(st.integers(0, 10**13), min_size=4, max_size=12), st.integers(0, 10**13))
def test_what_is_within_the_range_is_never_an_anomaly(before: list[int], this: int) -> None:
    trend = judge(Totals(1, 1, this), [Totals(1, 1, cost) for cost in before])

    assert len(trend.before) <= WEEKS
    if trend.low_nano < this < trend.high_nano:
        assert not trend.anomaly
    if trend.anomaly:
        assert abs(this - trend.usual_nano) >= LEAST_NANO
        assert trend.reason


def test_part_of_a_week_is_held_against_the_same_days_of_the_weeks_before() -> None:
    """Nothing on weekends: on a Wednesday the two days so far are as always."""
    days = {MONDAY + n * DAY_MS: week(10) for n in range(-56, 2) if n % 7 < 5}

    trend = week_so_far(days, MONDAY + 2 * DAY_MS + HOUR_MS)

    assert (trend.judgement, trend.this.cost_nano, trend.usual_nano, len(trend.before)) == ("usual", 20 * DOLLAR, 20 * DOLLAR, 8)


def test_on_a_monday_all_of_last_week_is_judged() -> None:
    days = {MONDAY + n * DAY_MS: week(10) for n in range(-63, 0)}

    assert week_so_far(days, MONDAY + HOUR_MS).this.cost_nano == 70 * DOLLAR


def test_a_first_week_that_is_not_whole_does_not_count() -> None:
    days = {MONDAY + n * DAY_MS: week(10) for n in range(-17, 1)}

    assert len(week_so_far(days, MONDAY + DAY_MS).before) == 2


def test_no_days_are_too_few() -> None:
    assert week_so_far({}, MONDAY).judgement == "too_short"


def test_weeks_begin_on_monday() -> None:
    assert (start_of("week", MONDAY), start_of("week", MONDAY - 1), start_of("week", MONDAY + WEEK_MS - 1)) == (
        MONDAY,
        MONDAY - WEEK_MS,
        MONDAY,
    )


# forecasts


def test_a_steady_spender_reaches_the_limit_on_the_day_that_division_gives() -> None:
    days = {MONDAY + n * DAY_MS: week(10) for n in range(-28, 0)}

    found = forecast(days, used_nano=50 * DOLLAR, limit_nano=100 * DOLLAR, now_ms=MONDAY, ends_ms=None)

    assert found is not None
    assert found.at_ms == found.earliest_ms == found.latest_ms == MONDAY + 5 * DAY_MS


def test_weekends_do_not_widen_the_range() -> None:
    days = {MONDAY + n * DAY_MS: week(14 if n % 7 < 5 else 0) for n in range(-28, 0)}

    found = forecast(days, used_nano=0, limit_nano=100 * DOLLAR, now_ms=MONDAY, ends_ms=None)

    assert found is not None
    assert found.at_ms == found.earliest_ms == found.latest_ms == MONDAY + 10 * DAY_MS


def test_a_budget_that_lasts_has_no_day() -> None:
    days = {MONDAY + n * DAY_MS: week(1) for n in range(-28, 0)}

    found = forecast(days, used_nano=0, limit_nano=100 * DOLLAR, now_ms=MONDAY, ends_ms=MONDAY + 7 * DAY_MS)

    assert found is not None
    assert (found.at_ms, found.earliest_ms) == (None, None)


@pytest.mark.parametrize(("known", "used"), [(2, 0), (28, 100)])
def test_nothing_is_forecast_from_two_days_nor_of_what_is_reached(known: int, used: int) -> None:
    days = {MONDAY + n * DAY_MS: week(10) for n in range(-known, 0)}

    assert forecast(days, used_nano=used * DOLLAR, limit_nano=100 * DOLLAR, now_ms=MONDAY, ends_ms=None) is None


def test_the_day_it_really_runs_out_is_mostly_near_the_range() -> None:
    """Fifty spenders whose days vary by half: the true day is within the range and two days around it for nine in ten."""
    rng, near = Random(7), 0
    for _ in range(50):
        costs = [10 * rng.uniform(0.5, 1.5) for _ in range(28 + 60)]
        days = {MONDAY + n * DAY_MS: week(costs[n + 28]) for n in range(-28, 0)}
        found = forecast(days, used_nano=0, limit_nano=200 * DOLLAR, now_ms=MONDAY, ends_ms=None)
        assert found is not None
        assert found.earliest_ms is not None
        assert found.latest_ms is not None
        true_day = next(n for n in range(60) if sum(costs[28 : 28 + n]) >= 200)
        near += found.earliest_ms - 2 * DAY_MS <= MONDAY + true_day * DAY_MS <= found.latest_ms + 2 * DAY_MS
    assert near >= 45
