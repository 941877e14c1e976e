"""The ledger in Redis: two scripts (reserve.lua, settle.lua), all keys of a tenant under one hash tag.

{tenant}/request/<id>     hash: the decision while open; once closed the place of the result, the windows, the attempts that are booked
{tenant}/open             set: ids decided and not closed
{tenant}/windows          sorted set: the keys of its counters by expiry, epoch milliseconds
{tenant}/spent/<window>   hash: settled, reserved
tenants                   set: who is known here
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from daytwo.batching import Batcher
from daytwo.errors import RetryableError
from services.cost_meter.budget import Window
from services.cost_meter.decisions import decode, encode_over, encode_proposal
from services.cost_meter.ports import Account, Answer, Closed, Counter, Decided, Reservation, Reused, Settlement

UNCAPPED_NANO: Final = 2**62
"""The limit of a window without a cap: it keeps the 64-bit counters from overflowing."""
TENANTS: Final = "tenants"
LISTED: Final = 1000
"""Most counters and open ids of a tenant in its account."""
TENANTS_AT_ONCE: Final = 100
TIMEOUT_S: Final = 5.0


class Call(NamedTuple):
    """A call of a script, of a tenant."""

    script: str
    tenant: str
    keys: Sequence[str]
    arguments: Sequence[str | bytes | int]


class RedisLedger:
    """Raises RetryableError("store_unavailable") while Redis does not answer; a call may then have had its effect, once."""

    def __init__(self, url: str, *, keep_ms: int) -> None:
        # One more try at once, for a connection that broke while idle; the scripts are idempotent.
        self._redis = Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 1))
        self._keep_ms = keep_ms
        self._scripts = {name: files("services.cost_meter").joinpath(f"{name}.lua").read_text() for name in ("reserve", "settle")}
        self._loaded: dict[str, str] = {}
        self._known: set[str] = set()
        self._call = Batcher(self._run, max_size=64, concurrency=2)

    async def start(self) -> None:
        async with _unavailable():
            await self._load()

    async def stop(self) -> None:
        await self._redis.aclose()

    async def reserve(self, reservation: Reservation) -> Answer:
        return _answer(await self._call(_reserve_call(reservation, self._keep_ms)))

    async def settle(self, settlement: Settlement) -> None:
        await self._call(_settle_call(settlement, self._keep_ms))

    async def accounts(self) -> Mapping[str, Account]:
        async with _unavailable():
            tenants = sorted(map(_text, await self._redis.smembers(TENANTS)))
            found: dict[str, Account] = {}
            for first in range(0, len(tenants), TENANTS_AT_ONCE):
                some = tenants[first : first + TENANTS_AT_ONCE]
                found.update(zip(some, await self._accounts(some), strict=True))
            return found

    async def _load(self) -> None:
        self._loaded = {name: await self._redis.script_load(text) for name, text in self._scripts.items()}

    async def _run(self, calls: Sequence[Call]) -> Sequence[Any]:
        async with _unavailable():
            results = await self._send(calls)
            if any(isinstance(result, NoScriptError) for result in results):
                # A Redis that restarted. What ran, ran once: all can be called again.
                self._known.clear()
                await self._load()
                results = await self._send(calls)
        return [_retryable(result) if isinstance(result, RedisError) else result for result in results]

    async def _send(self, calls: Sequence[Call]) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        new = {call.tenant for call in calls if call.script == "reserve"} - self._known
        if new:
            pipeline.sadd(TENANTS, *new)
        for call in calls:
            pipeline.evalsha(self._loaded.get(call.script, ""), len(call.keys), *call.keys, *call.arguments)
        results = await pipeline.execute(raise_on_error=False)
        if new and not isinstance(results.pop(0), RedisError):
            self._known |= new
        return results

    async def _accounts(self, tenants: Sequence[str]) -> list[Account]:
        pipeline = self._redis.pipeline(transaction=False)
        for tenant in tenants:
            pipeline.scard(_key(tenant, "open"))
            pipeline.sscan(_key(tenant, "open"), count=LISTED)
            pipeline.zrevrange(_key(tenant, "windows"), 0, LISTED - 1)
        found = await pipeline.execute()
        windows = [list(map(_text, keys)) for keys in found[2::3]]
        values = await self._values([key for keys in windows for key in keys])
        return [
            Account(
                counters=[_counter(key, *values[key]) for key in keys if values[key][1] is not None],
                open=count,
                open_ids=sorted(map(_text, page[1][:LISTED])),
            )
            for count, page, keys in zip(found[0::3], found[1::3], windows, strict=True)
        ]

    async def _values(self, keys: Sequence[str]) -> Mapping[str, tuple[bytes | None, bytes | None]]:
        """What is settled and reserved in each counter; None where it has expired."""
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.hmget(key, "settled", "reserved")
        return dict(zip(keys, await pipeline.execute(), strict=True))


def _counter(key: str, settled: bytes | None, reserved: bytes | None) -> Counter:
    _, _, path = key.partition("}/spent/")
    return Counter(path=path, settled_nano=int(settled or 0), reserved_nano=int(reserved or 0))


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _key(tenant: str, name: str) -> str:
    return f"{{{tenant}}}/{name}"


def _reserve_call(reservation: Reservation, keep_ms: int) -> Call:
    tenant, amount, at_ms = reservation.tenant, reservation.amount_nano, reservation.at_ms
    keys = [_key(tenant, f"request/{reservation.request_id}"), _key(tenant, "open"), _key(tenant, "windows")]
    arguments: list[str | bytes | int] = [
        reservation.fingerprint,
        amount,
        encode_proposal(reservation.proposal),
        reservation.request_id,
        at_ms,
    ]
    for window in reservation.windows:
        limit = UNCAPPED_NANO if window.limit_nano is None else window.limit_nano
        keys.append(_key(tenant, f"spent/{window.path}"))
        arguments += (limit, _lifetime(window, at_ms, keep_ms), encode_over(window, limit, amount, cache_only=reservation.cache_only))
    return Call("reserve", tenant, keys, arguments)


def _lifetime(window: Window, at_ms: int, keep_ms: int) -> int | str:
    """Milliseconds to keep a window that begins to be used now; empty: for ever. By the record's time, not Redis' clock."""
    return "" if window.renews_at_ms is None else window.renews_at_ms - at_ms + keep_ms


def _settle_call(settlement: Settlement, keep_ms: int) -> Call:
    tenant, request_id = settlement.tenant, settlement.request_id
    place = f"{settlement.partition}/{settlement.offset}"
    arguments: list[str | bytes | int] = [settlement.fingerprint, settlement.cost_nano, place, keep_ms, request_id]
    arguments += [each for attempt in settlement.attempts for each in attempt]
    return Call("settle", tenant, [_key(tenant, f"request/{request_id}"), _key(tenant, "open")], arguments)


def _answer(result: Sequence[bytes]) -> Answer:
    kind = result[0]
    if kind == b"reused":
        return Reused(first_closed=result[1] is not None)
    if kind == b"closed":
        partition, offset = result[1].split(b"/")
        return Closed(partition=int(partition), offset=int(offset))
    _, decision, settled, reserved = result
    return Decided(decision=decode(decision, int(settled) + int(reserved)), repeated=kind == b"repeated")


@asynccontextmanager
async def _unavailable() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise _retryable(error) from error


def _retryable(error: Exception) -> RetryableError:
    return RetryableError("store_unavailable", f"the ledger: {error or type(error).__name__}")
