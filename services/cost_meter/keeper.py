"""Keeps the ledger's gate: plays the log onto a ledger that may have lost something, compares, and only then opens.

A grant that was lost may still be on its way to the log, however late it comes. So the opening has a number, and every grant that of
its own: the number is announced before, and nobody buys on a grant of an earlier one from then on (daytwo.openings).

What is played is idempotent, so it does not matter how much of it the ledger knows. How far back it must begin follows from the
ledger itself: everything admitted before its mark is in it, and of that only what is open there can have ended since.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, Self, TypeVar

from redis.exceptions import RedisError

from daytwo.clock import Clock
from daytwo.errors import RetryableError
from daytwo.openings import LANDS_S, MAIN, Openings
from daytwo.records import LedgerOpened
from services.cost_meter.budget import Window
from services.cost_meter.history import Admitted, Ended, History
from services.cost_meter.ports import Restoration, Settled, Settlement, Unsettled
from services.cost_meter.redis_gate import LOCK, Gate
from services.cost_meter.redis_ledger import unavailable
from services.cost_meter.restoring import admitted_again, unreserved
from services.cost_meter.tenants import Tenants

log = logging.getLogger(__name__)

T = TypeVar("T", Admitted, Ended)

MARK_S: Final = 5.0
"""How often the ledger is marked: so much more of the log is played than was lost."""
LOOK_S: Final = 0.5
"""How often it is looked at, where nobody else does."""
MARGIN_MS: Final = 60_000
"""How far the clocks of processes may differ."""
AT_ONCE: Final = 20_000
"""Requests played together, by tenant: the more of a tenant come together, the less often its counters are written."""
AGAIN_S: Final = 0.2
STOP_S: Final = 3.0


class NotRebuiltError(RetryableError):
    """The ledger is not what the log says, and a person must look at it."""

    def __init__(self, detail: str) -> None:
        super().__init__("store_unavailable", f"the ledger stays closed: {detail}")


@dataclass(slots=True)
class Rebuilt:
    """What was played."""

    since_ms: int | None
    """Epoch milliseconds; None: from the beginning of the log."""
    number: int
    """Of the opening."""
    admitted: int = 0
    ended: int = 0
    settled_nano: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By tenant, what this rebuilding has settled."""
    seconds: float = 0.0


class KeptLedger(Protocol):
    """What the keeper needs of the ledger (redis_ledger.py). `gate` of a call: the key that must be there for it to have an effect."""

    @property
    def gate(self) -> Gate: ...

    def doubt(self) -> None: ...

    async def tenants(self) -> Sequence[str]: ...

    async def restore(self, restorations: Sequence[Restoration], *, gate: str) -> None: ...

    async def settle_all(self, settlements: Sequence[Settlement], *, gate: str) -> Sequence[Settled | Unsettled]: ...


class Holdings(Protocol):
    """What the ledger's open requests hold (redis_holdings.py)."""

    async def oldest_open_ms(self) -> int | None: ...

    async def differences(self) -> list[str]: ...

    async def settled_in_total(self, tenants: Sequence[str]) -> Mapping[str, int]: ...


Announce = Callable[[LedgerOpened], Awaitable[None]]
"""Returns once it is on the log. Raises RetryableError where that is unknown."""


