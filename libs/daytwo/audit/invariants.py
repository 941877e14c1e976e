"""What must be true of every log, one function each. A function takes the view and yields what contradicts it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from daytwo.audit.caps import OPEN, Rule, holding, rules
from daytwo.audit.view import Attempt, End, Place, Request, View
from daytwo.audit.windows import window


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """`rule` is a key of RULES; `ids` name what broke it, the request or attempt first."""

    rule: str
    ids: tuple[str, ...]
    detail: str


RULES: Final[Mapping[str, str]] = {
    "lost": "every accepted request has a result, or its deadline has not passed",
    "unaccounted": "every record that is submitted is accepted, has a result, or is in the dead letters",
    "document_lost": "every document ends",
    "out_of_order": "requests of one session are accepted and admitted in the order in which they were submitted",
    "no_request": "every result with a fingerprint, admission and attempt belongs to an accepted request of its tenant",
    "tenant_mixed": "no result and no cached answer goes from one tenant to another",
    "paid_twice": "a request has at most one attempt that succeeded",
    "invented": "what is learned a provider has answered, and what the cache answers was learned",
    "attempt_ended_twice": "an attempt has one end; repeats of it are equal",
    "attempt_unannounced": "an attempt is in the journal before it is made",
    "late": "no attempt begins after the deadline of its request",
    "attempt_unbooked": "every attempt of an ended request is in its result",
    "attempt_not_in_journal": "every attempt of a result is in the journal, at the same cost",
    "wrong_cost": "the cost of a result is the sum over its attempts",
    "granted_before": "nothing is bought on a grant that a later opening of the ledger does not know of",
    "above_cap": "settled + reserved is at most the cap, whenever something is admitted",
    "held_after_end": "the ledger holds nothing for a request that has ended",
    "not_held": "the ledger holds what was admitted and has not ended",
    "ledger_differs": "the ledger's sums are those of the log",
    "below_bill": "the journal covers the provider's bill, call by call, and equals it where the outcome is known",
    "not_on_bill": "what the journal says was bought is on the provider's bill",
    "passed_over": "no committed offset is past a record whose outputs are not on the log",
}

DOCUMENT_MS: Final = 600_000
"""A document has no deadline; so long it may be under way."""

TAKEN_FOR_DEAD_MS: Final = 15_000
"""The session's time-out, and what clocks may differ by."""

CONFIGURATION_DELAY_MS: Final = 30_000
"""A cap is held against admissions that are so much younger than its record: services follow the configuration, they do not wait for it."""


def lost(view: View, *, now_ms: int, grace_ms: int) -> Iterator[Violation]:
    for (tenant, request_id), request in view.accepted():
        if not request.has_ended and request.deadline_ms + grace_ms < now_ms:
            late_s = (now_ms - request.deadline_ms) / 1000
            yield Violation(rule="lost", ids=(request_id, tenant), detail=f"no result {late_s:.0f} s after its deadline")


def unaccounted(view: View, *, now_ms: int, grace_ms: int) -> Iterator[Violation]:
    """Records that came in and of which nothing is known: neither accepted, nor ended, nor set aside."""
    for where, key in view.submitted:
        if where.timestamp_ms < view.since_ms or where.timestamp_ms + grace_ms >= now_ms or where[:3] in view.set_aside:
            continue
        request = None if key is None else view.requests.get(key)
        if request is None or (request.accepted_at is None and request.first is None):
            place = f"{where.topic}/{where.partition}/{where.offset}"
            yield Violation(rule="unaccounted", ids=(key[1], key[0]) if key else (place,), detail=f"nothing became of {place}")


def documents_lost(view: View, *, now_ms: int, grace_ms: int) -> Iterator[Violation]:
    for (tenant, document_id), (where, ended) in view.documents.items():
        if where is None or ended or where[:3] in view.set_aside or where.timestamp_ms + max(grace_ms, DOCUMENT_MS) >= now_ms:
            continue
        yield Violation(rule="document_lost", ids=(document_id, tenant), detail="has no end")


