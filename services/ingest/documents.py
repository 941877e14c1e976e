"""What becomes of a submitted document, but for the splitting itself."""

from __future__ import annotations

from daytwo.errors import DaytwoError
from daytwo.flow import Context
from daytwo.records import DocumentFinished, DocumentSubmitted
from daytwo.results import document_ended, outcome_of
from services.ingest.door import Tenants, sender_of
from services.ingest.refusal import Refusal, legible_document
from services.ingest.settings import Settings
from services.ingest.validation import document_problem


def document_refusal(document: DocumentSubmitted, context: Context, tenants: Tenants, settings: Settings) -> Refusal | None:
    """Why the document is not taken in; None where it may be split."""
    sender = sender_of(document.tenant, context, tenants, max_bytes=settings.max_document_bytes)
    if isinstance(sender, Refusal):
        return sender
    problem = document_problem(document)
    return Refusal("invalid_document", problem) if problem else None


def refuse_document(document: DocumentSubmitted, context: Context, reason: str, detail: str) -> DocumentFinished:
    return document_ended(legible_document(document), now_ms=context.clock.now_ms(), outcome="refused", reason=reason, detail=detail)


def end_document(document: DocumentSubmitted, context: Context, error: DaytwoError) -> DocumentFinished:
    """The end of a document that could not be handled; only the sender's own fault is a refusal."""
    if outcome_of(error.reason) == "refused":
        return refuse_document(document, context, error.reason, error.detail)
    return document_ended(
        legible_document(document), now_ms=context.clock.now_ms(), outcome="failed", reason=error.reason, detail=error.detail
    )
