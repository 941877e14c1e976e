"""What cost-meter remembers of tenants."""

from __future__ import annotations

from dataclasses import replace

from daytwo.topics import TENANT_CONFIGURED
from services.cost_meter.tenants import Tenants
from tests.cost_meter.builders import NOON, cap, follow, tenant


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


async def test_tenants_on_one_plan_share_their_windows_and_those_on_another_do_not() -> None:
    tenants = Tenants()
    plans = {"a": (cap(5), cap(7, "day", "user")), "b": (cap(5), cap(7, "day", "user")), "c": (cap(6), cap(7, "day", "user"))}
    await follow(tenants, TENANT_CONFIGURED, *[tenant(tenant=name, caps=caps) for name, caps in plans.items()])
    subjects = {"tenant": "", "user": "ann", "workflow": "", "session": "", "agent": ""}

    of_a, of_b, of_c = (tenants.windows(name, subjects, NOON) for name in plans)

    assert of_a is of_b
    assert of_a != of_c
    assert of_a is not tenants.windows("a", {**subjects, "user": "bob"}, NOON)
