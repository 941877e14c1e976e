"""What a model costs at a moment: the tenant's operator may say (price-configured), else genai-prices' dated snapshot.

A price that is not known is None, and its deployment is not used (never free), or used at the bound the tenant set. Dollars
become integer nano-dollars per million tokens, rounded up. Where a price has variants (tiers by length, hours of the day), the
dearest counts, so that a reservation is a bound. Dated prices are those of the UTC day of admission.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Any, Final, Self

from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import TieredPrices, TimeOfDateConstraint

from daytwo.flow import Change, Table
from daytwo.records import DeploymentConfigured, Lane, PriceBound, PriceConfigured, Quote
from daytwo.topics import PRICE_CONFIGURED

DAY_MS: Final = 86_400_000
NANO: Final = 1_000_000_000

# A snapshot of our own, not the module's: that one may be replaced by prices fetched from the network.
_SNAPSHOT: Final = DataSnapshot(providers=providers, from_auto_update=False)
_PROVIDERS: Final = {provider.id: provider for provider in providers}

_CACHES_ON_REQUEST: Final = frozenset({"anthropic", "aws", "google"})
"""They write their prompt cache only where a request marks it, which ours cannot; elsewhere a write may cost more than input."""
_CHARGED: Final = frozenset({"input_mtok", "cache_read_mtok", "output_mtok", "output_reasoning_mtok", "requests_kcount"})
_NOT_TEXT: Final = ("audio", "image", "video", "document", "searches", "cache_write")
"""Parts of names of prices that a text request does not meet. A model with any other price is not known well enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Nano-dollars, as in Quote."""

    input_nano_per_mtok: int
    cached_input_nano_per_mtok: int
    output_nano_per_mtok: int
    request_nano: int
    source: str
    reasoning_nano_per_mtok: int | None = None
    image_nano: int = 0
    batch_discount_permille: int = 0


class PriceBook(Table[PriceConfigured]):
    """Prices by provider, model and moment. Follows price-configured."""

    def __init__(self) -> None:
        super().__init__(PRICE_CONFIGURED)
        self._overrides: dict[tuple[str, str], list[PriceConfigured]] = {}

    @classmethod
    def of(cls, rows: Iterable[PriceConfigured]) -> Self:
        """A book that follows nothing."""
        book = cls()
        book.rows = {PRICE_CONFIGURED.key(row): row for row in rows}
        book._overrides = _latest_first(book.rows.values())
        return book

    async def apply(self, changes: Sequence[Change[PriceConfigured]]) -> None:
        await super().apply(changes)
        self._overrides = _latest_first(self.rows.values())

    def price(self, provider: str, model: str, at_ms: int) -> Price | None:
        """The price at a moment (epoch milliseconds); None: not known."""
        for row in self._overrides.get((provider, model), ()):
            if row.valid_from_ms <= at_ms:
                return _configured(row)
        return known_price(provider, model, at_ms // DAY_MS)

    def quotes(
        self, deployments: Iterable[DeploymentConfigured], at_ms: int, *, lane: Lane = "interactive", bound: PriceBound | None = None
    ) -> tuple[Quote, ...]:
        """A quote of each deployment whose price is known, in their order; of the others at `bound`, if there is one."""
        priced = ((d.deployment, self.price(d.provider, d.model, at_ms)) for d in deployments)
        quoted = [quote(name, price, lane) if price is not None else _bounded(name, bound) for name, price in priced]
        return tuple([found for found in quoted if found is not None])


def quote(deployment: str, price: Price, lane: Lane = "interactive") -> Quote:
    """What a deployment charges for a request of this lane."""
    return Quote(
        deployment=deployment,
        input_nano_per_mtok=price.input_nano_per_mtok,
        cached_input_nano_per_mtok=price.cached_input_nano_per_mtok,
        output_nano_per_mtok=price.output_nano_per_mtok,
        request_nano=price.request_nano,
        source=price.source,
        reasoning_nano_per_mtok=price.reasoning_nano_per_mtok,
        image_nano=price.image_nano,
        discount_permille=price.batch_discount_permille if lane == "batch" else 0,
    )


def _bounded(deployment: str, bound: PriceBound | None) -> Quote | None:
    """None where the tenant set no bound, or one that is none."""
    if bound is None or min(bound.input_nano_per_mtok, bound.output_nano_per_mtok, bound.request_nano) < 0:
        return None
    return Quote(
        deployment=deployment,
        input_nano_per_mtok=bound.input_nano_per_mtok,
        cached_input_nano_per_mtok=bound.input_nano_per_mtok,
        output_nano_per_mtok=bound.output_nano_per_mtok,
        request_nano=bound.request_nano,
        source="unpriced_bound",
        is_bound=True,
    )


def _latest_first(rows: Iterable[PriceConfigured]) -> dict[tuple[str, str], list[PriceConfigured]]:
    by_model: dict[tuple[str, str], list[PriceConfigured]] = {}
    for row in sorted(rows, key=lambda row: -row.valid_from_ms):
        if row.active:
            by_model.setdefault((row.provider, row.model), []).append(row)
    return by_model


def _configured(row: PriceConfigured) -> Price | None:
    """None for a negative price or an impossible discount: it would turn a bound into nonsense."""
    price = Price(
        input_nano_per_mtok=row.input_nano_per_mtok,
        cached_input_nano_per_mtok=row.cached_input_nano_per_mtok,
        output_nano_per_mtok=row.output_nano_per_mtok,
        request_nano=row.request_nano,
        source="daytwo.yaml",
        reasoning_nano_per_mtok=row.reasoning_nano_per_mtok,
        image_nano=row.image_nano,
        batch_discount_permille=row.batch_discount_permille,
    )
    return price if _least(price) >= 0 and price.batch_discount_permille <= 1000 else None


def _least(price: Price) -> int:
    return min(
        price.input_nano_per_mtok,
        price.cached_input_nano_per_mtok,
        price.output_nano_per_mtok,
        price.request_nano,
        price.reasoning_nano_per_mtok or 0,
        price.image_nano,
        price.batch_discount_permille,
    )


@lru_cache(maxsize=4096)
def known_price(provider: str, model: str, day: int) -> Price | None:
    """The price in genai-prices on a day (since 1970, UTC); None where it has none, or one we cannot bound.

    The provider must be named exactly: a name of one's own never gets a price by resemblance.
    """
    if provider not in _PROVIDERS:
        return None
    try:
        _, found = _SNAPSHOT.find_provider_model(model, _PROVIDERS[provider], None, None)
    except LookupError:
        return None
    dollars = _dearest_of_the_day(found, date(1970, 1, 1) + timedelta(days=day))
    if not {"input_mtok", "output_mtok"} <= dollars.keys() or not all(map(_understood, dollars)):
        return None
    price = _in_nano(dollars, f"genai-prices:{provider}/{found.id}", writes_cache=provider not in _CACHES_ON_REQUEST)
    return None if _least(price) < 0 else price


def _understood(name: str) -> bool:
    return name in _CHARGED or any(part in name for part in _NOT_TEXT)


def _in_nano(dollars: dict[str, Decimal], source: str, *, writes_cache: bool) -> Price:
    fresh = dollars["input_mtok"]
    dearest_input = max(fresh, dollars.get("cache_write_mtok", fresh)) if writes_cache else fresh
    return Price(
        input_nano_per_mtok=_nano(dearest_input),
        cached_input_nano_per_mtok=_nano(dollars.get("cache_read_mtok", dearest_input)),
        output_nano_per_mtok=_nano(dollars["output_mtok"]),
        request_nano=_nano(dollars.get("requests_kcount", Decimal(0)) / 1000),
        source=source,
        reasoning_nano_per_mtok=_nano(dollars["output_reasoning_mtok"]) if "output_reasoning_mtok" in dollars else None,
    )


def _nano(dollars: Decimal) -> int:
    return int((dollars * NANO).to_integral_value(ROUND_CEILING))


def _dearest_of_the_day(model: Any, day: date) -> dict[str, Decimal]:
    """Each price in dollars at the dearest hour of the day; prices by the hour begin and end at the moments they name."""
    constraints = [row.constraint for row in model.prices] if isinstance(model.prices, list) else []
    by_hour = [c for c in constraints if isinstance(c, TimeOfDateConstraint)]
    hours = {time(), *(c.start_time for c in by_hour), *(c.end_time for c in by_hour)}
    dearest: dict[str, Decimal] = {}
    for hour in hours:
        moment = datetime.combine(day, hour.replace(tzinfo=None), tzinfo=hour.tzinfo or UTC)
        for name, value in vars(model.get_prices(moment)).items():
            if value is not None:
                dearest[name] = max(_dearest_tier(value), dearest.get(name, Decimal(0)))
    return dearest


def _dearest_tier(value: Any) -> Decimal:
    dollars: Decimal = max([value.base, *(tier.price for tier in value.tiers)]) if isinstance(value, TieredPrices) else value
    return dollars
