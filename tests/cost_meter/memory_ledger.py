"""The ledger's rules in plain Python: the fake for handler tests, and the model the scripts are held to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from daytwo.errors import RetryableError
from services.cost_meter.budget import Window
from services.cost_meter.decisions import Decision, OverCap
from services.cost_meter.ports import Account, Answer, Closed, Counter, Decided, Reservation, Reused, Settlement


@dataclass
class Entry:
    fingerprint: str
    decision: Decision
    amount: int
    paths: Sequence[str]
    closed: Closed | None = None
    booked: set[str] = field(default_factory=set)


@dataclass
class Book:
    requests: dict[str, Entry] = field(default_factory=dict)
    settled: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    reserved: dict[str, int] = field(default_factory=lambda: defaultdict(int))


class MemoryLedger:
    def __init__(self) -> None:
        self.books: dict[str, Book] = defaultdict(Book)
        self.away = False

    async def start(self) -> None:
        self._check()

    async def stop(self) -> None:
        return None

    async def reserve(self, reservation: Reservation) -> Answer:
        self._check()
        book = self.books[reservation.tenant]
        known = book.requests.get(reservation.request_id)
        if known is not None:
            return _known(known, reservation.fingerprint)
        over = next((over for window in reservation.windows if (over := _over(book, window, reservation))), None)
        amount = 0 if over else reservation.amount_nano
        paths = [window.path for window in reservation.windows]
        for path in paths:
            book.reserved[path] += amount
        decision = over or reservation.proposal
        book.requests[reservation.request_id] = Entry(reservation.fingerprint, decision, amount, paths)
        return Decided(decision=decision, repeated=False)

    async def settle(self, settlement: Settlement) -> None:
        self._check()
        book = self.books[settlement.tenant]
        known = book.requests.get(settlement.request_id)
        if known is None or known.fingerprint != settlement.fingerprint:
            return
        late = [(each, cost) for each, cost in settlement.attempts if each not in known.booked]
        known.booked.update(each for each, _ in late)
        for path in known.paths:
            book.reserved[path] -= 0 if known.closed else known.amount
            book.settled[path] += sum(cost for _, cost in late) if known.closed else settlement.cost_nano
        known.closed = known.closed or Closed(partition=settlement.partition, offset=settlement.offset)

    async def accounts(self) -> Mapping[str, Account]:
        self._check()
        return {tenant: _account(book) for tenant, book in self.books.items() if book.requests}

    def _check(self) -> None:
        if self.away:
            raise RetryableError("store_unavailable", "the ledger is away")


def _known(known: Entry, fingerprint: str) -> Answer:
    if known.fingerprint != fingerprint:
        return Reused(first_closed=known.closed is not None)
    return known.closed or Decided(decision=known.decision, repeated=True)


def _over(book: Book, window: Window, reservation: Reservation) -> OverCap | None:
    used = book.settled[window.path] + book.reserved[window.path]
    if window.limit_nano is None or used + reservation.amount_nano <= window.limit_nano:
        return None
    return OverCap(
        scope=window.scope,
        subject=window.subject,
        period=window.period,
        limit_nano=window.limit_nano,
        used_nano=used,
        worst_nano=reservation.amount_nano,
        renews_at_ms=window.renews_at_ms,
        cache_only=reservation.cache_only,
    )


def _account(book: Book) -> Account:
    counters = [Counter(path=path, settled_nano=book.settled[path], reserved_nano=amount) for path, amount in book.reserved.items()]
    opened = sorted(name for name, entry in book.requests.items() if not entry.closed)
    return Account(counters=counters, open=len(opened), open_ids=opened)
