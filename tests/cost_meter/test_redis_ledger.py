"""What only the ledger in Redis has: keys that expire, scripts that may be gone, a server that may be away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from daytwo.errors import RetryableError
from services.cost_meter.budget import LARGEST, AnyCap
from services.cost_meter.decisions import AtLimit
from services.cost_meter.ports import Decided, Reservation, Settlement
from services.cost_meter.redis_holdings import differences
from services.cost_meter.redis_ledger import RedisLedger
from tests.cost_meter.builders import HOUR, cap, concurrency_cap, reservation, settlement, token_cap
from tests.cost_meter.conftest import KEEP_MS
from tests.cost_meter.memory_ledger import MemoryLedger


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_url, decode_responses=True)
    yield client
    await client.aclose()


@pytest.mark.stack
async def test_past_windows_expire_and_totals_never_do(redis_ledger: RedisLedger, redis: Redis, fresh_tenant: str) -> None:
    await redis_ledger.reserve(reservation(100, tenant=fresh_tenant))

    async def lives(path: str) -> int:
        return int(await redis.pttl(f"{{{fresh_tenant}}}/spent/tenant//{path}"))

    assert KEEP_MS < await lives("hour/2026-03-01T12") <= KEEP_MS + HOUR
    assert KEEP_MS + 11 * HOUR < await lives("day/2026-03-01") <= KEEP_MS + 12 * HOUR
    assert await lives("total/total") == -1


@pytest.mark.stack
async def test_an_open_request_never_expires_and_a_closed_one_does(redis_ledger: RedisLedger, redis: Redis, fresh_tenant: str) -> None:
    key = f"{{{fresh_tenant}}}/request/r-1"
    await redis_ledger.reserve(reservation(100, tenant=fresh_tenant))
    while_open = await redis.pttl(key)
    await redis_ledger.settle(settlement(tenant=fresh_tenant))

    assert while_open == -1
    assert 0 < await redis.pttl(key) <= KEEP_MS
    windows = ["tenant//total/total", "tenant//month/2026-03", "tenant//day/2026-03-01", "tenant//hour/2026-03-01T12"]
    numbered = {str(number): window for number, window in enumerate(windows, 1)}
    assert await redis.hgetall(key) == {"fingerprint": "f-1", "closed": "3/7", **numbered}


@pytest.mark.stack
async def test_a_window_that_has_expired_does_not_come_back_as_a_debt(redis_ledger: RedisLedger, redis: Redis, fresh_tenant: str) -> None:
    await redis_ledger.reserve(reservation(100, tenant=fresh_tenant))
    await redis.delete(f"{{{fresh_tenant}}}/spent/tenant//hour/2026-03-01T12")

    await redis_ledger.settle(settlement(40, tenant=fresh_tenant))

    counters = {c.path: (c.settled_nano, c.reserved_nano) for c in (await redis_ledger.accounts())[fresh_tenant].counters}
    assert counters == dict.fromkeys(("tenant//total/total", "tenant//month/2026-03", "tenant//day/2026-03-01"), (40, 0))


@pytest.mark.stack
async def test_windows_that_have_expired_leave_the_index(redis_ledger: RedisLedger, redis: Redis, fresh_tenant: str) -> None:
    first = reservation(0, tenant=fresh_tenant)
    later = reservation(0, tenant=fresh_tenant, request_id="r-2", at_ms=first.at_ms + 60 * 24 * HOUR)

    await redis_ledger.reserve(first)
    await redis_ledger.reserve(later)

    names = await redis.zrange(f"{{{fresh_tenant}}}/windows", 0, -1)
    assert {str(name).rsplit("/", 1)[1] for name in names} == {"2026-04-30T12", "2026-04-30", "2026-04", "total"}


@pytest.mark.stack
async def test_no_uncapped_counter_overflows(redis_ledger: RedisLedger, redis: Redis, fresh_tenant: str) -> None:
    await redis.hset(f"{{{fresh_tenant}}}/spent/tenant//total/total", mapping={"settled": 2**62, "reserved": 0})

    answer = await redis_ledger.reserve(reservation(1000, tenant=fresh_tenant))

    assert isinstance(answer, Decided)
    assert isinstance(answer.decision, AtLimit)
    assert answer.decision.hit.used == 2**62


@pytest.mark.stack
async def test_a_redis_that_forgot_the_scripts_gets_them_again(redis_ledger: RedisLedger, redis: Redis, fresh_tenant: str) -> None:
    await redis_ledger.reserve(reservation(100, tenant=fresh_tenant))
    await redis.script_flush()

    answers = await asyncio.gather(
        *[redis_ledger.reserve(reservation(100, cap(350), tenant=fresh_tenant, request_id=f"r-{n}")) for n in range(1, 6)]
    )

    assert [isinstance(answer, Decided) and answer.repeated for answer in answers] == [True, False, False, False, False]
    over = [isinstance(answer, Decided) and isinstance(answer.decision, AtLimit) for answer in answers]
    assert over == [False, False, False, True, True]


@pytest.mark.stack
async def test_a_key_of_another_kind_is_an_error_of_its_request_alone(redis_ledger: RedisLedger, redis: Redis, fresh_tenant: str) -> None:
    await redis.set(f"{{{fresh_tenant}}}/request/broken", "no hash")

    bad, good = await asyncio.gather(
        redis_ledger.reserve(reservation(100, tenant=fresh_tenant, request_id="broken")),
        redis_ledger.reserve(reservation(100, tenant=fresh_tenant)),
        return_exceptions=True,
    )

    assert isinstance(bad, RetryableError)
    assert isinstance(good, Decided)


async def test_while_redis_is_away_every_call_may_be_made_again_later() -> None:
    ledger = RedisLedger("redis://127.0.0.1:1/0", keep_ms=KEEP_MS)

    for call in (ledger.start(), ledger.reserve(reservation()), ledger.settle(settlement()), ledger.accounts()):
        with pytest.raises(RetryableError, match="store_unavailable"):
            await call

    await ledger.stop()


def asked(rng: random.Random, tenant: str, number: int) -> Reservation:
    """Small and huge amounts, repeats and reused ids, under caps that many reach."""
    day, hour = cap(rng.choice([500, LARGEST]), "day"), cap(200, "hour", "user")
    caps: list[AnyCap] = [day, hour, token_cap(300, "total"), concurrency_cap(9, "user")]
    return reservation(
        rng.choice([1, 40, LARGEST // 2]),
        *rng.sample(caps, rng.randrange(5)),
        tokens=rng.randrange(30),
        tenant=f"{tenant}-{rng.randrange(2)}",
        request_id=f"r-{rng.randrange(number)}",
        fingerprint=rng.choice(["f-1", "f-1", "f-1", "f-2"]),
        user=rng.choice(["", "ann", "bob"]),
        round=rng.randrange(3),
    )


def end_of(rng: random.Random, wanted: Reservation, offset: int) -> Settlement:
    costs = [(f"a-{attempt}", rng.choice([0, 7, LARGEST // 4])) for attempt in range(rng.randrange(4))]
    return settlement(
        sum(cost for _, cost in costs),
        tokens=rng.randrange(40),
        tenant=wanted.tenant,
        request_id=wanted.request_id,
        fingerprint=wanted.fingerprint,
        offset=offset,
        attempts=tuple((name, cost, cost // 10) for name, cost in costs),
    )


@pytest.mark.stack
@pytest.mark.parametrize("seed", range(20))
async def test_what_is_asked_in_one_call_is_decided_as_one_after_another(seed: int, redis_ledger: RedisLedger, fresh_tenant: str) -> None:
    rng, model = random.Random(seed), MemoryLedger()
    wanted = [asked(rng, fresh_tenant, 60) for _ in range(200)]
    ends = [end_of(rng, rng.choice(wanted), offset) for offset in range(150)]

    answers = await asyncio.gather(*[redis_ledger.reserve(one) for one in wanted])
    settled = await asyncio.gather(*[redis_ledger.settle(one) for one in ends])

    assert answers == [await model.reserve(one) for one in wanted]
    assert settled == [await model.settle(one) for one in ends]
    there, expected = await redis_ledger.accounts(), await model.accounts()
    for name, account in expected.items():
        assert (set(there[name].counters), there[name].open_ids) == (set(account.counters), account.open_ids)


@pytest.mark.stack
async def test_sums_that_no_double_holds_are_exact(redis_ledger: RedisLedger, fresh_tenant: str) -> None:
    odd = [LARGEST - number for number in range(20)]

    await asyncio.gather(*[redis_ledger.reserve(reservation(one, tenant=fresh_tenant, request_id=f"r-{one}")) for one in odd])
    reserved = (await redis_ledger.accounts())[fresh_tenant].counters
    await asyncio.gather(*[redis_ledger.settle(settlement(one, tenant=fresh_tenant, request_id=f"r-{one}")) for one in odd[1:]])
    after = (await redis_ledger.accounts())[fresh_tenant].counters

    assert {counter.reserved_nano for counter in reserved} == {sum(odd)}
    assert {(counter.settled_nano, counter.reserved_nano) for counter in after} == {(sum(odd[1:]), LARGEST)}
    assert [one for one in await differences(redis_ledger) if fresh_tenant in one] == []
