from __future__ import annotations

from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

import genai_prices.data_snapshot
import pytest
from genai_prices import calc_price
from genai_prices.data import providers
from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, Tier, TieredPrices, TimeOfDateConstraint

from daytwo.charging import charge
from daytwo.flow import Change
from daytwo.pricing import DAY_MS, PriceBook, known_price
from daytwo.pricing import _dearest_of_the_day as dearest_of_the_day
from daytwo.pricing import quote as quote_of
from daytwo.records import PriceBound, PriceConfigured, Usage
from daytwo.topics import PRICE_CONFIGURED
from tests.cost_meter.builders import NOON, deployment, follow, price

TODAY = NOON // DAY_MS


async def book_of(*prices: PriceConfigured) -> PriceBook:
    book = PriceBook()
    await follow(book, PRICE_CONFIGURED, *prices)
    return book


def input_price(book: PriceBook, at_ms: int, model: str = "mock-1") -> int | None:
    found = book.price("mock", model, at_ms)
    return found.input_nano_per_mtok if found else None


async def test_the_latest_price_that_is_valid_holds() -> None:
    rows = [price(valid_from_ms=day * DAY_MS, input_nano_per_mtok=100 + day) for day in (1, 5, 3)]

    book = await book_of(*rows)

    days = (0, 1, 2, 3, 4, 5, 9)
    assert [input_price(book, day * DAY_MS) for day in days] == [None, 101, 101, 103, 103, 105, 105]
    assert input_price(book, 3 * DAY_MS - 1) == 101


async def test_a_withdrawn_or_deleted_price_gives_way_to_the_one_before() -> None:
    book = await book_of(price(valid_from_ms=1), price(valid_from_ms=2, input_nano_per_mtok=7), price(valid_from_ms=3, active=False))
    assert input_price(book, 5) == 7

    await book.apply([Change(key="mock/mock-1/2", record=None, partition=0, offset=9)])

    assert input_price(book, 5) == price().input_nano_per_mtok


async def test_a_configured_price_goes_before_the_known_one() -> None:
    book = await book_of(price(provider="openai", model="gpt-4o-mini", valid_from_ms=NOON, input_nano_per_mtok=5))

    before, after = book.price("openai", "gpt-4o-mini", NOON - 1), book.price("openai", "gpt-4o-mini", NOON)

    assert before is not None
    assert after is not None
    assert (before.source, after.source, after.input_nano_per_mtok) == ("genai-prices:openai/gpt-4o-mini", "daytwo.yaml", 5)


async def test_a_negative_price_is_no_price() -> None:
    assert input_price(await book_of(price(output_nano_per_mtok=-1)), NOON) is None


async def test_deployments_without_a_price_get_no_quote() -> None:
    book = await book_of(price())

    quotes = book.quotes([deployment(), deployment(deployment="b", model="unheard-of"), deployment(deployment="c")], NOON)

    assert [quote.deployment for quote in quotes] == ["mock-a", "c"]


async def test_a_model_without_a_price_is_quoted_at_the_tenants_bound_and_the_others_at_their_price() -> None:
    book = await book_of(price())
    bound = PriceBound(input_nano_per_mtok=7, output_nano_per_mtok=9, request_nano=1)

    known, unknown = book.quotes([deployment(), deployment(deployment="b", model="unheard-of")], NOON, bound=bound)

    assert (known.is_bound, known.source) == (False, "daytwo.yaml")
    assert (unknown.is_bound, unknown.source) == (True, "unpriced_bound")
    assert (unknown.input_nano_per_mtok, unknown.cached_input_nano_per_mtok, unknown.output_nano_per_mtok) == (7, 7, 9)


async def test_a_bound_below_zero_is_none() -> None:
    bound = PriceBound(input_nano_per_mtok=-1, output_nano_per_mtok=9)

    assert (await book_of()).quotes([deployment()], NOON, bound=bound) == ()


async def test_the_discount_is_for_the_lane_batch_only() -> None:
    book = await book_of(price(batch_discount_permille=500))

    quotes = [book.quotes([deployment()], NOON, lane=lane)[0] for lane in ("interactive", "batch")]

    assert [quote.discount_permille for quote in quotes] == [0, 500]


@pytest.mark.parametrize("field", ["reasoning_nano_per_mtok", "image_nano", "batch_discount_permille"])
async def test_a_negative_part_makes_no_price(field: str) -> None:
    assert input_price(await book_of(price(**{field: -1})), NOON) is None


