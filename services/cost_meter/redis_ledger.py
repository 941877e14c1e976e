"""The ledger in Redis: three scripts (reserve.lua, settle.lua, restore.lua, each behind counters.lua), all keys of a tenant under one
hash tag. A call of a script takes what many handlers ask at the same time, and does one after another.

{tenant}/request/<id>     hash: the decision while open; once closed the place of the result, the windows, the attempts that are booked
{tenant}/open             set: ids decided and not closed
{tenant}/windows          sorted set: the keys of its counters by expiry, epoch milliseconds
{tenant}/spent/<window>   hash: settled, reserved (nano-dollars), tokens, held (tokens settled and reserved), open (requests)
tenants                   set: who is known here
ledger/...                the gate (redis_gate.py); no script does anything while it is shut
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
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
MOST_TEXTS: Final = 4096
FIELDS: Final = ("settled", "reserved", "tokens", "held", "open")


MOST_AT_ONCE: Final = 256
"""Requests of one call of a script: Redis does nothing else meanwhile, some 15 microseconds a request."""
MOST_PLAYED_AT_ONCE: Final = 1000
"""The same where the log is played and nobody else is served."""


class Asked(NamedTuple):
    """What a script is asked about one request."""

    tenant: str
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
        shared = lua("counters")
        self._scripts = {name: shared + lua(name) for name in names}
        self._loaded: dict[str, str] = {}
        self._known: set[str] = set()
        self._texts = WindowTexts(keep_ms)
        self._reserve = Batcher(partial(self._run, "reserve", GATE), max_size=MOST_AT_ONCE, concurrency=2)
        self._settle = Batcher(partial(self._run, "settle", GATE), max_size=MOST_AT_ONCE, concurrency=2)

    async def start(self) -> None:
        async with unavailable():
            await self._load()

    async def stop(self) -> None:
        await self.redis.aclose()

    async def reserve(self, reservation: Reservation) -> Answer:
        return _answer(await self._passed(self._reserve, _reserving(reservation, self._texts)), reservation)

    async def settle(self, settlement: Settlement) -> Settled | Unsettled:
        return _settled(await self._passed(self._settle, _settling(settlement, self._keep_ms)))

    def restore(self, restorations: Sequence[Restoration], *, gate: str = GATE) -> Coroutine[Any, Any, None]:
        """`gate`: the key that must be there for it to have an effect. Made ready at once, and sent when it is awaited."""
        return self._restore([_restoring(restoration, self._texts) for restoration in restorations], gate)

    async def _restore(self, asked: Sequence[Asked], gate: str) -> None:
        await self._all("restore", gate, asked)

    async def settle_all(self, settlements: Sequence[Settlement], *, gate: str) -> Sequence[Settled | Unsettled]:
        """In their order; `gate` as above."""
        return list(map(_settled, await self._all("settle", gate, [_settling(settlement, self._keep_ms) for settlement in settlements])))

    async def _passed(self, call: Batcher[Asked, Any], asked: Asked) -> Any:
        """Whoever tries again with growing pauses comes seconds after the gate was opened, and so do all behind him."""
        try:
            return await call(asked)
        except ShutError:
            if not self._opens_within_s or not await self.gate.opens(self._opens_within_s):
                raise
        return await call(asked)

    async def _all(self, script: str, gate: str, asked: Sequence[Asked]) -> Sequence[Any]:
        """One call after another, sent together: Redis need not wait for us in between. Raises the first error."""
        calls = [asked[first : first + MOST_PLAYED_AT_ONCE] for first in range(0, len(asked), MOST_PLAYED_AT_ONCE)]
        async with unavailable():
            await self._know(script, asked)
            answers = await self._send_together(script, gate, calls)
            if any(isinstance(answer, NoScriptError) for answer in answers):
                # A Redis that restarted. Nothing ran twice: what ran knows that it did.
                await self._load()
                answers = await self._send_together(script, gate, calls)
        results = [result for call, answer in zip(calls, answers, strict=True) for result in self._answers(call, answer)]
        for result in results:
            if isinstance(result, RetryableError):
                raise result
        return results

    async def _send_together(self, script: str, gate: str, calls: Sequence[Sequence[Asked]]) -> Sequence[Any]:
        pipeline = self.redis.pipeline(transaction=False)
        for call in calls:
            pipeline.evalsha(self._loaded.get(script, ""), len(call) + 1, gate, *_arguments(call))
        return await pipeline.execute(raise_on_error=False)

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

    async def _run(self, script: str, gate: str, asked: Sequence[Asked]) -> Sequence[Any]:
        """The answer to each, or its error."""
        async with unavailable():
            await self._know(script, asked)
            try:
                answers = await self._send(script, gate, asked)
            except NoScriptError:
                # A Redis that restarted. Nothing ran.
                await self._load()
                answers = await self._send(script, gate, asked)
        return self._answers(asked, answers)

    def _answers(self, asked: Sequence[Asked], answers: Any) -> Sequence[Any]:
        if isinstance(answers, RedisError):
            return [retryable(answers)] * len(asked)
        if answers[0] == b"shut":
            return [self._shut()] * len(asked)
        return [retryable(RedisError(text(answer[1]))) if answer[0] == b"error" else answer for answer in answers]

    def doubt(self) -> None:
        """Nothing that was in Redis is believed to be there still."""
        self._known.clear()

    def _shut(self) -> RetryableError:
        self.doubt()
        self.gate.shut()
        return ShutError()

    async def _know(self, script: str, asked: Sequence[Asked]) -> None:
        """Before anything is counted: who has a counter must be found."""
        new = {one.tenant for one in asked} - self._known if script != "settle" else ()
        if new:
            await self.redis.sadd(TENANTS, *new)
            self._known.update(new)

    async def _send(self, script: str, gate: str, asked: Sequence[Asked]) -> Any:
        return await self.redis.evalsha(self._loaded.get(script, ""), len(asked) + 1, gate, *_arguments(asked))

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


def lua(name: str) -> str:
    """A script's text."""
    return files("services.cost_meter").joinpath(f"{name}.lua").read_text()


