"""The gate's view of who is throttled."""

from __future__ import annotations

import time
from dataclasses import replace

from daytwo.flow import Change
from daytwo.records import LimitHit, RateLimit, ThrottlePublished
from daytwo.topics import THROTTLE_PUBLISHED
from services.cost_meter.throttles import Throttles, closed
from tests.cost_meter.builders import NOON, follow, tenant

THROTTLE = ThrottlePublished(
    tenant="acme",
    scope="user",
    subject="ann",
    kind="tokens",
    period="minute",
    limit=1000,
    used=1010,
    until_ms=NOON + 20_000,
    published_at_ms=NOON,
)


def rate(scope: str, subject: str, limit: int) -> RateLimit:
    return RateLimit(scope=scope, subject=subject, kind="requests", period="minute", limit=limit, burst=0)


async def test_a_throttled_subject_is_held_until_its_moment_and_nobody_else_is() -> None:
    throttles = Throttles()
    await follow(throttles, THROTTLE_PUBLISHED, THROTTLE)

    held = throttles.hit("acme", {"tenant": "", "user": "ann"}, NOON)

    assert held == LimitHit(
        scope="user", subject="ann", kind="token_rate", period="minute", limit=1000, used=1010, wanted=0, retry_at_ms=NOON + 20_000
    )
    assert throttles.hit("acme", {"tenant": "", "user": "ann"}, NOON + 20_000) is None
    assert throttles.hit("acme", {"tenant": "", "user": "bob"}, NOON) is None
    assert throttles.hit("other", {"tenant": "", "user": "ann"}, NOON) is None


async def test_of_several_the_one_that_lasts_longest_is_named() -> None:
    throttles = Throttles()
    day = replace(THROTTLE, scope="tenant", subject="", period="day", until_ms=NOON + 3_600_000)
    await follow(throttles, THROTTLE_PUBLISHED, THROTTLE, day)

    held = throttles.hit("acme", {"tenant": "", "user": "ann"}, NOON)

    assert held is not None
    assert (held.scope, held.period) == ("tenant", "day")


async def test_a_deleted_throttle_is_over() -> None:
    throttles = Throttles()
    await follow(throttles, THROTTLE_PUBLISHED, THROTTLE)

    await throttles.apply([Change(key=THROTTLE_PUBLISHED.key(THROTTLE), record=None, partition=0, offset=9)])

    assert throttles.hit("acme", {"user": "ann"}, NOON) is None


async def test_ten_thousand_throttled_tenants_cost_a_look_up_as_much_as_ten() -> None:
    throttles = Throttles()
    rows = [replace(THROTTLE, tenant=f"t-{number}") for number in range(10_000)]
    await follow(throttles, THROTTLE_PUBLISHED, *rows)
    subjects = {"tenant": "", "user": "ann"}

    def ask(tenants: int) -> float:
        start = time.process_time()
        for number in range(20_000):
            throttles.hit(f"t-{number % tenants}", subjects, NOON)
        return time.process_time() - start

    ask(10_000)
    # Generous: this guards against a scan, which would cost a thousand times as much.
    assert min(ask(10_000) for _ in range(3)) < 3 * min(ask(10) for _ in range(3))


async def test_what_changes_costs_as_much_as_changed_and_not_as_much_as_there_is() -> None:
    throttles = Throttles()
    await follow(throttles, THROTTLE_PUBLISHED, *[replace(THROTTLE, tenant=f"t-{number}") for number in range(10_000)])

    start = time.process_time()
    for until in range(500):
        await follow(throttles, THROTTLE_PUBLISHED, replace(THROTTLE, until_ms=NOON + until))

    assert time.process_time() - start < 0.5
    held = throttles.hit("acme", {"user": "ann"}, NOON)
    assert held is not None
    assert held.retry_at_ms == NOON + 499


def test_a_rate_limit_of_nothing_lets_not_even_the_first_through() -> None:
    limits = (rate("user", "ann", 0), rate("user", "*", 5), rate("workflow", "*", 0), rate("workflow", "nightly", 1))
    configured = tenant(rate_limits=limits)

    assert closed(configured, {"tenant": "", "user": "ann", "workflow": "nightly"}) == LimitHit(
        scope="user", subject="ann", kind="request_rate", period="minute", limit=0, used=0, wanted=1
    )
    assert closed(configured, {"tenant": "", "user": "bob", "workflow": "nightly"}) is None
    assert closed(configured, {"tenant": "", "user": "bob", "workflow": "other"}) is not None
    assert closed(configured, {"tenant": "", "user": "bob", "workflow": ""}) is None