def out_of_order(view: View) -> Iterator[Violation]:
    """Requests of one session that were accepted, or admitted, in another order than they were submitted.

    That is as far as a session's order goes: from there on equal questions meet, not requests of a session. Of records that were
    written twice the first counts; one that was submitted twice has no place of its own, and one that waited at a limit lets others
    pass. Only places of one partition are compared.
    """
    sessions: dict[tuple[str, str], list[Request]] = defaultdict(list)
    for _, request in view.accepted():
        if request.session and request.submissions == 1:
            sessions[request.key[0], request.session].append(request)
    for requests in sessions.values():
        yield from _overtaken([(r.submitted_at, r.accepted_at, r) for r in requests if r.submitted_at and r.accepted_at], "accepted")
        yield from _overtaken(
            [(r.accepted_at, r.admitted_at, r) for r in requests if r.accepted_at and r.admitted_at and not r.waited], "admitted"
        )


def _overtaken(requests: Sequence[tuple[Place, Place, Request]], what: str) -> Iterator[Violation]:
    latest: dict[tuple[int, int], tuple[int, Request]] = {}
    for cause, effect, request in sorted(requests, key=lambda moves: moves[0].offset):
        lane = (cause.partition, effect.partition)
        before, overtaken = latest.get(lane, (-1, request))
        if effect.offset < before:
            ids = (request.key[1], request.key[0], overtaken.key[1])
            yield Violation(rule="out_of_order", ids=ids, detail=f"was {what} before {overtaken.key[1]}, which came first")
        else:
            latest[lane] = (effect.offset, request)


def invented(view: View) -> Iterator[Violation]:
    """Learned answers that no attempt of their request gave, and answers from the cache that say something else than was learned."""
    given: dict[tuple[str, str], set[int]] = defaultdict(set)
    for attempt in view.attempts.values():
        given[attempt.key].update(attempt.said)
    for answer_id, answer in view.answers.items():
        key = (answer.tenant, answer.request_id)
        request = view.requests.get(key)
        judged = view.whole or (
            request is not None and request.accepted_at is not None and request.accepted_at.timestamp_ms >= view.since_ms
        )
        if judged and answer.said not in given[key]:
            yield Violation(rule="invented", ids=(answer_id, answer.request_id, answer.tenant), detail="no provider gave this answer")
    yield from _other_words(view)


def _other_words(view: View) -> Iterator[Violation]:
    for (tenant, request_id), request in view.requests.items():
        if request.first is not None and request.first.match is not None:
            answer = view.answers.get(request.first.match[1])
            if answer is not None and answer.said != request.first.said:
                yield Violation(rule="invented", ids=(request_id, tenant), detail="says something else than the answer it was given")


def belongs_nowhere(view: View) -> Iterator[Violation]:
    """Results, admissions and attempts of no accepted request; not decidable where the log's beginning was not read."""
    if not view.whole:
        return
    for (tenant, request_id), request in view.requests.items():
        if request.accepted_at is None and (request.admitted_at is not None or _is_of_the_road(request.first)):
            rule, detail = _whose(view, tenant, request_id, request)
            yield Violation(rule=rule, ids=(request_id, tenant), detail=detail)
    for attempt in view.attempts.values():
        found = view.requests.get(attempt.key)
        if found is None or found.accepted_at is None:
            yield Violation(rule="no_request", ids=_ids(attempt), detail="an attempt of no accepted request")


def _is_of_the_road(end: End | None) -> bool:
    return end is not None and bool(end.fingerprint) and not end.at_door


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
        owner = _leader(view, tenant, answer_id) if kind == "coalesced" else _owner(view, tenant, answer_id)
        if owner != tenant:
            ids = (request_id, tenant, answer_id)
            yield Violation(rule="tenant_mixed", ids=ids, detail=f"answered {tenant} with an answer of {owner or 'nobody'}")


def _owner(view: View, tenant: str, answer_id: str) -> str:
    """Tenant of a learned answer; one that is not kept any more is taken for one's own."""
    answer = view.answers.get(answer_id)
    return tenant if answer is None else answer.tenant


