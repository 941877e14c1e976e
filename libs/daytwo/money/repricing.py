"""What the same traffic would have cost at other prices. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from daytwo.charging import bound_nano, charge
from daytwo.money.attempts import Attempt
from daytwo.pricing import PriceBook, quote
from daytwo.records import Lane, Quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Repriced:
    """An attempt at both prices; `would_nano` is None where the new prices do not know its model, or the log its usage."""

    attempt: Attempt
    was_nano: int
    """What was booked, earlier corrections added."""
    would_nano: int | None
    why_not: str = ""

    @property
    def delta_nano(self) -> int:
        return 0 if self.would_nano is None else self.would_nano - self.was_nano


@dataclass(slots=True)
class Sum:
    """Nano-dollars. What cannot be repriced is in neither sum, but in `kept`."""

    attempts: int = 0
    was_nano: int = 0
    would_nano: int = 0
    kept: int = 0
    kept_nano: int = 0


@dataclass(slots=True)
class Comparison:
    """By tenant and model; `unpriced` are the models without a new price, `endless` counts attempts without an end on the log."""

    sums: dict[tuple[str, str], Sum] = field(default_factory=dict)
    unpriced: set[str] = field(default_factory=set)
    endless: int = 0

    def total(self) -> Sum:
        total = Sum()
        for each in self.sums.values():
            total.attempts += each.attempts
            total.was_nano += each.was_nano
            total.would_nano += each.would_nano
            total.kept += each.kept
            total.kept_nano += each.kept_nano
        return total


def reprice(
    attempts: Iterable[Attempt],
    prices: PriceBook,
    *,
    providers: Mapping[str, str],
    lane: Callable[[Attempt], Lane],
    corrected: Mapping[str, int],
) -> Iterable[Repriced]:
    """Each attempt at the price that `prices` has for the moment it was made.

    `providers`: provider by deployment. `corrected`: nano-dollars by attempt that earlier corrections added. What failed costs
    nothing at any price; what is unknown counts in full at the new price, too.
    """
    for attempt in attempts:
        was_nano = attempt.booked_nano + corrected.get(attempt.attempt_id, 0)
        provider = providers.get(attempt.deployment)
        price = None if provider is None else prices.price(provider, attempt.model, attempt.at_ms)
        if attempt.usage is None:
            yield Repriced(attempt=attempt, was_nano=was_nano, would_nano=None, why_not="endless")
        elif attempt.outcome == "failed":
            yield Repriced(attempt=attempt, was_nano=was_nano, would_nano=0)
        elif price is None:
            yield Repriced(attempt=attempt, was_nano=was_nano, would_nano=None, why_not="unpriced")
        else:
            yield Repriced(attempt=attempt, was_nano=was_nano, would_nano=_cost(quote(attempt.deployment, price, lane(attempt)), attempt))


def _cost(quoted: Quote, attempt: Attempt) -> int:
    usage = attempt.usage
    assert usage is not None
    if attempt.certain:
        return charge(quoted, usage)
    return bound_nano(quoted, usage.input_tokens, usage.output_tokens)


def compare(repriced: Iterable[Repriced]) -> Comparison:
    found = Comparison()
    for each in repriced:
        total = found.sums.setdefault((each.attempt.tenant, each.attempt.model), Sum())
        if each.would_nano is None:
            total.kept += 1
            total.kept_nano += each.was_nano
            found.endless += each.why_not == "endless"
            if each.why_not == "unpriced":
                found.unpriced.add(each.attempt.model)
            continue
        total.attempts += 1
        total.was_nano += each.was_nano
        total.would_nano += each.would_nano
    return found
