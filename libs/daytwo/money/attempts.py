"""The calls of providers as the journal has them, and what corrected their cost later. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from daytwo.records import AttemptFinished, AttemptStarted, CostCorrected, Quote, RequestAdmitted, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call. Money in nano-dollars, `at_ms` its start in epoch milliseconds."""

    attempt_id: str
    tenant: str
    request_id: str
    deployment: str
    model: str
    at_ms: int
    booked_nano: int
    """Without an end: its bound, as its outcome is unknown and counts in full."""
    outcome: str = "unknown"
    reason: str = ""
    usage: Usage | None = None
    """None: it has no end on the log."""

    @property
    def certain(self) -> bool:
        """Whether its outcome and its usage are known."""
        return self.outcome != "unknown" and self.reason != "usage_missing"


@dataclass(slots=True)
class Journal:
    """All attempts by id: of several ends of one attempt the first counts, as everywhere."""

    started: dict[str, AttemptStarted] = field(default_factory=dict)
    finished: dict[str, Attempt] = field(default_factory=dict)

    def take(self, record: AttemptStarted | AttemptFinished) -> None:
        if isinstance(record, AttemptStarted):
            self.started.setdefault(record.attempt_id, record)
        elif record.attempt_id not in self.finished:
            self.finished[record.attempt_id] = _finished(record)

    def attempts(self) -> Iterable[Attempt]:
        yield from self.finished.values()
        for attempt_id, started in self.started.items():
            if attempt_id not in self.finished:
                yield _open(started)


def _finished(record: AttemptFinished) -> Attempt:
    return Attempt(
        attempt_id=record.attempt_id,
        tenant=record.tenant,
        request_id=record.request_id,
        deployment=record.deployment,
        model=record.model,
        at_ms=record.ended_at_ms - round(record.latency_ms),
        booked_nano=record.cost_nano,
        outcome=record.outcome,
        reason=record.reason,
        usage=record.usage,
    )


def _open(record: AttemptStarted) -> Attempt:
    return Attempt(
        attempt_id=record.attempt_id,
        tenant=record.tenant,
        request_id=record.request_id,
        deployment=record.deployment,
        model=record.model,
        at_ms=record.started_at_ms,
        booked_nano=record.bound_nano,
        reason="no_end",
    )


@dataclass(slots=True)
class Quotes:
    """What each admitted request was quoted, by deployment: what its attempts charge follows from nothing else."""

    _by_request: dict[tuple[str, str], dict[str, Quote]] = field(default_factory=dict)
    _known: dict[Quote, Quote] = field(default_factory=dict)

    def take(self, record: RequestAdmitted) -> None:
        quotes = {quote.deployment: self._known.setdefault(quote, quote) for quote in record.admission.quotes}
        self._by_request.setdefault((record.request.tenant, record.request.request_id), {}).update(quotes)

    def of(self, attempt: Attempt) -> Quote | None:
        return self._by_request.get((attempt.tenant, attempt.request_id), {}).get(attempt.deployment)


@dataclass(slots=True)
class Corrections:
    """Of one correction the latest record counts; all corrections of an attempt are added."""

    _by_id: dict[str, CostCorrected] = field(default_factory=dict)

    def take(self, record: CostCorrected) -> None:
        self._by_id[record.correction_id] = record

    def all(self) -> Iterable[CostCorrected]:
        return self._by_id.values()

    def by_attempt(self, *, without: str = "") -> dict[str, int]:
        """Nano-dollars to be added to each attempt; not those of the source `without`."""
        sums: dict[str, int] = {}
        for record in self._by_id.values():
            if record.source != without:
                sums[record.attempt_id] = sums.get(record.attempt_id, 0) + record.delta_nano
        return sums
