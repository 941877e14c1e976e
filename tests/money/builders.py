"""Attempts, quotes and lines of bills."""

from __future__ import annotations

from typing import Any

from daytwo.money.attempts import Attempt, Quotes
from daytwo.money.reconciling import Line
from daytwo.records import (
    Admission,
    AttemptFinished,
    AttemptStarted,
    Message,
    Quote,
    RequestAdmitted,
    RequestSubmitted,
    Usage,
)

QUOTE = Quote(
    deployment="mock",
    input_nano_per_mtok=1_000_000_000,
    cached_input_nano_per_mtok=500_000_000,
    output_nano_per_mtok=2_000_000_000,
    source="test",
)
USAGE = Usage(input_tokens=10, output_tokens=5)
COST = 10 * 1000 + 5 * 2000


def started(attempt_id: str = "a1", **fields: Any) -> AttemptStarted:
    defaults: dict[str, Any] = {
        "request_id": "r1",
        "tenant": "acme",
        "session": "",
        "number": 1,
        "deployment": "mock",
        "model": "mock-1",
        "bound_nano": 90_000,
        "started_at_ms": 1_000,
    }
    return AttemptStarted(attempt_id=attempt_id, **{**defaults, **fields})


def finished(attempt_id: str = "a1", **fields: Any) -> AttemptFinished:
    defaults: dict[str, Any] = {
        "request_id": "r1",
        "tenant": "acme",
        "session": "",
        "number": 1,
        "deployment": "mock",
        "model": "mock-1",
        "outcome": "succeeded",
        "usage": USAGE,
        "cost_nano": COST,
        "latency_ms": 5.0,
        "ended_at_ms": 1_005,
    }
    return AttemptFinished(attempt_id=attempt_id, **{**defaults, **fields})


def admitted(request_id: str = "r1", tenant: str = "acme", quote: Quote = QUOTE) -> RequestAdmitted:
    request = RequestSubmitted(request_id=request_id, tenant=tenant, messages=(Message(role="user", content="?"),))
    admission = Admission(cache_only=False, reserved_nano=100, input_tokens_bound=10, attempts_bound=3, quotes=(quote,))
    return RequestAdmitted(request=request, fingerprint="f", admission=admission)


def attempt(attempt_id: str = "a1", **fields: Any) -> Attempt:
    defaults: dict[str, Any] = {
        "tenant": "acme",
        "request_id": "r1",
        "deployment": "mock",
        "model": "mock-1",
        "at_ms": 1_000,
        "booked_nano": COST,
        "outcome": "succeeded",
        "usage": USAGE,
    }
    return Attempt(attempt_id=attempt_id, **{**defaults, **fields})


def line(attempt_id: str = "a1", usage: Usage = USAGE, **fields: Any) -> Line:
    return Line(attempt_id=attempt_id, usage=usage, **fields)


def quotes() -> Quotes:
    known = Quotes()
    known.take(admitted())
    return known
