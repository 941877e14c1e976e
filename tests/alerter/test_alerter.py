"""alerter from records to records."""

from __future__ import annotations

from typing import Any

from daytwo.broker import Raw, Sender, outgoing
from daytwo.flow import Change
from daytwo.memory import MemoryBroker
from daytwo.money.weeks import DAY_MS, HOUR_MS, start_of
from daytwo.records import AlertRaised, Cap, LimitHit, RequestFinished, TenantConfigured, TokenCap, Usage, UsageWindowed
from daytwo.topics import TENANT_CONFIGURED
from services.alerter.metrics import MOST_CAPS, AlertsCollector
from services.alerter.service import Alerter
from tests.cost_meter.builders import NOON, FixedClock, follow

DOLLAR = 1_000_000_000


def cap(limit_dollars: float, period: str = "day", scope: str = "tenant", subject: str = "*") -> Cap:
    return Cap(scope=scope, period=period, limit_nano=round(limit_dollars * DOLLAR), subject=subject)


def result(request_id: str, dollars: float = 0.0, at_ms: int = NOON, **fields: Any) -> RequestFinished:
    defaults: dict[str, Any] = {"tenant": "acme", "outcome": "answered", "reason": "ok", "fingerprint": "f", "workflow": "w-1"}
    return RequestFinished(request_id=request_id, cost_nano=round(dollars * DOLLAR), finished_at_ms=at_ms, **{**defaults, **fields})


def bucket(dollars: float, start_ms: int, width: str = "day", **fields: Any) -> UsageWindowed:
    defaults: dict[str, Any] = {"tenant": "acme", "scope": "tenant", "subject": "", "model": "", "requests": 10, "usage": Usage()}
    defaults |= {"published_at_ms": start_ms, "closed": True}
    return UsageWindowed(width=width, start_ms=start_ms, cost_nano=round(dollars * DOLLAR), **{**defaults, **fields})


def raw(record: Any, at_ms: int) -> Raw:
    written = outgoing(record)
    return Raw(written.topic, 0, 0, at_ms, written.key, written.value)


class World:
    def __init__(self) -> None:
        self.clock = FixedClock()
        sender: Sender = MemoryBroker(self.clock).sender()
        self.alerter = Alerter(self.clock, sender)

    async def configured(self, *tenants: TenantConfigured) -> World:
        await follow(self.alerter.tenants, TENANT_CONFIGURED, *tenants)
        return self

    async def ended(self, *results: RequestFinished) -> list[AlertRaised]:
        found: list[Any] = []
        for each in results:
            found += await self.alerter.ended([raw(each, each.finished_at_ms)])
        return found

    async def windowed(self, *buckets: UsageWindowed) -> list[AlertRaised]:
        found: list[Any] = []
        for each in buckets:
            found += await self.alerter.windowed([raw(each, each.published_at_ms)])
        return found


async def world(*caps: Cap, **fields: Any) -> World:
    return await World().configured(TenantConfigured(tenant="acme", caps=caps, **fields))


def parts(alerts: list[AlertRaised]) -> list[int]:
    return [alert.threshold_percent for alert in alerts if alert.kind == "cap_used"]


def slowly(*dollars: float) -> list[RequestFinished]:
    """So far apart that they are no speed, within a day."""
    return [result(f"r{n}", each, NOON + n * 90_000) for n, each in enumerate(dollars)]


async def test_each_part_of_a_cap_is_told_once() -> None:
    there = await world(cap(10))
    there.clock.now = NOON + HOUR_MS

    told = [parts(await there.ended(each)) for each in slowly(4, 1, 2, 1, 1.5, 0.5, 0.1)]

    assert told == [[], [50], [], [80], [95], [100], []]


async def test_a_repeat_of_a_result_is_not_counted_again() -> None:
    there = await world(cap(10))

    assert parts(await there.ended(result("r1", 4), result("r1", 4))) == []


async def test_a_result_that_was_never_accepted_counts_nowhere() -> None:
    there = await world(cap(10))

    assert await there.ended(result("r1", 9, fingerprint="")) == []


async def test_a_request_that_found_no_room_tells_that_the_cap_is_used() -> None:
    there = await world(cap(5, "total", "workflow", "nightly-*"))
    hit = LimitHit(scope="workflow", subject="nightly-1", kind="money", period="total", limit=5 * DOLLAR, used=4_990_000_000, wanted=DOLLAR)

    alerts = await there.ended(result("r1", outcome="refused", reason="budget_exceeded", workflow="nightly-1", limit_hit=hit))

    assert parts(alerts) == [50, 80, 95, 100]
    assert (alerts[-1].severity, alerts[-1].used, alerts[-1].subject) == ("critical", 4_990_000_000, "nightly-1")


async def test_each_workflow_has_the_most_specific_cap_of_its_own() -> None:
    there = await world(cap(1, "total", "workflow"), cap(100, "total", "workflow", "big"))

    small, big = await there.ended(result("r1", 0.6, workflow="small")), await there.ended(result("r2", 0.6, workflow="big"))

    assert (parts(small), parts(big)) == ([50], [])


async def test_caps_of_tokens_are_told_in_tokens() -> None:
    there = await world(token_caps=(TokenCap(scope="tenant", period="day", limit_tokens=100),))

    (alert,) = await there.ended(result("r1", usage=Usage(input_tokens=40, output_tokens=20)))

    assert (alert.unit, alert.used, alert.limit, alert.threshold_percent) == ("tokens", 60, 100, 50)


