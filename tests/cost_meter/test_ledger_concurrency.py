"""The ledger on real Redis under hundreds of concurrent callers of several processes' clients, over many seeds."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from daytwo.audit.recount import recount
from daytwo.records import Admission, Cap, ConcurrencyCap, TokenCap, Usage
from services.cost_meter.budget import Caps
from services.cost_meter.ports import Decided, Ledger, Reservation, Settled
from services.cost_meter.redis_ledger import RedisLedger
from tests.cost_meter.builders import cap, capped, concurrency_cap, ended, reservation, settlement, token_cap
from tests.cost_meter.conftest import KEEP_MS, open_gate

SEEDS = 30
CALLERS = 200
CLIENTS = 3
PEOPLE = ("", "ann", "bob", "cy")
RUNS = ("", "nightly-1", "nightly-2", "adhoc")


@dataclass
class Told:
    """What the callers were told, which the ledger must have."""

    reserved: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))
    """By path: nano-dollars, tokens and requests still held."""
    ends: list[object] = field(default_factory=list)


def some_caps(rng: random.Random) -> list[Cap | TokenCap | ConcurrencyCap]:
    found: list[Cap | TokenCap | ConcurrencyCap] = [cap(rng.randrange(500, 3000), "day"), cap(rng.randrange(100, 900), "hour", "user")]
    found += [token_cap(rng.randrange(50, 400), "total", "workflow", "nightly-*"), concurrency_cap(rng.randrange(1, 30), "user", "ann")]
    return rng.sample(found, rng.randrange(1, 5))


async def one(
    ledger: Ledger, rng: random.Random, tenant: str, number: int, caps: list[Cap | TokenCap | ConcurrencyCap], told: Told
) -> None:
    """Asks once or more often, and ends it or not."""
    wanted = reservation(
        rng.randrange(1, 120),
        *caps,
        tokens=rng.randrange(1, 30),
        tenant=tenant,
        request_id=f"r-{number}",
        user=rng.choice(PEOPLE),
        workflow=rng.choice(RUNS),
    )
    answers = await asyncio.gather(*[ledger.reserve(wanted) for _ in range(rng.randrange(1, 4))])
    decisions = {repr(answer.decision) for answer in answers if isinstance(answer, Decided)}
    assert len(decisions) == 1, "a repeat is decided as the first"
    assert sum(isinstance(answer, Decided) and not answer.repeated for answer in answers) == 1
    admitted = isinstance(answers[0], Decided) and isinstance(answers[0].decision, Admission)
    if admitted and rng.random() < 0.6:
        await end(ledger, rng, wanted, told)
    elif admitted:
        for window in wanted.windows:
            held = told.reserved[window.path]
            held[0], held[1], held[2] = held[0] + wanted.amount_nano, held[1] + wanted.tokens, held[2] + 1


async def end(ledger: Ledger, rng: random.Random, wanted: Reservation, told: Told) -> None:
    cost, tokens = rng.randrange(wanted.amount_nano + 1), rng.randrange(wanted.tokens + 1)
    last = settlement(cost, tokens=tokens, tenant=wanted.tenant, request_id=wanted.request_id)
    results = await asyncio.gather(*[ledger.settle(last) for _ in range(rng.randrange(1, 4))])
    assert results.count(Settled(reserved_nano=wanted.amount_nano)) == 1
    usage = Usage(input_tokens=tokens)
    told.ends.append(ended(tenant=wanted.tenant, request_id=wanted.request_id, cost_nano=cost, usage=usage))


async def within(ledger: Ledger, tenant: str, caps: list[Cap | TokenCap | ConcurrencyCap]) -> Mapping[str, tuple[int, int, int, int]]:
    """The counters, each of which is within its caps at this moment."""
    account = (await ledger.accounts()).get(tenant)
    found = {}
    for counter in account.counters if account else ():
        scope, rest = counter.path.split("/", 1)
        subject, period, _ = rest.rsplit("/", 2)
        limit_nano, limit_tokens, _ = Caps(capped(*caps)).limits(scope, subject, period)
        assert limit_nano is None or counter.settled_nano + counter.reserved_nano <= limit_nano
        assert limit_tokens is None or counter.settled_tokens + counter.reserved_tokens <= limit_tokens
        found[counter.path] = (counter.settled_nano, counter.settled_tokens, counter.reserved_nano, counter.reserved_tokens)
    return found


@pytest.mark.stack
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_hundreds_of_callers_at_once_never_pass_a_cap_and_the_ledger_is_what_they_were_told(
    seed: int, redis_url: str, fresh_tenant: str
) -> None:
    rng = random.Random(seed)
    ledgers = [RedisLedger(redis_url, keep_ms=KEEP_MS) for _ in range(CLIENTS)]
    for ledger in ledgers:
        await ledger.start()
    await open_gate(ledgers[0])
    caps, told = some_caps(rng), Told()
    asking = [
        asyncio.create_task(one(ledgers[number % CLIENTS], random.Random(f"{seed}/{number}"), fresh_tenant, number, caps, told))
        for number in range(CALLERS)
    ]

    while not all(task.done() for task in asking):
        await within(ledgers[0], fresh_tenant, caps)
    await asyncio.gather(*asking)
    counters = await within(ledgers[0], fresh_tenant, caps)
    for ledger in ledgers:
        await ledger.stop()

    total = counters["tenant//total/total"]
    assert total[:2] == recount(told.ends).get(fresh_tenant, (0, 0))  # type: ignore[arg-type]
    for path, (_, _, nano, tokens) in counters.items():
        assert [nano, tokens] == told.reserved[path][:2]
