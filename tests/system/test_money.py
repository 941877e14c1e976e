"""Money on the whole road: the provider's bill under faults, and how soon a changed cap holds."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from daytwo.broker import Outgoing, outgoing
from daytwo.records import AlertRaised, CachePolicy, Cap, TenantConfigured
from daytwo.topics import ALERT_RAISED, TENANT_CONFIGURED
from tests.stack import ROOT
from tests.system.road import Road, request, road
from tests.system.topics import read_all

pytestmark = [pytest.mark.stack, pytest.mark.system]

FAULTS = [
    {"kind": "status_500", "probability": 0.08},
    {"kind": "cut_body", "probability": 0.05},
    {"kind": "malformed_json", "probability": 0.05},
    {"kind": "no_usage", "probability": 0.05},
    {"kind": "hang", "probability": 0.02, "after_ms": 500},
]
REQUESTS = 200
FOLLOWED_S = 1.0
NO_CACHE = CachePolicy(enabled=False)


async def provider(stack: Mapping[str, Any], faults: list[dict[str, Any]]) -> None:
    async with aiohttp.ClientSession() as session, session.put(f"{bill_of(stack)[:-5]}/faults", json=faults) as answer:
        assert answer.status == 200


def bill_of(stack: Mapping[str, Any]) -> str:
    return str(stack["mock_provider"]).removesuffix("/v1") + "/bill"


async def command(stack: Mapping[str, Any], *arguments: str) -> tuple[int, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "daytwo.cli", "--kafka", stack["kafka"], *arguments, "--json", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return process.returncode or 0, json.loads(output)


async def test_under_faults_the_bill_and_the_log_differ_in_nothing_but_what_is_unknown_and_that_is_booked_in_full(
    daytwo: dict[str, Any],
) -> None:
    async with road(daytwo) as opened:
        await provider(daytwo, FAULTS)
        try:
            await asyncio.gather(*[opened.answer(request("plain", f"Question {number}?", max_tokens=50)) for number in range(REQUESTS)])
        finally:
            await provider(daytwo, [])

    code, found = await command(daytwo, "reconcile", "--bill", bill_of(daytwo))

    assert (found["missing"], found["different"], found["under_booked"], code) == (0, 0, 0, 0), found["attempts"]
    assert found["equal"] >= REQUESTS * 0.8
    assert found["unknown"] > 0
    assert found["booked_nano"] >= found["billed_nano"] > 0


async def refused(opened: Road, tenant: str) -> bool:
    return (await opened.answer(request(tenant, "What is a cap?", max_tokens=20))).reason == "budget_exceeded"


async def test_a_changed_cap_holds_within_a_second(daytwo: dict[str, Any]) -> None:
    async with road(daytwo) as opened:
        for tenant, limit_nano, wanted in (("changing", 10**9, False), ("changing", 0, True), ("changing", 10**9, False)):
            caps = (Cap(scope="tenant", period="day", limit_nano=limit_nano),)
            await opened.send(outgoing(TenantConfigured(tenant=tenant, caps=caps, over_budget="refuse", cache=NO_CACHE)))
            await asyncio.sleep(FOLLOWED_S)

            assert await refused(opened, tenant) is wanted


async def test_a_cap_that_is_used_up_is_told_once_and_its_alert_is_over_when_it_is_raised(daytwo: dict[str, Any]) -> None:
    def told(limit_nano: int) -> TenantConfigured:
        caps = (Cap(scope="tenant", period="total", limit_nano=limit_nano),)
        return TenantConfigured(tenant="told", caps=caps, over_budget="refuse", cache=NO_CACHE)

    async def alerts() -> list[AlertRaised]:
        return [alert for alert in await read_all(daytwo, ALERT_RAISED) if alert.tenant == "told" and alert.threshold_percent == 100]

    async def states(wanted: list[str]) -> None:
        async with asyncio.timeout(20):
            while [alert.state for alert in await alerts()] != wanted:
                await asyncio.sleep(0.2)

    async with road(daytwo) as opened:
        await opened.send(outgoing(told(1_000)))
        await asyncio.sleep(FOLLOWED_S)
        assert await refused(opened, "told")
        assert await refused(opened, "told")
        await states(["raised"])
        await opened.send(outgoing(told(10**9)))
        await states(["raised", "resolved"])


async def test_a_tenant_deleted_with_money_open_is_settled_and_refused_and_the_audit_is_clean(daytwo: dict[str, Any]) -> None:
    last = request("leaving", "What is a tombstone?", max_tokens=20)
    async with road(daytwo) as opened:
        await opened.send(outgoing(TenantConfigured(tenant="leaving", cache=NO_CACHE)))
        await asyncio.sleep(FOLLOWED_S)
        await provider(daytwo, [{"kind": "slow", "probability": 1.0, "delay_ms": 2_000}])
        try:
            await opened.submit(last)
            await asyncio.sleep(FOLLOWED_S)
            await opened.send(Outgoing(topic=TENANT_CONFIGURED.name, key=b"leaving", value=None))
            result = await opened.result(last.request_id)
        finally:
            await provider(daytwo, [])
        after = await opened.answer(request("leaving", "What is left?", max_tokens=20))

    meter = next(program["http"] for program in daytwo["programs"] if program["name"] == "cost-meter-0")
    code, found = await command(daytwo, "audit", "--ledger", f"{meter}/ledger")

    assert (result.outcome, after.reason) == ("answered", "unknown_tenant")
    assert result.cost_nano > 0
    assert (code, found["violations"]) == (0, [])
