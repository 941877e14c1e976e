"""The ledger against the log. Takes cost-meter's `/ledger` view as it is. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from daytwo.audit.invariants import Violation
from daytwo.audit.view import View
from daytwo.audit.windows import PERIODS, window


@dataclass(slots=True)
class Sums:
    """Nano-dollars."""

    settled_nano: int = 0
    reserved_nano: int = 0


Windows = Mapping[tuple[str, str, str], Sums]
"""By tenant, period and window."""


def sums(view: View) -> Windows:
    """What the ledger must have of every tenant, in all its windows: the first result that carries a request's fingerprint
    settles it, in the windows of the moment its request was accepted, and later ones book attempts that none had before; what has
    none is reserved."""
    found: dict[tuple[str, str, str], Sums] = defaultdict(Sums)
    for (tenant, _), request in view.accepted():
        if request.admitted_at is None or request.accepted_at is None:
            continue
        for period in PERIODS:
            counter = found[tenant, period, window(period, request.accepted_at.timestamp_ms)]
            if request.settling is None:
                counter.reserved_nano += request.reserved_nano
            else:
                counter.settled_nano += request.cost_nano
    return found


def differences(view: View, ledger: Mapping[str, Any]) -> Iterator[Violation]:
    """What the ledger has otherwise than the log. Meaningful while nothing moves between the two."""
    tenants: Mapping[str, Any] = ledger["tenants"]
    for tenant, account in tenants.items():
        yield from _held_after_end(view, tenant, account)
    yield from _not_held(view, tenants)
    if view.whole:
        yield from _other_sums(sums(view), tenants)


def _held_after_end(view: View, tenant: str, account: Mapping[str, Any]) -> Iterator[Violation]:
    for request_id in account["open_ids"]:
        request = view.requests.get((tenant, request_id))
        if request is not None and request.settling is not None:
            yield Violation(rule="held_after_end", ids=(request_id, tenant), detail="has ended and is still open in the ledger")
        elif request is None and view.whole:
            yield Violation(rule="no_request", ids=(request_id, tenant), detail="is open in the ledger and not on the log")


def _not_held(view: View, tenants: Mapping[str, Any]) -> Iterator[Violation]:
    listed = {(tenant, request_id) for tenant, account in tenants.items() for request_id in account["open_ids"]}
    cut = {tenant for tenant, account in tenants.items() if account["open"] > len(account["open_ids"])}
    for (tenant, request_id), request in view.accepted():
        open_here = request.admitted_at is not None and request.settling is None
        if open_here and tenant not in cut and (tenant, request_id) not in listed:
            yield Violation(rule="not_held", ids=(request_id, tenant), detail="is admitted and open on the log and not in the ledger")


def _other_sums(expected: Windows, tenants: Mapping[str, Any]) -> Iterator[Violation]:
    """Counters that expired in the ledger are passed over; `total` never expires."""
    names = set(tenants) | {tenant for tenant, _, _ in expected}
    for tenant in sorted(names):
        account = tenants.get(tenant, {"total": {"settled_nano": 0, "reserved_nano": 0}, "windows": []})
        counters = [("total", "total", account["total"])]
        counters += [(w["period"], w["window"], w) for w in account["windows"] if w["scope"] == "tenant" and w["period"] != "total"]
        for period, name, counter in counters:
            log = expected.get((tenant, period, name), Sums())
            if (counter["settled_nano"], counter["reserved_nano"]) != (log.settled_nano, log.reserved_nano):
                detail = (
                    f"settled {counter['settled_nano']} in the ledger, {log.settled_nano} on the log; "
                    f"reserved {counter['reserved_nano']}, {log.reserved_nano}"
                )
                yield Violation(rule="ledger_differs", ids=(tenant, name), detail=detail)
