"""What becomes of a submitted request."""

from __future__ import annotations

from dataclasses import replace

from daytwo.errors import DaytwoError
from daytwo.fate import submission
from daytwo.flow import Context
from daytwo.records import RequestAccepted, RequestFinished, RequestSubmitted, TenantConfigured
from daytwo.results import ended_by, finished, outcome_of
from services.ingest.deadline import deadline_of, deadline_refusal
from services.ingest.door import Tenants, sender_of
from services.ingest.fingerprint import fingerprint_of
from services.ingest.refusal import Refusal, legible_request
from services.ingest.settings import Settings
from services.ingest.validation import request_problem


def judge(request: RequestSubmitted, context: Context, tenants: Tenants, settings: Settings) -> RequestAccepted | RequestFinished:
    """The request accepted, with its deadline set; or its end, refused or expired."""
    sender = sender_of(request.tenant, context, tenants, max_bytes=settings.max_request_bytes)
    if isinstance(sender, Refusal):
        return _refused(request, context, sender)
    problem = request_problem(request, max_messages=settings.max_messages)
    if problem:
        return _refused(request, context, Refusal("invalid_request", problem))
    return _timed(request, context, sender)


def end_request(request: RequestSubmitted, context: Context, error: DaytwoError) -> RequestFinished:
    """The end of a request that could not be judged."""
    named = submission(context.value)
    return ended_by(legible_request(request), error, now_ms=context.clock.now_ms(), steps=(context.step(),), submission=named)


def overloaded(accepted: RequestAccepted, context: Context, retry_after_ms: int) -> RequestFinished:
    """The end of a request that would have to wait too long. As it could have been accepted, it is the end of that request."""
    refusal = Refusal("overloaded", f"about {retry_after_ms / 1000:.0f} s of work are before it")
    return _refused(accepted.request, context, refusal, fingerprint=accepted.fingerprint, retry_after_ms=retry_after_ms)


def _timed(request: RequestSubmitted, context: Context, tenant: TenantConfigured) -> RequestAccepted | RequestFinished:
    # A producer's clock may run ahead; nobody gets more time that way.
    arrived_ms = min(context.timestamp_ms, context.started_ms)
    deadline_ms = deadline_of(request.deadline_ms, arrived_ms=arrived_ms, tenant=tenant)
    late = deadline_refusal(deadline_ms, arrived_ms=arrived_ms, now_ms=context.started_ms)
    if late:
        # It came from its tenant and says what a request says: this is the end of that request, not of a record under its id.
        return _refused(request, context, late, fingerprint=fingerprint_of(request))
    return RequestAccepted(
        request=replace(request, deadline_ms=deadline_ms),
        fingerprint=fingerprint_of(request),
        accepted_at_ms=context.started_ms,
        steps=(context.step(),),
    )


def _refused(
    request: RequestSubmitted, context: Context, refusal: Refusal, *, fingerprint: str = "", retry_after_ms: int | None = None
) -> RequestFinished:
    return finished(
        legible_request(request),
        now_ms=context.clock.now_ms(),
        outcome=outcome_of(refusal.reason),
        reason=refusal.reason,
        detail=refusal.detail,
        retry_after_ms=retry_after_ms,
        steps=(context.step(),),
        fingerprint=fingerprint,
        submission=submission(context.value),
    )
