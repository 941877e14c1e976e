"""A request at a limit: what its tenant lets be tried, in that order, and what it is told at last."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daytwo.flow import Output
from daytwo.records import (
    AttemptSummary,
    CachePolicy,
    LimitHit,
    RequestAdmitted,
    RequestFinished,
    RequestWaiting,
    TenantConfigured,
    ThrottlePublished,
    Usage,
)
from daytwo.topics import ALERT_RAISED, DEPLOYMENT_CONFIGURED, PRICE_CONFIGURED, THROTTLE_PUBLISHED
from services.cost_meter.at_limit import WORK_MS, wait_until_ms
from tests.cost_meter.builders import HOUR, NOON, cap, concurrency_cap, context, deployment, ended, follow, price, tenant, token_cap
from tests.cost_meter.test_service import TOKENS, WORST, World

CHEAP_WORST = WORST // 10
LATE = NOON + 2 * HOUR


async def world(**fields: Any) -> World:
    """A tenant with room for one request an hour, a dear model and a cheap one."""
    return await configured(tenant(**{"caps": (cap(WORST, "hour"),), "cheaper_route": "mini", **fields}))


async def configured(acme: TenantConfigured) -> World:
    there = await World().configured(acme)
    mini = deployment(deployment="mock-mini", model="mini-1", aliases=("mini",))
    cheap = price(model="mini-1", input_nano_per_mtok=100_000_000, cached_input_nano_per_mtok=0, output_nano_per_mtok=200_000_000)
    await follow(there.meter.deployments, DEPLOYMENT_CONFIGURED, deployment(), mini)
    await follow(there.meter.prices, PRICE_CONFIGURED, price(), cheap)
    return there


async def second(there: World, **fields: Any) -> Output:
    """What becomes of a request when another has taken the room."""
    await there.admission(request_id="r-1", deadline_ms=LATE)
    return await there.admit(request_id="r-2", **{"deadline_ms": LATE, **fields})


async def go_on(there: World, waiting: RequestWaiting, at_ms: int = 0) -> Output:
    (output,) = await there.meter.go_on(waiting, context(clock=there.clock, timestamp_ms=at_ms or there.clock.now))
    return output


async def test_a_refusal_says_which_limit_in_numbers_and_when_to_try_again() -> None:
    refused = await second(await world(at_limit=("refuse",)))

    assert isinstance(refused, RequestFinished)
    assert (refused.outcome, refused.reason, refused.retry_after_ms) == ("refused", "budget_exceeded", HOUR)
    assert refused.limit_hit == LimitHit(
        scope="tenant", subject="", kind="money", period="hour", limit=WORST, used=WORST, wanted=WORST, retry_at_ms=NOON + HOUR
    )


async def test_a_request_waits_for_its_window_and_is_admitted_in_the_next_one() -> None:
    there = await world(at_limit=("wait",))
    waiting = await second(there)
    assert isinstance(waiting, RequestWaiting)
    assert (waiting.round, waiting.then) == (2, ("wait",))

    rounds = 0
    while isinstance(waiting, RequestWaiting):
        there.clock.now = max(waiting.until_ms, there.clock.now + 1)
        rounds, waiting = rounds + 1, await go_on(there, waiting)

    assert isinstance(waiting, RequestAdmitted)
    assert there.clock.now == NOON + HOUR
    assert waiting.admission.at_ms == NOON + HOUR
    assert rounds < HOUR // 8000 + 10, "it looks for room less often the longer it waits"


async def test_a_waiting_request_takes_the_room_that_another_leaves() -> None:
    there = await world(at_limit=("wait",))
    waiting = await second(there)
    assert isinstance(waiting, RequestWaiting)
    await there.end(request_id="r-1", cost_nano=0)
    there.clock.now = waiting.until_ms

    admitted = await go_on(there, waiting)

    assert isinstance(admitted, RequestAdmitted)
    assert there.clock.now < NOON + 1000
    assert admitted.admission.round == waiting.round


async def test_one_whose_time_has_not_come_goes_to_the_end_of_its_topic_unchanged() -> None:
    there = await world(at_limit=("wait",))
    waiting = await second(there)
    assert isinstance(waiting, RequestWaiting)
    later = replace(waiting, until_ms=there.clock.now + 60_000)

    assert await go_on(there, later) == later
    assert there.clock.now == NOON + 2000, "held for seconds, not until then"


async def test_who_cannot_wait_that_long_is_not_kept_waiting() -> None:
    there = await world(at_limit=("wait", "cheaper_route"), cheaper_route="")

    refused = await second(there, deadline_ms=NOON + HOUR)

    assert isinstance(refused, RequestFinished)
    assert refused.reason == "budget_exceeded"


async def test_a_total_that_never_renews_is_not_waited_for() -> None:
    refused = await second(await world(caps=(cap(WORST, "total"),), at_limit=("wait",)))

    assert isinstance(refused, RequestFinished)


async def test_the_same_waiting_record_twice_is_decided_once() -> None:
    there = await world(at_limit=("wait",))
    waiting = await second(there)
    assert isinstance(waiting, RequestWaiting)
    there.clock.now = NOON + HOUR

    outputs = [await go_on(there, waiting, NOON + HOUR) for _ in range(3)]

    assert outputs[0] == outputs[1] == outputs[2]
    assert isinstance(outputs[0], RequestAdmitted)
    assert await there.total() == {"settled_nano": 0, "reserved_nano": 2 * WORST}


async def test_a_repeat_of_what_waits_does_not_decide_it_again_but_waits_too() -> None:
    there = await world(at_limit=("wait",))
    waiting = await second(there)

    assert await there.admit(request_id="r-2", deadline_ms=LATE) == waiting


async def test_the_cheaper_route_is_taken_if_it_fits() -> None:
    there = await world(caps=(cap(WORST + CHEAP_WORST, "hour"),), at_limit=("cheaper_route",))

    admitted = await second(there)

    assert isinstance(admitted, RequestAdmitted)
    assert (admitted.request.model, admitted.admission.model) == ("mini", "mini")
    assert [quote.deployment for quote in admitted.admission.quotes] == ["mock-mini"]
    assert admitted.admission.limit_hit is not None
    assert admitted.admission.limit_hit.wanted == WORST
    assert await there.total() == {"settled_nano": 0, "reserved_nano": WORST + admitted.admission.reserved_nano}


async def test_a_repeat_of_what_took_the_cheaper_route_takes_it_again_and_reserves_nothing() -> None:
    there = await world(caps=(cap(WORST + CHEAP_WORST, "hour"),), at_limit=("cheaper_route",))
    admitted = await second(there)
    reserved = await there.total()

    repeat = await there.admit(request_id="r-2", deadline_ms=LATE)

    assert repeat == admitted
    assert await there.total() == reserved


async def test_a_cheaper_route_that_does_not_fit_either_ends_in_the_refusal_for_the_first_limit() -> None:
    there = await world(at_limit=("cheaper_route",))

    refused = await second(there)

    assert isinstance(refused, RequestFinished)
    assert refused.limit_hit is not None
    assert refused.limit_hit.wanted == WORST


async def test_a_cheaper_route_with_no_price_is_no_route() -> None:
    there = await world(at_limit=("cheaper_route",), cheaper_route="unheard-of")

    assert isinstance(await second(there), RequestFinished)


async def test_what_the_cache_cannot_answer_comes_back_and_goes_on_with_the_next_step() -> None:
    there = await world(at_limit=("cache_only", "wait"))
    cached = await second(there)
    assert isinstance(cached, RequestAdmitted)
    assert (cached.admission.cache_only, cached.admission.then) == (True, ("wait",))
    handed_back = RequestWaiting(
        request=cached.request,
        fingerprint=cached.fingerprint,
        round=cached.admission.round,
        until_ms=0,
        then=cached.admission.then,
        limit_hit=cached.admission.limit_hit or LimitHit(scope="", subject="", kind="", period="", limit=0, used=0, wanted=0),
    )

    waiting = await go_on(there, handed_back)

    assert isinstance(waiting, RequestWaiting)
    assert waiting.then == ("wait",)


@pytest.mark.parametrize("fields", [{"cache": "off"}, {"cache": "refresh"}])
async def test_a_request_that_may_not_be_answered_from_the_cache_is_not_sent_there(fields: dict[str, Any]) -> None:
    assert isinstance(await second(await world(at_limit=("cache_only",)), **fields), RequestFinished)


async def test_a_tenant_without_a_cache_skips_that_step() -> None:
    there = await world(at_limit=("cache_only",), cache=CachePolicy(enabled=False, threshold=0.9, ttl_s=1))

    assert isinstance(await second(there), RequestFinished)


async def test_open_requests_are_capped_and_the_next_goes_on_when_one_has_ended() -> None:
    there = await world(caps=(), concurrency_caps=(concurrency_cap(1, "agent"),), at_limit=("wait",))
    await there.admission(request_id="r-1", agent="planner")
    waiting = await there.admit(request_id="r-2", agent="planner", deadline_ms=LATE)
    other = await there.admission(request_id="r-3", agent="writer")
    await there.end(request_id="r-1", cost_nano=0)
    assert isinstance(waiting, RequestWaiting)
    there.clock.now = waiting.until_ms

    assert waiting.limit_hit.kind == "concurrency"
    assert not other.cache_only
    assert isinstance(await go_on(there, waiting), RequestAdmitted)


async def test_a_cap_of_tokens_holds_and_settles_at_what_was_used() -> None:
    there = await world(caps=(), token_caps=(token_cap(TOKENS, "day"),), at_limit=("refuse",))
    await there.admission(request_id="r-1")
    full = await there.refusal(request_id="r-2")
    await there.end(request_id="r-1", cost_nano=1, usage=Usage(input_tokens=0, output_tokens=0))

    assert full.limit_hit is not None
    assert (full.reason, full.limit_hit.kind, full.limit_hit.used) == ("budget_exceeded", "tokens", TOKENS)
    assert not (await there.admission(request_id="r-3")).cache_only


def throttle(**fields: Any) -> ThrottlePublished:
    defaults: dict[str, Any] = {"tenant": "acme", "scope": "user", "subject": "ann", "kind": "tokens", "period": "minute"}
    numbers = {"limit": 1000, "used": 1001, "until_ms": NOON + 20_000, "published_at_ms": NOON}
    return ThrottlePublished(**{**defaults, **numbers, **fields})


async def test_a_throttled_request_is_refused_as_rate_limited_and_a_repeat_of_it_is_too() -> None:
    there = await world(at_limit=("refuse",))
    await follow(there.meter.throttles, THROTTLE_PUBLISHED, throttle())

    refused = await there.refusal(user="ann")
    there.clock.now = NOON + 30_000
    repeat = await there.refusal(user="ann")

    assert (refused.reason, refused.retry_after_ms) == ("rate_limited", 20_000)
    assert repeat.limit_hit == refused.limit_hit, "decided once: it must not be admitted after its refusal"
    assert (await there.total())["reserved_nano"] == 0


async def test_a_throttled_request_waits_until_the_throttle_is_over_and_takes_no_cheaper_route() -> None:
    there = await world(at_limit=("cheaper_route", "wait"))
    await follow(there.meter.throttles, THROTTLE_PUBLISHED, throttle())
    waiting = await there.admit(user="ann", deadline_ms=LATE)
    assert isinstance(waiting, RequestWaiting)
    assert waiting.until_ms == NOON + 20_000
    there.clock.now = waiting.until_ms

    assert isinstance(await go_on(there, waiting), RequestAdmitted)


@given(
    wanted=st.integers(0, 20),
    limit=st.integers(0, 20),
    kind=st.sampled_from(["money", "tokens", "concurrency", "token_rate"]),
    renews=st.one_of(st.none(), st.integers(0, 10**6)),
    deadline=st.integers(0, 10**6),
    round_=st.integers(0, 100),
)
def test_a_wait_ends_with_time_to_work_and_never_later_than_the_renewal(
    wanted: int, limit: int, kind: str, renews: int | None, deadline: int, round_: int
) -> None:
    hit = LimitHit(scope="tenant", subject="", kind=kind, period="hour", limit=limit, used=limit, wanted=wanted, retry_at_ms=renews)

    until = wait_until_ms(hit, round_=round_, deadline_ms=deadline, now_ms=1000)

    if until is not None:
        assert until <= deadline - WORK_MS
        assert wanted <= limit
        assert kind == "concurrency" or (renews is not None and until <= renews)


async def test_a_provider_that_bills_more_than_its_bound_is_booked_in_full_told_once_and_its_bound_raised() -> None:
    there = await world(caps=())
    before = await there.admission(request_id="r-1")
    bill = AttemptSummary(
        attempt_id="a", deployment="mock-a", outcome="succeeded", reason="", latency_ms=1.0, cost_nano=3 * WORST, bound_nano=WORST
    )
    end = ended(request_id="r-1", cost_nano=3 * WORST, attempts=(bill,))

    alerts = [list(await there.meter.settle(end, context(clock=there.clock, offset=offset))) for offset in (7, 8)]
    after = await there.admission(request_id="r-2")

    (alert,) = alerts[0]
    assert (alert.kind, alert.subject, alert.limit, alert.used) == ("over_billed", "mock-a", WORST, 3 * WORST)  # type: ignore[union-attr]
    assert alerts[1] == []
    assert (await there.total())["settled_nano"] == 3 * WORST
    assert after.reserved_nano == 3 * before.reserved_nano


async def test_a_restarted_cost_meter_knows_from_the_alerts_what_a_provider_has_billed() -> None:
    there = await world(caps=())
    bill = AttemptSummary(
        attempt_id="a", deployment="mock-a", outcome="succeeded", reason="", latency_ms=1.0, cost_nano=2 * WORST, bound_nano=WORST
    )
    alerts = list(there.meter.overbilling.alerts(ended(attempts=(bill,)), NOON))
    restarted = await world(caps=())
    await follow(restarted.meter.overbilling, ALERT_RAISED, *alerts)

    assert (await restarted.admission()).reserved_nano == 2 * WORST
    assert list(restarted.meter.overbilling.alerts(ended(attempts=(bill,)), NOON)) == []


async def test_usage_that_was_not_given_is_an_alert_once() -> None:
    there = await world(caps=())
    silent = AttemptSummary(
        attempt_id="a", deployment="mock-a", outcome="succeeded", reason="usage_missing", latency_ms=1.0, cost_nano=9, bound_nano=9
    )

    kinds = [alert.kind for _ in range(2) for alert in there.meter.overbilling.alerts(ended(attempts=(silent,)), NOON)]

    assert kinds == ["usage_missing"]


async def test_what_was_spent_is_booked_though_the_ledger_has_forgotten_the_reservation() -> None:
    there = await world(caps=())
    await there.admission(request_id="r-1")
    there.ledger.books.clear()

    for offset in (7, 8):
        await there.end(request_id="r-1", cost_nano=5, offset=offset)

    assert await there.total() == {"settled_nano": 5, "reserved_nano": 0}


async def test_a_request_that_an_earlier_ledger_granted_is_granted_once_more_by_this_one_or_decided_anew() -> None:
    there = await world(caps=(cap(WORST, "hour"),))
    admitted = await there.admit(request_id="r-1")
    assert isinstance(admitted, RequestAdmitted)
    kind = LimitHit(scope="tenant", subject="", kind="ledger", period="", limit=0, used=0, wanted=0, retry_at_ms=None)
    asked = RequestWaiting(request=admitted.request, fingerprint=admitted.fingerprint, round=0, until_ms=0, then=(), limit_hit=kind)
    there.ledger.opening = 5

    known = await go_on(there, asked)
    there.ledger.books.clear()
    other = await there.admit(request_id="r-2")
    forgotten = await go_on(there, asked)

    assert isinstance(known, RequestAdmitted)
    assert known.admission == replace(admitted.admission, ledger=5)
    assert isinstance(other, RequestAdmitted)
    assert isinstance(forgotten, RequestAdmitted)
    assert (forgotten.admission.cache_only, forgotten.admission.reason) == (True, "budget_exceeded")
