from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daytwo.caps import fits, specificity
from daytwo.records import Cap
from services.cost_meter.budget import HOUR_MS, LARGEST, PERIODS, SCOPES, Caps, Window, check, dollars, spans
from tests.cost_meter.builders import NOON, cap, capped, concurrency_cap, tenant, token_cap

moments = st.integers(0, 4_102_444_800_000)  # up to the year 2100


@given(moments)
def test_a_window_ends_exactly_where_the_next_one_begins(at_ms: int) -> None:
    for period, (name, renews_at_ms) in spans(at_ms // HOUR_MS).items():
        if renews_at_ms is None:
            assert period == "total"
            continue
        assert renews_at_ms > at_ms
        assert spans((renews_at_ms - 1) // HOUR_MS)[period] == (name, renews_at_ms)
        assert spans(renews_at_ms // HOUR_MS)[period][0] != name


@given(moments)
def test_a_window_is_named_by_its_moment_in_utc(at_ms: int) -> None:
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)

    names = {period: name for period, (name, _) in spans(at_ms // HOUR_MS).items()}

    assert names == {"total": "total", "month": f"{moment:%Y-%m}", "day": f"{moment:%Y-%m-%d}", "hour": f"{moment:%Y-%m-%dT%H}"}


@pytest.mark.parametrize(
    ("moment", "renews"),
    [("2024-02-29T23", "2024-03-01"), ("2026-12-31T23", "2027-01-01"), ("2026-01-31T00", "2026-02-01")],
)
def test_a_month_renews_on_the_first_of_the_next(moment: str, renews: str) -> None:
    hour = int(datetime.strptime(moment, "%Y-%m-%dT%H").replace(tzinfo=UTC).timestamp()) // 3600

    _, renews_at_ms = spans(hour)["month"]

    assert renews_at_ms == datetime.fromisoformat(renews).replace(tzinfo=UTC).timestamp() * 1000


def windows(*caps: Any, at_ms: int = NOON, **subjects: str) -> tuple[Window, ...]:
    return Caps(capped(*caps)).windows({"tenant": "", **dict.fromkeys(SCOPES[1:], ""), **subjects}, at_ms)


def test_the_tenant_is_counted_in_every_period_and_others_only_where_they_are_capped() -> None:
    found = windows(cap(5, "day", "user"), cap(7, "hour"), token_cap(9, "day", "user"), user="ann", workflow="w")

    assert [(w.scope, w.subject, w.period, w.limit_nano, w.limit_tokens) for w in found] == [
        ("tenant", "", "total", None, None),
        ("tenant", "", "month", None, None),
        ("tenant", "", "day", None, None),
        ("user", "ann", "day", 5, 9),
        ("tenant", "", "hour", 7, None),
    ]


def test_the_slowest_to_renew_comes_first_and_open_requests_last() -> None:
    everything = [cap(1, period, scope) for period in PERIODS for scope in SCOPES] + [concurrency_cap(1, scope) for scope in SCOPES]

    found = windows(*everything, user="u", workflow="w", session="s", agent="a")

    assert [w.period for w in found] == [period for period in ("total", "month", "day", "hour", "open") for _ in SCOPES]
    assert len({w.path for w in found}) == 25


def test_who_names_no_user_is_outside_the_caps_of_users() -> None:
    assert {w.scope for w in windows(cap(5, "day", "user"), cap(5, "total", "workflow"), concurrency_cap(1, "agent"))} == {"tenant"}


def test_every_user_has_a_counter_of_the_own() -> None:
    paths = {w.path for user in ("ann", "a:b", "day") for w in windows(cap(5, "day", "user"), user=user)}

    assert {"user/ann/day/2026-03-01", "user/a:b/day/2026-03-01", "user/day/day/2026-03-01"} < paths


@pytest.mark.parametrize(
    ("subject", "limit"),
    [("nightly-7", 30), ("nightly-eu-7", 20), ("nightly-eu-9", 10), ("daily", 40), ("nightly", 40), ("NIGHTLY-7", 40)],
)
def test_of_several_patterns_the_most_specific_holds_even_if_it_is_higher(subject: str, limit: int) -> None:
    caps = [
        cap(limit_nano, "day", "workflow", pattern)
        for pattern, limit_nano in (("*", 40), ("nightly-*", 30), ("nightly-*-*", 20), ("nightly-eu-9", 10))
    ]

    (found,) = [w for w in windows(*caps, workflow=subject) if w.scope == "workflow"]

    assert found.limit_nano == limit


def test_a_pattern_is_no_regular_expression() -> None:
    assert fits("a.b-*", "a.b-1")
    assert not fits("a.b-*", "axb-1")
    assert fits("*", "")
    assert fits("*-x-*", "a-x-b")


def test_of_several_caps_of_a_place_the_lowest_holds() -> None:
    assert Caps(capped(cap(5), cap(3), cap(9))).limits("tenant", "", "day") == (3, None, None)


def test_units_are_capped_each_by_their_own_pattern() -> None:
    caps = Caps(capped(cap(5, "day", "user"), token_cap(7, "day", "user", "a*"), concurrency_cap(2, "user", "ann")))

    assert caps.limits("user", "ann", "day") == (5, 7, None)
    assert caps.limits("user", "bob", "day") == (5, None, None)
    assert (caps.limits("user", "ann", "open")[2], caps.limits("user", "amy", "open")[2]) == (2, None)


@pytest.mark.parametrize(
    "wrong",
    [
        cap(5, "week"),
        cap(5, "day", "team"),
        cap(-1),
        cap(LARGEST + 1),
        token_cap(-1),
        token_cap(5, "minute"),
        concurrency_cap(-1),
        concurrency_cap(1, "team"),
    ],
)
def test_a_cap_that_cannot_be_applied_is_not_passed_over(wrong: Any) -> None:
    assert check(capped(cap(5), wrong))


def test_a_step_at_the_limit_that_nobody_knows_is_not_passed_over() -> None:
    assert "hope" in check(tenant(at_limit=("wait", "hope")))


@given(st.lists(st.builds(cap, st.integers(0, LARGEST), st.sampled_from(PERIODS), st.sampled_from(SCOPES))))
def test_a_good_cap_is_applied(caps: list[Cap]) -> None:
    assert check(capped(*caps)) == ""


@given(st.lists(st.sampled_from(["*", "a*", "ab*", "*b", "ab", "a*b"]), min_size=1, max_size=4, unique=True), st.text("ab", max_size=4))
def test_the_pattern_that_holds_fits_and_none_that_fits_is_more_specific(patterns: list[str], subject: str) -> None:
    limit = Caps(capped(*[cap(n, "day", "user", pattern) for n, pattern in enumerate(patterns)])).limits("user", subject, "day")[0]

    fitting = [pattern for pattern in patterns if fits(pattern, subject)]

    assert (limit is None) == (not fitting)
    assert limit is None or specificity(patterns[limit]) == max(map(specificity, fitting))


def test_dollars_are_exact() -> None:
    assert [dollars(nano) for nano in (0, 1, -1, 1_500_000_000, LARGEST)] == [
        "0.000000000",
        "0.000000001",
        "-0.000000001",
        "1.500000000",
        "9007199.254740991",
    ]
