"""Tenants as configured, with the caps of those that are busy made ready."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, Final

from daytwo.flow import Change, Table
from daytwo.records import TenantConfigured
from daytwo.topics import TENANT_CONFIGURED
from services.cost_meter.budget import HOUR_MS, Caps, Subjects, Window

BUSY: Final = 16_384
"""Tenants whose caps, and subjects whose windows, are kept ready; beyond that all are made anew."""


_PARTS: Final = (
    "caps",
    "over_budget",
    "models",
    "embedding_model",
    "cache",
    "default_timeout_ms",
    "max_timeout_ms",
    "token_caps",
    "concurrency_caps",
    "rate_limits",
    "at_limit",
    "cheaper_route",
    "unpriced_bound",
)

_NO_CAPS: Final = Caps(TenantConfigured(tenant=""))


class Tenants(Table[TenantConfigured]):
    """Follows tenant-configured."""

    def __init__(self) -> None:
        super().__init__(TENANT_CONFIGURED)
        self._ready: dict[str, tuple[TenantConfigured, Caps]] = {}
        self._plans: dict[Hashable, Caps] = {}
        self._windows: dict[Hashable, tuple[Window, ...]] = {}
        self._shared: dict[Hashable, Any] = {}

    async def apply(self, changes: Sequence[Change[TenantConfigured]]) -> None:
        """Equal parts are held once: ten thousand tenants on three plans have three plans."""
        if len(self._shared) > BUSY:
            self._shared.clear()
        await super().apply([replace(c, key=sys.intern(c.key), record=self._lean(c.record)) for c in changes])

    def _lean(self, tenant: TenantConfigured | None) -> TenantConfigured | None:
        if tenant is None:
            return None
        parts = {name: self._shared.setdefault(part, part) for name in _PARTS if (part := getattr(tenant, name)) is not None}
        return replace(tenant, tenant=sys.intern(tenant.tenant), **parts)

    def windows(self, tenant: str, subjects: Subjects, at_ms: int) -> tuple[Window, ...]:
        """Every counter a request of this moment (epoch milliseconds) is booked in, by the caps of now; the very same ones for the
        next of its subjects, and of other tenants on the same plan. A tenant that is gone has those that every tenant has.
        """
        caps = self.caps_of(tenant)
        key = (caps, at_ms // HOUR_MS, *[subjects[scope] for scope in caps.scopes])
        windows = self._windows.get(key)
        if windows is None:
            if len(self._windows) >= BUSY:
                self._windows.clear()
            windows = self._windows[key] = caps.windows(subjects, at_ms)
        return windows

    def caps_of(self, name: str) -> Caps:
        """A tenant that is gone has the counters that every tenant has."""
        tenant = self.get(name)
        return _NO_CAPS if tenant is None else self.caps(tenant)

    def caps(self, tenant: TenantConfigured) -> Caps:
        ready = self._ready.get(tenant.tenant)
        if ready is not None and ready[0] is tenant:
            return ready[1]
        if len(self._ready) >= BUSY:
            self._ready.clear()
            self._plans.clear()
        plan = (tenant.caps, tenant.token_caps, tenant.concurrency_caps, tenant.at_limit)
        caps = self._plans.get(plan) or self._plans.setdefault(plan, Caps(tenant))
        self._ready[tenant.tenant] = (tenant, caps)
        return caps
