"""Settings of cost-meter, from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from services.cost_meter.budget import HOUR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    ledger_redis: str = "redis://127.0.0.1:6390/0"
    """DAYTWO_LEDGER_REDIS: URL of the ledger's own Redis (appendfsync always, noeviction)."""
    attempts_bound: int = 3
    """DAYTWO_ATTEMPTS_BOUND: attempts reserved for, and the most the router makes; 1 to 20."""
    keep_hours: int = 192
    """DAYTWO_LEDGER_KEEP_HOURS: how long closed reservations and past windows are kept; above the retention of the
    request topics (168 h), or a late repeat is taken for a new request; at least 1."""

    trust_log: bool = False
    """DAYTWO_LEDGER_TRUST_LOG: 1: an emptied ledger is opened although the log no longer has its beginning. What was spent before
    is then forgotten: caps of a month or in total have more room than they should."""

    @property
    def keep_ms(self) -> int:
        return self.keep_hours * HOUR_MS

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Raises ValueError naming the variable and what it may be."""
        default = cls()
        return cls(
            ledger_redis=_url(env, "DAYTWO_LEDGER_REDIS", default.ledger_redis),
            attempts_bound=_number(env, "DAYTWO_ATTEMPTS_BOUND", default.attempts_bound, most=20),
            trust_log=_switch(env, "DAYTWO_LEDGER_TRUST_LOG"),
            keep_hours=_number(env, "DAYTWO_LEDGER_KEEP_HOURS", default.keep_hours, most=24 * 366),
        )


def _url(env: Mapping[str, str], name: str, default: str) -> str:
    value = env.get(name, default)
    if not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError(f"{name}: {value!r} is no redis://, rediss:// or unix:// address")
    return value


def _number(env: Mapping[str, str], name: str, default: int, *, most: int) -> int:
    text = env.get(name, str(default))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
        raise ValueError(f"{name}: {text!r} is no whole number from 1 to {most}")
    return int(text)


def _switch(env: Mapping[str, str], name: str) -> bool:
    text = env.get(name, "0")
    if text not in ("0", "1"):
        raise ValueError(f"{name}: {text!r} is neither 0 nor 1")
    return text == "1"
