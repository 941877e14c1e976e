"""Records and what goes with them, valid unless a test says otherwise."""

from __future__ import annotations

from typing import Any

from daytwo.records import (
    Admission,
    Message,
    RateLimit,
    RequestAdmitted,
    RequestFinished,
    RequestSubmitted,
    TenantConfigured,
    Usage,
    UsageEntry,
)

NOON = 1_772_366_400_000
"""2026-03-01T12:00:00Z, a Sunday."""
PLACE = "request-finished/0"


class FixedClock:
    def __init__(self, now_ms: int = NOON) -> None:
        self.now = now_ms

    def now_ms(self) -> int:
        return self.now

    def monotonic(self) -> float:
        return self.now / 1000

    async def sleep(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


def rate(**fields: Any) -> RateLimit:
    return RateLimit(**{"scope": "tenant", "subject": "*", "kind": "requests", "period": "minute", "limit": 60, "burst": 0, **fields})


def entry(offset: int, *, at_ms: int = NOON, tokens: int = 10, **fields: Any) -> UsageEntry:
    return UsageEntry(offset=offset, at_ms=at_ms, usage=Usage(input_tokens=tokens), **fields)


def tenant(*rates: RateLimit, name: str = "acme") -> TenantConfigured:
    return TenantConfigured(tenant=name, rate_limits=rates)


def request(**fields: Any) -> RequestSubmitted:
    return RequestSubmitted(**{"request_id": "r-1", "tenant": "acme", "messages": (Message(role="user", content="?"),), **fields})


def admitted(*, cache_only: bool = False, **fields: Any) -> RequestAdmitted:
    admission = Admission(cache_only=cache_only, reserved_nano=1, input_tokens_bound=1, attempts_bound=1)
    return RequestAdmitted(request=request(**fields), fingerprint="f", admission=admission)


def finished(**fields: Any) -> RequestFinished:
    defaults: dict[str, Any] = {
        "request_id": "r-1",
        "tenant": "acme",
        "fingerprint": "f",
        "outcome": "answered",
        "reason": "ok",
        "usage": Usage(input_tokens=7, output_tokens=3),
        "finished_at_ms": NOON,
    }
    return RequestFinished(**{**defaults, **fields})
