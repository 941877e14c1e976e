"""cost-meter from record to records, over the ledger in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from daytwo.codec import encode
from daytwo.errors import RetryableError, TerminalError
from daytwo.flow import Change, Output
from daytwo.pricing import PriceBook
from daytwo.records import Admission, PriceBound, RequestAdmitted, RequestFinished, TenantConfigured, Usage
from daytwo.topics import DEPLOYMENT_CONFIGURED, PRICE_CONFIGURED, REQUEST_FINISHED, TENANT_CONFIGURED
from services.cost_meter.admission import propose
from services.cost_meter.bound import input_tokens_bound
from services.cost_meter.budget import LARGEST
from services.cost_meter.decisions import IdReusedError
from services.cost_meter.quoting import Offer
from services.cost_meter.service import CostMeter, service
from services.cost_meter.settings import Settings
from tests.cost_meter.builders import (
    NOON,
    FixedClock,
    accepted,
    cap,
    concurrency_cap,
    context,
    deployment,
    ended,
    follow,
    price,
    request,
    tenant,
)
from tests.cost_meter.memory_ledger import MemoryLedger

WORST = 3 * ((input_tokens_bound(request()) * 1_000_000_000 + 256 * 2_000_000_000) // 1_000_000)
"""Three attempts at the prices of builders.price."""
TOKENS = 3 * (input_tokens_bound(request()) + 256)


class MemoryLog:
    def __init__(self, records: Mapping[tuple[int, int], bytes]) -> None:
        self.records = records

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        return None

    async def read(self, topic: str, partition: int, offset: int) -> bytes | None:
        assert topic == "request-finished"
        return self.records.get((partition, offset))


class World:
    """A configured cost-meter, and what it is asked."""

    def __init__(self) -> None:
        self.clock = FixedClock()
        self.ledger = MemoryLedger()
        self.log: dict[tuple[int, int], bytes] = {}
        self.meter = CostMeter(self.ledger, MemoryLog(self.log), self.clock, Settings())

    async def configured(self, *tenants: TenantConfigured) -> World:
        await follow(self.meter.tenants, TENANT_CONFIGURED, *tenants)
        await follow(self.meter.deployments, DEPLOYMENT_CONFIGURED, deployment())
        await follow(self.meter.prices, PRICE_CONFIGURED, price())
        return self

    async def admit(self, timestamp_ms: int = NOON, **fields: Any) -> Output:
        (output,) = await self.meter.admit(accepted(**fields), context(clock=self.clock, timestamp_ms=timestamp_ms))
        return output

    async def admission(self, **fields: Any) -> Admission:
        output = await self.admit(**fields)
        assert isinstance(output, RequestAdmitted)
        return output.admission

    async def refusal(self, **fields: Any) -> RequestFinished:
        output = await self.admit(**fields)
        assert isinstance(output, RequestFinished)
        assert output.outcome == "refused"
        return output

    async def end(self, partition: int = 3, offset: int = 7, **fields: Any) -> RequestFinished:
        record = ended(**fields)
        self.log[partition, offset] = encode(REQUEST_FINISHED, record)
        assert await self.meter.settle(record, context(clock=self.clock, partition=partition, offset=offset)) == []
        return record

    async def total(self) -> dict[str, int]:
        found: dict[str, int] = (await self.meter.view())["tenants"]["acme"]["total"]
        return {name: found[name] for name in ("settled_nano", "reserved_nano")}


async def world(**fields: Any) -> World:
    return await World().configured(tenant(**fields))


async def test_a_request_is_admitted_with_its_worst_case_and_the_prices_of_its_routes() -> None:
    there = await world()

    output = await there.admit()

    assert isinstance(output, RequestAdmitted)
    assert output.fingerprint == "f-1"
    assert [step.step for step in output.steps] == ["cost-meter"]
    assert output.admission.reserved_nano == WORST
    assert (output.admission.attempts_bound, output.admission.cache_only) == (3, False)
    assert [quote.deployment for quote in output.admission.quotes] == ["mock-a"]
    assert await there.total() == {"settled_nano": 0, "reserved_nano": WORST}


async def test_the_dearest_route_is_reserved() -> None:
    there = await world()
    dear = price(model="dear", input_nano_per_mtok=9_000_000_000, output_nano_per_mtok=9_000_000_000)
    await follow(there.meter.deployments, DEPLOYMENT_CONFIGURED, deployment(), deployment(deployment="b", model="dear", priority=1))
    await follow(there.meter.prices, PRICE_CONFIGURED, price(), dear)

    admission = await there.admission()

    assert admission.reserved_nano == 3 * (admission.input_tokens_bound + 256) * 9000
    assert [quote.deployment for quote in admission.quotes] == ["mock-a", "b"]


async def test_an_unpriced_model_is_refused_and_never_free() -> None:
    there = await world()
    await follow(there.meter.deployments, DEPLOYMENT_CONFIGURED, deployment(model="unheard-of"))

    refusal = await there.refusal()

    assert (refusal.reason, refusal.fingerprint) == ("unpriced_model", "f-1")
    assert "mock/unheard-of" in refusal.detail


async def test_a_model_nobody_serves_or_the_tenant_may_not_use_is_refused() -> None:
    there = await world(models=("small",))

    assert (await there.refusal(request_id="r-1", model="large")).reason == "unknown_model"
    assert (await there.refusal(request_id="r-2", model="mock-1")).reason == "unknown_model"
    assert (await there.admission(request_id="r-3", model="small")).quotes


async def test_a_tenant_that_is_unknown_or_switched_off_gets_nothing() -> None:
    there = await world(active=False)

    assert (await there.refusal()).reason == "inactive_tenant"
    assert (await there.refusal(tenant="stranger")).reason == "unknown_tenant"


@pytest.mark.parametrize("wrong", [cap(1, "week"), cap(-1), cap(LARGEST + 1)])
async def test_a_cap_that_cannot_be_applied_closes_the_tenant(wrong: Any) -> None:
    there = await world(caps=(wrong,))

    assert (await there.refusal()).reason == "invalid_configuration"


async def test_a_worst_case_that_could_not_be_counted_exactly_is_refused() -> None:
    there = await world()
    await follow(there.meter.prices, PRICE_CONFIGURED, price(request_nano=LARGEST // 3))

    assert (await there.refusal()).reason == "too_large"


async def test_over_the_cap_a_cached_answer_may_be_given() -> None:
    there = await world(caps=(cap(WORST),))
    await there.admission(request_id="r-1")

    admission = await there.admission(request_id="r-2")

    assert (admission.cache_only, admission.reserved_nano, admission.quotes, admission.attempts_bound) == (True, 0, (), 0)
    assert (admission.reason, admission.retry_at_ms) == ("budget_exceeded", NOON + 12 * 3_600_000)
    assert await there.total() == {"settled_nano": 0, "reserved_nano": WORST}


async def test_over_the_cap_a_strict_tenant_is_refused_with_limit_use_and_time() -> None:
    there = await world(caps=(cap(WORST, "hour"),), over_budget="refuse")
    await there.admission(request_id="r-1")
    there.clock.now = NOON + 60_000

    refusal = await there.refusal(request_id="r-2")

    assert (refusal.reason, refusal.retry_after_ms) == ("budget_exceeded", 59 * 60_000)
    assert refusal.detail == (
        f"cap of the tenant per hour: limit $0.00{WORST:07d}, used $0.00{WORST:07d}, worst case of this request $0.00{WORST:07d}"
    )


async def test_a_request_that_no_window_will_ever_fit_gets_no_time_to_try_again() -> None:
    there = await world(caps=(cap(WORST - 1, "hour"),), over_budget="refuse")

    assert (await there.refusal()).retry_after_ms is None


async def test_a_total_cap_never_renews() -> None:
    there = await world(caps=(cap(WORST, "total"),))
    await there.admission(request_id="r-1")

    assert (await there.admission(request_id="r-2")).retry_at_ms is None


async def test_caps_of_users_and_workflows_are_each_their_own() -> None:
    there = await world(caps=(cap(WORST, "day", "user"), cap(2 * WORST, "total", "workflow")))

    asked = [("a", "w"), ("a", "w"), ("b", "w"), ("c", "w"), ("c", "x")]
    admissions = [await there.admission(request_id=f"r-{n}", user=user, workflow=run) for n, (user, run) in enumerate(asked)]

    assert [admission.cache_only for admission in admissions] == [False, True, False, True, False]


async def test_two_hundred_at_once_on_a_cap_for_ten_admit_exactly_ten() -> None:
    there = await world(caps=(cap(10 * WORST),))

    admissions = await asyncio.gather(*[there.admission(request_id=f"r-{number}") for number in range(200)])

    assert sum(not admission.cache_only for admission in admissions) == 10


async def test_a_repeat_has_equal_outputs_even_when_prices_caps_and_policy_changed() -> None:
    there = await world(caps=(cap(WORST),))
    firsts = [await there.admission(request_id=name) for name in ("r-1", "r-2")]
    await follow(there.meter.tenants, TENANT_CONFIGURED, tenant(over_budget="refuse"))
    await follow(there.meter.prices, PRICE_CONFIGURED, price(), price(valid_from_ms=1, input_nano_per_mtok=7))

    repeats = [await there.admission(request_id=name) for name in ("r-1", "r-2")]

    assert repeats == firsts
    assert await there.total() == {"settled_nano": 0, "reserved_nano": WORST}


async def test_a_window_is_chosen_by_the_records_time_not_by_the_clock() -> None:
    there = await world(caps=(cap(WORST, "hour"),))
    there.clock.now = NOON + 5 * 3_600_000

    admissions = [await there.admission(request_id=f"r-{at}", timestamp_ms=at) for at in (NOON, NOON + 1, NOON + 3_600_000)]

    assert [admission.cache_only for admission in admissions] == [False, True, False]


async def test_an_end_settles_what_was_used_and_releases_the_rest() -> None:
    there = await world(caps=(cap(WORST),))
    await there.admission()

    for offset in (7, 8, 9):
        await there.end(offset=offset, cost_nano=5)

    assert await there.total() == {"settled_nano": 5, "reserved_nano": 0}


async def test_an_end_that_was_never_accepted_cannot_release_the_money_of_its_namesake() -> None:
    there = await world()
    await there.admission()

    await there.end(fingerprint="", outcome="refused", reason="bad_signature")

    assert await there.total() == {"settled_nano": 0, "reserved_nano": WORST}


@pytest.mark.parametrize("cost", [-1, LARGEST + 1])
async def test_an_absurd_cost_is_a_dead_letter_and_its_money_stays_reserved(cost: int) -> None:
    there = await world()
    await there.admission()

    with pytest.raises(TerminalError):
        await there.end(cost_nano=cost)

    assert await there.total() == {"settled_nano": 0, "reserved_nano": WORST}


async def test_a_repeat_of_a_closed_request_gets_the_same_result_again() -> None:
    there = await world()
    await there.admission()
    result = await there.end(cost_nano=5, detail="the answer")
    await there.end(offset=9, cost_nano=6, detail="a later one")

    assert await there.admit() == result


async def test_a_repeat_of_a_closed_request_whose_result_is_gone_is_told_so() -> None:
    there = await world()
    await there.admission()
    await there.end()
    there.log.clear()

    refusal = await there.refusal()

    assert (refusal.reason, refusal.detail) == ("id_reused", "the request has ended; its result is no longer kept")


async def test_a_reused_id_has_no_result_of_its_own_until_the_first_has_one() -> None:
    there = await world()
    await there.admission()
    other = accepted(fingerprint="f-2")
    here = context(clock=there.clock)

    with pytest.raises(IdReusedError) as under_way:
        await there.meter.admit(other, here)
    await there.end()
    with pytest.raises(IdReusedError) as closed:
        await there.meter.admit(other, here)

    assert there.meter.ended(other, here, under_way.value) == []
    (result,) = there.meter.ended(other, here, closed.value)
    assert isinstance(result, RequestFinished)
    assert (result.outcome, result.reason, result.fingerprint) == ("refused", "id_reused", "f-2")


async def test_any_other_error_ends_the_request_so_that_its_money_is_released() -> None:
    there = await world()
    await there.admission()

    (result,) = there.meter.ended(accepted(), context(clock=there.clock), RetryableError("store_unavailable", "away"))

    assert isinstance(result, RequestFinished)
    assert (result.outcome, result.reason, result.fingerprint) == ("failed", "store_unavailable", "f-1")


async def test_nothing_is_admitted_while_the_ledger_is_away() -> None:
    there = await world()
    there.ledger.away = True

    with pytest.raises(RetryableError, match="store_unavailable"):
        await there.admission()
    with pytest.raises(RetryableError, match="store_unavailable"):
        await there.end()


async def test_the_view_names_windows_limits_and_what_is_open() -> None:
    there = await world(caps=(cap(9 * WORST), cap(5 * WORST, "hour", "user")))
    await there.admission(user="ann")
    await there.admission(request_id="r-2", user="ann")
    await there.end(cost_nano=5, usage=Usage(input_tokens=20, output_tokens=10))

    view = (await there.meter.view())["tenants"]["acme"]

    assert (view["open"], view["open_ids"]) == (1, ["r-2"])
    amounts = {"settled_nano": 5, "reserved_nano": WORST, "settled_tokens": 30, "reserved_tokens": TOKENS}
    assert view["total"] == amounts
    day = {"scope": "tenant", "subject": "", "period": "day", "window": "2026-03-01", "limit_nano": 9 * WORST}
    hour = {"scope": "user", "subject": "ann", "period": "hour", "window": "2026-03-01T12", "limit_nano": 5 * WORST}
    for expected in (day, hour):
        assert {**expected, **amounts, "limit_tokens": None} in view["windows"]
    assert {window["limit_nano"] for window in view["windows"] if window["period"] == "total"} == {None}


async def test_the_service_reads_what_the_topics_say_it_reads() -> None:
    there = service(ledger=MemoryLedger(), log=MemoryLog({}), clock=FixedClock(), settings=Settings())
    read = [*(part.topic for part in there.inputs), *(part.topic for part in there.followers)]
    ends = there.inputs[2]

    await there.start()
    await there.stop()

    assert all(there.name in topic.readers for topic in read)
    assert there.inputs[0].deadline_ms is not None
    assert there.inputs[0].deadline_ms(accepted()) == NOON + 60_000
    assert ends.ending(ended(), context(clock=FixedClock()), TerminalError("internal_error")) == ()


def test_a_proposal_depends_on_nothing_but_its_arguments() -> None:
    offer = Offer([deployment()], PriceBook.of([price()]).quotes([deployment()], NOON))

    proposals = [propose(request(), offer, attempts_bound=1, at_ms=NOON) for _ in range(2)]

    assert proposals[0] == proposals[1]
    assert isinstance(proposals[0], Admission)
    assert proposals[0].reserved_nano == WORST // 3


async def test_an_unpriced_model_is_reserved_at_the_bound_its_tenant_set() -> None:
    there = await world(unpriced_bound=PriceBound(input_nano_per_mtok=0, output_nano_per_mtok=1_000_000, request_nano=5))
    await follow(there.meter.deployments, DEPLOYMENT_CONFIGURED, deployment(model="unheard-of"))

    admission = await there.admission()

    assert [quote.is_bound for quote in admission.quotes] == [True]
    assert admission.reserved_nano == 3 * (256 + 5)


async def test_the_lane_batch_is_reserved_at_its_discount() -> None:
    there = await world()
    await follow(there.meter.prices, PRICE_CONFIGURED, price(batch_discount_permille=500))

    assert (await there.admission(lane="batch")).reserved_nano == WORST // 2


async def gone(there: World, name: str = "acme") -> None:
    """As `daytwo apply` of a file without it does."""
    await there.meter.tenants.apply([Change(key=name, record=None, partition=0, offset=9)])


async def test_a_tenant_deleted_with_money_open_is_settled_and_asks_nothing_more() -> None:
    there = await world(caps=(cap(10 * WORST), cap(10 * WORST, "day", "user"), concurrency_cap(5)))
    await there.admission(user="ann")

    await gone(there)
    refusal = await there.refusal(request_id="r-2", user="ann")
    await there.end(cost_nano=40)

    assert refusal.reason == "unknown_tenant"
    view = (await there.meter.view())["tenants"]["acme"]
    assert (view["open_ids"], view["total"]["settled_nano"], view["total"]["reserved_nano"]) == (["r-2"], 40, 0)
    assert {(window["settled_nano"], window["reserved_nano"]) for window in view["windows"]} == {(40, 0)}


async def test_a_renamed_tenant_begins_anew_and_what_the_old_name_has_open_is_settled_there() -> None:
    there = await world(caps=(cap(2 * WORST),))
    await there.admission()
    await gone(there)
    await follow(there.meter.tenants, TENANT_CONFIGURED, tenant(tenant="acme-2", caps=(cap(2 * WORST),)))

    await there.admission(tenant="acme-2", request_id="r-2")
    await there.end(cost_nano=40)

    tenants = (await there.meter.view())["tenants"]
    assert {name: (one["total"]["settled_nano"], one["total"]["reserved_nano"]) for name, one in tenants.items()} == {
        "acme": (40, 0),
        "acme-2": (0, WORST),
    }


async def test_what_a_deleted_tenant_spent_is_booked_though_the_ledger_has_forgotten_it() -> None:
    """It was passed over, as the tenant's caps were gone with it."""
    there = await world()
    await gone(there)

    await there.end(cost_nano=40)

    assert await there.total() == {"settled_nano": 40, "reserved_nano": 0}