async def test_a_discount_of_more_than_all_is_no_price() -> None:
    assert input_price(await book_of(price(batch_discount_permille=1001)), NOON) is None


def test_reasoning_has_the_price_the_snapshot_gives_it() -> None:
    priced = [
        known
        for provider in providers
        for model in provider.models
        if (known := known_price(provider.id, model.id, TODAY)) is not None and known.reasoning_nano_per_mtok is not None
    ]

    assert all(known.reasoning_nano_per_mtok >= 0 for known in priced if known.reasoning_nano_per_mtok is not None)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("local", "gpt-4o-mini"),  # a name of one's own gets nobody's price
        ("openai-mine", "gpt-4o-mini"),  # nor by resemblance
        ("openai", "unheard-of"),
        ("openai", "text-embedding-3-small"),  # writes no tokens: no price of output
        ("perplexity", "sonar-deep-research"),  # charges for citations, which nothing here bounds
    ],
)
def test_what_is_not_known_well_enough_has_no_price(provider: str, model: str) -> None:
    assert known_price(provider, model, TODAY) is None


def test_prices_are_those_of_the_day() -> None:
    days = [int(datetime(2025, month, 1, tzinfo=UTC).timestamp()) * 1000 // DAY_MS for month in (1, 12)]

    january, december = (known_price("openai", "o3", day) for day in days)

    assert january is not None
    assert december is not None
    assert january.input_nano_per_mtok > december.input_nano_per_mtok


def test_a_known_price_charges_at_least_what_the_library_computes_for_every_model() -> None:
    usage = {"input_tokens": 300_000, "cache_read_tokens": 1_000, "output_tokens": 2_345}
    ours = Usage(input_tokens=300_000, cached_input_tokens=1_000, output_tokens=2_345)
    moment = datetime.fromtimestamp(NOON / 1000, UTC)
    checked = 0
    for provider in providers:
        for model in provider.models:
            known = known_price(provider.id, model.id, TODAY)
            if known is None:
                continue
            _, meant = genai_prices.data_snapshot.get_snapshot().find_provider_model(model.id, provider, None, None)
            theirs = meant.calc_price(genai_prices.Usage(**usage), provider, genai_request_timestamp=moment).total_price
            (quote,) = _quotes_of(known)
            assert charge(quote, ours) >= theirs * 10**9, (provider.id, model.id)
            checked += 1
    assert checked > 1000


def _quotes_of(known: Any) -> list[Any]:
    return [quote_of("a", known)]


def test_an_ordinary_price_charges_exactly_what_the_library_computes() -> None:
    known = known_price("openai", "gpt-4o-mini", TODAY)
    (quote,) = _quotes_of(known)
    theirs = calc_price(
        genai_prices.Usage(input_tokens=1234, cache_read_tokens=200, output_tokens=77),
        "gpt-4o-mini",
        provider_id="openai",
        genai_request_timestamp=datetime.fromtimestamp(NOON / 1000, UTC),
    )

    assert charge(quote, Usage(input_tokens=1234, cached_input_tokens=200, output_tokens=77)) == theirs.total_price * 10**9


def test_of_tiers_and_of_hours_the_dearest_counts() -> None:
    tiered = TieredPrices(base=Decimal(1), tiers=[Tier(start=200_000, price=Decimal(3))])
    night = TimeOfDateConstraint(start_time=time(16, 30, tzinfo=UTC), end_time=time(0, 30, tzinfo=UTC))
    model = ModelInfo(
        id="m",
        match=None,
        prices=[
            ConditionalPrice(prices=ModelPrice(input_mtok=Decimal("2.5"), output_mtok=Decimal(9))),
            ConditionalPrice(constraint=night, prices=ModelPrice(input_mtok=tiered, output_mtok=Decimal(4))),
        ],
    )

    assert dearest_of_the_day(model, datetime(2026, 3, 1, tzinfo=UTC).date()) == {"input_mtok": Decimal(3), "output_mtok": Decimal(9)}


def test_prices_are_never_fetched_even_if_someone_set_the_library_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = genai_prices.data_snapshot.DataSnapshot(providers=[], from_auto_update=True)
    monkeypatch.setattr(genai_prices.data_snapshot, "_custom_snapshot", fetched)
    known_price.cache_clear()

    assert known_price("openai", "gpt-4o-mini", TODAY) is not None
