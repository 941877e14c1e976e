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
    DocumentFinished,
    DocumentSubmitted,
    Message,
    RequestAccepted,
    RequestAdmitted,
    RequestFinished,
    RequestSubmitted,
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


def precedes(place: Place, other: Place) -> bool:
    """Within a partition the offset decides: timestamps are those of the writers' clocks, which may differ."""
    return place.offset < other.offset if place.partition == other.partition else place < other


class Where(NamedTuple):
    """A record that was submitted: where it lies, and when it was written (epoch milliseconds)."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


class Answer(NamedTuple):
    """A learned answer, in short."""

    tenant: str
    request_id: str
    """Of the request that was given it."""
    said: int


class End(NamedTuple):
    """A result, in short. `attempts` are (attempt id, nano-dollars) as the result lists them."""

    place: Place
    fingerprint: int
    outcome: str
    reason: str
    cost_nano: int
    tokens: int
    """Input and output together."""
    attempts: tuple[tuple[str, int], ...]
    match: tuple[str, str] | None
    """Kind and answer id of a cached answer."""
    said: int = 0
    """Of the answer's text."""
    at_door: bool = False
    """Given by ingest: this record of the request was not accepted. It settles nothing."""


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
    submitted_at: Place | None = None
    """None: was not read."""
    submissions: int = 0
    accepted_at: Place | None = None
    """None: never accepted."""
    deadline_ms: int = 0
    """The latest, where it was submitted again with another."""
    admitted_at: Place | None = None
    """Of its first admission; None: not admitted."""
    booked_ms: int = 0
    """The moment that chose the windows of the caps; 0: when it was accepted."""
    reserved_nano: int = 0
    reserved_tokens: int = 0
    waited: bool = False
    """At a limit, until there was room: others of its session may have gone first."""
    first: End | None = None
    """Its result: the first in the log."""
    settling: End | None = None
    """The first result that carries the request's fingerprint: the one the ledger settles. Mostly the same object as `first`."""
    late: tuple[tuple[str, int], ...] = ()
    """Attempts that only later results of the request list, and their nano-dollars: the ledger books them as they come."""
    repeats: int = 0
    """Further results."""
    contradictions: int = 0
    """Of these, results of another class than the first."""

    @property
    def has_ended(self) -> bool:
        """For one that was accepted: refused at the door, as a copy of it may have been, it is on its road still."""
        return self.first is not None and not (self.first.at_door and self.settling is None)

    def booked(self) -> Iterator[tuple[str, int]]:
        """The attempts that its results list, each once: id and nano-dollars."""
        yield from self.settling.attempts if self.settling is not None else ()
        yield from self.late

    @property
    def cost_nano(self) -> int:
        """What the ledger has settled for it."""
        return 0 if self.settling is None else self.settling.cost_nano + sum(cost for _, cost in self.late)

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
    started_ms: int = 0
    """Epoch milliseconds, by the router's clock, which is also the one that it holds against the deadline."""
    outcome: str = ""
    """Empty: its end is not in the journal."""
    cost_nano: int = 0
    content: int = 0
    said: tuple[int, ...] = ()
    """Of the texts it was answered with."""
    router: str = ""
    began: Place | None = None
    ended: Place | None = None
    lost: bool = False
    """One of its ends says that whoever made it was taken for dead. It counts in full, and its maker's own end may follow."""
    costs: tuple[int, ...] = ()
    """Of its ends, nano-dollars."""
    input_tokens: int = 0
    output_tokens: int = 0
    usage_known: bool = True
    """False: an answer came without credible usage, and the bound is booked."""
    differing: int = 0
    """Ends that say something else than the first."""

    @property
    def counts_nano(self) -> int:
        """Nano-dollars it counts: one without an end has an unknown outcome and counts in full."""
        return self.cost_nano if self.outcome else self.bound_nano or 0


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
    answers: dict[str, Answer] = field(default_factory=dict)
    """Every learned answer by its id."""
    submitted: list[tuple[Where, tuple[str, str] | None]] = field(default_factory=list)
    """Records of request-submitted, and whose request each is (tenant, request id); None: it cannot be read."""
    documents: dict[tuple[str, str], tuple[Where | None, bool]] = field(default_factory=dict)
    """By tenant and document id: where it was submitted, and whether it has ended."""
    set_aside: set[tuple[str, int, int]] = field(default_factory=set)
    """Topic, partition and offset of every record that has a dead letter."""
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
        request.deadline_ms = max(request.deadline_ms, submitted.deadline_ms)
        if request.accepted_at is None or (precedes(place, request.accepted_at) and request.admitted_at is None):
            request.fingerprint = fingerprint
            request.accepted_at = place
            request.user, request.workflow = sys.intern(submitted.user), submitted.workflow
            request.session, request.agent = submitted.session, sys.intern(submitted.agent)

    def take_admitted(self, record: RequestAdmitted, place: Place) -> None:
        request = self.request(record.request.tenant, record.request.request_id)
        admission = record.admission
        # One at a limit may be cache only first, and be admitted in full in a later round.
        later = not admission.cache_only and not request.reserved_nano and request.fingerprint == hash(record.fingerprint)
        if request.admitted_at is None or later:
            request.fingerprint = hash(record.fingerprint)
            request.admitted_at = place
            request.booked_ms = admission.at_ms
            request.waited |= admission.round > 1 and not admission.cache_only
            request.reserved_nano, request.reserved_tokens = admission.reserved_nano, admission.reserved_tokens

    def take_started(self, record: AttemptStarted, place: Place) -> None:
        attempt = self._attempt(record)
        if attempt.bound_nano is None:
            attempt.bound_nano, attempt.started_ms = record.bound_nano, record.started_at_ms
            attempt.router, attempt.began = sys.intern(record.router), place

    def take_ended(self, record: AttemptFinished, place: Place) -> None:
        attempt = self._attempt(record)
        content = hash((record.outcome, record.status, record.cost_nano, record.finish_reason, record.message))
        if attempt.outcome and attempt.content == content:
            return
        attempt.lost |= record.reason == "lost"
        attempt.costs += (record.cost_nano,)
        if record.message is not None:
            attempt.said += (_said(record.message),)
        if attempt.outcome:
            attempt.differing += 1
            return
        attempt.outcome, attempt.cost_nano, attempt.content = sys.intern(record.outcome), record.cost_nano, content
        attempt.ended = place
        attempt.input_tokens, attempt.output_tokens = record.usage.input_tokens, record.usage.output_tokens
        attempt.usage_known = not record.reason

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
            if _counts_before(end, request.first):
                request.first = end
        if record.fingerprint and not end.at_door and end.fingerprint == request.fingerprint:
            self._settle(request, end)

    @staticmethod
    def _settle(request: Request, end: End) -> None:
        """Results of one request lie in one partition, so they come in order."""
        if request.settling is None:
            request.settling = end
            return
        known = {attempt_id for attempt_id, _ in request.booked()}
        request.late += tuple(attempt for attempt in end.attempts if attempt[0] not in known)

    def _end(self, record: RequestFinished, place: Place) -> End:
        match: CacheMatch | None = record.cache_match
        return End(
            place=place,
            fingerprint=hash(record.fingerprint) if record.fingerprint else 0,
            outcome=sys.intern(record.outcome),
            reason=sys.intern(record.reason),
            cost_nano=record.cost_nano,
            tokens=record.usage.input_tokens + record.usage.output_tokens,
            attempts=tuple([(self._known(attempt.attempt_id), attempt.cost_nano) for attempt in record.attempts]),
            match=None if match is None else (match.kind, match.answer_id),
            said=_said(record.message),
            at_door=bool(record.submission),
        )

    def _known(self, attempt_id: str) -> str:
        """The same text as the journal's own object, so that it is held once."""
        attempt = self.attempts.get(attempt_id)
        return attempt_id if attempt is None else attempt.attempt_id

    def take_answer(self, record: AnswerLearned, place: Place) -> None:
        self.answers[record.answer_id] = Answer(sys.intern(record.tenant), record.request_id, _said(record.message))

    def take_submitted(self, record: RequestSubmitted, place: Place) -> None:
        request = self.request(record.tenant, record.request_id)
        self.submitted.append((Where("request-submitted", place.partition, place.offset, place.timestamp_ms), request.key))
        request.submissions += 1
        if request.submitted_at is None or precedes(place, request.submitted_at):
            request.submitted_at = place

    def take_unreadable(self, topic: str, place: Place) -> None:
        self.unreadable[topic] += 1
        if topic in ("request-submitted", "document-submitted"):
            self.submitted.append((Where(topic, place.partition, place.offset, place.timestamp_ms), None))

    def take_document(self, record: DocumentSubmitted, place: Place) -> None:
        key = (record.tenant, record.document_id)
        where, ended = self.documents.get(key, (None, False))
        self.documents[key] = (where or Where("document-submitted", place.partition, place.offset, place.timestamp_ms), ended)

    def take_document_ended(self, record: DocumentFinished, place: Place) -> None:
        key = (record.tenant, record.document_id)
        self.documents[key] = (self.documents.get(key, (None, False))[0], True)

    def take_tenant(self, record: TenantConfigured, place: Place) -> None:
        self.tenants[record.tenant] = (place.timestamp_ms, record)

    def take_dead_letter(self, record: DeadLetter, place: Place) -> None:
        self.dead_letters[record.service, record.reason] += 1
        self.set_aside.add((record.topic, record.partition, record.offset))


def _counts_before(end: End, other: End) -> bool:
    """A refusal at the door has no fingerprint: it is the end of a record under the id, and of the request only if that has no other."""
    if bool(end.fingerprint) != bool(other.fingerprint):
        return bool(end.fingerprint)
    return precedes(end.place, other.place)


def _said(message: Message | None) -> int:
    return 0 if message is None else hash(message.content)


_TAKERS: Final[Mapping[type, Callable[[View, Any, Place], None]]] = {
    RequestSubmitted: View.take_submitted,
    DocumentSubmitted: View.take_document,
    DocumentFinished: View.take_document_ended,
    RequestAccepted: View.take_accepted,
    RequestAdmitted: View.take_admitted,
    AttemptStarted: View.take_started,
    AttemptFinished: View.take_ended,
    RequestFinished: View.take_finished,
    AnswerLearned: View.take_answer,
    TenantConfigured: View.take_tenant,
    DeadLetter: View.take_dead_letter,
}
