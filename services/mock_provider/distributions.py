"""Distributions of latencies and answer lengths, read from JSON."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

from services.mock_provider.errors import InvalidSettingError

_STANDARD_NORMAL = NormalDist()
_Z99 = _STANDARD_NORMAL.inv_cdf(0.99)
# A quantile function is infinite at 0 and 1. Beyond 10⁻⁹ nobody draws often enough to see the difference.
_EDGE = 1e-9


class Distribution(Protocol):
    """A distribution over non-negative numbers."""

    def quantile(self, share: float) -> float:
        """The value that a `share` (0 to 1) of all draws stays below. A draw is `quantile(rng.random())`."""
        ...

    def as_json(self) -> object:
        """What `read_distribution` reads this distribution from."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always the same value."""

    value: float

    def quantile(self, share: float) -> float:
        """The value, whatever the share."""
        return self.value

    def as_json(self) -> object:
        """`{"fixed": value}`"""
        return {"fixed": self.value}


@dataclass(frozen=True, slots=True)
class Lognormal:
    """A lognormal distribution, given by two numbers that people measure; 0 < median <= p99."""

    median: float
    p99: float

    def quantile(self, share: float) -> float:
        """`exp(mu + sigma * z)`, with mu and sigma solved from the median and the 99th percentile."""
        z = _STANDARD_NORMAL.inv_cdf(min(max(share, _EDGE), 1.0 - _EDGE))
        return float(self.median * (self.p99 / self.median) ** (z / _Z99))

    def as_json(self) -> object:
        """`{"median": median, "p99": p99}`"""
        return {"median": self.median, "p99": self.p99}


def read_distribution(value: object, field: str) -> Distribution:
    """The distribution that a JSON value describes. Raises InvalidSettingError, naming `field`.

    A number or `{"fixed": number}` is that number; `{"median": number, "p99": number}` is lognormal.
    """
    if isinstance(value, dict):
        if value.keys() == {"fixed"}:
            return Fixed(read_number(value["fixed"], f"{field}.fixed"))
        if value.keys() == {"median", "p99"}:
            return _read_lognormal(value["median"], value["p99"], field)
        raise InvalidSettingError(f'{field}: needs a number, {{"fixed": …}} or {{"median": …, "p99": …}}')
    return Fixed(read_number(value, field))


def _read_lognormal(median: object, p99: object, field: str) -> Lognormal:
    distribution = Lognormal(read_number(median, f"{field}.median"), read_number(p99, f"{field}.p99"))
    if not 0 < distribution.median <= distribution.p99:
        raise InvalidSettingError(f"{field}: needs 0 < median <= p99")
    return distribution


def read_number(value: object, field: str) -> float:
    """`value` as a finite number >= 0. Raises InvalidSettingError, naming `field`; true and false are not numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise InvalidSettingError(f"{field}: needs a finite number >= 0")
    return value
