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

_NO_CAPS: Final = Caps(TenantConfigured(tenant=""))

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


class Tenants(Table[TenantConfigured]):
    """Follows tenant-configured."""

    def __init__(self) -> None:
        super().__init__(TENANT_CONFIGURED)
        self._ready: dict[str, tuple[TenantConfigured, Caps]] = {}
        self._windows: dict[Hashable, tuple[Caps, tuple[Window, ...]]] = {}
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
        next of its subjects. A tenant that is gone has those that every tenant has.
        """
        configured = self.rows.get(tenant)
        caps = _NO_CAPS if configured is None else self.caps(configured)
        key = (tenant, at_ms // HOUR_MS, *[subjects[scope] for scope in caps.scopes])
        known = self._windows.get(key)
        if known is not None and known[0] is caps:
            return known[1]
        if len(self._windows) >= BUSY:
            self._windows.clear()
        windows = caps.windows(subjects, at_ms)
        self._windows[key] = caps, windows
        return windows

    def caps(self, tenant: TenantConfigured) -> Caps:
        ready = self._ready.get(tenant.tenant)
        if ready is not None and ready[0] is tenant:
            return ready[1]
        if len(self._ready) >= BUSY:
            self._ready.clear()
        caps = Caps(tenant)
        self._ready[tenant.tenant] = (tenant, caps)
        return caps
