"""The provider's own account of what it charges for: the other side of daytwo's metering."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class Call(NamedTuple):
    """A charged call. `attempt_id` is the client's header, None without; `status` None when none was ever sent."""

    attempt_id: str | None
    model: str
    prompt_tokens: int
    completion_tokens: int
    at_ms: int
    status: int | None


class Receipt(NamedTuple):
    """Names a charged call: its place on the bill, and which of the bills between two clearings that is."""

    epoch: int
    place: int


class Journal(Protocol):
    """Where a bill is written so that it survives the process. A method returns when its line is written."""

    def charged(self, call: Call) -> None:
        """A call was charged; its index is the number of calls charged before it."""
        ...

    def delivered(self, index: int) -> None:
        """The answer of the call with that index was delivered."""
        ...

    def cleared(self) -> None:
        """The bill was emptied."""
        ...


@dataclass(slots=True)
class Totals:
    """Sums over all calls, those too that are no longer listed."""

    calls: int = 0
    delivered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncharged: int = 0

    def as_json(self) -> dict[str, int]:
        """The field `totals` of `GET /bill`."""
        return {
            "calls": self.calls,
            "delivered": self.delivered,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "uncharged": self.uncharged,
        }


@dataclass(slots=True)
class Bill:
    """Lists the first `capacity` calls charged, in order, and sums all of them.

    A call's index never changes until the bill is cleared. With a `journal`, a call is written there before
    `charge` returns, so before its answer can leave.
    """

    capacity: int
    journal: Journal | None = None
    totals: Totals = field(default_factory=Totals)
    _calls: list[Call] = field(default_factory=list)
    _delivered: bytearray = field(default_factory=bytearray)  # beside the calls: 1 byte each, and they stay tuples
    _epoch: int = 0

    def charge(self, call: Call) -> Receipt:
        """Put `call` on the bill, not delivered yet."""
        if self.journal is not None:
            self.journal.charged(call)
        receipt = Receipt(self._epoch, self.totals.calls)
        self.restore(call)
        return receipt

    def restore(self, call: Call) -> None:
        """Put `call` on the bill without telling the journal, which is where it came from."""
        index = self.totals.calls
        self.totals.calls += 1
        self.totals.prompt_tokens += call.prompt_tokens
        self.totals.completion_tokens += call.completion_tokens
        if index < self.capacity:
            self._calls.append(call)
            self._delivered.append(0)

    def deliver(self, receipt: Receipt) -> None:
        """Note that a call's answer was handed to an open connection."""
        if receipt.epoch != self._epoch:  # the bill was cleared while the call ran
            return
        if self.journal is not None:
            self.journal.delivered(receipt.place)
        self.restore_delivery(receipt.place)

    def restore_delivery(self, index: int) -> None:
        """Note a delivery without telling the journal, which is where it came from."""
        self.totals.delivered += 1
        if index < len(self._calls):
            self._delivered[index] = 1

    def refuse(self) -> None:
        """Count a call that is not charged."""
        self.totals.uncharged += 1

    def clear(self) -> None:
        """Empty the bill, and the journal with it."""
        if self.journal is not None:
            self.journal.cleared()
        self.totals = Totals()
        self._calls = []
        self._delivered = bytearray()
        self._epoch += 1

    @property
    def listed(self) -> int:
        """How many calls are listed."""
        return len(self._calls)

    @property
    def truncated(self) -> bool:
        """Whether more calls were charged than are listed."""
        return self.totals.calls > len(self._calls)

    def page(self, start: int, end: int) -> Iterator[dict[str, object]]:
        """The listed calls with index from `start` to `end` - 1, as `GET /bill` shows them."""
        for call, delivered in zip(self._calls[start:end], self._delivered[start:end], strict=True):
            yield {**call._asdict(), "charged": True, "delivered": bool(delivered)}
