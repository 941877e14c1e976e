"""How the mock behaves: what `PUT /config` changes while it runs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from services.mock_provider.distributions import Distribution, Fixed, read_distribution
from services.mock_provider.errors import InvalidSettingError

LatencyBy = Literal["call", "question"]

_FIELDS: Final = ("latency_ms", "output_tokens", "seed", "latency_by")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How long answers take, in milliseconds, and how many tokens they have.

    A question's answer length depends on the question and the `seed` alone, so that asking again gives the same
    answer and bill. So does its latency where `latency_by` is "question"; where it is "call", latencies are drawn from
    a generator that is seeded with `seed` when it is set.
    """

    latency_ms: Distribution
    output_tokens: Distribution
    seed: int
    latency_by: LatencyBy = "call"

    def as_json(self) -> dict[str, object]:
        """What `changed` reads this behaviour from."""
        return {
            "latency_ms": self.latency_ms.as_json(),
            "output_tokens": self.output_tokens.as_json(),
            "seed": self.seed,
            "latency_by": self.latency_by,
        }


AT_ONCE = Behaviour(latency_ms=Fixed(0), output_tokens=Fixed(16), seed=0)


def changed(behaviour: Behaviour, change: object) -> Behaviour:
    """`behaviour` with the fields that the JSON object `change` has; the others stay. Raises InvalidSettingError."""
    if not isinstance(change, Mapping):
        raise InvalidSettingError("config: needs a JSON object")
    unknown = change.keys() - set(_FIELDS)
    if unknown:
        raise InvalidSettingError(f"config: unknown field {min(unknown)!r}; known: {', '.join(_FIELDS)}")
    if "latency_ms" in change:
        behaviour = replace(behaviour, latency_ms=read_distribution(change["latency_ms"], "latency_ms"))
    if "output_tokens" in change:
        behaviour = replace(behaviour, output_tokens=read_distribution(change["output_tokens"], "output_tokens"))
    if "seed" in change:
        behaviour = replace(behaviour, seed=_read_seed(change["seed"]))
    if "latency_by" in change:
        behaviour = replace(behaviour, latency_by=_read_latency_by(change["latency_by"]))
    return behaviour


def _read_latency_by(value: object) -> LatencyBy:
    if value == "call":
        return "call"
    if value == "question":
        return "question"
    raise InvalidSettingError('latency_by: needs "call" or "question"')


def _read_seed(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise InvalidSettingError("seed: needs a whole number from 0 to 2⁶³ - 1")
    return value
