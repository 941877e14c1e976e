import statistics
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mock_provider.distributions import Fixed, Lognormal, read_distribution
from services.mock_provider.errors import InvalidSettingError

shares = st.floats(0, 1, exclude_max=True)
medians = st.floats(0.001, 1e6)


def test_a_lognormal_has_the_median_and_p99_it_was_given() -> None:
    rng = Random(7)
    draws = [Lognormal(200, 1500).quantile(rng.random()) for _ in range(50_000)]
    cuts = statistics.quantiles(draws, n=100)
    assert cuts[49] == pytest.approx(200, rel=0.03)
    assert cuts[98] == pytest.approx(1500, rel=0.08)


@given(medians, st.floats(1, 100))
def test_half_of_a_lognormal_lies_below_its_median_exactly(median: float, spread: float) -> None:
    distribution = Lognormal(median, median * spread)
    assert distribution.quantile(0.5) == pytest.approx(median)
    assert distribution.quantile(0.99) == pytest.approx(median * spread)


@given(shares, shares, medians, st.floats(1, 100))
def test_a_larger_share_never_has_a_smaller_quantile(one: float, other: float, median: float, spread: float) -> None:
    distribution = Lognormal(median, median * spread)
    assert distribution.quantile(min(one, other)) <= distribution.quantile(max(one, other))


@given(shares)
def test_a_fixed_value_is_the_same_at_every_share(share: float) -> None:
    assert Fixed(12.5).quantile(share) == 12.5


@given(st.one_of(st.floats(0, 1e9).map(Fixed), st.builds(lambda m, s: Lognormal(m, m * s), medians, st.floats(1, 9))))
def test_a_distribution_is_read_from_what_it_says_of_itself(distribution: Fixed | Lognormal) -> None:
    assert read_distribution(distribution.as_json(), "latency_ms") == distribution


@pytest.mark.parametrize(
    "value",
    [-1, True, None, "5", [], {}, {"fixed": -1}, {"median": 5}, {"median": 0, "p99": 5}, {"median": 5, "p99": 4}, 1e999],
)
def test_what_is_no_distribution_is_refused_by_the_name_of_its_field(value: object) -> None:
    with pytest.raises(InvalidSettingError, match="latency_ms"):
        read_distribution(value, "latency_ms")
