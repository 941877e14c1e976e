from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cost_meter.budget import HOUR_MS, LARGEST_NANO, PERIODS, check_caps, dollars, limits, spans, windows
from tests.cost_meter.builders import NOON, cap

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


def test_the_tenant_is_counted_in_every_period_and_others_only_where_they_are_capped() -> None:
    found = windows([cap(5, "day", "user"), cap(7, "hour")], user="ann", workflow="w", at_ms=NOON)

    assert [(w.scope, w.subject, w.period, w.limit_nano) for w in found] == [
        ("tenant", "", "total", None),
        ("tenant", "", "month", None),
        ("tenant", "", "day", None),
        ("user", "ann", "day", 5),
        ("tenant", "", "hour", 7),
    ]


def test_the_slowest_to_renew_comes_first() -> None:
    everything = [cap(1, period, scope) for period in PERIODS for scope in ("tenant", "user", "workflow")]

    renewals = [w.renews_at_ms or float("inf") for w in windows(everything, user="u", workflow="w", at_ms=NOON)]

    assert len(renewals) == 12
    assert renewals == sorted(renewals, reverse=True)


def test_who_names_no_user_is_outside_the_caps_of_users() -> None:
    found = windows([cap(5, "day", "user"), cap(5, "total", "workflow")], user="", workflow="", at_ms=NOON)

    assert {w.scope for w in found} == {"tenant"}


def test_every_user_has_a_counter_of_the_own() -> None:
    paths = {w.path for user in ("ann", "a:b", "day") for w in windows([cap(5, "day", "user")], user=user, workflow="", at_ms=NOON)}

    assert {"user/ann/day/2026-03-01", "user/a:b/day/2026-03-01", "user/day/day/2026-03-01"} < paths


def test_of_several_caps_of_a_place_the_lowest_holds() -> None:
    assert limits([cap(5), cap(3), cap(9)]) == {("tenant", "day"): 3}


@pytest.mark.parametrize("wrong", [cap(5, "week"), cap(5, "day", "team"), cap(-1), cap(LARGEST_NANO + 1)])
def test_a_cap_that_cannot_be_applied_is_not_passed_over(wrong: object) -> None:
    assert check_caps([cap(5), wrong])  # type: ignore[list-item]


@given(st.lists(st.builds(cap, st.integers(0, LARGEST_NANO), st.sampled_from(PERIODS), st.sampled_from(["tenant", "user", "workflow"]))))
def test_a_good_cap_is_applied(caps: list[object]) -> None:
    assert check_caps(caps) == ""  # type: ignore[arg-type]


def test_dollars_are_exact() -> None:
    assert [dollars(nano) for nano in (0, 1, -1, 1_500_000_000, LARGEST_NANO)] == [
        "0.000000000",
        "0.000000001",
        "-0.000000001",
        "1.500000000",
        "9007199.254740991",
    ]
