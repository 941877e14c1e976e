from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daytwo.charging import MTOK, bound_nano, charge
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
)
usages = st.builds(
    lambda cached, fresh, output: Usage(input_tokens=cached + fresh, cached_input_tokens=cached, output_tokens=output),
    tokens,
    tokens,
    tokens,
)


def exact(quote: Quote, usage: Usage) -> Fraction:
    fresh = usage.input_tokens - usage.cached_input_tokens
    parts = (
        Fraction(fresh * quote.input_nano_per_mtok, MTOK),
        Fraction(usage.cached_input_tokens * quote.cached_input_nano_per_mtok, MTOK),
        Fraction(usage.output_tokens * quote.output_nano_per_mtok, MTOK),
    )
    return sum(parts, Fraction(quote.request_nano))


@given(quotes, usages)
def test_a_charge_is_the_exact_sum_rounded_up_once(quote: Quote, usage: Usage) -> None:
    assert 0 <= charge(quote, usage) - exact(quote, usage) < 1


@given(quotes, usages, tokens, tokens)
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
    ],
)
def test_impossible_counts_are_never_charged(usage: Usage) -> None:
    with pytest.raises(ValueError, match="impossible usage"):
        charge(quote(), usage)