async def test_a_runaway_is_noticed_within_sixty_seconds_of_event_time() -> None:
    """Five dollars would last ten minutes at this speed; a request a second."""
    there = await world(cap(5, "total", "workflow"))
    there.clock.now = NOON + HOUR_MS
    first = None
    for second in range(60):
        alerts = await there.ended(result(f"r{second}", 5 / 600, NOON + second * 1000))
        first = first or next((alert for alert in alerts if alert.kind == "spend_rate"), None)

    assert first is not None
    assert first.raised_at_ms - NOON < 60_000
    assert (first.scope, first.subject, first.severity, "is gone within 15 minutes" in first.detail) == (
        "workflow",
        "w-1",
        "critical",
        True,
    )


async def test_one_large_request_and_a_steady_speed_are_no_runaway() -> None:
    there = await world(cap(5, "total", "workflow"))
    there.clock.now = NOON + 24 * HOUR_MS

    alerts = await there.ended(result("big", 1, workflow="w-2"), *(result(f"r{n}", 0.0001, NOON + n * 1000) for n in range(120)))

    assert [alert.kind for alert in alerts] == []


async def test_a_runaway_that_stopped_is_over_after_a_minute() -> None:
    there = await world(cap(5, "total", "workflow"))
    await there.ended(*(result(f"r{n}", 0.2, NOON + n * 1000) for n in range(5)))

    assert there.alerter.sweep(NOON + 30_000) == []
    ends = there.alerter.sweep(NOON + 65_000)

    assert [(end.kind, end.state) for end in ends] == [("spend_rate", "resolved")]


async def test_an_alert_of_a_cap_is_over_with_its_window_and_comes_again_in_the_next() -> None:
    there = await world(cap(10))
    await there.ended(result("r1", 6))

    (end,) = there.alerter.sweep(NOON + DAY_MS)

    assert (end.state, end.threshold_percent) == ("resolved", 50)
    there.clock.now = NOON + DAY_MS + 5
    assert parts(await there.ended(result("r2", 6, NOON + DAY_MS + 1))) == [50]


async def test_an_alert_is_over_when_its_cap_is_raised_or_gone() -> None:
    there = await world(cap(10))
    await there.ended(result("r1", 6))
    await there.configured(TenantConfigured(tenant="acme", caps=(cap(100),)))

    assert [end.state for end in there.alerter.sweep(NOON)] == ["resolved"]
    assert there.alerter.sweep(NOON) == []


async def test_what_was_raised_before_a_restart_is_not_raised_again() -> None:
    (before,) = await (await world(cap(10))).ended(result("r1", 6))
    there = await world(cap(10))
    await there.alerter.raised.apply([Change(key="k", record=before, partition=0, offset=0)])

    assert await there.ended(result("r1", 6)) == []


async def test_after_a_restart_what_usage_windowed_knows_is_counted_and_not_twice() -> None:
    there = await world(cap(10))
    day = start_of("day", NOON)
    there.alerter.history.take(bucket(4.9, day, published_at_ms=NOON, closed=False))

    assert parts(await there.ended(result("before", 1, NOON - 1))) == []
    assert parts(await there.ended(result("after", 0.1, NOON + 1))) == [50]


async def test_what_is_read_late_counts_in_its_own_window_and_tells_nothing_of_one_that_is_over() -> None:
    there = await world(cap(10))
    day = start_of("day", NOON)
    there.clock.now = day + DAY_MS + HOUR_MS
    there.alerter.history.take(bucket(9, day + DAY_MS))

    assert parts(await there.ended(result("yesterday", 6, NOON))) == []
    assert parts(await there.ended(result("today", 0.1, there.clock.now))) == [50, 80]
    assert parts(await there.ended(result("yesterday too", 6, NOON))) == []
    assert there.alerter.history.used(("acme", "tenant", ""), "day", NOON).cost_nano == 0


async def test_a_week_that_is_unusual_is_told_with_its_reason_and_is_over_when_it_is_not() -> None:
    there = await world()
    monday = start_of("week", NOON)
    there.clock.now = monday + DAY_MS + 60_000
    usual = [bucket(10, monday - n * 7 * DAY_MS) for n in range(9, 0, -1)]

    assert await there.windowed(*usual) == [], "days that closed long ago are history"
    (raised,) = await there.windowed(bucket(50, monday, requests=50))
    assert (raised.kind, raised.state, raised.used) == ("anomaly", "raised", 50 * DOLLAR)
    assert "requests 5 times the usual" in raised.detail
    there.clock.now += 7 * DAY_MS
    (over,) = await there.windowed(bucket(11, monday + 7 * DAY_MS))
    assert (over.state, over.alert_id) == ("resolved", raised.alert_id)


async def test_refusals_for_want_of_a_price_are_one_alert_that_is_over_an_hour_after_the_last() -> None:
    there = await world()
    there.clock.now = NOON + DAY_MS
    refused = [result(f"r{n}", at_ms=NOON + n * 60_000, outcome="refused", reason="unpriced_model", detail="no price") for n in range(3)]

    (alert,) = await there.ended(*refused)

    assert (alert.kind, alert.detail) == ("unpriced_model", "requests of acme are refused: no price")
    assert there.alerter.sweep(NOON + HOUR_MS) == []
    assert [end.state for end in there.alerter.sweep(NOON + 120_000 + HOUR_MS)] == ["resolved"]


async def test_metrics_have_a_bounded_number_of_series() -> None:
    there = await World().configured(*(TenantConfigured(tenant=f"t{n}", caps=(cap(10),)) for n in range(3 * MOST_CAPS)))
    await there.ended(result("r1", 6, tenant="t7"))

    alerts, caps = AlertsCollector(there.alerter.raised, there.alerter.shares).collect()

    assert [(sample.labels, sample.value) for sample in alerts.samples] == [({"kind": "cap_used", "severity": "info"}, 1)]
    assert len(caps.samples) == MOST_CAPS
    assert (caps.samples[0].labels["tenant"], caps.samples[0].value) == ("t7", 0.6)
