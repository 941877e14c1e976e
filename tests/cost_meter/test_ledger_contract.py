"""What a ledger promises, in memory and on Redis."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from services.cost_meter.budget import LARGEST_NANO
from services.cost_meter.decisions import OverCap, Refusal
from services.cost_meter.ports import Answer, Closed, Counter, Decided, Ledger, Reused
from tests.cost_meter.builders import HOUR, NOON, admission, cap, reservation, settlement


def fits(answer: Answer) -> bool:
    return isinstance(answer, Decided) and not isinstance(answer.decision, OverCap)


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
        decision=OverCap(
            scope="workflow",
            subject="w",
            period="total",
            limit_nano=150,
            used_nano=100,
            worst_nano=100,
            renews_at_ms=None,
            cache_only=True,
        ),
        repeated=False,
    )
    assert set((await counters(ledger, fresh_tenant)).values()) == {(0, 100)}


async def test_of_several_full_caps_the_last_to_renew_is_named(ledger: Ledger, fresh_tenant: str) -> None:
    answer = await ledger.reserve(reservation(100, cap(50, "hour"), cap(50, "month"), cap(50, "day"), tenant=fresh_tenant))

    assert isinstance(answer, Decided)
    assert isinstance(answer.decision, OverCap)
    assert answer.decision.period == "month"


async def test_the_same_reservation_three_times_is_booked_once_and_decided_equally(ledger: Ledger, fresh_tenant: str) -> None:
    wanted = reservation(100, cap(1000), tenant=fresh_tenant)

    answers = [await ledger.reserve(wanted) for _ in range(3)]

    assert answers == [Decided(decision=admission(100), repeated=repeated) for repeated in (False, True, True)]
    assert await total(ledger, fresh_tenant) == (0, 100)


async def test_a_repeat_gets_the_first_decision_whatever_is_proposed_now(ledger: Ledger, fresh_tenant: str) -> None:
    first = await ledger.reserve(reservation(100, cap(50), tenant=fresh_tenant))
    refusal = Refusal(reason="unknown_model", detail="gone")
    refused = await ledger.reserve(reservation(tenant=fresh_tenant, request_id="r-2", proposal=refusal, windows=()))

    repeat = await ledger.reserve(reservation(100, cap(5000), tenant=fresh_tenant, cache_only=False))
    refused_again = await ledger.reserve(reservation(100, tenant=fresh_tenant, request_id="r-2"))

    assert isinstance(first, Decided)
    assert repeat == replace(first, repeated=True)
    assert (refused, refused_again) == (Decided(decision=refusal, repeated=False), Decided(decision=refusal, repeated=True))


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
    largest = cap(LARGEST_NANO)
    assert fits(await ledger.reserve(reservation(LARGEST_NANO - 1, largest, tenant=fresh_tenant)))

    assert not fits(await ledger.reserve(reservation(2, largest, tenant=fresh_tenant, request_id="r-2")))
    assert fits(await ledger.reserve(reservation(1, largest, tenant=fresh_tenant, request_id="r-3")))
    assert await total(ledger, fresh_tenant) == (0, LARGEST_NANO)


async def test_a_counter_beyond_what_doubles_hold_stays_exact_and_is_over_every_cap(ledger: Ledger, fresh_tenant: str) -> None:
    for number in range(4):
        name = f"r-{number}"
        await ledger.reserve(reservation(LARGEST_NANO, tenant=fresh_tenant, request_id=name))
        await ledger.settle(settlement(LARGEST_NANO, tenant=fresh_tenant, request_id=name))

    capped = await ledger.reserve(reservation(1, cap(LARGEST_NANO), tenant=fresh_tenant, request_id="r-9"))

    assert not fits(capped)
    assert await total(ledger, fresh_tenant) == (4 * LARGEST_NANO, 0)


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


async def test_an_attempt_that_only_a_later_result_lists_is_booked_once_and_what_was_booked_is_not_booked_again(
    ledger: Ledger, fresh_tenant: str
) -> None:
    await ledger.reserve(reservation(100, cap(1000, "hour", "user"), user="ann", tenant=fresh_tenant))
    await ledger.settle(settlement(0, tenant=fresh_tenant))  # it expired, though a copy of it is still at work

    for _ in range(3):
        await ledger.settle(settlement(30, tenant=fresh_tenant, offset=8, attempts=(("a-1", 30),)))
    await ledger.settle(settlement(75, tenant=fresh_tenant, offset=9, attempts=(("a-1", 45), ("a-2", 30))))

    assert set((await counters(ledger, fresh_tenant)).values()) == {(60, 0)}
    assert await ledger.reserve(reservation(100, tenant=fresh_tenant)) == Closed(partition=3, offset=7)


async def test_the_attempts_of_the_first_result_are_not_late(ledger: Ledger, fresh_tenant: str) -> None:
    await ledger.reserve(reservation(100, tenant=fresh_tenant))

    await ledger.settle(settlement(50, tenant=fresh_tenant, attempts=(("a-1", 20), ("a-2", 30))))
    await ledger.settle(settlement(50, tenant=fresh_tenant, attempts=(("a-1", 20), ("a-2", 30))))

    assert await total(ledger, fresh_tenant) == (50, 0)


async def test_late_attempts_of_other_content_are_nobodys(ledger: Ledger, fresh_tenant: str) -> None:
    await ledger.reserve(reservation(100, tenant=fresh_tenant))
    await ledger.settle(settlement(0, tenant=fresh_tenant))

    await ledger.settle(settlement(30, tenant=fresh_tenant, fingerprint="f-2", attempts=(("a-1", 30),)))

    assert await total(ledger, fresh_tenant) == (0, 0)