def _leader(view: View, tenant: str, request_id: str) -> str:
    """Tenant of the request that answered an equal one in flight; empty: there is none."""
    if not view.whole or (tenant, request_id) in view.requests:
        return tenant
    return next((other for other, its_id in view.requests if its_id == request_id), "")


def _ids(attempt: Attempt) -> tuple[str, str, str]:
    tenant, request_id = attempt.key
    return (attempt.attempt_id, request_id, tenant)


def paid_twice(view: View) -> Iterator[Violation]:
    """Two attempts of a request that succeeded, where whoever made the second could know of the first.

    A router that stood still for longer than the session's time-out, or was cut off, is taken for dead, and its successor buys
    again; both count. That is told apart by the routers' names and by the second beginning not long after the first had ended.
    """
    succeeded: dict[tuple[str, str], Attempt] = {}
    for attempt in view.attempts.values():
        if attempt.outcome != "succeeded":
            continue
        first = succeeded.setdefault(attempt.key, attempt)
        if first is not attempt and _knew(first, attempt):
            tenant, request_id = attempt.key
            ids = (request_id, tenant, first.attempt_id, attempt.attempt_id)
            yield Violation(rule="paid_twice", ids=ids, detail="two attempts of the request succeeded")


def _knew(one: Attempt, other: Attempt) -> bool:
    if one.router == other.router or one.began is None or other.began is None:
        return True
    first, second = sorted((one, other), key=lambda attempt: attempt.began or Place(0, 0, 0))
    assert second.began is not None
    return first.ended is not None and second.began.timestamp_ms > first.ended.timestamp_ms + TAKEN_FOR_DEAD_MS


def ended_twice(view: View) -> Iterator[Violation]:
    for attempt in view.attempts.values():
        if attempt.differing > attempt.lost:
            yield Violation(rule="attempt_ended_twice", ids=_ids(attempt), detail=f"{attempt.differing + 1} ends that say different things")


def unannounced(view: View) -> Iterator[Violation]:
    if not view.whole:
        return
    for attempt in view.attempts.values():
        if attempt.bound_nano is None:
            yield Violation(rule="attempt_unannounced", ids=_ids(attempt), detail="has an end and no start")


def late(view: View) -> Iterator[Violation]:
    for attempt in view.attempts.values():
        request = view.requests.get(attempt.key)
        if request is not None and request.accepted_at is not None and attempt.started_ms > request.deadline_ms:
            late_ms = attempt.started_ms - request.deadline_ms
            yield Violation(rule="late", ids=_ids(attempt), detail=f"began {late_ms} ms after the deadline of its request")


def unbooked(view: View) -> Iterator[Violation]:
    """Attempts that cost something, or may have, and are missing in the result that was booked."""
    for attempt_id, attempt in view.attempts.items():
        request = view.requests.get(attempt.key)
        if request is None or request.accepted_at is None or request.settling is None:
            continue
        costs = attempt.counts_nano
        if costs and all(booked != attempt_id for booked, _ in request.booked()):
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
    journal = attempt.counts_nano
    if attempt.lost and cost_nano in attempt.costs:
        return ""
    return "" if journal == cost_nano else f"cost {cost_nano} in the result, {journal} in the journal"


def wrong_cost(view: View) -> Iterator[Violation]:
    for (tenant, request_id), request in view.accepted():
        if request.first is None:
            continue
        total = sum(cost for _, cost in request.first.attempts)
        if request.first.cost_nano != total:
            detail = f"cost {request.first.cost_nano}, its attempts {total} nano-dollars"
            yield Violation(rule="wrong_cost", ids=(request_id, tenant), detail=detail)


def granted_before(view: View) -> Iterator[Violation]:
    """Attempts of requests whose latest grant came to the log behind what a later opening of the ledger has read."""
    for attempt in view.attempts.values():
        request = view.requests.get(attempt.key)
        if request is not None and view.is_void(request):
            detail = f"was bought on a grant of opening {request.ledger} of the ledger, which a later one does not know of"
            yield Violation(rule="granted_before", ids=_ids(attempt), detail=detail)


