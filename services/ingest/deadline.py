"""When work on a request ends."""

from __future__ import annotations

from daytwo.records import TenantConfigured
from services.ingest.refusal import Refusal


def deadline_of(asked_ms: int, *, arrived_ms: int, tenant: TenantConfigured) -> int:
    """Epoch milliseconds: what was asked for, or the tenant's default from arrival where that is 0; never beyond the tenant's longest.

    It follows from the record alone, so a redelivered one gets the same.
    """
    asked_ms = asked_ms or arrived_ms + tenant.default_timeout_ms
    return min(asked_ms, arrived_ms + tenant.max_timeout_ms)


def deadline_refusal(deadline_ms: int, *, arrived_ms: int, now_ms: int) -> Refusal | None:
    """Tells a request that came too late from one that waited too long at the door."""
    if deadline_ms <= arrived_ms:
        return Refusal("deadline_in_past", f"the deadline was {arrived_ms - deadline_ms} ms before the request arrived")
    if deadline_ms <= now_ms:
        return Refusal("deadline_exceeded", f"the deadline passed {now_ms - deadline_ms} ms before the request was read")
    return None
