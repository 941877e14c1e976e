"""What the audit remembers of the log: a few numbers a request and an attempt, so that a million of each fit into memory.

Records are given in causal order of topics: accepted, admitted, attempts and learned answers, then results.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from daytwo.records import (
    AnswerLearned,
    AttemptFinished,
    AttemptStarted,
    CacheMatch,
    DeadLetter,
    RequestAccepted,
    RequestAdmitted,
    RequestFinished,
    TenantConfigured,
)

CLASSES: Final[Mapping[str, str]] = {
    "answered": "served",
    "answered_in_part": "served",
    "escalated": "escalated",
    "refused": "not served",
    "expired": "not served",
    "failed": "not served",
}
"""Results of one class say the same to a client."""


class Place(NamedTuple):
    """Where a record lies. Orders the log over partitions, as far as it has an order: by timestamp (epoch milliseconds)."""

    timestamp_ms: int
    partition: int
    offset: int


class End(NamedTuple):
    """A result, in short. `attempts` are (attempt id, nano-dollars) as the result lists them."""

    place: Place
    fingerprint: int
    outcome: str
    cost_nano: int
    tokens: int
    """Input and output together."""
    attempts: tuple[tuple[str, int], ...]
    match: tuple[str, str] | None
    """Kind and answer id of a cached answer."""


@dataclass(slots=True)
class Request:
    """All that the log says of one id of a tenant."""

    key: tuple[str, str]
    """Tenant and request id; the same object wherever the request is named."""
    fingerprint: int = 0
    """Of the request that counts: the admitted one, else the first accepted."""
    user: str = ""
    workflow: str = ""
    session: str = ""
    agent: str = ""
    accepted_at: Place | None = None
    """None: never accepted."""
    deadline_ms: int = 0
    admitted_ms: int | None = None
    """Timestamp of its admission; None: not admitted."""
    booked_ms: int = 0
    """The moment that chose the windows of the caps; 0: when it was accepted."""
    reserved_nano: int = 0
    reserved_tokens: int = 0
    first: End | None = None
    """Its result: the first in the log."""
    settling: End | None = None
    """The first result that carries the request's fingerprint: the one the ledger books. Mostly the same object as `first`."""
    repeats: int = 0
    """Further results."""
    contradictions: int = 0
    """Of these, results of another class than the first."""

    @property
    def counted_ms(self) -> int:
        """The moment whose windows it counts in, epoch milliseconds."""
        return self.booked_ms or (self.accepted_at.timestamp_ms if self.accepted_at else 0)

    @property
    def subjects(self) -> Mapping[str, str]:
        """By scope; empty: nobody's."""
        return {"tenant": "", "user": self.user, "workflow": self.workflow, "session": self.session, "agent": self.agent}


@dataclass(slots=True)
class Attempt:
    """One call of a provider, as the journal has it."""

    attempt_id: str
    key: tuple[str, str]
    """Tenant and request id."""
    bound_nano: int | None = None
    """None: its start is not in the journal."""
    outcome: str = ""
    """Empty: its end is not in the journal."""
    cost_nano: int = 0
    content: int = 0
    differing: int = 0
    """Ends that say something else than the first."""