def above_cap(view: View, *, clocks_ms: int = 0) -> Iterator[Violation]:
    """Plays admissions and results again in the order of their timestamps.

    An admission is on the log after its reservation and a result before its settlement, and a settled request counts at most
    what was reserved for it; so what is summed up here was at that moment in the ledger at least, and nothing is accused wrongly.
    The caps are those in force; admissions before them are summed up and not judged. What is void (the ledger was
    opened without it) is passed over, as nobody may buy on it (`granted_before`). The timestamps are of the clocks of those who
    wrote, which may differ by `clocks_ms`: to others a result counts so much earlier, and an admission so much later.
    """
    requests: dict[str, list[tuple[str, Request]]] = defaultdict(list)
    for (tenant, request_id), request in view.accepted():
        if view.is_void(request):
            continue
        if request.granted_at is not None and request.reserved_nano and tenant in view.tenants and rules(view.tenants[tenant][1]):
            requests[tenant].append((request_id, request))
    for tenant, admitted in requests.items():
        yield from _replay(view, tenant, admitted, clocks_ms)


def _replay(view: View, tenant: str, requests: Sequence[tuple[str, Request]], clocks_ms: int) -> Iterator[Violation]:
    since_ms, configured = view.tenants[tenant]
    known = rules(configured)
    used: dict[Counter, int] = defaultdict(int)
    for _, place, moment in sorted(_moments(requests, clocks_ms)):
        request_id, request = requests[place]
        judged = moment == _ADMITTED and _admitted_ms(request) > since_ms + CONFIGURATION_DELAY_MS
        amounts, kept = _reserved(request), _kept(request)
        for counter, limit in _counters(known, request):
            unit = counter[0]
            if judged and used[counter] + amounts[unit] > limit:
                detail = f"{used[counter] + amounts[unit]} of {limit} {_UNITS[unit]} in {'/'.join(counter[1:])} once it was admitted"
                yield Violation(rule="above_cap", ids=(request_id, tenant), detail=detail)
            used[counter] += {_ADMITTED: 0, _COUNTS: amounts[unit], _ENDS: kept[unit] - amounts[unit]}[moment]


_ADMITTED, _COUNTS, _ENDS = range(3)
"""Moments of a request: it is held against what others hold; others are held against it; it holds no more than it has cost."""
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


def _moments(requests: Sequence[tuple[str, Request]], clocks_ms: int) -> Iterator[tuple[int, int, int]]:
    for place, (_, request) in enumerate(requests):
        yield (_admitted_ms(request), place, _ADMITTED)
        yield (_admitted_ms(request) + clocks_ms, place, _COUNTS)
        if request.settling is not None:
            # Not before its admission, whatever the brokers' clocks say.
            yield (max(request.settling.place.timestamp_ms - clocks_ms, _admitted_ms(request)), place, _ENDS)


def _admitted_ms(request: Request) -> int:
    return request.granted_at.timestamp_ms if request.granted_at else 0


def _kept(request: Request) -> Mapping[str, int]:
    """What it counts at least once it is settled."""
    if request.settling is None:
        return _reserved(request)
    nano, tokens = min(request.settling.cost_nano, request.reserved_nano), min(request.settling.tokens, request.reserved_tokens)
    return {"money": nano, "tokens": tokens, OPEN: 0}


Invariant = Callable[[View], Iterator[Violation]]


def invariants(*, now_ms: int, grace_ms: int, clocks_ms: int = 0) -> tuple[Invariant, ...]:
    """All that is checked on the log alone. `clocks_ms`: how far the clocks of those who write it may differ."""
    return (
        partial(lost, now_ms=now_ms, grace_ms=grace_ms),
        partial(unaccounted, now_ms=now_ms, grace_ms=grace_ms),
        partial(documents_lost, now_ms=now_ms, grace_ms=grace_ms),
        out_of_order,
        invented,
        belongs_nowhere,
        cached_across_tenants,
        paid_twice,
        ended_twice,
        unannounced,
        late,
        unbooked,
        not_in_journal,
        wrong_cost,
        granted_before,
        partial(above_cap, clocks_ms=clocks_ms),
    )
