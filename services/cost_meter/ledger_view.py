"""The ledger as JSON, for the audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.cost_meter.budget import Caps
from services.cost_meter.ports import Account, Counter
from services.cost_meter.tenants import Tenants

TOTAL = "tenant//total/total"
"""Path of the counter that every request of a tenant is booked in."""


def ledger_view(accounts: Mapping[str, Account], tenants: Tenants) -> dict[str, Any]:
    """By tenant: in total, in each window with the limits of now (null: no cap), and what is open. Nano-dollars and tokens."""
    return {"tenants": {name: _tenant(account, _caps(name, tenants)) for name, account in accounts.items()}}


def _caps(name: str, tenants: Tenants) -> Caps | None:
    tenant = tenants.get(name)
    return None if tenant is None else Caps(tenant)


def _tenant(account: Account, caps: Caps | None) -> dict[str, Any]:
    total = next((counter for counter in account.counters if counter.path == TOTAL), Counter(path=TOTAL))
    return {
        "total": _amounts(total),
        "windows": [_window(counter, caps) for counter in account.counters],
        "open": account.open,
        "open_ids": list(account.open_ids),
    }


def _window(counter: Counter, caps: Caps | None) -> dict[str, Any]:
    scope, rest = counter.path.split("/", 1)
    subject, period, name = rest.rsplit("/", 2)
    limit_nano, limit_tokens, _ = caps.limits(scope, subject, period) if caps else (None, None, None)
    return {
        "scope": scope,
        "subject": subject,
        "period": period,
        "window": name,
        **_amounts(counter),
        "limit_nano": limit_nano,
        "limit_tokens": limit_tokens,
    }


def _amounts(counter: Counter) -> dict[str, int]:
    return {
        "settled_nano": counter.settled_nano,
        "reserved_nano": counter.reserved_nano,
        "settled_tokens": counter.settled_tokens,
        "reserved_tokens": counter.reserved_tokens,
    }
