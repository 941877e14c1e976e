"""What must be true of every log, one function each. A function takes the view and yields what contradicts it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from daytwo.audit.caps import OPEN, Rule, holding, rules
from daytwo.audit.view import Attempt, Request, View
from daytwo.audit.windows import window


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """`rule` is a key of RULES; `ids` name what broke it, the request or attempt first."""

    rule: str
    ids: tuple[str, ...]
    detail: str


RULES: Final[Mapping[str, str]] = {
    "lost": "every accepted request has a result, or its deadline has not passed",
    "no_request": "every result with a fingerprint, admission and attempt belongs to an accepted request of its tenant",
    "tenant_mixed": "no result and no cached answer goes from one tenant to another",
    "paid_twice": "a request has at most one attempt that succeeded",
    "attempt_ended_twice": "an attempt has one end; repeats of it are equal",
    "attempt_unannounced": "an attempt is in the journal before it is made",
    "attempt_unbooked": "every attempt of an ended request is in its result",
    "attempt_not_in_journal": "every attempt of a result is in the journal, at the same cost",
    "wrong_cost": "the cost of a result is the sum over its attempts",
    "above_cap": "settled + reserved is at most the cap, whenever something is admitted",
    "held_after_end": "the ledger holds nothing for a request that has ended",
    "not_held": "the ledger holds what was admitted and has not ended",
    "ledger_differs": "the ledger's sums are those of the log",
}

CONFIGURATION_DELAY_MS: Final = 30_000
"""A cap is held against admissions that are so much younger than its record: services follow the configuration, they do not wait for it."""


def lost(view: View, *, now_ms: int, grace_ms: int) -> Iterator[Violation]:
    for (tenant, request_id), request in view.accepted():
        if request.first is None and request.deadline_ms + grace_ms < now_ms:
            late_s = (now_ms - request.deadline_ms) / 1000
            yield Violation(rule="lost", ids=(request_id, tenant), detail=f"no result {late_s:.0f} s after its deadline")


def belongs_nowhere(view: View) -> Iterator[Violation]:
    """Results, admissions and attempts of no accepted request; not decidable where the log's beginning was not read."""
    if not view.whole:
        return
    for (tenant, request_id), request in view.requests.items():
        if request.accepted_at is None and (request.admitted_ms is not None or (request.first is not None and request.first.fingerprint)):
            rule, detail = _whose(view, tenant, request_id, request)
            yield Violation(rule=rule, ids=(request_id, tenant), detail=detail)
    for attempt in view.attempts.values():
        found = view.requests.get(attempt.key)
        if found is None or found.accepted_at is None:
            yield Violation(rule="no_request", ids=_ids(attempt), detail="an attempt of no accepted request")


def _whose(view: View, tenant: str, request_id: str, request: Request) -> tuple[str, str]:
    fingerprint = request.fingerprint if request.first is None else request.first.fingerprint
    for (other, its_id), its in view.requests.items():
        if its_id == request_id and other != tenant and its.accepted_at is not None and its.fingerprint == fingerprint:
            return "tenant_mixed", f"a result for {tenant} of a request that {other} made"
    return "no_request", "was never accepted"


def cached_across_tenants(view: View) -> Iterator[Violation]:
    for (tenant, request_id), request in view.requests.items():
        if request.first is None or request.first.match is None:
            continue
        kind, answer_id = request.first.match
        owner = _leader(view, tenant, answer_id) if kind == "coalesced" else view.answers.get(answer_id, tenant)
        if owner != tenant:
            ids = (request_id, tenant, answer_id)
            yield Violation(rule="tenant_mixed", ids=ids, detail=f"answered {tenant} with an answer of {owner or 'nobody'}")


def _leader(view: View, tenant: str, request_id: str) -> str:
    """Tenant of the request that answered an equal one in flight; empty: there is none."""
    if not view.whole or (tenant, request_id) in view.requests:
        return tenant
    return next((other for other, its_id in view.requests if its_id == request_id), "")


def _ids(attempt: Attempt) -> tuple[str, str, str]:
    tenant, request_id = attempt.key
    return (attempt.attempt_id, request_id, tenant)


def paid_twice(view: View) -> Iterator[Violation]:
    succeeded: dict[tuple[str, str], str] = {}
    for attempt_id, attempt in view.attempts.items():
        if attempt.outcome != "succeeded":
            continue
        first = succeeded.setdefault(attempt.key, attempt_id)
        if first != attempt_id:
            tenant, request_id = attempt.key
            ids = (request_id, tenant, first, attempt_id)
            yield Violation(rule="paid_twice", ids=ids, detail="two attempts of the request succeeded")


def ended_twice(view: View) -> Iterator[Violation]:
    for attempt in view.attempts.values():
        if attempt.differing:
            yield Violation(rule="attempt_ended_twice", ids=_ids(attempt), detail=f"{attempt.differing + 1} ends that say different things")


def unannounced(view: View) -> Iterator[Violation]:
    if not view.whole:
        return
    for attempt in view.attempts.values():
        if attempt.bound_nano is None:
            yield Violation(rule="attempt_unannounced", ids=_ids(attempt), detail="has an end and no start")


