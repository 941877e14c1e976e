"""What a ledger promises, in memory and on Redis."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from daytwo.records import LimitHit
from services.cost_meter.budget import LARGEST
from services.cost_meter.decisions import AtLimit, Refusal
from services.cost_meter.ports import Answer, Closed, Counter, Decided, Ledger, Reused, Settled, Unsettled
from tests.cost_meter.builders import HOUR, NOON, admission, cap, concurrency_cap, reservation, restoration, settlement, token_cap


def fits(answer: Answer) -> bool:
    return isinstance(answer, Decided) and not isinstance(answer.decision, AtLimit)


async def counters(ledger: Ledger, tenant: str) -> dict[str, tuple[int, int]]:
    account = (await ledger.accounts())[tenant]
    return {counter.path: (counter.settled_nano, counter.reserved_nano) for counter in account.counters}


async def total(ledger: Ledger, tenant: str) -> tuple[int, int]:
    return (await counters(ledger, tenant))["tenant//total/total"]


async def test_what_is_reserved_and_settled_is_in_every_window(ledger: Ledger, fresh_tenant: str) -> None:
    caps = (cap(1000, "day"), cap(1000, "hour", "user"))

    await ledger.reserve(reservation(100, *caps, user="ann", tenant=fresh_tenant))
    reserved = await counters(ledger, fresh_tenant)
    await ledger.settle(settlement(40, tenant=fresh_tenant))

    paths = {
        "tenant//total/total",
        "tenant//month/2026-03",
        "tenant//day/2026-03-01",
        "tenant//hour/2026-03-01T12",
        "user/ann/hour/2026-03-01T12",
    }
    assert reserved == dict.fromkeys(paths, (0, 100))
    assert await counters(ledger, fresh_tenant) == dict.fromkeys(paths, (40, 0))


async def test_two_hundred_at_once_on_a_cap_for_ten_admit_exactly_ten(ledger: Ledger, fresh_tenant: str) -> None:
    wanted = [reservation(100, cap(1050), tenant=fresh_tenant, request_id=f"r-{number}") for number in range(200)]

    answers = await asyncio.gather(*[ledger.reserve(one) for one in wanted])

    assert sum(map(fits, answers)) == 10
    assert await total(ledger, fresh_tenant) == (0, 1000)


async def test_one_full_scope_keeps_the_others_untouched(ledger: Ledger, fresh_tenant: str) -> None:
    caps = (cap(1000), cap(150, "total", "workflow"))
    await ledger.reserve(reservation(100, *caps, workflow="w", tenant=fresh_tenant))

    answer = await ledger.reserve(reservation(100, *caps, workflow="w", tenant=fresh_tenant, request_id="r-2"))

    assert answer == Decided(
        decision=AtLimit(
            hit=LimitHit(scope="workflow", subject="w", kind="money", period="total", limit=150, used=100, wanted=100),
            then=("cache_only",),
        ),
        repeated=False,
    )
    assert set((await counters(ledger, fresh_tenant)).values()) == {(0, 100)}


async def test_of_several_full_caps_the_last_to_renew_is_named(ledger: Ledger, fresh_tenant: str) -> None:
    answer = await ledger.reserve(reservation(100, cap(50, "hour"), cap(50, "month"), cap(50, "day"), tenant=fresh_tenant))

    assert isinstance(answer, Decided)
    assert isinstance(answer.decision, AtLimit)
    assert answer.decision.hit.period == "month"


async def test_the_same_reservation_three_times_is_booked_once_and_decided_equally(ledger: Ledger, fresh_tenant: str) -> None:
    wanted = reservation(100, cap(1000), tenant=fresh_tenant)

    answers = [await ledger.reserve(wanted) for _ in range(3)]

    assert answers == [Decided(decision=admission(100), repeated=repeated) for repeated in (False, True, True)]
    assert await total(ledger, fresh_tenant) == (0, 100)


async def test_a_repeat_gets_the_first_decision_whatever_is_proposed_now(ledger: Ledger, fresh_tenant: str) -> None:
    first = await ledger.reserve(reservation(100, cap(50), tenant=fresh_tenant))
    refusal = Refusal(reason="unknown_model", detail="gone")
    refused = await ledger.reserve(reservation(tenant=fresh_tenant, request_id="r-2", proposal=refusal, windows=()))

    repeat = await ledger.reserve(reservation(100, cap(5000), tenant=fresh_tenant, then=()))
    refused_again = await ledger.reserve(reservation(100, tenant=fresh_tenant, request_id="r-2"))

    assert isinstance(first, Decided)
    assert repeat == replace(first, repeated=True)
    assert (refused, refused_again) == (Decided(decision=refusal, repeated=False), Decided(decision=refusal, repeated=True))


async def test_a_repeat_of_what_took_the_cheaper_route_gets_it_again(ledger: Ledger, fresh_tenant: str) -> None:
    """It was once kept in a form that could not be read again: the repeat ended as internal_error while the first was under way."""
    hit = LimitHit(scope="tenant", subject="", kind="money", period="day", limit=10, used=9, wanted=100)
    cheaper = replace(admission(5), model="mini", round=1, limit_hit=hit)
    await ledger.reserve(reservation(100, cap(50), tenant=fresh_tenant))
    await ledger.reserve(reservation(5, cap(50), tenant=fresh_tenant, proposal=cheaper, round=1))

    repeat = await ledger.reserve(reservation(100, cap(50), tenant=fresh_tenant))

    assert repeat == Decided(decision=cheaper, repeated=True)


async def test_the_same_end_three_times_is_booked_once(ledger: Ledger, fresh_tenant: str) -> None:
    await ledger.reserve(reservation(100, cap(1000), tenant=fresh_tenant))

    for offset in (7, 8, 9):
        await ledger.settle(settlement(40, tenant=fresh_tenant, offset=offset))

    assert await total(ledger, fresh_tenant) == (40, 0)
    assert await ledger.reserve(reservation(100, tenant=fresh_tenant)) == Closed(partition=3, offset=7)


async def test_a_reused_id_is_told_from_a_repeat_before_and_after_the_end(ledger: Ledger, fresh_tenant: str) -> None:
    other = reservation(1, tenant=fresh_tenant, fingerprint="other")
    await ledger.reserve(reservation(100, tenant=fresh_tenant))

    before = await ledger.reserve(other)
    await ledger.settle(settlement(40, tenant=fresh_tenant))
    after = await ledger.reserve(other)

    assert (before, after) == (Reused(first_closed=False), Reused(first_closed=True))
    assert await total(ledger, fresh_tenant) == (40, 0)


async def test_an_end_of_other_content_settles_nothing(ledger: Ledger, fresh_tenant: str) -> None:
    await ledger.reserve(reservation(100, tenant=fresh_tenant))

    await ledger.settle(settlement(0, tenant=fresh_tenant, fingerprint="other"))

    assert await total(ledger, fresh_tenant) == (0, 100)


async def test_an_end_without_a_reservation_leaves_no_trace(ledger: Ledger, fresh_tenant: str) -> None:
    await ledger.settle(settlement(40, tenant=fresh_tenant))

    assert fresh_tenant not in await ledger.accounts()


async def test_a_cost_above_the_reservation_is_booked_in_full_and_stops_what_follows(ledger: Ledger, fresh_tenant: str) -> None:
    await ledger.reserve(reservation(100, cap(150), tenant=fresh_tenant))

    await ledger.settle(settlement(170, tenant=fresh_tenant))
    free = await ledger.reserve(reservation(0, cap(150), tenant=fresh_tenant, request_id="r-2"))

    assert await total(ledger, fresh_tenant) == (170, 0)
    assert not fits(free)


async def test_a_cost_of_a_request_that_was_over_its_cap_is_booked_all_the_same(ledger: Ledger, fresh_tenant: str) -> None:
    await ledger.reserve(reservation(100, cap(50), tenant=fresh_tenant))

    await ledger.settle(settlement(30, tenant=fresh_tenant))

    assert await total(ledger, fresh_tenant) == (30, 0)


async def test_what_is_not_used_is_free_at_once(ledger: Ledger, fresh_tenant: str) -> None:
    await ledger.reserve(reservation(100, cap(100), tenant=fresh_tenant))
    await ledger.settle(settlement(40, tenant=fresh_tenant))

    assert fits(await ledger.reserve(reservation(60, cap(100), tenant=fresh_tenant, request_id="r-2")))
    assert not fits(await ledger.reserve(reservation(1, cap(100), tenant=fresh_tenant, request_id="r-3")))


async def test_a_cap_that_comes_later_knows_what_was_spent(ledger: Ledger, fresh_tenant: str) -> None:
    await ledger.reserve(reservation(100, tenant=fresh_tenant))

    assert not fits(await ledger.reserve(reservation(1, cap(100, "month"), tenant=fresh_tenant, request_id="r-2")))


async def test_a_lowered_cap_keeps_what_is_reserved_and_admits_nothing_new(ledger: Ledger, fresh_tenant: str) -> None:
    await ledger.reserve(reservation(100, cap(1000), tenant=fresh_tenant))

    lowered = await ledger.reserve(reservation(1, cap(10), tenant=fresh_tenant, request_id="r-2"))

    assert not fits(lowered)
    assert await total(ledger, fresh_tenant) == (0, 100)


async def test_the_next_window_has_room_and_settlement_books_to_the_one_reserved_in(ledger: Ledger, fresh_tenant: str) -> None:
    hourly = cap(100, "hour")
    await ledger.reserve(reservation(100, hourly, tenant=fresh_tenant))

    later = await ledger.reserve(reservation(100, hourly, tenant=fresh_tenant, request_id="r-2", at_ms=NOON + HOUR))
    await ledger.settle(settlement(40, tenant=fresh_tenant))

    found = await counters(ledger, fresh_tenant)
    assert fits(later)
    assert found["tenant//hour/2026-03-01T12"] == (40, 0)
    assert found["tenant//hour/2026-03-01T13"] == (0, 100)


async def test_amounts_are_exact_to_the_nano_dollar_at_the_largest_cap(ledger: Ledger, fresh_tenant: str) -> None:
    largest = cap(LARGEST)
    assert fits(await ledger.reserve(reservation(LARGEST - 1, largest, tenant=fresh_tenant)))

    assert not fits(await ledger.reserve(reservation(2, largest, tenant=fresh_tenant, request_id="r-2")))
    assert fits(await ledger.reserve(reservation(1, largest, tenant=fresh_tenant, request_id="r-3")))
    assert await total(ledger, fresh_tenant) == (0, LARGEST)


async def test_a_counter_beyond_what_doubles_hold_stays_exact_and_is_over_every_cap(ledger: Ledger, fresh_tenant: str) -> None:
    for number in range(4):
        name = f"r-{number}"
        await ledger.reserve(reservation(LARGEST, tenant=fresh_tenant, request_id=name))
        await ledger.settle(settlement(LARGEST, tenant=fresh_tenant, request_id=name))

    capped = await ledger.reserve(reservation(1, cap(LARGEST), tenant=fresh_tenant, request_id="r-9"))

    assert not fits(capped)
    assert await total(ledger, fresh_tenant) == (4 * LARGEST, 0)


async def test_open_requests_are_named_until_they_end(ledger: Ledger, fresh_tenant: str) -> None:
    for number in range(3):
        await ledger.reserve(reservation(100, cap(200), tenant=fresh_tenant, request_id=f"r-{number}"))
    await ledger.settle(settlement(0, tenant=fresh_tenant, request_id="r-1"))

    account = (await ledger.accounts())[fresh_tenant]

    assert (account.open, list(account.open_ids)) == (2, ["r-0", "r-2"])
    assert Counter(path="tenant//total/total", settled_nano=0, reserved_nano=100) in account.counters


async def test_tenants_never_share(ledger: Ledger, fresh_tenant: str) -> None:
    await ledger.reserve(reservation(100, cap(100), tenant=fresh_tenant))

    assert fits(await ledger.reserve(reservation(100, cap(100), tenant=f"{fresh_tenant}-2")))


async def test_tokens_are_reserved_and_settled_beside_money(ledger: Ledger, fresh_tenant: str) -> None:
    full = await ledger.reserve(reservation(100, token_cap(50), tokens=30, tenant=fresh_tenant))
    over = await ledger.reserve(reservation(100, token_cap(50), tokens=21, tenant=fresh_tenant, request_id="r-2"))
    await ledger.settle(settlement(40, tokens=12, tenant=fresh_tenant))
    fits_now = await ledger.reserve(reservation(100, token_cap(50), tokens=38, tenant=fresh_tenant, request_id="r-3"))

    assert fits(full)
    assert isinstance(over, Decided)
    assert isinstance(over.decision, AtLimit)
    assert (over.decision.hit.kind, over.decision.hit.limit, over.decision.hit.used, over.decision.hit.wanted) == ("tokens", 50, 30, 21)
    assert fits(fits_now)
    (total,) = [c for c in (await ledger.accounts())[fresh_tenant].counters if c.path == "tenant//total/total"]
    assert (total.settled_tokens, total.reserved_tokens, total.settled_nano, total.reserved_nano) == (12, 38, 40, 100)


async def test_one_full_unit_keeps_the_others_untouched(ledger: Ledger, fresh_tenant: str) -> None:
    caps = (cap(1000), token_cap(50), concurrency_cap(1))
    await ledger.reserve(reservation(100, *caps, tokens=10, tenant=fresh_tenant))

    answer = await ledger.reserve(reservation(100, *caps, tokens=10, tenant=fresh_tenant, request_id="r-2"))

    assert isinstance(answer, Decided)
    assert isinstance(answer.decision, AtLimit)
    assert (answer.decision.hit.kind, answer.decision.hit.period) == ("concurrency", "")
    (total,) = [c for c in (await ledger.accounts())[fresh_tenant].counters if c.path == "tenant//total/total"]
    assert (total.reserved_nano, total.reserved_tokens) == (100, 10)


async def test_as_many_are_open_at_once_as_the_cap_says_whatever_ends_first(ledger: Ledger, fresh_tenant: str) -> None:
    capped = concurrency_cap(10, "agent")
    wanted = [reservation(1, capped, agent="a", tenant=fresh_tenant, request_id=f"r-{number}") for number in range(50)]
    answers = await asyncio.gather(*[ledger.reserve(one) for one in wanted])
    admitted = [one.request_id for one, answer in zip(wanted, answers, strict=True) if fits(answer)]
    for name in [*admitted[:4], *[one.request_id for one in wanted if one.request_id not in admitted]]:
        await ledger.settle(settlement(0, tenant=fresh_tenant, request_id=name))

    more = await asyncio.gather(*[ledger.reserve(replace(one, request_id=f"{one.request_id}-2")) for one in wanted])

    assert len(admitted) == 10
    assert sum(map(fits, more)) == 4, "what ended frees its place, and what was not admitted had none"


async def test_a_later_round_decides_anew_what_had_no_room_and_the_same_round_does_not(ledger: Ledger, fresh_tenant: str) -> None:
    first = await ledger.reserve(reservation(100, cap(50), tenant=fresh_tenant, then=("wait",)))
    same = await ledger.reserve(reservation(100, cap(500), tenant=fresh_tenant))
    later = await ledger.reserve(reservation(100, cap(500), tenant=fresh_tenant, round=2))
    repeat = await ledger.reserve(reservation(100, cap(500), tenant=fresh_tenant, round=2))
    even_later = await ledger.reserve(reservation(100, cap(500), tenant=fresh_tenant, round=4))

    assert isinstance(first, Decided)
    assert isinstance(first.decision, AtLimit)
    assert same == replace(first, repeated=True)
    assert fits(later)
    assert isinstance(later, Decided)
    assert repeat == even_later == replace(later, repeated=True), "what is admitted is not decided again"
    assert await total(ledger, fresh_tenant) == (0, 100)


async def test_a_throttled_request_reserves_nothing_and_goes_on_in_a_later_round(ledger: Ledger, fresh_tenant: str) -> None:
    hit = LimitHit(scope="user", subject="ann", kind="token_rate", period="minute", limit=9, used=9, wanted=0, retry_at_ms=NOON + 1)
    held = reservation(tenant=fresh_tenant, proposal=AtLimit(hit=hit, then=("wait",)), windows=())
    first = await ledger.reserve(held)

    later = await ledger.reserve(reservation(100, tenant=fresh_tenant, round=2))

    assert first == Decided(decision=AtLimit(hit=hit, then=("wait",)), repeated=False)
    assert fits(later)
    assert await total(ledger, fresh_tenant) == (0, 100)


async def test_a_settlement_says_what_was_reserved_and_what_it_does_not_know(ledger: Ledger, fresh_tenant: str) -> None:
    await ledger.reserve(reservation(100, tenant=fresh_tenant))

    assert await ledger.settle(settlement(170, tenant=fresh_tenant)) == Settled(reserved_nano=100)
    assert await ledger.settle(settlement(170, tenant=fresh_tenant)) == Unsettled(known=True)
    assert await ledger.settle(settlement(1, tenant=fresh_tenant, request_id="r-2")) == Unsettled(known=False)


async def test_what_is_restored_is_booked_above_the_cap_once_and_never_over_what_is_known(ledger: Ledger, fresh_tenant: str) -> None:
    wanted = reservation(100, cap(50), concurrency_cap(0), tokens=5, tenant=fresh_tenant)
    for _ in range(3):
        await ledger.restore([restoration(wanted)])
    other = replace(wanted, fingerprint="other")
    await ledger.restore([restoration(other)])

    assert await total(ledger, fresh_tenant) == (0, 100)
    assert not fits(await ledger.reserve(reservation(0, cap(50), tenant=fresh_tenant, request_id="r-2")))
    assert await ledger.settle(settlement(40, tenant=fresh_tenant)) == Settled(reserved_nano=100)
    await ledger.restore([restoration(wanted)])
    assert await total(ledger, fresh_tenant) == (40, 0)


async def test_an_attempt_that_only_a_later_result_lists_is_booked_once_and_what_was_booked_is_not_booked_again(
    ledger: Ledger, fresh_tenant: str
) -> None:
    await ledger.reserve(reservation(100, cap(1000, "hour", "user"), user="ann", tenant=fresh_tenant))
    await ledger.settle(settlement(0, tenant=fresh_tenant))  # it expired, though a copy of it is still at work

    for _ in range(3):
        await ledger.settle(settlement(30, tenant=fresh_tenant, offset=8, attempts=(("a-1", 30, 3),)))
    await ledger.settle(settlement(75, tenant=fresh_tenant, offset=9, attempts=(("a-1", 45, 4), ("a-2", 30, 3))))

    assert set((await counters(ledger, fresh_tenant)).values()) == {(60, 0)}
    assert {counter.settled_tokens for counter in (await ledger.accounts())[fresh_tenant].counters} == {6}
    assert await ledger.reserve(reservation(100, tenant=fresh_tenant)) == Closed(partition=3, offset=7)


async def test_the_attempts_of_the_first_result_are_not_late(ledger: Ledger, fresh_tenant: str) -> None:
    await ledger.reserve(reservation(100, tenant=fresh_tenant))

    await ledger.settle(settlement(50, tenant=fresh_tenant, attempts=(("a-1", 20, 2), ("a-2", 30, 3))))
    await ledger.settle(settlement(50, tenant=fresh_tenant, attempts=(("a-1", 20, 2), ("a-2", 30, 3))))

    assert await total(ledger, fresh_tenant) == (50, 0)


async def test_late_attempts_of_other_content_are_nobodys(ledger: Ledger, fresh_tenant: str) -> None:
    await ledger.reserve(reservation(100, tenant=fresh_tenant))
    await ledger.settle(settlement(0, tenant=fresh_tenant))

    await ledger.settle(settlement(30, tenant=fresh_tenant, fingerprint="f-2", attempts=(("a-1", 30, 3),)))

    assert await total(ledger, fresh_tenant) == (0, 0)
