"""The ledger as JSON, for the audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daytwo.records import TenantConfigured
from services.cost_meter.budget import limits
from services.cost_meter.ports import Account, Counter

TOTAL = "tenant//total/total"
"""Path of the counter that every request of a tenant is booked in."""


def ledger_view(accounts: Mapping[str, Account], tenants: Mapping[str, TenantConfigured]) -> dict[str, Any]:
    """Nano-dollars by tenant: in total, in each window with the limit of now (null: no cap), and what is open."""
    return {"tenants": {name: _tenant(account, tenants.get(name)) for name, account in accounts.items()}}


def _tenant(account: Account, tenant: TenantConfigured | None) -> dict[str, Any]:
    capped = limits(tenant.caps) if tenant else {}
    total = next((counter for counter in account.counters if counter.path == TOTAL), None)
    return {
        "total": {
            "settled_nano": total.settled_nano if total else 0,
            "reserved_nano": total.reserved_nano if total else 0,
        },
        "windows": [_window(counter, capped) for counter in account.counters],
        "open": account.open,
        "open_ids": list(account.open_ids),
    }


def _window(counter: Counter, capped: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    scope, rest = counter.path.split("/", 1)
    subject, period, name = rest.rsplit("/", 2)
    return {
        "scope": scope,
        "subject": subject,
        "period": period,
        "window": name,
        "settled_nano": counter.settled_nano,
        "reserved_nano": counter.reserved_nano,
        "limit_nano": capped.get((scope, period)),
    }
