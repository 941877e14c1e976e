"""What cost-meter needs of the outside: a ledger that decides atomically, and a look into the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from daytwo.records import Admission
from services.cost_meter.budget import Window
from services.cost_meter.decisions import Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What a request asks of the ledger."""

    tenant: str
    request_id: str
    fingerprint: str
    proposal: Decision
    """What is decided if every window has room."""
    windows: Sequence[Window]
    """The counters it is booked in, the slowest to renew first; none where nothing is to be reserved."""
    at_ms: int
    """The moment that chose the windows, epoch milliseconds."""
    then: tuple[str, ...] = ()
    """Remembered where a window has no room: what the tenant lets be tried (TenantConfigured.at_limit)."""
    round: int = 0
    """How often the ledger was asked about this request before: a later round may decide anew what had no room."""

    @property
    def amount_nano(self) -> int:
        """Nano-dollars, 0 to budget.LARGEST."""
        return self.proposal.reserved_nano if isinstance(self.proposal, Admission) else 0

    @property
    def tokens(self) -> int:
        """0 to budget.LARGEST."""
        return self.proposal.reserved_tokens if isinstance(self.proposal, Admission) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    decision: Decision
    repeated: bool
    """True: decided before, and not ended yet."""
    ledger: int = 0
    """Number of the opening of the ledger that says so; 0: it has none."""


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


class Settlement(NamedTuple):
    """The end of a request: what it cost, and where its result is."""

    tenant: str
    request_id: str
    fingerprint: str
    cost_nano: int
    """Nano-dollars, 0 to budget.LARGEST; booked in full even above the reservation."""
    partition: int
    offset: int
    tokens: int = 0
    """Input and output together, 0 to budget.LARGEST."""
    attempts: Sequence[tuple[str, int, int]] = ()
    """Ids, nano-dollars and tokens of the attempts that the cost is the sum of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The request was open, and this ended it."""

    reserved_nano: int


@dataclass(frozen=True, slots=True)
class Unsettled:
    """The request has ended before, or has other content (`known`), or the ledger has never heard of it."""

    known: bool
    late_nano: int = 0
    """Booked all the same: nano-dollars of attempts that no result before this one had."""


class Restoration(NamedTuple):
    """A request as the log has it, to be booked without a question: it was admitted once."""

    tenant: str
    request_id: str
    fingerprint: str
    nano: int
    """Nano-dollars reserved."""
    tokens: int
    """Reserved."""
    counts_as_open: bool
    """False: nothing was reserved."""
    decision: bytes
    """As decisions.encode_proposal has it."""
    windows: Sequence[Window]
    at_ms: int
    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """A counter as it stands. Nano-dollars."""

    path: str
    settled_nano: int = 0
    reserved_nano: int = 0
    settled_tokens: int = 0
    reserved_tokens: int = 0
    open: int = 0
    """Requests; of period open."""


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
        """Books money, tokens and one open request in all windows, or in none.

        After it settled + reserved <= limit in each it was booked in. Idempotent on the request id: the first decision holds, whatever
        is proposed later; but a decision AtLimit is taken anew by a later round.
        """
        ...

    async def settle(self, settlement: Settlement) -> Settled | Unsettled:
        """Releases the reservation and books the cost, in the windows it was reserved in; the first settlement holds.

        A later one books, in the same windows, the attempts that none before it had: what was bought is booked once, however the
        request ended first. Does nothing for a request that is not there, or whose fingerprint is another.
        """
        ...

    async def restore(self, restorations: Sequence[Restoration]) -> None:
        """Books what is not booked yet, whatever the limits; what is, stays as it is."""
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
