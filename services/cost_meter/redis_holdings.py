"""What the open requests in Redis hold, and whether the counters say the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from services.cost_meter.ledger_view import TOTAL
from services.cost_meter.redis_ledger import RedisLedger, text

AT_ONCE: Final = 500
_HELD: Final = ("at", "amount", "held", "open", "windows")


class Holding(NamedTuple):
    """One open request. Nano-dollars, tokens, requests."""

    at_ms: int
    nano: int
    tokens: int
    open: int
    counters: Sequence[str]
    """Keys."""


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
    oldest: list[int] = []
    tenants = await ledger.tenants()
    for first in range(0, len(tenants), AT_ONCE):
        oldest += [holding.at_ms for holding in await _holdings(ledger, tenants[first : first + AT_ONCE])]
    return min(oldest, default=None)


async def differences(ledger: RedisLedger) -> list[str]:
    """Counters whose reserved amounts are not those of the open requests, in words."""
    found: list[str] = []
    tenants = await ledger.tenants()
    for first in range(0, len(tenants), AT_ONCE):
        some = tenants[first : first + AT_ONCE]
        expected = _summed(await _holdings(ledger, some))
        keys = sorted({*await _counters(ledger, some), *expected})
        for key, now in zip(keys, await _reserved(ledger, keys), strict=True):
            # One that has expired is no counter any more.
            if now is not None and now != expected.get(key, (0, 0, 0)):
                found.append(f"{key}: {now} reserved, {expected.get(key, (0, 0, 0))} by what is open")
    return found


async def _counters(ledger: RedisLedger, tenants: Sequence[str]) -> list[str]:
    pipeline = ledger.redis.pipeline(transaction=False)
    for tenant in tenants:
        pipeline.zrange(f"{{{tenant}}}/windows", 0, -1)
    return [text(key) for keys in await pipeline.execute() for key in keys]


async def settled_in_total(ledger: RedisLedger, tenants: Sequence[str]) -> Mapping[str, int]:
    """Nano-dollars."""
    pipeline = ledger.redis.pipeline(transaction=False)
    for tenant in tenants:
        pipeline.hget(f"{{{tenant}}}/spent/{TOTAL}", "settled")
    return dict(zip(tenants, [int(nano or 0) for nano in await pipeline.execute()], strict=True))


def _summed(holdings: Sequence[Holding]) -> Mapping[str, tuple[int, int, int]]:
    sums: dict[str, tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))
    for holding in holdings:
        for key in holding.counters:
            nano, tokens, opened = sums[key]
            if key.endswith("/open/now"):
                sums[key] = (nano, tokens, opened + holding.open)
            else:
                sums[key] = (nano + holding.nano, tokens + holding.tokens, opened)
    return {key: amounts for key, amounts in sums.items() if any(amounts)}


async def _reserved(ledger: RedisLedger, keys: Sequence[str]) -> list[tuple[int, int, int] | None]:
    pipeline = ledger.redis.pipeline(transaction=False)
    for key in keys:
        pipeline.hmget(key, "reserved", "held", "open")
    rows: list[Any] = await pipeline.execute()
    return [None if row == [None] * 3 else (int(row[0] or 0), int(row[1] or 0), int(row[2] or 0)) for row in rows]


async def _holdings(ledger: RedisLedger, tenants: Sequence[str]) -> list[Holding]:
    pipeline = ledger.redis.pipeline(transaction=False)
    for tenant in tenants:
        pipeline.smembers(f"{{{tenant}}}/open")
    opened = zip(tenants, await pipeline.execute(), strict=True)
    keys = [f"{{{tenant}}}/request/{text(request_id)}" for tenant, ids in opened for request_id in ids]
    holdings: list[Holding] = []
    for first in range(0, len(keys), AT_ONCE):
        pipeline = ledger.redis.pipeline(transaction=False)
        for key in keys[first : first + AT_ONCE]:
            pipeline.hmget(key, *_HELD)
        rows = zip(keys[first : first + AT_ONCE], await pipeline.execute(), strict=True)
        holdings += [_holding(key.partition("/")[0], row) for key, row in rows]
    return holdings


def _holding(tag: str, row: Sequence[bytes | None]) -> Holding:
    at_ms, nano, tokens, opened, counters = row
    paths = (counters or b"").decode().split("\n") if counters else []
    # Until version 2 the whole key was written down.
    keys = [path if path.startswith("{") else f"{tag}/spent/{path}" for path in paths]
    return Holding(int(at_ms or 0), int(nano or 0), int(tokens or 0), int(opened or 0), keys)
