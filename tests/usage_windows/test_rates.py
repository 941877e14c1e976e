"""The rule of rate limits."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daytwo.records import RateLimit
from services.usage_windows.rates import NEVER_MS, PERIOD_MS, Level, burst, coming, flowed, level_at, limits_of, throttled_until
from tests.usage_windows.builders import rate

NOW_S = 1_772_366_400
NOW = NOW_S * 1000
SECONDS = st.dictionaries(st.integers(NOW_S - 30, NOW_S), st.integers(1, 50), max_size=20)
RATES = st.builds(lambda limit, extra: rate(limit=limit, burst=extra), st.integers(1, 600), st.integers(0, 300))
EMPTY = Level(0, NOW_S - 31)


def test_a_bucket_that_is_not_full_lets_pass() -> None:
    level = level_at(EMPTY, rate(limit=60), {NOW_S: 59}, NOW)
    assert throttled_until(level, rate(limit=60), NOW) is None


def test_a_full_bucket_holds_until_there_is_room_for_one() -> None:
    level = level_at(EMPTY, rate(limit=60), {NOW_S: 60}, NOW)
    assert throttled_until(level, rate(limit=60), NOW) == NOW + 1000


def test_what_passed_the_limit_is_paid_back() -> None:
    level = level_at(EMPTY, rate(limit=60), {NOW_S: 70}, NOW)
    assert throttled_until(level, rate(limit=60), NOW) == NOW + 11_000


def test_a_burst_of_its_own_is_what_may_come_at_once() -> None:
    limited = rate(limit=60, burst=5)
    assert throttled_until(level_at(EMPTY, limited, {NOW_S: 4}, NOW), limited, NOW) is None
    assert throttled_until(level_at(EMPTY, limited, {NOW_S: 5}, NOW), limited, NOW) is not None


def test_a_limit_of_nothing_never_lets_pass() -> None:
    nothing = rate(limit=0)
    assert throttled_until(level_at(EMPTY, nothing, {NOW_S: 1}, NOW), nothing, NOW) == NOW + NEVER_MS


def test_a_day_of_tokens_flows_off_in_a_day() -> None:
    daily = rate(kind="tokens", period="day", limit=86_400)
    level = level_at(EMPTY, daily, {NOW_S: 86_400 + 100}, NOW)
    assert throttled_until(level, daily, NOW) == NOW + 101_000


@given(SECONDS, RATES)
def test_the_level_is_that_of_a_leaky_bucket_counted_at_the_end_of_each_second(used: dict[int, int], limited: RateLimit) -> None:
    level, leak = Fraction(0), Fraction(limited.limit, 60)
    for second in range(EMPTY.second, NOW_S):
        level = max(Fraction(0), level - leak) + used.get(second, 0)
    level += used.get(NOW_S, 0)
    assert level_at(EMPTY, limited, used, NOW) == level * PERIOD_MS["minute"]


@given(SECONDS, RATES, st.integers(0, 31))
def test_seconds_that_were_taken_into_the_level_change_nothing(used: dict[int, int], limited: RateLimit, taken: int) -> None:
    cut = EMPTY.second + taken
    past = sorted((second, amount) for second, amount in used.items() if second < cut)
    rest = {second: amount for second, amount in used.items() if second >= cut}
    assert level_at(flowed(EMPTY, limited, past, cut), limited, rest, NOW) == level_at(EMPTY, limited, used, NOW)


@given(st.lists(st.integers(0, 400), max_size=200), RATES, st.integers(0, 8))
def test_in_any_stretch_of_time_no_more_passes_than_burst_and_flow_and_what_was_in_flight(
    gaps: list[int], limited: RateLimit, in_flight: int
) -> None:
    """Requests come after `gaps`, milliseconds; the gate knows a throttle once `in_flight` more requests have come."""
    now, until, passed = NOW, 0, list[int]()
    known: list[tuple[int, int]] = []
    used: dict[int, int] = {}
    for number, gap in enumerate(gaps):
        now += gap
        until = max([until, *(moment for place, moment in known if place + in_flight < number)])
        if now < until:
            continue
        passed.append(now)
        used[now // 1000] = used.get(now // 1000, 0) + 1
        if (moment := throttled_until(level_at(EMPTY, limited, used, now), limited, now)) is not None:
            known.append((number, moment))
    for first, start in enumerate(passed):
        for last in range(first, len(passed)):
            most = burst(limited) + Fraction(limited.limit * (passed[last] - start + 1000), 60_000) + in_flight + 1
            assert last - first + 1 <= most


@given(st.integers(1, 10_000), RATES)
def test_when_a_throttle_is_over_there_is_room(amount: int, limited: RateLimit) -> None:
    until = throttled_until(level_at(EMPTY, limited, {NOW_S: amount}, NOW), limited, NOW)
    if until is not None:
        assert until > NOW
        level = level_at(EMPTY, limited, {NOW_S: amount}, NOW) - limited.limit * (until - NOW)
        assert throttled_until(level, limited, until) is None


@pytest.mark.parametrize(
    ("subject", "limit"),
    [("ann", 20), ("anton", 5), ("bob", 1)],
)
def test_of_several_patterns_the_most_specific_holds(subject: str, limit: int) -> None:
    rates = [
        rate(scope="user", subject="*", limit=1),
        rate(scope="user", subject="an*", limit=5),
        rate(scope="user", subject="ann", limit=20),
        rate(scope="workflow", subject="*", limit=3),
    ]
    assert [held.limit for held in limits_of(rates, "user", subject)] == [limit]


def test_what_this_version_does_not_know_limits_nothing_here() -> None:
    assert limits_of([rate(period="fortnight"), rate(kind="images")], "tenant", "") == []


def test_each_kind_and_period_holds_beside_the_others() -> None:
    rates = [rate(), rate(kind="tokens"), rate(kind="tokens", period="day")]
    assert limits_of(rates, "tenant", "") == rates


def test_what_is_on_its_way_is_what_came_in_the_last_second_for_as_long_as_it_takes_there_and_back() -> None:
    limited = rate(limit=60)
    assert coming(limited, {NOW_S - 1: 101}, NOW, 50) == 10 * PERIOD_MS["minute"]
    assert coming(limited, {NOW_S - 1: 1}, NOW, 50) == 0
    assert coming(limited, {NOW_S - 9: 100}, NOW, 50) == 0


def test_a_standstill_is_not_taken_for_the_usual_delay() -> None:
    assert coming(rate(limit=60), {NOW_S: 2}, NOW, 3_600_000) == coming(rate(limit=60), {NOW_S: 2}, NOW, 2_000)
