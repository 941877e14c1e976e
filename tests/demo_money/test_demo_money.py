"""What the demonstration of money rests on, without its stack."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from daytwo.config_file import load
from daytwo.money.history import History
from daytwo.money.trends import week_so_far
from daytwo.money.weeks import DAY_MS
from deploy.demo_money.__main__ import CONFIGURATION
from deploy.demo_money.evidence import Evidence
from deploy.demo_money.history import TENANT, nine_weeks
from deploy.demo_money.tour import OTHER_PRICES, RUNAWAY_CAP
from tests.deploy.test_prometheus import ROOT

MONDAY_NOON = 1_767_571_200_000 + DAY_MS // 2


def test_nothing_checked_is_no_success_and_each_broken_promise_is_named() -> None:
    assert Evidence().problems() == ["nothing was checked"]
    evidence = Evidence()
    evidence.check("this held", True)
    assert evidence.problems() == []
    evidence.check("this did not", False)
    evidence.broken_off = "it took too long"
    assert evidence.problems() == ["it took too long", "this did not"]


@pytest.mark.parametrize("weekday", range(7))
def test_the_made_up_week_is_unusual_for_its_requests_on_every_day_of_the_week(weekday: int) -> None:
    now_ms, history = MONDAY_NOON + weekday * DAY_MS, History()
    for record in nine_weeks(now_ms, Random(1)):
        history.take(record)

    for model in ("", "mock"):
        trend = week_so_far(history.of((TENANT, "tenant", ""), model), now_ms)
        assert trend.judgement == "high"
        assert "requests" in trend.reason


@pytest.mark.parametrize("file", [CONFIGURATION, OTHER_PRICES], ids=lambda path: str(Path(path).relative_to(ROOT)))
def test_what_it_applies_is_right(file: Path) -> None:
    config = load(file, {"DAYTWO_DEMO_MOCK": "http://127.0.0.1:1/v1", "DAYTWO_DEMO_TEN": "$0.2"})

    assert config.records
    if file == CONFIGURATION:
        caps = {cap.scope: cap.limit_nano for cap in config.records["tenant-configured"]["runaway"].caps}  # type: ignore[union-attr]
        assert caps["workflow"] == RUNAWAY_CAP, "the tour says what the file says"
