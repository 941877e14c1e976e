"""Settings of the inference router, from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from services.inference_router.breaker import BreakerPolicy
from services.inference_router.lanes import MOST_STARTING
from services.inference_router.retry import RetryPolicy

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    most_body_bytes: int = 8 * MIB
    """DAYTWO_ROUTER_BODY_BYTES: largest body of a provider that is read, in bytes."""
    connect_s: float = 5.0
    """DAYTWO_ROUTER_CONNECT_MS: longest time to connect to a provider, milliseconds."""
    journal_bytes: int = 256 * MIB
    """DAYTWO_ROUTER_JOURNAL_BYTES: memory of the journals of both roads (service.py), half of it each, in bytes."""
    journal_before_ms: int = 60_000
    """DAYTWO_ROUTER_JOURNAL_BEFORE_MS: how far before the first record of a new partition its journal is read, milliseconds.
    At least the time in which the service before this one comes back after a crash and sends a request twice."""
    max_in_flight: int = 16_384
    """DAYTWO_ROUTER_MAX_IN_FLIGHT: requests at the same time, those that wait included."""
    most_starting: int = MOST_STARTING
    """DAYTWO_ROUTER_STARTING: calls of one deployment that are being begun at the same time, from their announcement until the request
    is written to a connection. More than that wait before they are announced."""
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    """DAYTWO_ROUTER_BREAKER_FAILURES, DAYTWO_ROUTER_BREAKER_OPEN_MS, DAYTWO_ROUTER_BREAKER_OPEN_MOST_MS."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    """DAYTWO_ROUTER_BACK_OFF_MS, DAYTWO_ROUTER_BACK_OFF_MOST_MS."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Raises ValueError naming the variable and what it may be."""
        default = cls()
        return cls(
            most_body_bytes=_number(env, "BODY_BYTES", default.most_body_bytes, least=1024),
            connect_s=_number(env, "CONNECT_MS", round(default.connect_s * 1000)) / 1000,
            journal_bytes=_number(env, "JOURNAL_BYTES", default.journal_bytes),
            journal_before_ms=_number(env, "JOURNAL_BEFORE_MS", default.journal_before_ms, least=0),
            max_in_flight=_number(env, "MAX_IN_FLIGHT", default.max_in_flight),
            most_starting=_number(env, "STARTING", default.most_starting),
            breaker=_breaker(env, default.breaker),
            retry=_retry(env, default.retry),
        )


def _breaker(env: Mapping[str, str], default: BreakerPolicy) -> BreakerPolicy:
    return BreakerPolicy(
        failures=_number(env, "BREAKER_FAILURES", default.failures),
        open_s=_number(env, "BREAKER_OPEN_MS", round(default.open_s * 1000)) / 1000,
        open_most_s=_number(env, "BREAKER_OPEN_MOST_MS", round(default.open_most_s * 1000)) / 1000,
    )


def _retry(env: Mapping[str, str], default: RetryPolicy) -> RetryPolicy:
    return RetryPolicy(base_ms=_number(env, "BACK_OFF_MS", default.base_ms), most_ms=_number(env, "BACK_OFF_MOST_MS", default.most_ms))


def _number(env: Mapping[str, str], name: str, default: int, *, least: int = 1, most: int = 2**31) -> int:
    variable = f"DAYTWO_ROUTER_{name}"
    text = env.get(variable) or str(default)
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise ValueError(f"{variable}: {text!r} is no whole number from {least} to {most}")
    return int(text)