@dataclass(slots=True)
class View:
    """The log in memory."""

    whole: bool = True
    """False where the beginning of the log was not read: the causes of what is there may be missing."""
    since_ms: int = 0
    """Requests accepted earlier (epoch milliseconds) are not judged; their results may be gone."""
    requests: dict[tuple[str, str], Request] = field(default_factory=dict)
    """By tenant and request id."""
    attempts: dict[str, Attempt] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    """Tenant of every learned answer."""
    tenants: dict[str, tuple[int, TenantConfigured]] = field(default_factory=dict)
    """The configuration in force, and the timestamp of its record (epoch milliseconds)."""
    dead_letters: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By service and reason."""
    unreadable: Counter[str] = field(default_factory=Counter)
    """Records that could not be read, by topic."""
    reused: int = 0
    """Accepted requests whose id was that of another one."""

    def take(self, record: Any, place: Place) -> None:
        """Adds a record. One that the audit does not need is passed over."""
        taker = _TAKERS.get(type(record))
        if taker is not None:
            taker(self, record, place)

    def accepted(self) -> Iterator[tuple[tuple[str, str], Request]]:
        """The requests that are judged, by tenant and request id."""
        for key, request in self.requests.items():
            if request.accepted_at is not None and request.accepted_at.timestamp_ms >= self.since_ms:
                yield key, request

    def request(self, tenant: str, request_id: str) -> Request:
        key = (sys.intern(tenant), request_id)
        found = self.requests.get(key)
        if found is None:
            found = self.requests[key] = Request(key)
        return found

    def take_accepted(self, record: RequestAccepted, place: Place) -> None:
        submitted = record.request
        request = self.request(submitted.tenant, submitted.request_id)
        fingerprint = hash(record.fingerprint)
        if request.accepted_at is not None and request.fingerprint != fingerprint:
            self.reused += 1
        if request.accepted_at is None or (place < request.accepted_at and request.admitted_ms is None):
            request.fingerprint = fingerprint
            request.accepted_at = place
            request.deadline_ms = submitted.deadline_ms
            request.user, request.workflow = sys.intern(submitted.user), submitted.workflow
            request.session, request.agent = submitted.session, sys.intern(submitted.agent)

    def take_admitted(self, record: RequestAdmitted, place: Place) -> None:
        request = self.request(record.request.tenant, record.request.request_id)
        admission = record.admission
        # One at a limit may be cache only first, and be admitted in full in a later round.
        later = not admission.cache_only and not request.reserved_nano and request.fingerprint == hash(record.fingerprint)
        if request.admitted_ms is None or later:
            request.fingerprint = hash(record.fingerprint)
            request.admitted_ms = place.timestamp_ms
            request.booked_ms = admission.at_ms
            request.reserved_nano, request.reserved_tokens = admission.reserved_nano, admission.reserved_tokens

    def take_started(self, record: AttemptStarted, place: Place) -> None:
        attempt = self._attempt(record)
        if attempt.bound_nano is None:
            attempt.bound_nano = record.bound_nano

    def take_ended(self, record: AttemptFinished, place: Place) -> None:
        attempt = self._attempt(record)
        content = hash((record.outcome, record.status, record.cost_nano, record.finish_reason, record.message))
        if not attempt.outcome:
            attempt.outcome, attempt.cost_nano, attempt.content = sys.intern(record.outcome), record.cost_nano, content
        elif attempt.content != content:
            attempt.differing += 1

    def _attempt(self, record: AttemptStarted | AttemptFinished) -> Attempt:
        found = self.attempts.get(record.attempt_id)
        if found is None:
            key = (record.tenant, record.request_id)
            request = self.requests.get(key)
            found = self.attempts[record.attempt_id] = Attempt(record.attempt_id, key if request is None else request.key)
        return found

    def take_finished(self, record: RequestFinished, place: Place) -> None:
        request = self.request(record.tenant, record.request_id)
        end = self._end(record, place)
        if request.first is None:
            request.first = end
        else:
            request.repeats += 1
            request.contradictions += CLASSES[request.first.outcome] != CLASSES[end.outcome]
            if end.place < request.first.place:
                request.first = end
        if record.fingerprint and end.fingerprint == request.fingerprint and (request.settling is None or place < request.settling.place):
            request.settling = end

    def _end(self, record: RequestFinished, place: Place) -> End:
        match: CacheMatch | None = record.cache_match
        return End(
            place=place,
            fingerprint=hash(record.fingerprint) if record.fingerprint else 0,
            outcome=sys.intern(record.outcome),
            cost_nano=record.cost_nano,
            tokens=record.usage.input_tokens + record.usage.output_tokens,
            attempts=tuple([(self._known(attempt.attempt_id), attempt.cost_nano) for attempt in record.attempts]),
            match=None if match is None else (match.kind, match.answer_id),
        )

    def _known(self, attempt_id: str) -> str:
        """The same text as the journal's own object, so that it is held once."""
        attempt = self.attempts.get(attempt_id)
        return attempt_id if attempt is None else attempt.attempt_id

    def take_answer(self, record: AnswerLearned, place: Place) -> None:
        self.answers[record.answer_id] = sys.intern(record.tenant)

    def take_tenant(self, record: TenantConfigured, place: Place) -> None:
        self.tenants[record.tenant] = (place.timestamp_ms, record)

    def take_dead_letter(self, record: DeadLetter, place: Place) -> None:
        self.dead_letters[record.service, record.reason] += 1


_TAKERS: Final[Mapping[type, Callable[[View, Any, Place], None]]] = {
    RequestAccepted: View.take_accepted,
    RequestAdmitted: View.take_admitted,
    AttemptStarted: View.take_started,
    AttemptFinished: View.take_ended,
    RequestFinished: View.take_finished,
    AnswerLearned: View.take_answer,
    TenantConfigured: View.take_tenant,
    DeadLetter: View.take_dead_letter,
}
