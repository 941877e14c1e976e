"""The ledger's Redis as a twin: the rules of `MemoryLedger`, behind the gate that `services/cost_meter/redis_gate.py` promises.

It can lose what it knows: emptied at once, or restarted as it was or as it was earlier. As the first command of a new connection does,
a restart shuts the gate. What the keepers of all processes share is here; a `GateTwin` is one process's view of it.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar, cast

from redis.exceptions import ConnectionError as RedisConnectionError

from daytwo.errors import RetryableError
from services.cost_meter.build import OPENS_WITHIN_S
from services.cost_meter.ports import Account, Answer, Decided, Reservation, Restoration, Settled, Settlement, Unsettled
from services.cost_meter.redis_gate import GATE, LOCK_MS, Gate, ShutError
from tests.cost_meter.memory_ledger import Book, Entry, MemoryLedger
from tests.simulation.stores import Remote

T = TypeVar("T")

TOTAL: Final = "tenant//total/total"


@dataclass(slots=True)
class _Turn:
    owner: str
    until: float


class KeptLedger:
    """What lasts of a Redis process, and of the next one."""

    def __init__(self, memory: MemoryLedger, time: Callable[[], float]) -> None:
        """`time`: seconds, of the ledger's own clock."""
        self.memory = memory
        self.run = 1
        self.is_open = False
        self.mark_ms: int | None = None
        self.turn: _Turn | None = None
        """Whose turn it is to hold it against the log."""
        self.number = 0
        """Of the latest opening."""
        self._time = time

    def passes(self, gate: str) -> bool:
        return self.is_open if gate == GATE else self.owner is not None

    @property
    def owner(self) -> str | None:
        return self.turn.owner if self.turn is not None and self.turn.until > self._time() else None

    def take_turn(self, owner: str) -> bool:
        free = self.owner is None
        if free:
            self.turn = _Turn(owner, self._time() + LOCK_MS / 1000)
        return free

    def renew_turn(self, owner: str) -> bool:
        mine = self.owner == owner
        if mine:
            self.turn = _Turn(owner, self._time() + LOCK_MS / 1000)
        return mine

    def give_up_turn(self, owner: str) -> None:
        if self.owner == owner:
            self.turn = None

    def open(self, owner: str, mark_ms: int, number: int) -> bool:
        mine = self.owner == owner
        if mine:
            self.is_open, self.mark_ms, self.number, self.turn = True, mark_ms, number, None
        return mine

    def close(self) -> None:
        self.is_open = False

    def mark(self, at_ms: int) -> None:
        if self.is_open:
            self.mark_ms = at_ms

    # what may befall it

    def empty(self) -> None:
        """As FLUSHALL."""
        self.memory.books.clear()
        self.is_open, self.mark_ms, self.number, self.turn = False, None, 0, None

    def restart(self) -> None:
        self.run += 1
        self.shut()

    def shut(self) -> None:
        """What the first command of a new connection does to a Redis that is another process than was opened."""
        self.is_open, self.turn = False, None

    def copy(self) -> Callable[[], None]:
        """Keeps what it knows now; to be called when it starts again with that."""
        books, mark_ms, number = copy.deepcopy(dict(self.memory.books)), self.mark_ms, self.number

        def go_back() -> None:
            self.memory.books.clear()
            self.memory.books.update(books)
            self.mark_ms, self.number = mark_ms, number
            self.restart()

        return go_back

    # what its open requests hold

    def differences(self) -> list[str]:
        """Counters that do not hold what is open, in words."""
        return [
            f"{tenant}/{path}: {now} reserved, {open_now} by what is open"
            for tenant, book in self.memory.books.items()
            for path, now, open_now in _held(book)
            if now != open_now
        ]


def _held(book: Book) -> list[tuple[str, tuple[int, int, int], tuple[int, int, int]]]:
    """By counter what it has reserved (nano-dollars, tokens, requests), and what is open."""
    sums: dict[str, tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))
    for entry in book.requests.values():
        if not entry.closed:
            for path in entry.paths:
                sums[path] = _plus(sums[path], entry, opened=path.endswith("/open/now"))
    return [(path, (c.reserved_nano, c.reserved_tokens, c.open), sums[path]) for path, c in book.counters.items()]


def _plus(held: tuple[int, int, int], entry: Entry, *, opened: bool) -> tuple[int, int, int]:
    nano, tokens, requests = held
    return (nano, tokens, requests + entry.open) if opened else (nano + entry.amount, tokens + entry.tokens, requests)


