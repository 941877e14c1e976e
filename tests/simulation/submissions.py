"""What clients submit, and the tenants, deployments and prices it meets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from daytwo.broker import Outgoing, outgoing
from daytwo.fate import headers_of
from daytwo.records import CachePolicy, Cap, DeploymentConfigured, Message, PriceConfigured, RequestSubmitted, SigningKey, TenantConfigured
from tests.simulation.loop import EPOCH_MS
from tests.simulation.scenario import Ask

KEY: Final = SigningKey(id="k1", secret="a secret of thirty-two characters")


def id_of(ask: Ask) -> str:
    return f"r{ask.number}"


def tenant_of(ask: Ask) -> str:
    return {"poor": "poor", "signed": "signer", "unsigned": "signer", "forged": "signer", "stranger": "nobody", "neighbour": "other"}.get(
        ask.kind, "acme"
    )


QUESTIONS: Final[dict[str, dict[str, Any]]] = {
    "session": {"session": "s1"},
    "grounded": {"grounding": "docs"},
    "fresh": {"cache": "refresh"},
    "uncached": {"cache": "off"},
    "invalid": {"max_tokens": 0},
    "no_model": {"model": "nothing"},
}
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
}


def _deployment(name: str, priority: int, **fields: Any) -> DeploymentConfigured:
    return DeploymentConfigured(
        deployment=name,
        provider="own",
        model=f"model-{name}",
        base_url=f"http://{name}/v1",
        aliases=("default",),
        priority=priority,
        timeout_ms=6000,
        **fields,
    )


DEPLOYMENTS: Final = {"east": _deployment("east", 0), "west": _deployment("west", 1)}
PRICES: Final = [
    PriceConfigured(
        provider="own",
        model=f"model-{name}",
        valid_from_ms=EPOCH_MS - 86_400_000,
        input_nano_per_mtok=1_000_000_000,
        cached_input_nano_per_mtok=1_000_000_000,
        output_nano_per_mtok=2_000_000_000,
    )
    for name in DEPLOYMENTS
]
