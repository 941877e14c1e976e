"""The ledger's rules in plain Python: the fake for handler tests, and the model the scripts are held to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from daytwo.errors import RetryableError
from services.cost_meter.budget import OPEN, Window
from services.cost_meter.decisions import AtLimit, Decision, decode, hit_of
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


@dataclass
class Entry:
    fingerprint: str
    decision: Decision
    amount: int
    tokens: int
    open: bool
    paths: Sequence[str]
    round: int
    at_ms: int
    """The moment that chose the windows."""
    closed: Closed | None = None
    booked: set[str] = field(default_factory=set)


@dataclass
class Book:
    requests: dict[str, Entry] = field(default_factory=dict)
    counters: dict[str, Counter] = field(default_factory=dict)

    def counter(self, path: str) -> Counter:
        return self.counters.get(path, Counter(path=path))

    def add(self, path: str, **changes: int) -> None:
        now = self.counter(path)
        self.counters[path] = replace(now, **{name: getattr(now, name) + change for name, change in changes.items()})

    @property
    def reserved(self) -> Mapping[str, int]:
        return {path: counter.reserved_nano for path, counter in self.counters.items()}

    @property
    def settled(self) -> Mapping[str, int]:
        return {path: counter.settled_nano for path, counter in self.counters.items()}


class MemoryLedger:
    def __init__(self) -> None:
        self.books: dict[str, Book] = defaultdict(Book)
        self.away = False
        self.opening = 0
        """Its number."""

    async def start(self) -> None:
        self._check()

    async def stop(self) -> None:
        return None

    async def reserve(self, reservation: Reservation) -> Answer:
        self._check()
        book = self.books[reservation.tenant]
        known = book.requests.get(reservation.request_id)
        if known is not None and not _anew(known, reservation):
            answer = _known(known, reservation.fingerprint)
            return replace(answer, ledger=self.opening) if isinstance(answer, Decided) else answer
        hit = next((over for window in reservation.windows for over in _over(book, window, reservation)), None)
        decision = reservation.proposal if hit is None else hit
        entry = Entry(
            reservation.fingerprint,
            decision,
            reservation.amount_nano if hit is None else 0,
            reservation.tokens if hit is None else 0,
            hit is None,
            [window.path for window in reservation.windows],
            reservation.round,
            reservation.at_ms,
        )
        _book(book, reservation.request_id, entry)
        return Decided(decision=decision, repeated=False, ledger=self.opening)

    async def settle(self, settlement: Settlement) -> Settled | Unsettled:
        self._check()
        book = self.books[settlement.tenant]
        known = book.requests.get(settlement.request_id)
        if known is None:
            return Unsettled(known=False)
        if known.fingerprint != settlement.fingerprint:
            return Unsettled(known=True)
        late = [each for each in settlement.attempts if each[0] not in known.booked]
        known.booked.update(each for each, _, _ in late)
        if known.closed:
            for path in known.paths:
                if not path.endswith("/open/now"):
                    spent, used = sum(cost for _, cost, _ in late), sum(tokens for _, _, tokens in late)
                    book.add(path, settled_nano=spent, settled_tokens=used)
            return Unsettled(known=True, late_nano=sum(cost for _, cost, _ in late))
        for path in known.paths:
            if path.endswith("/open/now"):
                book.add(path, open=-int(known.open))
            else:
                book.add(
                    path,
                    reserved_nano=-known.amount,
                    settled_nano=settlement.cost_nano,
                    reserved_tokens=-known.tokens,
                    settled_tokens=settlement.tokens,
                )
        known.closed = Closed(partition=settlement.partition, offset=settlement.offset)
        return Settled(reserved_nano=known.amount)

    async def restore(self, restorations: Sequence[Restoration]) -> None:
        self._check()
        for one in restorations:
            book = self.books[one.tenant]
            known = book.requests.get(one.request_id)
            later = known and known.fingerprint == one.fingerprint and not known.closed and _again(known) and known.round < one.round
            if known is None or later:
                paths = [window.path for window in one.windows]
                entry = Entry(one.fingerprint, decode(one.decision), one.nano, one.tokens, one.counts_as_open, paths, one.round, one.at_ms)
                _book(book, one.request_id, entry)

    async def accounts(self) -> Mapping[str, Account]:
        self._check()
        return {tenant: _account(book) for tenant, book in self.books.items() if book.requests}

    def _check(self) -> None:
        if self.away:
            raise RetryableError("store_unavailable", "the ledger is away")


def _again(known: Entry) -> bool:
    return isinstance(known.decision, AtLimit) or not known.open


def _anew(known: Entry, reservation: Reservation) -> bool:
    """A later round of what had no room."""
    same = known.fingerprint == reservation.fingerprint and not known.closed
    return same and _again(known) and reservation.round > known.round


def _known(known: Entry, fingerprint: str) -> Answer:
    if known.fingerprint != fingerprint:
        return Reused(first_closed=known.closed is not None)
    return known.closed or Decided(decision=known.decision, repeated=True)


def _over(book: Book, window: Window, reservation: Reservation) -> Iterator[AtLimit]:
    counter = book.counter(window.path)
    amount, tokens = reservation.amount_nano, reservation.tokens
    looks = [
        ("money", window.limit_nano, counter.settled_nano + counter.reserved_nano, amount),
        ("tokens", window.limit_tokens, counter.settled_tokens + counter.reserved_tokens, tokens),
        ("concurrency", window.limit_requests, counter.open, 1),
    ]
    for kind, limit, used, wanted in looks:
        if limit is not None and used + wanted > limit:
            yield AtLimit(hit=hit_of(window, kind, used=used, wanted=wanted), then=reservation.then)


def _book(book: Book, request_id: str, entry: Entry) -> None:
    for path in entry.paths:
        if path.endswith("/open/now"):
            book.add(path, open=int(entry.open))
        else:
            book.add(path, reserved_nano=entry.amount, reserved_tokens=entry.tokens)
    book.requests[request_id] = entry


def _account(book: Book) -> Account:
    counters = [counter for path, counter in book.counters.items() if f"/{OPEN}/" not in path]
    opened = sorted(name for name, entry in book.requests.items() if not entry.closed)
    return Account(counters=counters, open=len(opened), open_ids=opened)
