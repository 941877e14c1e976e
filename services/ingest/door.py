"""Who may send: the checks that requests and documents share, before anything of their content is looked at."""

from __future__ import annotations

from collections.abc import Callable

from daytwo.flow import Context
from daytwo.records import TenantConfigured
from services.ingest.refusal import Refusal, legible
from services.ingest.signature import signature_refusal

Tenants = Callable[[str], TenantConfigured | None]


def sender_of(name: str, context: Context, tenants: Tenants, *, max_bytes: int) -> TenantConfigured | Refusal:
    """The tenant called `name`, if the record of `context` is within `max_bytes` and comes from it."""
    value = context.value or b""
    if len(value) > max_bytes:
        return Refusal("too_large", f"the record has {len(value)} bytes; at most {max_bytes}")
    tenant = tenants(name)
    if tenant is None:
        return Refusal("unknown_tenant", f"no tenant {legible(name)!r} is configured")
    if not tenant.active:
        return Refusal("inactive_tenant", f"the tenant {legible(name)!r} is switched off")
    return signature_refusal(tenant.keys, value, context.headers) or tenant
