"""What is asked of cost-meter: one tenant that asks everything, or ten thousand that ask in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from daytwo.broker import Outgoing, outgoing
from daytwo.fate import headers_of
from daytwo.records import (
    Cap,
    ConcurrencyCap,
    DeploymentConfigured,
    Message,
    PriceConfigured,
    RequestAccepted,
    RequestFinished,
    RequestSubmitted,
    TenantConfigured,
    TokenCap,
    Usage,
)
from daytwo.results import finished

HOT: Final = "hot"
MODEL: Final = "bench"
AMPLE_NANO: Final = 9_000_000 * 10**9
DAY_MS: Final = 86_400_000


def tenants(many: int) -> list[str]:
    return [f"tenant-{number:05d}" for number in range(many)]


def configuration(names: Sequence[str]) -> list[TenantConfigured]:
    """Caps of money, tokens and open requests, of the tenant and of its users, none of which is reached."""
    caps = (
        Cap(scope="tenant", period="month", limit_nano=AMPLE_NANO),
        Cap(scope="user", period="day", limit_nano=AMPLE_NANO),
    )
    return [
        TenantConfigured(
            tenant=name,
            caps=caps,
            token_caps=(TokenCap(scope="tenant", period="day", limit_tokens=10**15),),
            concurrency_caps=(ConcurrencyCap(scope="tenant", limit_requests=10**9),),
        )
        for name in names
    ]


def routes() -> list[DeploymentConfigured | PriceConfigured]:
    return [
        DeploymentConfigured(deployment="bench", provider="bench", model="bench-1", base_url="http://127.0.0.1:1/v1", aliases=(MODEL,)),
        PriceConfigured(
            provider="bench",
            model="bench-1",
            valid_from_ms=0,
            input_nano_per_mtok=150_000_000,
            cached_input_nano_per_mtok=75_000_000,
            output_nano_per_mtok=600_000_000,
        ),
    ]


def request(tenant: str, request_id: str, now_ms: int) -> RequestSubmitted:
    return RequestSubmitted(
        request_id=request_id,
        tenant=tenant,
        user=f"user-{hash(request_id) % 50}",
        messages=(
            Message(role="system", content="You answer questions about Apache Kafka in two sentences."),
            Message(role="user", content="What does a consumer group do, and when does it rebalance?"),
        ),
        model=MODEL,
        deadline_ms=now_ms + DAY_MS,
    )


def asked(run: str, names: Sequence[str], count: int, now_ms: int) -> list[Outgoing]:
    """`count` accepted requests, of the tenants in turn."""
    found = []
    for number in range(count):
        wanted = request(names[number % len(names)], f"{run}-{number:06d}", now_ms)
        record = RequestAccepted(request=wanted, fingerprint=f"{number:032x}", accepted_at_ms=now_ms)
        found.append(outgoing(record, headers_of(record)))
    return found


def ended(run: str, names: Sequence[str], count: int, now_ms: int) -> Iterator[RequestFinished]:
    """The ends of the first `count` of them."""
    for number in range(count):
        yield finished(
            request(names[number % len(names)], f"{run}-{number:06d}", now_ms),
            now_ms=now_ms,
            outcome="answered",
            reason="ok",
            fingerprint=f"{number:032x}",
            cost_nano=1234 + number,
            usage=Usage(input_tokens=40, output_tokens=60),
        )
