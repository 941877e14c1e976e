"""Settings of the cache, read from the environment once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    redis_url: str = "redis://127.0.0.1:6391/0"
    """The cache's own Redis; what is in it may be lost at any time. DAYTWO_CACHE_REDIS."""
    redis_timeout_ms: int = 250
    """A slower call counts as Redis being away, and the request goes on as a miss. DAYTWO_CACHE_REDIS_TIMEOUT_MS."""
    follow_ms: int = 10_000
    """Longest time a request is held for an equal one in flight, from when that one went on. DAYTWO_CACHE_FOLLOW_MS."""
    poll_ms: int = 200
    """How often a held request looks for an end that another replica saw. DAYTWO_CACHE_POLL_MS."""
    reserve_ms: int = 2_000
    """Time before its deadline at which a held request goes on by itself. DAYTWO_CACHE_RESERVE_MS."""
    max_answer_bytes: int = 262_144
    """A larger answer, question included, is not learned. DAYTWO_CACHE_MAX_ANSWER_BYTES."""
    answers_per_tenant: int = 50_000
    """Answers kept of one tenant; beyond, those that expire soonest go. About 1.5 KB of memory each. DAYTWO_CACHE_ANSWERS_PER_TENANT."""
    max_in_flight: int = 4_096
    """Requests held or handled at once; beyond, reading pauses. DAYTWO_CACHE_MAX_IN_FLIGHT."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Raises ValueError naming the variable that is wrong."""
        url = env.get("DAYTWO_CACHE_REDIS", cls().redis_url)
        if not url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError(f"DAYTWO_CACHE_REDIS must be an address like redis://host:6391/0, not {url!r}")
        return cls(
            redis_url=url,
            redis_timeout_ms=_positive(env, "DAYTWO_CACHE_REDIS_TIMEOUT_MS", cls().redis_timeout_ms),
            follow_ms=_positive(env, "DAYTWO_CACHE_FOLLOW_MS", cls().follow_ms),
            poll_ms=_positive(env, "DAYTWO_CACHE_POLL_MS", cls().poll_ms),
            reserve_ms=_positive(env, "DAYTWO_CACHE_RESERVE_MS", cls().reserve_ms),
            max_answer_bytes=_positive(env, "DAYTWO_CACHE_MAX_ANSWER_BYTES", cls().max_answer_bytes),
            answers_per_tenant=_positive(env, "DAYTWO_CACHE_ANSWERS_PER_TENANT", cls().answers_per_tenant),
            max_in_flight=_positive(env, "DAYTWO_CACHE_MAX_IN_FLIGHT", cls().max_in_flight),
        )


def _positive(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f"{name} must be a positive whole number, not {text!r}")
    return int(text)