def unbooked(view: View) -> Iterator[Violation]:
    """Attempts that cost something, or may have, and are missing in the result that was booked."""
    for attempt_id, attempt in view.attempts.items():
        request = view.requests.get(attempt.key)
        if request is None or request.accepted_at is None or request.settling is None:
            continue
        costs = attempt.cost_nano if attempt.outcome else attempt.bound_nano or 0
        if costs and all(booked != attempt_id for booked, _ in request.settling.attempts):
            yield Violation(rule="attempt_unbooked", ids=_ids(attempt), detail=f"{costs} nano-dollars that its result does not list")


def not_in_journal(view: View) -> Iterator[Violation]:
    for (tenant, request_id), request in view.accepted():
        for attempt_id, cost_nano in request.first.attempts if request.first else ():
            attempt = view.attempts.get(attempt_id)
            if wrong := _differs(attempt, tenant, request_id, cost_nano):
                yield Violation(rule="attempt_not_in_journal", ids=(attempt_id, request_id, tenant), detail=wrong)


def _differs(attempt: Attempt | None, tenant: str, request_id: str, cost_nano: int) -> str:
    if attempt is None:
        return "is in the result only"
    if attempt.key != (tenant, request_id):
        return f"is an attempt of {'/'.join(attempt.key)} in the journal"
    # One without an end has an unknown outcome and counts in full.
    journal = attempt.cost_nano if attempt.outcome else attempt.bound_nano
    return "" if journal == cost_nano else f"cost {cost_nano} in the result, {journal} in the journal"


def wrong_cost(view: View) -> Iterator[Violation]:
    for (tenant, request_id), request in view.accepted():
        if request.first is None:
            continue
        total = sum(cost for _, cost in request.first.attempts)
        if request.first.cost_nano != total:
            detail = f"cost {request.first.cost_nano}, its attempts {total} nano-dollars"
            yield Violation(rule="wrong_cost", ids=(request_id, tenant), detail=detail)


def above_cap(view: View) -> Iterator[Violation]:
    """Plays admissions and results again in the order of their timestamps.

    An admission is on the log after its reservation and a result before its settlement, and a settled request counts at most
    what was reserved for it; so what is summed up here was at that moment in the ledger at least, and nothing is accused wrongly.
    The caps are those in force; admissions before them are summed up and not judged.
    """
    requests: dict[str, list[tuple[str, Request]]] = defaultdict(list)
    for (tenant, request_id), request in view.accepted():
        if request.admitted_ms is not None and request.reserved_nano and tenant in view.tenants and rules(view.tenants[tenant][1]):
            requests[tenant].append((request_id, request))
    for tenant, admitted in requests.items():
        yield from _replay(view, tenant, admitted)


def _replay(view: View, tenant: str, requests: Sequence[tuple[str, Request]]) -> Iterator[Violation]:
    since_ms, configured = view.tenants[tenant]
    known = rules(configured)
    used: dict[Counter, int] = defaultdict(int)
    for _, place, ends in sorted(_moments(requests)):
        request_id, request = requests[place]
        judged = not ends and (request.admitted_ms or 0) > since_ms + CONFIGURATION_DELAY_MS
        amounts, kept = _reserved(request), _kept(request)
        for counter, limit in _counters(known, request):
            unit = counter[0]
            used[counter] += kept[unit] - amounts[unit] if ends else amounts[unit]
            if judged and used[counter] > limit:
                detail = f"{used[counter]} of {limit} {_UNITS[unit]} in {'/'.join(counter[1:])} once it was admitted"
                yield Violation(rule="above_cap", ids=(request_id, tenant), detail=detail)


Counter = tuple[str, str, str, str]
"""Unit, scope, subject, window."""
_UNITS: Final = {"money": "nano-dollars", "tokens": "tokens", OPEN: "open requests"}


def _counters(known: Sequence[Rule], request: Request) -> Iterator[tuple[Counter, int]]:
    """The capped counters a request is booked in, with their caps."""
    for scope, subject in request.subjects.items():
        if scope == "tenant" or subject:
            for rule in holding(known, scope, subject):
                name = OPEN if rule.period == OPEN else window(rule.period, request.counted_ms)
                yield (rule.unit, scope, subject, name), rule.limit


def _reserved(request: Request) -> Mapping[str, int]:
    return {"money": request.reserved_nano, "tokens": request.reserved_tokens, OPEN: 1}


def _moments(requests: Sequence[tuple[str, Request]]) -> Iterator[tuple[int, int, bool]]:
    for place, (_, request) in enumerate(requests):
        yield (request.admitted_ms or 0, place, False)
        if request.settling is not None:
            # Not before its admission, whatever the brokers' clocks say.
            yield (max(request.settling.place.timestamp_ms, request.admitted_ms or 0), place, True)


def _kept(request: Request) -> Mapping[str, int]:
    """What it counts at least once it is settled."""
    if request.settling is None:
        return _reserved(request)
    nano, tokens = min(request.settling.cost_nano, request.reserved_nano), min(request.settling.tokens, request.reserved_tokens)
    return {"money": nano, "tokens": tokens, OPEN: 0}


Invariant = Callable[[View], Iterator[Violation]]


def invariants(*, now_ms: int, grace_ms: int) -> tuple[Invariant, ...]:
    """All that is checked on the log alone."""
    return (
        partial(lost, now_ms=now_ms, grace_ms=grace_ms),
        belongs_nowhere,
        cached_across_tenants,
        paid_twice,
        ended_twice,
        unannounced,
        unbooked,
        not_in_journal,
        wrong_cost,
        above_cap,
    )
