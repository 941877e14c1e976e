"""The whole of daytwo, as `make up` starts it, once for all tests here."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daytwo.broker import outgoing
from daytwo.kafka import KafkaBroker
from daytwo.records import CachePolicy, Cap, DeploymentConfigured, PriceConfigured, RateLimit, SigningKey, TenantConfigured
from tests.stack import STATE, running_stack

KEY = SigningKey(id="k1", secret="a secret of the tenant")


def configuration(stack: dict[str, Any]) -> list[Any]:
    """What the tests' tenants may do, and the mock provider twice: the second deployment is the first one's fallback."""
    exact = CachePolicy(enabled=True, threshold=2.0, ttl_s=3600)
    mock: dict[str, Any] = {"provider": "mock", "base_url": stack["mock_provider"], "aliases": ("default",)}
    return [
        TenantConfigured(tenant="plain", cache=CachePolicy(enabled=False)),
        TenantConfigured(tenant="cached", cache=exact),
        TenantConfigured(tenant="semantic", cache=CachePolicy(enabled=True, threshold=0.8, ttl_s=3600)),
        TenantConfigured(tenant="signed", keys=(KEY,), cache=exact),
        TenantConfigured(tenant="off", active=False),
        TenantConfigured(tenant="poor", caps=(Cap(scope="tenant", period="day", limit_nano=1_500_000),), cache=exact),
        TenantConfigured(
            tenant="limited",
            rate_limits=(RateLimit(scope="tenant", kind="requests", period="minute", limit=120, burst=10),),
            cache=CachePolicy(enabled=False),
            over_budget="refuse",
        ),
        DeploymentConfigured(deployment="first", model="mock-1", priority=0, **mock),
        DeploymentConfigured(deployment="second", model="mock-2", priority=1, **mock),
        DeploymentConfigured(deployment="hanging", model="mock-hang", provider="mock", base_url=stack["mock_provider"], aliases=("hang",)),
        DeploymentConfigured(
            deployment="free", model="unheard-of", provider="nobody", base_url=stack["mock_provider"], aliases=("unpriced",)
        ),
        *[
            PriceConfigured(
                provider="mock",
                model=model,
                valid_from_ms=0,
                input_nano_per_mtok=150_000_000,
                cached_input_nano_per_mtok=75_000_000,
                output_nano_per_mtok=600_000_000,
            )
            for model in ("mock-1", "mock-2", "mock-hang")
        ],
    ]


async def configure(stack: dict[str, Any]) -> None:
    sender = KafkaBroker(stack["kafka"]).sender()
    await sender.start()
    await sender.send([outgoing(record) for record in configuration(stack)])
    await sender.stop()
    await asyncio.sleep(2)  # every service follows within a second; none says when it has


@pytest.fixture(scope="session")
def daytwo() -> Iterator[dict[str, Any]]:
    """`stack.json` of a running daytwo with its tenants configured."""
    if address := os.environ.get("DAYTWO_TEST_SYSTEM"):  # one that is up already, while developing
        stack = json.loads((Path(address) / "stack.json").read_text())
        asyncio.run(configure(stack))
        yield {**stack, "state": address}
        return
    state = Path(f"{STATE}-system")
    with running_stack(state=state, env={"DAYTWO_REPLICAS": "cost_meter=2"}) as stack:
        asyncio.run(configure(stack))
        yield {**stack, "state": str(state)}
