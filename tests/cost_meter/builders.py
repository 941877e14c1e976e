"""Records and what goes with them, valid unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from daytwo.flow import Change, Context, Follower
from daytwo.records import (
    Admission,
    Cap,
    ConcurrencyCap,
    DeploymentConfigured,
    Message,
    PriceConfigured,
    Quote,
    RequestAccepted,
    RequestFinished,
    RequestSubmitted,
    TenantConfigured,
    TokenCap,
)
from daytwo.results import finished
from daytwo.topic import Record, Topic
from services.cost_meter.budget import Caps
from services.cost_meter.decisions import encode_proposal
from services.cost_meter.ports import Reservation, Restoration, Settlement

NOON = 1_772_366_400_000
"""2026-03-01T12:00:00Z."""
HOUR = 3_600_000


class FixedClock:
    def __init__(self, now_ms: int = NOON) -> None:
        self.now = now_ms

    def now_ms(self) -> int:
        return self.now

    def monotonic(self) -> float:
        return self.now / 1000

    async def sleep(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


def request(**fields: Any) -> RequestSubmitted:
    defaults: dict[str, Any] = {
        "request_id": "r-1",
        "tenant": "acme",
        "messages": (Message(role="user", content="What is a cap?"),),
        "model": "small",
        "deadline_ms": NOON + 60_000,
    }
    return RequestSubmitted(**{**defaults, **fields})


def accepted(*, fingerprint: str = "f-1", **fields: Any) -> RequestAccepted:
    return RequestAccepted(request=request(**fields), fingerprint=fingerprint, accepted_at_ms=NOON)


def ended(**fields: Any) -> RequestFinished:
    defaults: dict[str, Any] = {"outcome": "answered", "reason": "ok", "fingerprint": "f-1", "now_ms": NOON}
    identity = {name: fields.pop(name) for name in ("request_id", "tenant") if name in fields}
    return finished(request(**identity), **{**defaults, **fields})


def context(*, clock: FixedClock, timestamp_ms: int = NOON, partition: int = 3, offset: int = 7) -> Context:
    async def nowhere(_: Record) -> None:
        raise AssertionError("cost-meter writes nothing ahead")

    return Context(
        service="cost-meter",
        topic="request-accepted",
        partition=partition,
        offset=offset,
        timestamp_ms=timestamp_ms,
        started_ms=clock.now_ms(),
        key=None,
        value=None,
        headers={},
        clock=clock,
        write_ahead=nowhere,
    )


def tenant(**fields: Any) -> TenantConfigured:
    return TenantConfigured(**{"tenant": "acme", **fields})


def cap(limit_nano: int, period: str = "day", scope: str = "tenant", subject: str = "*") -> Cap:
    return Cap(scope=scope, subject=subject, period=period, limit_nano=limit_nano)


def token_cap(limit_tokens: int, period: str = "day", scope: str = "tenant", subject: str = "*") -> TokenCap:
    return TokenCap(scope=scope, subject=subject, period=period, limit_tokens=limit_tokens)


def concurrency_cap(limit_requests: int, scope: str = "tenant", subject: str = "*") -> ConcurrencyCap:
    return ConcurrencyCap(scope=scope, subject=subject, limit_requests=limit_requests)


def deployment(**fields: Any) -> DeploymentConfigured:
    defaults: dict[str, Any] = {
        "deployment": "mock-a",
        "provider": "mock",
        "model": "mock-1",
        "base_url": "http://mock/v1",
        "aliases": ("small",),
    }
    return DeploymentConfigured(**{**defaults, **fields})


def price(**fields: Any) -> PriceConfigured:
    defaults: dict[str, Any] = {
        "provider": "mock",
        "model": "mock-1",
        "valid_from_ms": 0,
        "input_nano_per_mtok": 1_000_000_000,
        "cached_input_nano_per_mtok": 500_000_000,
        "output_nano_per_mtok": 2_000_000_000,
    }
    return PriceConfigured(**{**defaults, **fields})


def quote(**fields: Any) -> Quote:
    defaults: dict[str, Any] = {
        "deployment": "mock-a",
        "input_nano_per_mtok": 1_000_000_000,
        "cached_input_nano_per_mtok": 500_000_000,
        "output_nano_per_mtok": 2_000_000_000,
        "source": "test",
    }
    return Quote(**{**defaults, **fields})


def admission(reserved_nano: int = 100, reserved_tokens: int = 0) -> Admission:
    return Admission(
        cache_only=False,
        reserved_nano=reserved_nano,
        reserved_tokens=reserved_tokens,
        input_tokens_bound=10,
        attempts_bound=3,
        quotes=(quote(),),
    )


def reservation(amount_nano: int = 100, *caps: Cap | TokenCap | ConcurrencyCap, tokens: int = 0, **fields: Any) -> Reservation:
    at_ms = fields.setdefault("at_ms", NOON)
    subjects = {"tenant": "", **{scope: fields.pop(scope, "") for scope in ("user", "workflow", "session", "agent")}}
    defaults: dict[str, Any] = {
        "tenant": "acme",
        "request_id": "r-1",
        "fingerprint": "f-1",
        "proposal": admission(amount_nano, tokens),
        "windows": Caps(capped(*caps)).windows(subjects, at_ms),
        "then": ("cache_only",),
    }
    return Reservation(**{**defaults, **fields})


def capped(*caps: Cap | TokenCap | ConcurrencyCap) -> TenantConfigured:
    """A tenant with caps of any kind."""
    return tenant(
        caps=tuple(cap for cap in caps if isinstance(cap, Cap)),
        token_caps=tuple(cap for cap in caps if isinstance(cap, TokenCap)),
        concurrency_caps=tuple(cap for cap in caps if isinstance(cap, ConcurrencyCap)),
    )


def restoration(wanted: Reservation) -> Restoration:
    """What the log has of a reservation that had room."""
    return Restoration(
        tenant=wanted.tenant,
        request_id=wanted.request_id,
        fingerprint=wanted.fingerprint,
        nano=wanted.amount_nano,
        tokens=wanted.tokens,
        counts_as_open=True,
        decision=encode_proposal(wanted.proposal),
        windows=wanted.windows,
        at_ms=wanted.at_ms,
        round=wanted.round,
    )


def settlement(cost_nano: int = 40, **fields: Any) -> Settlement:
    defaults: dict[str, Any] = {"tenant": "acme", "request_id": "r-1", "fingerprint": "f-1", "partition": 3, "offset": 7}
    return Settlement(cost_nano=cost_nano, **{**defaults, **fields})


async def follow(follower: Follower[Any], topic: Topic[Any], *records: Record) -> None:
    changes: Sequence[Change[Any]] = [
        Change(key=topic.key(record), record=record, partition=0, offset=offset) for offset, record in enumerate(records)
    ]
    await follower.apply(changes)