class LedgerKeeper:
    """Runs from `start` to `stop`, beside the handlers."""

    def __init__(
        self,
        ledger: KeptLedger,
        holdings: Holdings,
        history: History,
        openings: Openings,
        announce: Announce,
        clock: Clock,
        *,
        trust_log: bool = False,
    ) -> None:
        """`trust_log`: an emptied ledger is opened although the log no longer has its beginning; older sums are then gone."""
        self._ledger = ledger
        self._holdings = holdings
        self._history = history
        self._openings = openings
        self._announce = announce
        self._clock = clock
        self._trust_log = trust_log
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        await self._history.start()
        await self._openings.start()
        self._task = asyncio.create_task(self._keep(), name="ledger-keeper")

    async def stop(self) -> None:
        if self._task is not None:
            self._stopping.set()
            self._ledger.gate.shut()
            await asyncio.wait([self._task], timeout=STOP_S)
            self._task.cancel()
        await self._openings.stop()
        await self._history.stop()

    async def _keep(self) -> None:
        gate = self._ledger.gate
        while not self._stopping.is_set():
            try:
                gate.closed.clear()
                if await gate.is_open():
                    await self._look_after(gate)
                elif (rebuilt := await self.rebuild()) is None:
                    await self._clock.sleep(AGAIN_S)
                else:
                    _tell(rebuilt)
            except NotRebuiltError as error:
                log.error("%s", error)
                await self._clock.sleep(MARK_S)
            except (RetryableError, RedisError, OSError) as error:
                log.info("the ledger is closed: %s", error)
                await self._clock.sleep(AGAIN_S)

    async def _look_after(self, gate: Gate) -> None:
        """Of an open gate. Another that was taken for dead may have announced an opening that never came: nobody buys on this one."""
        if await self._openings.look() > await gate.number():
            await gate.close()
            return
        await gate.mark(self._clock.now_ms())
        look_until = self._clock.monotonic() + MARK_S
        while not gate.closed.is_set() and self._clock.monotonic() < look_until and await gate.is_open():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(gate.closed.wait(), LOOK_S)

    async def rebuild(self) -> Rebuilt | None:
        """One attempt; None: it is another's turn, or the turn was lost. Raises RetryableError."""
        gate, begun = self._ledger.gate, self._clock.monotonic()
        async with unavailable():
            run_id = await gate.run_id()
            if not await gate.take_turn(run_id):
                return None
            done = asyncio.Event()
            turn = asyncio.create_task(gate.keep_turn(run_id, done), name="ledger-turn")
            try:
                self._ledger.doubt()
                started_ms = self._clock.now_ms()
                rebuilt = await self._play_all()
                await self._history.rest()
                opened = await gate.open(run_id, started_ms, rebuilt.number)
            finally:
                done.set()
                await turn
                with contextlib.suppress(RedisError, OSError):
                    await gate.give_up(run_id)
        rebuilt.seconds = self._clock.monotonic() - begun
        return rebuilt if opened else None

    async def _play_all(self) -> Rebuilt:
        since_ms = await self._since()
        # Whoever was kept out at the gate may have named its tenant in an emptied ledger again; the mark only a keeper makes.
        empty = since_ms is None
        if empty and not self._trust_log and not await self._history.whole():
            raise NotRebuiltError(
                "it is empty, and the log no longer has its beginning: restore a copy of its Redis, "
                "or set DAYTWO_LEDGER_TRUST_LOG=1 to count from what the log has"
            )
        # Not nothing, where a rebuilding before this one was broken off.
        before = await self._holdings.settled_in_total(await self._ledger.tenants()) if empty else None
        tenants = Tenants()
        tenants.rows.update(await self._history.tenants())
        rebuilt = Rebuilt(since_ms=since_ms, number=await self._announced())
        known_at = self._clock.monotonic() + LANDS_S
        await self._history.begin(since_ms)
        await self._play(tenants, rebuilt)
        # Until everybody knows the number: what reaches the log from then on and is not of this opening counts for nothing.
        await self._clock.sleep(max(0.0, known_at - self._clock.monotonic()))
        await self._play(tenants, rebuilt)
        await self._compare(rebuilt, before)
        await self._announce(self._opening(rebuilt.number, await self._history.read_to()))
        return rebuilt

    async def _announced(self) -> int:
        """The number of this opening, above all that were ever opened, once it is on the log and nobody else's."""
        number = max(await self._openings.look(), await self._ledger.gate.number()) + 1
        await self._announce(self._opening(number))
        await self._openings.look()
        if self._openings.whose(number) != self._ledger.gate.token:
            raise RetryableError("store_unavailable", f"opening {number} of the ledger is another's")
        return number

    def _opening(self, number: int, read_to: Sequence[int] = ()) -> LedgerOpened:
        token, now_ms = self._ledger.gate.token, self._clock.now_ms()
        return LedgerOpened(ledger=MAIN, number=number, by=token, announced_at_ms=now_ms, read_to=tuple(read_to))

    async def _since(self) -> int | None:
        """Where to begin; None: at the beginning."""
        marked_ms = await self._ledger.gate.marked()
        if marked_ms is None:
            return None
        oldest_ms = await self._holdings.oldest_open_ms()
        return min(marked_ms, marked_ms if oldest_ms is None else oldest_ms) - MARGIN_MS

    async def _play(self, tenants: Tenants, rebuilt: Rebuilt) -> None:
        async with _OneAhead() as redis:
            async for found in _chunks(self._history.admitted()):
                admitted = [one for one in found if not self._is_void(one)]
                rebuilt.admitted += len(admitted)
                await redis.goes_on(self._ledger.restore([admitted_again(one, _windows(one, tenants)) for one in admitted], gate=LOCK))
            async for ended in _chunks(self._history.ended()):
                await redis.goes_on(self._settle(ended, tenants, rebuilt))

    def _is_void(self, one: Admitted) -> bool:
        return self._openings.is_void(one.admission["ledger"], one.partition, one.offset)

    async def _settle(self, ended: Sequence[Ended], tenants: Tenants, rebuilt: Rebuilt) -> None:
        settlements = [one.settlement for one in ended]
        results = await self._ledger.settle_all(settlements, gate=LOCK)
        strange = [one for one, result in zip(ended, results, strict=True) if result == Unsettled(known=False)]
        _count(rebuilt, ended, results)
        if strange:
            # Their admission is not on the log: refused before it, or older than what is kept.
            await self._ledger.restore([unreserved(one.settlement, _windows(one, tenants), one.timestamp_ms) for one in strange], gate=LOCK)
            _count(rebuilt, strange, await self._ledger.settle_all([one.settlement for one in strange], gate=LOCK))

    async def _compare(self, rebuilt: Rebuilt, before: Mapping[str, int] | None) -> None:
        """What is reserved must be what is open; and where all was played, what is settled the sum of it and of what was `before`."""
        wrong = await self._holdings.differences()
        if before is not None:
            settled = await self._holdings.settled_in_total(list(rebuilt.settled_nano))
            wrong += [
                f"{name}: {settled.get(name, 0)} nano-dollars settled, {nano} on the log"
                for name, nano in rebuilt.settled_nano.items()
                if settled.get(name, 0) != before.get(name, 0) + nano
            ]
        if wrong:
            raise NotRebuiltError(f"{len(wrong)} counters differ, for example {wrong[0]}")


