"""Tenants as configured, with the caps of those that are busy made ready."""

from __future__ import annotations

from typing import Final

from daytwo.flow import Table
from daytwo.records import TenantConfigured
from daytwo.topics import TENANT_CONFIGURED
from services.cost_meter.budget import Caps

BUSY: Final = 16_384
"""Tenants whose caps are kept ready; beyond that all are made anew."""


class Tenants(Table[TenantConfigured]):
    """Follows tenant-configured."""

    def __init__(self) -> None:
        super().__init__(TENANT_CONFIGURED)
        self._ready: dict[str, tuple[TenantConfigured, Caps]] = {}

    def caps(self, tenant: TenantConfigured) -> Caps:
        ready = self._ready.get(tenant.tenant)
        if ready is not None and ready[0] is tenant:
            return ready[1]
        if len(self._ready) >= BUSY:
            self._ready.clear()
        caps = Caps(tenant)
        self._ready[tenant.tenant] = (tenant, caps)
        return caps
