from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daytwo.charging import MTOK, bound_nano, charge, machine_nano_per_mtok
from daytwo.records import Quote, Usage
from tests.cost_meter.builders import quote

prices = st.integers(0, 10**12)
tokens = st.integers(0, 10**7)
quotes = st.builds(
    Quote,
    deployment=st.just("a"),
    input_nano_per_mtok=prices,
    cached_input_nano_per_mtok=prices,
    output_nano_per_mtok=prices,
    request_nano=prices,
    source=st.just("test"),
    reasoning_nano_per_mtok=st.none() | prices,
    image_nano=prices,
    discount_permille=st.integers(0, 1000),
)


def used(cached: int, fresh: int, written: int, reasoning: int, images: int = 0) -> Usage:
    return Usage(
        input_tokens=cached + fresh,
        cached_input_tokens=cached,
        output_tokens=written + reasoning,
        reasoning_tokens=reasoning,
        images=images,
    )


in_words = st.builds(used, tokens, tokens, tokens, tokens)
usages = st.builds(used, tokens, tokens, tokens, tokens, st.integers(0, 100))


def exact(quote: Quote, usage: Usage) -> Fraction:
    fresh = usage.input_tokens - usage.cached_input_tokens
    parts = (
        Fraction(fresh * quote.input_nano_per_mtok, MTOK),
        Fraction(usage.cached_input_tokens * quote.cached_input_nano_per_mtok, MTOK),
        Fraction((usage.output_tokens - usage.reasoning_tokens) * quote.output_nano_per_mtok, MTOK),
        Fraction(usage.reasoning_tokens * _reasoning(quote), MTOK),
        Fraction(usage.images * quote.image_nano),
    )
    return sum(parts, Fraction(quote.request_nano)) * Fraction(1000 - quote.discount_permille, 1000)


def _reasoning(quote: Quote) -> int:
    return quote.output_nano_per_mtok if quote.reasoning_nano_per_mtok is None else quote.reasoning_nano_per_mtok


@given(quotes, usages)
def test_a_charge_is_the_exact_sum_rounded_up_once(quote: Quote, usage: Usage) -> None:
    assert 0 <= charge(quote, usage) - exact(quote, usage) < 1


@given(quotes, in_words, tokens, tokens)
def test_no_usage_within_the_bound_costs_more_than_the_bound(quote: Quote, usage: Usage, more_input: int, more_output: int) -> None:
    assert charge(quote, usage) <= bound_nano(quote, usage.input_tokens + more_input, usage.output_tokens + more_output)


def test_cached_input_has_its_own_price() -> None:
    usage = Usage(input_tokens=1000, cached_input_tokens=400, output_tokens=10)

    assert charge(quote(request_nano=5), usage) == 600 * 1000 + 400 * 500 + 10 * 2000 + 5


def test_a_millionth_of_a_nano_dollar_is_booked_as_one() -> None:
    cheapest = quote(input_nano_per_mtok=1, cached_input_nano_per_mtok=1)

    assert charge(cheapest, Usage(input_tokens=1)) == 1


@pytest.mark.parametrize(
    "usage",
    [
        Usage(input_tokens=-1),
        Usage(output_tokens=-1),
        Usage(input_tokens=1, cached_input_tokens=-1),
        Usage(input_tokens=1, cached_input_tokens=2),
        Usage(output_tokens=1, reasoning_tokens=2),
        Usage(output_tokens=1, reasoning_tokens=-1),
        Usage(images=-1),
    ],
)
def test_impossible_counts_are_never_charged(usage: Usage) -> None:
    with pytest.raises(ValueError, match="impossible usage"):
        charge(quote(), usage)


def test_reasoning_images_and_the_discount_of_the_lane_are_in_one_sum_that_is_rounded_once() -> None:
    priced = quote(reasoning_nano_per_mtok=3_000_001, image_nano=7, discount_permille=500)

    booked = charge(priced, Usage(input_tokens=1, output_tokens=3, reasoning_tokens=1, images=1))

    # 1000 of input, 2 x 2000 of output, 3.000001 of reasoning, 7 of the image; half of it is 2505.0000005
    assert booked == 2506


def test_an_hour_of_a_machine_is_shared_by_the_tokens_it_was_measured_to_do() -> None:
    two_dollars_an_hour = 2_000_000_000

    assert machine_nano_per_mtok(two_dollars_an_hour, 1000.0) == 555_555_556
    assert machine_nano_per_mtok(3600, 0.1) == 10_000_000, "a float is taken as it is written"


@given(st.integers(1, 10**14), st.floats(0.01, 10**6))
def test_tokens_at_the_measured_throughput_pay_for_the_machine(hour_nano: int, tokens_per_s: float) -> None:
    per_mtok = machine_nano_per_mtok(hour_nano, tokens_per_s)

    assert per_mtok * Fraction(str(tokens_per_s)) * 3600 >= hour_nano * MTOK
