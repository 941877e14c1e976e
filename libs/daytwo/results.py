"""Terminal results. Every request and every document ends in one of these."""

from __future__ import annotations

from typing import Any

from daytwo.codec import decode_until
from daytwo.errors import DaytwoError
from daytwo.records import (
    ChunkAccepted,
    DocumentFinished,
    DocumentOutcome,
    DocumentSubmitted,
    Outcome,
    RequestFinished,
    RequestSubmitted,
)
from daytwo.topics import REQUEST_FINISHED

_REFUSALS = frozenset(
    {
        "unreadable",
        "invalid_request",
        "invalid_document",
        "too_large",
        "unknown_tenant",
        "inactive_tenant",
        "missing_signature",
        "bad_signature",
        "id_reused",
        "overloaded",
        "invalid_configuration",
        "unknown_model",
        "unpriced_model",
        "budget_exceeded",
        "rate_limited",
        "text_too_long",
        "provider_refused",
    }
)


def outcome_of(reason: str) -> Outcome:
    """The outcome a reason code that is not ok stands for."""
    if reason in ("deadline_exceeded", "deadline_in_past"):
        return "expired"
    return "refused" if reason in _REFUSALS else "failed"


def finished(request: RequestSubmitted, *, now_ms: int, outcome: Outcome, reason: str, **rest: Any) -> RequestFinished:
    """The end of `request`, with its identity copied and `rest` as further fields of the result."""
    return RequestFinished(
        request_id=request.request_id,
        tenant=request.tenant,
        user=request.user,
        session=request.session,
        workflow=request.workflow,
        step=request.step,
        agent=request.agent,
        metadata=request.metadata,
        traceparent=request.traceparent,
        outcome=outcome,
        reason=reason,
        finished_at_ms=now_ms,
        **rest,
    )


def ended_by(request: RequestSubmitted, error: DaytwoError, *, now_ms: int, **rest: Any) -> RequestFinished:
    """The end of a request that `error` stopped."""
    return finished(request, now_ms=now_ms, outcome=outcome_of(error.reason), reason=error.reason, detail=error.detail, **rest)


def result_until(data: bytes, last: str) -> dict[str, Any]:
    """The leading fields of a record of request-finished up to `last`, as `decode_until`, and its `submission`: only what was refused or
    expired at the door has one, so only of those more is read.
    """
    row = decode_until(REQUEST_FINISHED, data, last)
    if row["outcome"] in ("refused", "expired"):
        row = decode_until(REQUEST_FINISHED, data, "submission")
    row.setdefault("submission", "")
    return row


def document_ended(
    document: DocumentSubmitted | ChunkAccepted, *, now_ms: int, outcome: DocumentOutcome, reason: str, **rest: Any
) -> DocumentFinished:
    """The end of a document, with its identity copied and `rest` as further fields."""
    return DocumentFinished(
        document_id=document.document_id,
        tenant=document.tenant,
        collection=document.collection,
        source=document.source,
        metadata=document.metadata,
        traceparent=document.traceparent,
        outcome=outcome,
        reason=reason,
        finished_at_ms=now_ms,
        **rest,
    )
