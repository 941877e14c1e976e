"""The ledger against the log. Takes cost-meter's `/ledger` view as it is. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from daytwo.audit.invariants import Violation
from daytwo.audit.view import Request, View
from daytwo.audit.windows import PERIODS, window


@dataclass(slots=True)
class Sums:
    """Nano-dollars and tokens."""

    settled_nano: int = 0
    reserved_nano: int = 0
    settled_tokens: int = 0
    reserved_tokens: int = 0


Place = tuple[str, str, str, str, str]
"""Tenant, scope, subject, period and window."""
AMOUNTS: Final = ("settled_nano", "reserved_nano", "settled_tokens", "reserved_tokens")


def sums(view: View) -> Mapping[Place, Sums]:
    """What the ledger must have of every tenant, in all its windows: the first result that carries a request's fingerprint
    settles it, in the windows of the moment that its admission names, and later ones book attempts that none had before; what has
    none is reserved."""
    found: dict[Place, Sums] = defaultdict(Sums)
    for (tenant, _), request in view.accepted():
        if request.admitted_at is None:
            continue
        for scope, subject in request.subjects.items():
            if scope == "tenant" or subject:
                for period in PERIODS:
                    _add(found[tenant, scope, subject, period, window(period, request.counted_ms)], request)
    return found


def _add(counter: Sums, request: Request) -> None:
    if request.settling is None:
        counter.reserved_nano += request.reserved_nano
        counter.reserved_tokens += request.reserved_tokens
    else:
        counter.settled_nano += request.cost_nano
        counter.settled_tokens += request.tokens


def differences(view: View, ledger: Mapping[str, Any]) -> Iterator[Violation]:
    """What the ledger has otherwise than the log. Meaningful while nothing moves between the two."""
    tenants: Mapping[str, Any] = ledger["tenants"]
    for tenant, account in tenants.items():
        yield from _held_after_end(view, tenant, account)
    yield from _not_held(view, tenants)
    if view.whole:
        yield from _other_sums(view, tenants)


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


def _other_sums(view: View, tenants: Mapping[str, Any]) -> Iterator[Violation]:
    """Counters that expired in the ledger are passed over; `total` never expires.

    The tenant's are those of the log. Those of a user, workflow, session or agent count from when they were capped: at most the log's.
    """
    expected = sums(view)
    counted = AMOUNTS if _tokens_counted(view) else AMOUNTS[:2]
    for tenant in sorted(set(tenants) | {place[0] for place in expected}):
        for (scope, subject, period, name), counter in _counters(tenants.get(tenant)):
            log = expected.get((tenant, scope, subject, period, name), Sums())
            differ = [
                f"{amount} {counter[amount]} in the ledger, {getattr(log, amount)} on the log"
                for amount in counted
                if amount in counter and _wrong(scope, counter[amount], getattr(log, amount))
            ]
            if differ:
                ids = (tenant, name) if scope == "tenant" else (tenant, f"{scope} {subject}", name)
                yield Violation(rule="ledger_differs", ids=ids, detail="; ".join(differ))


def _wrong(scope: str, ledger: int, log: int) -> bool:
    return ledger != log if scope == "tenant" else ledger > log


def _tokens_counted(view: View) -> bool:
    """Whether all that was admitted says how many tokens it reserved; version 1 of request-admitted did not."""
    return all(request.reserved_tokens or not request.reserved_nano for _, request in view.accepted())


def _counters(account: Mapping[str, Any] | None) -> Iterator[tuple[tuple[str, str, str, str], Mapping[str, int]]]:
    """By scope, subject, period and window. A tenant the ledger does not know has nothing."""
    yield ("tenant", "", "total", "total"), account["total"] if account else dict.fromkeys(AMOUNTS, 0)
    for counter in account["windows"] if account else ():
        if (counter["scope"], counter["period"]) != ("tenant", "total"):
            yield (counter["scope"], counter.get("subject", ""), counter["period"], counter["window"]), counter
