"""What clients submit, and the tenants, deployments and prices it meets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from daytwo.broker import Outgoing, outgoing
from daytwo.fate import headers_of
from daytwo.records import (
    CachePolicy,
    Cap,
    ConcurrencyCap,
    DeploymentConfigured,
    Message,
    PriceConfigured,
    RequestSubmitted,
    SigningKey,
    TenantConfigured,
    TokenCap,
)
from daytwo.topic import Record
from tests.simulation.loop import EPOCH_MS
from tests.simulation.scenario import Ask

KEY: Final = SigningKey(id="k1", secret="a secret of thirty-two characters")


def id_of(ask: Ask) -> str:
    return f"r{ask.number}"


TENANT_OF: Final = {
    "poor": "poor",
    "signed": "signer",
    "unsigned": "signer",
    "forged": "signer",
    "stranger": "nobody",
    "neighbour": "other",
    **{kind: kind for kind in ("tokens", "crowd", "hourly", "thrifty", "several")},
}


def tenant_of(ask: Ask) -> str:
    return TENANT_OF.get(ask.kind, "acme")


QUESTIONS: Final[dict[str, dict[str, Any]]] = {
    "session": {"session": "s1"},
    "grounded": {"grounding": "docs"},
    "fresh": {"cache": "refresh"},
    "uncached": {"cache": "off"},
    "invalid": {"max_tokens": 0},
    "no_model": {"model": "nothing"},
    "tokens": {"user": "ann", "timeout": 9.0},
    "crowd": {"workflow": "w1", "agent": "planner", "timeout": 9.0},
    "hourly": {"timeout": 9.0},
    "thrifty": {"user": "ann"},
    "several": {"user": "ann", "session": "s1", "agent": "planner", "workflow": "w1", "timeout": 9.0},
    "rush": {"model": "narrow", "cache": "off", "timeout": 4.0},
}
"""Times of `wait` end early enough for all to be over soon."""
NO_REPEAT: Final = ("repeat", "document", "removal", "stranger", "invalid", "signed")


def _raw(request: RequestSubmitted) -> Outgoing:
    return outgoing(request, headers_of(request))


def _request(request_id: str, tenant: str, text: str) -> RequestSubmitted:
    return RequestSubmitted(request_id=request_id, tenant=tenant, messages=(Message(role="user", content=text),))


def _reused(ask: Ask, first: Ask) -> Outgoing:
    return _raw(_request(id_of(first), tenant_of(first), f"Something else, {ask.number}"))


def _garbage(ask: Ask, first: Ask) -> Outgoing:
    record = _raw(_request(id_of(ask), "acme", "?"))
    return record._replace(value=(record.value or b"")[:-3], headers=record.headers if ask.number % 2 else {})


RAW: Final[dict[str, Callable[[Ask, Ask], Outgoing]]] = {
    "reused": _reused,
    "garbage": _garbage,
    "unsigned": lambda ask, first: _raw(_request(id_of(ask), "signer", "Unsigned?")),
    "forged": lambda ask, first: _raw(_request(id_of(first), tenant_of(first), "")),
}

TENANTS: Final = {
    "acme": TenantConfigured(tenant="acme", cache=CachePolicy(enabled=True, threshold=0.999, ttl_s=3600)),
    "poor": TenantConfigured(tenant="poor", caps=(Cap(scope="tenant", period="total", limit_nano=3_500_000),)),
    "other": TenantConfigured(tenant="other"),
    "signer": TenantConfigured(tenant="signer", keys=(KEY,)),
    # Every unit, scope and policy, and room for one or two requests: a worst case is 3.15 m$ and 2,385 tokens,
    # by the cheaper route a tenth of the money; what it then costs is a hundredth of that.
    "tokens": TenantConfigured(
        tenant="tokens",
        token_caps=(TokenCap(scope="user", period="hour", limit_tokens=4_000),),
        at_limit=("wait", "cache_only", "refuse"),
    ),
    "crowd": TenantConfigured(
        tenant="crowd",
        concurrency_caps=(ConcurrencyCap(scope="workflow", limit_requests=1), ConcurrencyCap(scope="agent", limit_requests=2)),
        at_limit=("cache_only", "wait"),
    ),
    "hourly": TenantConfigured(tenant="hourly", caps=(Cap(scope="tenant", period="hour", limit_nano=3_160_000),), at_limit=("wait",)),
    "thrifty": TenantConfigured(
        tenant="thrifty",
        caps=(Cap(scope="user", period="day", limit_nano=3_500_000),),
        at_limit=("cheaper_route", "wait", "refuse"),
        cheaper_route="cheap",
    ),
    "several": TenantConfigured(
        tenant="several",
        caps=(Cap(scope="agent", period="month", limit_nano=3_300_000), Cap(scope="session", period="total", limit_nano=6_400_000)),
        token_caps=(TokenCap(scope="workflow", period="day", limit_tokens=7_000),),
        concurrency_caps=(ConcurrencyCap(scope="user", limit_requests=2), ConcurrencyCap(scope="tenant", limit_requests=3)),
        at_limit=("wait", "cheaper_route"),
        cheaper_route="cheap",
    ),
}


def _deployment(name: str, priority: int, **fields: Any) -> DeploymentConfigured:
    return DeploymentConfigured(
        deployment=name,
        provider="own",
        model=f"model-{name}",
        base_url=f"http://{name}/v1",
        priority=priority,
        timeout_ms=6000,
        **{"aliases": ("default",), **fields},
    )


DEPLOYMENTS: Final = {
    "east": _deployment("east", 0),
    "west": _deployment("west", 1),
    "cheap": _deployment("cheap", 0, aliases=("cheap",)),
    "narrow": _deployment("narrow", 0, aliases=("narrow",), max_in_flight=1),
}


def _price(name: str) -> PriceConfigured:
    input_nano = 100_000_000 if name == "cheap" else 1_000_000_000
    return PriceConfigured(
        provider="own",
        model=f"model-{name}",
        valid_from_ms=EPOCH_MS - 86_400_000,
        input_nano_per_mtok=input_nano,
        cached_input_nano_per_mtok=input_nano,
        output_nano_per_mtok=2 * input_nano,
    )


def configuration(asks: Sequence[Ask]) -> Iterator[Record]:
    """What those who ask need: every service reads all of it at each start, which is a good part of a run."""
    tenants = {tenant_of(ask) for ask in asks}
    yield from (configured for name, configured in TENANTS.items() if name in tenants)
    narrow, cheap = any(ask.kind == "rush" for ask in asks), bool(tenants & {"thrifty", "several"})
    for name in ("east", "west", *["cheap"] * cheap, *["narrow"] * narrow):
        yield DEPLOYMENTS[name]
        yield _price(name)
