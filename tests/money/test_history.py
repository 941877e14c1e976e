from __future__ import annotations

from typing import Any

import pytest

from daytwo.money.history import KEEP_DAYS, History, period_end, period_start
from daytwo.money.trends import week_so_far
from daytwo.money.weeks import DAY_MS, HOUR_MS
from daytwo.records import Usage, UsageWindowed

NEW_YEAR = 1_767_225_600_000  # 2026-01-01, a Thursday
ACME = ("acme", "tenant", "")


def bucket(start_ms: int, nano: int, width: str = "day", **fields: Any) -> UsageWindowed:
    defaults: dict[str, Any] = {"tenant": "acme", "scope": "tenant", "subject": "", "model": "", "requests": 1, "usage": Usage()}
    return UsageWindowed(width=width, start_ms=start_ms, cost_nano=nano, **{**defaults, "published_at_ms": start_ms, **fields})


def history(*buckets: UsageWindowed) -> History:
    found = History()
    for each in buckets:
        found.take(each)
    return found


def test_a_window_holds_its_own_days_and_hours_only() -> None:
    known = history(
        bucket(NEW_YEAR - DAY_MS, 1),
        bucket(NEW_YEAR, 2),
        bucket(NEW_YEAR + DAY_MS, 4),
        bucket(NEW_YEAR, 8, "hour"),
        bucket(NEW_YEAR, 16, "minute"),
    )

    used = {period: known.used(ACME, period, NEW_YEAR + 1).cost_nano for period in ("hour", "day", "month", "total")}

    assert used == {"hour": 8, "day": 2, "month": 6, "total": 7}
    assert known.used(ACME, "month", NEW_YEAR - 1).cost_nano == 1


def test_what_came_too_late_for_its_day_is_in_the_total_and_in_no_week() -> None:
    known = history(bucket(0, 100), bucket(0, 100, model="m"), bucket(NEW_YEAR, 1))

    assert (known.used(ACME, "total", NEW_YEAR).cost_nano, known.used(ACME, "month", NEW_YEAR).cost_nano) == (101, 1)
    assert list(known.of(ACME)) == [NEW_YEAR]
    assert week_so_far(known.of(ACME), NEW_YEAR + 5 * DAY_MS).before == ()


def test_only_three_months_are_kept() -> None:
    known = history(*(bucket(NEW_YEAR + n * DAY_MS, 1) for n in range(KEEP_DAYS + 10)))

    assert (len(known.of(ACME)), min(known.of(ACME))) == (KEEP_DAYS, NEW_YEAR + 10 * DAY_MS)


@pytest.mark.parametrize(
    ("period", "start_ms", "ends_ms"),
    [
        ("hour", NEW_YEAR, NEW_YEAR + HOUR_MS),
        ("day", NEW_YEAR, NEW_YEAR + DAY_MS),
        ("month", NEW_YEAR, NEW_YEAR + 31 * DAY_MS),
        ("total", 0, None),
    ],
)
def test_windows_of_caps_begin_and_end_in_utc(period: str, start_ms: int, ends_ms: int | None) -> None:
    for at_ms in (NEW_YEAR, NEW_YEAR + HOUR_MS - 1):
        assert (period_start(period, at_ms), period_end(period, at_ms)) == (start_ms, ends_ms)