def _arguments(asked: Sequence[Asked]) -> Sequence[str]:
    return [*[one.request for one in asked], *[one.text for one in asked]]


class WindowTexts:
    """The lines of a script's text that name counters. Busy subjects have the same windows again and again: made once."""

    def __init__(self, keep_ms: int) -> None:
        self._keep_ms = keep_ms
        self._made: dict[tuple[str, int], tuple[Sequence[Window], str]] = {}

    def limits(self, windows: Sequence[Window]) -> str:
        return self._of("limits", windows, self._limits)

    def places(self, windows: Sequence[Window]) -> str:
        return self._of("places", windows, self._place)

    def _of(self, kind: str, windows: Sequence[Window], line: Callable[[Window], str]) -> str:
        made = self._made.get((kind, id(windows)))
        # Held beside its text, so that its id is nobody else's.
        if made is not None and made[0] is windows:
            return made[1]
        if len(self._made) >= MOST_TEXTS:
            self._made.clear()
        text = "\n".join([line(window) for window in windows])
        self._made[kind, id(windows)] = windows, text
        return text

    def _limits(self, window: Window) -> str:
        if window.period == OPEN:
            return f"{window.path}\n{window.limit_requests or 0}\n-\n{OPEN}"
        nano = UNCAPPED if window.limit_nano is None else window.limit_nano
        tokens = UNCAPPED if window.limit_tokens is None else window.limit_tokens
        return f"{window.path}\n{nano}\n{tokens}\n{self._forget(window)}"

    def _place(self, window: Window) -> str:
        return f"{window.path}\n{self._forget(window)}"

    def _forget(self, window: Window) -> str:
        if window.period == OPEN:
            return OPEN
        return "-" if window.renews_at_ms is None else str(window.renews_at_ms + self._keep_ms)


def _reserving(one: Reservation, texts: WindowTexts) -> Asked:
    proposal = one.proposal
    text = (
        f"{one.fingerprint}\n{one.amount_nano}\n{one.tokens}\n{one.request_id}\n{one.at_ms}\n{one.round}\n"
        f"{'1' if isinstance(proposal, AtLimit) else '-'}\n{','.join(one.then) or '-'}\n{encode_proposal(proposal).decode()}\n"
        f"{texts.limits(one.windows)}"
    )
    return Asked(one.tenant, _request(one.tenant, one.request_id), text)


def _settling(one: Settlement, keep_ms: int) -> Asked:
    attempts = "\n".join([f"{name}\n{cost}\n{tokens}" for name, cost, tokens in one.attempts])
    head = f"{one.fingerprint}\n{one.cost_nano}\n{one.tokens}\n{one.partition}/{one.offset}\n{keep_ms}\n{one.request_id}\n"
    return Asked(one.tenant, _request(one.tenant, one.request_id), head + attempts)


def _restoring(one: Restoration, texts: WindowTexts) -> Asked:
    text = (
        f"{one.fingerprint}\n{one.nano}\n{one.tokens}\n{one.request_id}\n{one.at_ms}\n{one.round}\n{int(one.counts_as_open)}\n"
        f"{one.decision.decode()}\n{texts.places(one.windows)}"
    )
    return Asked(one.tenant, _request(one.tenant, one.request_id), text)


def _settled(result: Sequence[bytes]) -> Settled | Unsettled:
    if result[0] == b"settled":
        return Settled(reserved_nano=int(result[1]))
    return Unsettled(known=True, late_nano=int(result[1])) if result[0] == b"before" else Unsettled(known=False)


def _answer(result: Sequence[bytes], reservation: Reservation) -> Answer:
    kind = result[0]
    if kind == b"decided":
        return Decided(decision=reservation.proposal, repeated=False, ledger=int(result[1]))
    if kind == b"reused":
        return Reused(first_closed=result[1] is not None)
    if kind == b"closed":
        partition, offset = result[1].split(b"/")
        return Closed(partition=int(partition), offset=int(offset))
    if kind == b"repeated":
        return Decided(decision=decode(result[1]), repeated=True, ledger=int(result[2]))
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
