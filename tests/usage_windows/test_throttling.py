"""Whom to throttle."""

from __future__ import annotations

from typing import Any

from daytwo.flow import Change, Tombstone
from daytwo.records import ThrottlePublished
from daytwo.topics import REQUEST_ADMITTED, THROTTLE_PUBLISHED
from services.usage_windows.throttling import OVER_MS, Throttling
from services.usage_windows.windows import Windows
from tests.usage_windows.builders import NOON, entry, rate

RATES = [rate(limit=60, burst=2)]
KEY = "acme/tenant//requests/minute"


class Bench:
    def __init__(self) -> None:
        self.published: list[Any] = []
        self.throttling = Throttling(self.published.append)
        self.windows = Windows(tenant="acme", scope="tenant", subject="", partition=0)

    def admit(self, *offsets: int) -> None:
        for offset in offsets:
            self.windows.apply([entry(offset)], REQUEST_ADMITTED.name, "request-admitted/0", RATES, NOON)
        self.throttling.judge(self.windows, RATES, NOON)


def test_a_limit_is_published_when_it_is_reached() -> None:
    bench = Bench()
    bench.admit(1)
    assert bench.published == []
    bench.admit(2)
    (row,) = bench.published
    assert (row.kind, row.period, row.limit, row.used, row.until_ms) == ("requests", "minute", 60, 2, NOON + 1000)


def test_what_passes_meanwhile_makes_it_longer_and_a_repeat_changes_nothing() -> None:
    bench = Bench()
    bench.admit(1, 2)
    bench.admit(3, 4)
    bench.admit(4)
    # Two to pay back, one to let in, and one (half a burst at most) that will pass again.
    assert [row.until_ms for row in bench.published] == [NOON + 1000, NOON + 4000]


def test_what_is_over_is_deleted_after_every_gate_has_passed_over_it() -> None:
    bench = Bench()
    bench.admit(1, 2)
    bench.throttling.sweep(lambda _: RATES, NOON + 1000 + OVER_MS)
    assert len(bench.published) == 1
    bench.throttling.sweep(lambda _: RATES, NOON + 1001 + OVER_MS)
    assert bench.published[1:] == [Tombstone(topic=THROTTLE_PUBLISHED, key=KEY)]


def test_after_the_limit_was_raised_the_throttle_is_void_at_once() -> None:
    bench = Bench()
    bench.admit(1, 2)
    raised = [rate(limit=6000)]
    bench.throttling.judge_anew([(bench.windows, raised)], NOON)
    assert bench.published[1:] == [Tombstone(topic=THROTTLE_PUBLISHED, key=KEY)]


def test_a_limit_that_was_raised_while_nobody_looked_is_void_too() -> None:
    bench = Bench()
    bench.admit(1, 2)
    bench.throttling.sweep(lambda _: None, NOON)
    assert len(bench.published) == 1
    bench.throttling.sweep(lambda _: [rate(limit=6000)], NOON)
    assert bench.published[1:] == [Tombstone(topic=THROTTLE_PUBLISHED, key=KEY)]


async def test_after_a_restart_it_knows_what_was_published_and_publishes_it_not_again() -> None:
    before, after = Bench(), Bench()
    before.admit(1, 2)
    (row,) = before.published
    assert isinstance(row, ThrottlePublished)
    await after.throttling.apply([Change(key=KEY, record=row, partition=0, offset=0)])
    after.admit(1, 2)
    assert after.published == []


def test_a_throttle_of_a_tenant_that_another_process_counts_is_left_to_it() -> None:
    bench = Bench()
    bench.admit(1, 2)
    bench.throttling.sweep(lambda _: RATES, NOON + 1_000_000, lambda tenant: tenant != "acme")
    assert len(bench.published) == 1
