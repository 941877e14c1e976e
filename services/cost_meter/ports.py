"""What cost-meter needs of the outside: a ledger that decides atomically, and a look into the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from daytwo.records import Admission
from services.cost_meter.budget import Window
from services.cost_meter.decisions import Decision, Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What a request asks of the ledger."""

    tenant: str
    request_id: str
    fingerprint: str
    proposal: Admission | Refusal
    """What is decided if every window has room."""
    windows: Sequence[Window]
    """The counters it is booked in, the slowest to renew first; none for a refusal."""
    cache_only: bool
    """Remembered where a window has no room."""
    at_ms: int
    """The moment that chose the windows, epoch milliseconds."""

    @property
    def amount_nano(self) -> int:
        """Nano-dollars, 0 to budget.LARGEST_NANO."""
        return self.proposal.reserved_nano if isinstance(self.proposal, Admission) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    decision: Decision
    repeated: bool
    """True: decided before, and not ended yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reused:
    """The id is that of another request."""

    first_closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The request has ended; its result is this record of request-finished."""

    partition: int
    offset: int


Answer = Decided | Reused | Closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The end of a request: what it cost, and where its result is."""

    tenant: str
    request_id: str
    fingerprint: str
    cost_nano: int
    """Nano-dollars, 0 to budget.LARGEST_NANO; booked in full even above the reservation."""
    partition: int
    offset: int
    attempts: Sequence[tuple[str, int]] = ()
    """Ids and nano-dollars of the attempts that the cost is the sum of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """A counter as it stands. Nano-dollars."""

    path: str
    settled_nano: int
    reserved_nano: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What the ledger has of a tenant."""

    counters: Sequence[Counter]
    """The thousand that expire last."""
    open: int
    """Decided and not ended."""
    open_ids: Sequence[str]
    """A thousand of them at most."""


class Ledger(Protocol):
    """Every method raises RetryableError("store_unavailable") while the ledger does not answer."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def reserve(self, reservation: Reservation) -> Answer:
        """Books the amount in all windows, or in none; after it settled + reserved <= limit in each it was booked in.

        Idempotent on the request id: the first decision holds, whatever is proposed later.
        """
        ...

    async def settle(self, settlement: Settlement) -> None:
        """Releases the reservation and books the cost, in the windows it was reserved in; the first settlement holds.

        A later one books, in the same windows, the attempts that none before it had: what was bought is booked once, however the
        request ended first. Does nothing for a request that is not there, or whose fingerprint is another.
        """
        ...

    async def accounts(self) -> Mapping[str, Account]:
        """By tenant."""
        ...


class LogReader(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def read(self, topic: str, partition: int, offset: int) -> bytes | None:
        """The value of a record; None: it is no longer kept. Raises RetryableError."""
        ...