class _OneAhead:
    """Redis works on one call while the next is read from the log. One after another: what the log has first must be first."""

    def __init__(self) -> None:
        self._at_work: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def goes_on(self, call: Coroutine[Any, Any, None]) -> None:
        """Returns once the call before has ended. Raises what that one raised; this one is then not made."""
        try:
            await self._ended()
        except BaseException:
            call.close()
            raise
        self._at_work = asyncio.create_task(call)

    async def _ended(self) -> None:
        task, self._at_work = self._at_work, None
        if task is not None:
            await task

    async def __aexit__(self, *_: object) -> None:
        await self._ended()


def _count(rebuilt: Rebuilt, ended: Sequence[Ended], results: Sequence[Settled | Unsettled]) -> None:
    for one, result in zip(ended, results, strict=True):
        if isinstance(result, Settled):
            rebuilt.ended += 1
            rebuilt.settled_nano[one.settlement.tenant] += one.settlement.cost_nano
        else:
            rebuilt.settled_nano[one.settlement.tenant] += result.late_nano


def _windows(one: Admitted | Ended, tenants: Tenants) -> Sequence[Window]:
    """The counters by the caps of now."""
    at_ms = one.admission["at_ms"] or one.timestamp_ms if isinstance(one, Admitted) else one.timestamp_ms
    return tenants.windows(_tenant(one), one.subjects, at_ms)


async def _chunks(batches: AsyncIterator[Sequence[T]]) -> AsyncIterator[Sequence[T]]:
    """As many at once as `AT_ONCE` says, however few the log gives at a time; those of a tenant together, in their order."""
    waiting: list[T] = []
    async for batch in batches:
        waiting += batch
        if len(waiting) >= AT_ONCE:
            yield sorted(waiting, key=_tenant)
            waiting = []
    if waiting:
        yield sorted(waiting, key=_tenant)


def _tenant(one: Admitted | Ended) -> str:
    return one.tenant if isinstance(one, Admitted) else one.settlement.tenant


def _tell(rebuilt: Rebuilt) -> None:
    log.info(
        "the ledger was held against the log from %s on: %d admissions, %d settled now, %.1f s",
        "its beginning" if rebuilt.since_ms is None else rebuilt.since_ms,
        rebuilt.admitted,
        rebuilt.ended,
        rebuilt.seconds,
    )
