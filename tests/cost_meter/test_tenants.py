"""What cost-meter remembers of tenants."""

from __future__ import annotations

from dataclasses import replace

from daytwo.topics import TENANT_CONFIGURED
from services.cost_meter.tenants import Tenants
from tests.cost_meter.builders import cap, follow, tenant


async def test_equal_parts_of_tenants_are_held_once_and_each_tenant_is_what_was_configured() -> None:
    tenants = Tenants()
    records = [tenant(tenant=name, caps=(cap(int("1000")),)) for name in ("a", "b")]

    await follow(tenants, TENANT_CONFIGURED, *records)

    assert [tenants.get("a"), tenants.get("b")] == records
    assert tenants.rows["a"].caps is tenants.rows["b"].caps


async def test_caps_are_made_ready_once_and_anew_when_they_change() -> None:
    tenants = Tenants()
    await follow(tenants, TENANT_CONFIGURED, tenant(caps=(cap(5),)))
    first = tenants.caps(tenants.rows["acme"])
    assert tenants.caps(tenants.rows["acme"]) is first

    await follow(tenants, TENANT_CONFIGURED, replace(tenant(), caps=(cap(7),)))

    assert tenants.caps(tenants.rows["acme"]).limits("tenant", "", "day")[0] == 7