class GateTwin(Gate):
    """The gate as one process sees it."""

    def __init__(self, remote: Remote, kept: KeptLedger, token: str) -> None:
        super().__init__(cast("Any", None))
        self._remote = remote
        self._kept = kept
        self.token = token

    async def is_open(self) -> bool:
        found = await self._ask("is open", lambda: self._kept.is_open)
        if found:
            self._opened.set()
        return found

    async def run_id(self) -> str:
        return await self._ask("run id", lambda: str(self._kept.run))

    async def take_turn(self, run_id: str) -> bool:
        return await self._ask("take turn", lambda: self._kept.take_turn(self.token + run_id))

    async def renew(self, run_id: str) -> bool:
        return await self._ask("renew", lambda: self._kept.renew_turn(self.token + run_id))

    async def give_up(self, run_id: str) -> None:
        await self._ask("give up", lambda: self._kept.give_up_turn(self.token + run_id))

    async def open(self, run_id: str, mark_ms: int, number: int) -> bool:
        opened = await self._ask("open", lambda: self._kept.open(self.token + run_id, mark_ms, number))
        if opened:
            self.closed.clear()
            self._opened.set()
        return opened

    async def close(self) -> None:
        await self._ask("close", self._kept.close)
        self.shut()

    async def number(self) -> int:
        return await self._ask("number", lambda: self._kept.number)

    async def mark(self, at_ms: int) -> None:
        await self._ask("mark", lambda: self._kept.mark(at_ms))

    async def marked(self) -> int | None:
        return await self._ask("marked", lambda: self._kept.mark_ms)

    async def _ask(self, what: str, work: Callable[[], T]) -> T:
        async def answer() -> T:
            return work()

        try:
            return await self._remote.call(what, answer)
        except RetryableError as error:
            raise RedisConnectionError(error.detail) from error


class RemoteLedger:
    """A RedisLedger (redis_ledger.py) of one process."""

    def __init__(self, remote: Remote, kept: KeptLedger, token: str) -> None:
        self.gate = GateTwin(remote, kept, token)
        self._remote = remote
        self._kept = kept

    async def start(self) -> None:
        await self._remote.call("start", self._kept.memory.start)

    async def stop(self) -> None:
        return None

    def doubt(self) -> None:
        return None

    async def tenants(self) -> Sequence[str]:
        async def known() -> list[str]:
            return sorted(tenant for tenant, book in self._kept.memory.books.items() if book.requests)

        return await self._remote.call("tenants", known)

    async def reserve(self, reservation: Reservation) -> Answer:
        async def numbered() -> Answer:
            answer = await self._kept.memory.reserve(reservation)
            # A sabotaged one may not ask the memory.
            return replace(answer, ledger=self._kept.number) if isinstance(answer, Decided) else answer

        return await self._passed("reserve", numbered)

    async def settle(self, settlement: Settlement) -> Settled | Unsettled:
        return await self._passed("settle", lambda: self._kept.memory.settle(settlement))

    async def settle_all(self, settlements: Sequence[Settlement], *, gate: str) -> Sequence[Settled | Unsettled]:
        async def all_of_them() -> Sequence[Settled | Unsettled]:
            return [await self._kept.memory.settle(settlement) for settlement in settlements]

        return await self._call("settle all", all_of_them, gate)

    async def restore(self, restorations: Sequence[Restoration], *, gate: str = GATE) -> None:
        await self._call("restore", lambda: self._kept.memory.restore(restorations), gate)

    async def accounts(self) -> Mapping[str, Account]:
        return await self._call("accounts", self._kept.memory.accounts)

    async def _passed(self, what: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        try:
            return await self._call(what, work)
        except ShutError:
            if not await self.gate.opens(OPENS_WITHIN_S):
                raise
        return await self._call(what, work)

    async def _call(self, what: str, work: Callable[[], Coroutine[Any, Any, T]], gate: str = GATE) -> T:
        async def checked() -> T:
            if not self._kept.passes(gate):
                raise ShutError
            return await work()

        try:
            return await self._remote.call(what, checked)
        except ShutError:
            self.gate.shut()
            raise


class HeldTwin:
    """What the open requests hold (Holdings, keeper.py)."""

    def __init__(self, remote: Remote, kept: KeptLedger) -> None:
        self._remote = remote
        self._kept = kept

    async def oldest_open_ms(self) -> int | None:
        async def oldest() -> int | None:
            return min((e.at_ms for b in self._kept.memory.books.values() for e in b.requests.values() if not e.closed), default=None)

        return await self._remote.call("oldest open", oldest)

    async def differences(self) -> list[str]:
        async def differ() -> list[str]:
            return self._kept.differences()

        return await self._remote.call("differences", differ)

    async def settled_in_total(self, tenants: Sequence[str]) -> Mapping[str, int]:
        async def settled() -> Mapping[str, int]:
            return {tenant: self._kept.memory.books[tenant].counter(TOTAL).settled_nano for tenant in tenants}

        return await self._remote.call("settled", settled)
