from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from daytwo.money.attempts import Attempt
from daytwo.money.correcting import correction
from daytwo.money.repricing import Repriced, compare, reprice
from daytwo.pricing import PriceBook
from daytwo.records import Usage
from tests.cost_meter.builders import price
from tests.money.builders import COST, attempt


def repriced(attempts: list[Attempt], book: PriceBook, **more: Any) -> list[Repriced]:
    defaults: dict[str, Any] = {"providers": {"mock": "mock"}, "lane": lambda _: "interactive", "corrected": {}}
    return list(reprice(attempts, book, **{**defaults, **more}))


HALF = price(input_nano_per_mtok=500_000_000, output_nano_per_mtok=1_000_000_000)


def test_the_same_traffic_costs_what_the_new_prices_say() -> None:
    (each,) = repriced([attempt()], PriceBook.of([HALF]))

    assert (each.was_nano, each.would_nano, each.delta_nano) == (COST, COST // 2, -COST // 2)


def test_the_price_is_that_of_the_moment_of_the_attempt() -> None:
    book = PriceBook.of([price(), price(valid_from_ms=1_001, input_nano_per_mtok=2_000_000_000, output_nano_per_mtok=4_000_000_000)])

    before, after = repriced([attempt("a1", at_ms=1_000), attempt("a2", at_ms=1_001)], book)

    assert (before.would_nano, after.would_nano) == (COST, 2 * COST)


def test_failed_attempts_stay_free_and_unknown_ones_count_in_full() -> None:
    most = Usage(input_tokens=100, output_tokens=50)
    attempts = [
        attempt("a1", outcome="failed", booked_nano=0, usage=Usage()),
        attempt("a2", outcome="unknown", booked_nano=200_000, usage=most),
    ]

    failed, unknown = repriced(attempts, PriceBook.of([HALF]))

    assert (failed.would_nano, unknown.would_nano) == (0, 100_000)


def test_what_has_no_price_or_no_end_is_in_neither_sum_and_is_told() -> None:
    found = compare(
        repriced([attempt("a1"), attempt("a2", model="unheard-of"), attempt("a3", usage=None, outcome="unknown")], PriceBook.of([HALF]))
    )

    assert (found.unpriced, found.endless) == ({"unheard-of"}, 1)
    assert (found.total().attempts, found.total().was_nano, found.total().kept) == (1, COST, 2)


def test_the_discount_of_the_lane_batch_is_in_the_new_price() -> None:
    book = PriceBook.of([price(batch_discount_permille=500)])

    (each,) = repriced([attempt()], book, lane=lambda _: "batch")

    assert each.would_nano == COST // 2


def test_earlier_corrections_are_part_of_what_it_was() -> None:
    (each,) = repriced([attempt()], PriceBook.of([HALF]), corrected={"a1": -5_000})

    assert each.was_nano == COST - 5_000


def test_a_correction_from_the_same_source_has_the_same_id() -> None:
    ids = {
        correction(attempt(), delta, reason="reprice", source=source, by="ann", at_ms=at).correction_id
        for delta, source, at in ((1, "a.yaml", 1), (2, "a.yaml", 2), (1, "b.yaml", 1))
    }

    assert len(ids) == 2


usages = st.builds(lambda i, o: Usage(input_tokens=i, output_tokens=o), st.integers(0, 10**6), st.integers(0, 10**6))


@given(st.lists(st.tuples(usages, st.sampled_from(["acme", "umbrella"])), max_size=20))
def test_the_sums_are_exactly_their_parts(calls: list[tuple[Usage, str]]) -> None:
    attempts = [attempt(f"a{n}", usage=usage, tenant=tenant) for n, (usage, tenant) in enumerate(calls)]
    each = repriced(attempts, PriceBook.of([price(input_nano_per_mtok=333_333, output_nano_per_mtok=777_777)]))

    found = compare(each)

    assert found.total().would_nano == sum(part.would_nano or 0 for part in each)
    assert found.total().was_nano == sum(part.was_nano for part in each)
