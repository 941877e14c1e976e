"""What the open requests in Redis hold, and whether the counters say the same."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from services.cost_meter.ledger_view import TOTAL
from services.cost_meter.redis_ledger import RedisLedger, lua, text

TENANTS_AT_ONCE: Final = 500
REQUESTS_AT_ONCE: Final = 1000
_HOLDINGS: Final = lua("holdings")
_RESERVED: Final = lua("reserved")


class Amounts(NamedTuple):
    """Of a counter."""

    nano: int = 0
    tokens: int = 0
    open: int = 0
    """Requests."""

    def plus(self, other: Amounts) -> Amounts:
        return Amounts(self.nano + other.nano, self.tokens + other.tokens, self.open + other.open)


class RedisHoldings:
    """Holdings (keeper.py) of a ledger in Redis."""

    def __init__(self, ledger: RedisLedger) -> None:
        self._ledger = ledger

    async def oldest_open_ms(self) -> int | None:
        return await oldest_open_ms(self._ledger)

    async def differences(self) -> list[str]:
        return await differences(self._ledger)

    async def settled_in_total(self, tenants: Sequence[str]) -> Mapping[str, int]:
        return await settled_in_total(self._ledger, tenants)


async def oldest_open_ms(ledger: RedisLedger) -> int | None:
    """When the oldest open request was decided, epoch milliseconds; None: none is open."""
    found = [oldest async for tenants in _tenants(ledger) async for oldest, _ in _held(ledger, tenants) if oldest is not None]
    return min(found, default=None)


async def differences(ledger: RedisLedger) -> list[str]:
    """Counters whose reserved amounts are not those of the open requests, in words."""
    at_once = asyncio.Semaphore(2)  # Redis sums up for one while we add for the other

    async def some(tenants: Sequence[str]) -> list[str]:
        async with at_once:
            return await _differences(ledger, tenants)

    found = await asyncio.gather(*[some(tenants) async for tenants in _tenants(ledger)])
    return [difference for each in found for difference in each]


async def _differences(ledger: RedisLedger, tenants: Sequence[str]) -> list[str]:
    expected: dict[str, Amounts] = defaultdict(Amounts)
    async for _, sums in _held(ledger, tenants):
        for key, amounts in sums.items():
            expected[key] = expected[key].plus(amounts)
    found = await _reserved(ledger, tenants, expected)
    return [
        f"{key}: {tuple(now)} reserved, {tuple(wanted)} by what is open"
        for key, now in found.items()
        if now != (wanted := expected.get(key, Amounts()))
    ]


async def settled_in_total(ledger: RedisLedger, tenants: Sequence[str]) -> Mapping[str, int]:
    """Nano-dollars."""
    pipeline = ledger.redis.pipeline(transaction=False)
    for tenant in tenants:
        pipeline.hget(f"{{{tenant}}}/spent/{TOTAL}", "settled")
    return dict(zip(tenants, [int(nano or 0) for nano in await pipeline.execute()], strict=True))


async def _tenants(ledger: RedisLedger) -> AsyncIterator[Sequence[str]]:
    tenants = await ledger.tenants()
    for first in range(0, len(tenants), TENANTS_AT_ONCE):
        yield tenants[first : first + TENANTS_AT_ONCE]


async def _held(ledger: RedisLedger, tenants: Sequence[str]) -> AsyncIterator[tuple[int | None, Mapping[str, Amounts]]]:
    """By counter (key) what some of the open requests hold, and when the oldest of them was decided."""
    pipeline = ledger.redis.pipeline(transaction=False)
    for tenant in tenants:
        pipeline.smembers(f"{{{tenant}}}/open")
    opened = zip(tenants, await pipeline.execute(), strict=True)
    keys = [f"{{{tenant}}}/request/{text(request_id)}" for tenant, ids in opened for request_id in ids]
    for first in range(0, len(keys), REQUESTS_AT_ONCE):
        some = keys[first : first + REQUESTS_AT_ONCE]
        oldest, *rest = await _ask(ledger, _HOLDINGS, some, [])
        yield None if oldest == b"-" else int(oldest), _sums(rest)


def _sums(answer: Sequence[bytes]) -> Mapping[str, Amounts]:
    return {text(row[0]): Amounts(*[(int(row[at]) << 26) + int(row[at + 1]) for at in (1, 3, 5)]) for row in _rows(answer, 7)}


async def _reserved(ledger: RedisLedger, tenants: Sequence[str], expected: Mapping[str, Amounts]) -> Mapping[str, Amounts]:
    """By key, of the tenants' counters and the expected ones. One that has expired is no counter any more."""
    rows = _rows(await _ask(ledger, _RESERVED, [f"{{{tenant}}}/windows" for tenant in tenants], []), 4)
    found = {text(row[0]): Amounts(*map(int, row[1:])) for row in rows}
    rows = _rows(await _ask(ledger, _RESERVED, [], sorted(expected.keys() - found.keys())), 4)
    return {**found, **{text(row[0]): Amounts(*map(int, row[1:])) for row in rows}}


def _rows(answer: Sequence[bytes], width: int) -> Sequence[Sequence[bytes]]:
    return [answer[at : at + width] for at in range(0, len(answer), width)]


async def _ask(ledger: RedisLedger, script: str, keys: Sequence[str], arguments: Sequence[str]) -> Sequence[Any]:
    answer: Any = await ledger.redis.eval(script, len(keys), *keys, *arguments)
    found: Sequence[Any] = answer
    return found
