"""The ledger in Redis: three scripts (reserve.lua, settle.lua, restore.lua), all keys of a tenant under one hash tag.

{tenant}/request/<id>     hash: the decision while open; once closed the place of the result, the windows, the attempts that are booked
{tenant}/open             set: ids decided and not closed
{tenant}/windows          sorted set: the keys of its counters by expiry, epoch milliseconds
{tenant}/spent/<window>   hash: settled, reserved (nano-dollars), tokens, held (tokens settled and reserved), open (requests)
tenants                   set: who is known here
ledger/...                the gate (redis_gate.py); no script does anything while it is shut
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from daytwo.batching import Batcher
from daytwo.errors import RetryableError
from services.cost_meter.budget import OPEN, Window
from services.cost_meter.decisions import AtLimit, decode, encode_proposal, hit_of, window_of
from services.cost_meter.ports import (
    Account,
    Answer,
    Closed,
    Counter,
    Decided,
    Reservation,
    Restoration,
    Reused,
    Settled,
    Settlement,
    Unsettled,
)
from services.cost_meter.redis_gate import GATE, Gate, ShutError

UNCAPPED: Final = 2**62
"""The limit of a counter without a cap: it keeps the 64-bit counters from overflowing."""
TENANTS: Final = "tenants"
LISTED: Final = 1000
"""Most counters and open ids of a tenant in its account."""
TENANTS_AT_ONCE: Final = 100
TIMEOUT_S: Final = 5.0
FIELDS: Final = ("settled", "reserved", "tokens", "held", "open")


class Call(NamedTuple):
    """A call of a script, of a tenant."""

    script: str
    tenant: str
    gate: str
    request: str
    """Key."""
    text: str


class RedisLedger:
    """Raises RetryableError("store_unavailable") while Redis does not answer or the gate is shut.

    A call that Redis did not answer may have had its effect, once.
    """

    def __init__(self, url: str, *, keep_ms: int, opens_within_s: float = 0.0) -> None:
        """`opens_within_s`: so long a call that met a shut gate waits for its keeper to open it, before it fails."""
        # One more try at once, for a connection that broke while idle; the scripts are idempotent.
        self.redis = Redis.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 1),
            redis_connect_func=Gate.greet,
        )
        self.gate = Gate(self.redis)
        self._keep_ms = keep_ms
        self._opens_within_s = opens_within_s
        names = ("reserve", "settle", "restore")
        self._scripts = {name: files("services.cost_meter").joinpath(f"{name}.lua").read_text() for name in names}
        self._loaded: dict[str, str] = {}
        self._known: set[str] = set()
        self._call = Batcher(self._run, max_size=64, concurrency=2)

    async def start(self) -> None:
        async with unavailable():
            await self._load()

    async def stop(self) -> None:
        await self.redis.aclose()

    async def reserve(self, reservation: Reservation) -> Answer:
        return _answer(await self._passed(_reserve_call(reservation, self._keep_ms)), reservation)

    async def settle(self, settlement: Settlement) -> Settled | Unsettled:
        return _settled(await self._passed(_settle_call(settlement, self._keep_ms, GATE)))

    async def restore(self, restorations: Sequence[Restoration], *, gate: str = GATE) -> None:
        """`gate`: the key that must be there for it to have an effect."""
        await self._all([_restore_call(restoration, self._keep_ms, gate) for restoration in restorations])

    async def settle_all(self, settlements: Sequence[Settlement], *, gate: str) -> Sequence[Settled | Unsettled]:
        """In one go; `gate` as above."""
        return list(map(_settled, await self._all([_settle_call(settlement, self._keep_ms, gate) for settlement in settlements])))

    async def _passed(self, call: Call) -> Any:
        """Whoever tries again with growing pauses comes seconds after the gate was opened, and so do all behind him."""
        try:
            return await self._call(call)
        except ShutError:
            if not self._opens_within_s or not await self.gate.opens(self._opens_within_s):
                raise
        return await self._call(call)

    async def _all(self, calls: Sequence[Call]) -> Sequence[Any]:
        results = await self._run(calls)
        for result in results:
            if isinstance(result, RetryableError):
                raise result
        return results

    async def accounts(self) -> Mapping[str, Account]:
        async with unavailable():
            if not await self.gate.is_open():
                raise self._shut()
            tenants = await self.tenants()
            found: dict[str, Account] = {}
            for first in range(0, len(tenants), TENANTS_AT_ONCE):
                some = tenants[first : first + TENANTS_AT_ONCE]
                found.update(zip(some, await self._accounts(some), strict=True))
            return found

    async def tenants(self) -> list[str]:
        return sorted(map(text, await self.redis.smembers(TENANTS)))

    async def _load(self) -> None:
        self._loaded = {name: await self.redis.script_load(text) for name, text in self._scripts.items()}

    async def _run(self, calls: Sequence[Call]) -> Sequence[Any]:
        async with unavailable():
            results = await self._send(calls)
            if any(isinstance(result, NoScriptError) for result in results):
                # A Redis that restarted. What ran, ran once: all can be called again.
                await self._load()
                results = await self._send(calls)
        return [self._checked(result) for result in results]

    def _checked(self, result: Any) -> Any:
        if isinstance(result, RedisError):
            return retryable(result)
        return self._shut() if result[0] == b"shut" else result

    def doubt(self) -> None:
        """Nothing that was in Redis is believed to be there still."""
        self._known.clear()

    def _shut(self) -> RetryableError:
        self.doubt()
        self.gate.shut()
        return ShutError()

    async def _send(self, calls: Sequence[Call]) -> list[Any]:
        pipeline = self.redis.pipeline(transaction=False)
        new = {call.tenant for call in calls if call.script != "settle"} - self._known
        if new:
            pipeline.sadd(TENANTS, *new)
        for call in calls:
            pipeline.evalsha(self._loaded.get(call.script, ""), 2, call.gate, call.request, call.text)
        results = await pipeline.execute(raise_on_error=False)
        if new and not isinstance(results.pop(0), RedisError):
            self._known |= new
        return results

    async def _accounts(self, tenants: Sequence[str]) -> list[Account]:
        pipeline = self.redis.pipeline(transaction=False)
        for tenant in tenants:
            pipeline.scard(_key(tenant, "open"))
            pipeline.sscan(_key(tenant, "open"), count=LISTED)
            pipeline.zrevrange(_key(tenant, "windows"), 0, LISTED - 1)
        found = await pipeline.execute()
        windows = [list(map(text, keys)) for keys in found[2::3]]
        values = await self._values([key for keys in windows for key in keys])
        return [
            Account(
                counters=[_counter(key, values[key]) for key in keys if any(value is not None for value in values[key])],
                open=count,
                open_ids=sorted(map(text, page[1][:LISTED])),
            )
            for count, page, keys in zip(found[0::3], found[1::3], windows, strict=True)
        ]

    async def _values(self, keys: Sequence[str]) -> Mapping[str, Sequence[bytes | None]]:
        """The fields of each counter; None where it has expired."""
        pipeline = self.redis.pipeline(transaction=False)
        for key in keys:
            pipeline.hmget(key, *FIELDS)
        return dict(zip(keys, await pipeline.execute(), strict=True))


def _counter(key: str, values: Sequence[bytes | None]) -> Counter:
    _, _, path = key.partition("}/spent/")
    settled, reserved, tokens, held, opened = (int(value or 0) for value in values)
    return Counter(path=path, settled_nano=settled, reserved_nano=reserved, settled_tokens=tokens, reserved_tokens=held, open=opened)


def text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _key(tenant: str, name: str) -> str:
    return f"{{{tenant}}}/{name}"


def _request(tenant: str, request_id: str) -> str:
    return f"{{{tenant}}}/request/{request_id}"


def _reserve_call(reservation: Reservation, keep_ms: int) -> Call:
    proposal = reservation.proposal
    head = (
        f"{reservation.fingerprint}\n{reservation.amount_nano}\n{reservation.tokens}\n{reservation.request_id}\n{reservation.at_ms}\n"
        f"{reservation.round}\n{'1' if isinstance(proposal, AtLimit) else '-'}\n{','.join(reservation.then) or '-'}\n"
    )
    text = head + encode_proposal(proposal).decode() + "".join([_limits(window, keep_ms) for window in reservation.windows])
    return Call("reserve", reservation.tenant, GATE, _request(reservation.tenant, reservation.request_id), text)


@lru_cache(maxsize=16_384)
def _limits(window: Window, keep_ms: int) -> str:
    if window.period == OPEN:
        return f"\n{window.path}\n{window.limit_requests or 0}\n-\n{OPEN}"
    nano = UNCAPPED if window.limit_nano is None else window.limit_nano
    tokens = UNCAPPED if window.limit_tokens is None else window.limit_tokens
    return f"\n{window.path}\n{nano}\n{tokens}\n{_forget(window, keep_ms)}"


def _forget(window: Window, keep_ms: int) -> str:
    if window.period == OPEN:
        return OPEN
    return "-" if window.renews_at_ms is None else str(window.renews_at_ms + keep_ms)


def _settle_call(settlement: Settlement, keep_ms: int, gate: str) -> Call:
    text = (
        f"{settlement.fingerprint}\n{settlement.cost_nano}\n{settlement.tokens}\n{settlement.partition}/{settlement.offset}\n"
        f"{keep_ms}\n{settlement.request_id}{''.join([f'{chr(10)}{name}{chr(10)}{cost}' for name, cost in settlement.attempts])}"
    )
    return Call("settle", settlement.tenant, gate, _request(settlement.tenant, settlement.request_id), text)


def _restore_call(one: Restoration, keep_ms: int, gate: str) -> Call:
    head = f"{one.fingerprint}\n{one.nano}\n{one.tokens}\n{one.request_id}\n{one.at_ms}\n{one.round}\n{int(one.counts_as_open)}\n"
    windows = "".join([f"\n{window.path}\n{_forget(window, keep_ms)}" for window in one.windows])
    return Call("restore", one.tenant, gate, _request(one.tenant, one.request_id), head + one.decision.decode() + windows)


def _settled(result: Sequence[bytes]) -> Settled | Unsettled:
    if result[0] == b"settled":
        return Settled(reserved_nano=int(result[1]))
    return Unsettled(known=True, late_nano=int(result[1])) if result[0] == b"before" else Unsettled(known=False)


def _answer(result: Sequence[bytes], reservation: Reservation) -> Answer:
    kind = result[0]
    if kind == b"decided":
        return Decided(decision=reservation.proposal, repeated=False)
    if kind == b"reused":
        return Reused(first_closed=result[1] is not None)
    if kind == b"closed":
        partition, offset = result[1].split(b"/")
        return Closed(partition=int(partition), offset=int(offset))
    if kind == b"repeated":
        return Decided(decision=decode(result[1]), repeated=True)
    return Decided(decision=_over(result[1].decode()), repeated=kind == b"over again")


def _over(text: str) -> AtLimit:
    """The decision of a counter without room, as reserve.lua wrote it down."""
    kind, path, limit, settled, reserved, wanted, at_ms, then = text.split("\n")
    window = window_of(path, int(at_ms), kind, int(limit))
    hit = hit_of(window, kind, used=int(settled) + int(reserved), wanted=int(wanted))
    return AtLimit(hit=hit, then=() if then == "-" else tuple(then.split(",")))


@asynccontextmanager
async def unavailable() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise retryable(error) from error


def retryable(error: Exception) -> RetryableError:
    return RetryableError("store_unavailable", f"the ledger: {error or type(error).__name__}")
