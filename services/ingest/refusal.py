"""A refusal, and what of a refused record is fit to be shown in its result."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final, NamedTuple, TypeVar

from daytwo.records import DocumentSubmitted, RequestSubmitted
from services.ingest.labels import LONGEST_SOURCE, metadata_problem, traceparent_problem

_ILLEGIBLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ID_LENGTH: Final = 128

Submitted = TypeVar("Submitted", RequestSubmitted, DocumentSubmitted)


class Refusal(NamedTuple):
    """`reason` as in daytwo.reasons; `detail` in words."""

    reason: str
    detail: str


def legible_request(request: RequestSubmitted) -> RequestSubmitted:
    """The request with an identity that any result can carry, however malformed it came."""
    return replace(
        _with_legible_labels(request),
        request_id=legible(request.request_id),
        tenant=legible(request.tenant),
        user=legible(request.user),
        session=legible(request.session),
        workflow=legible(request.workflow),
        step=legible(request.step),
        agent=legible(request.agent),
    )


def legible_document(document: DocumentSubmitted) -> DocumentSubmitted:
    """The document with an identity that any result can carry, however malformed it came."""
    return replace(
        _with_legible_labels(document),
        document_id=legible(document.document_id),
        tenant=legible(document.tenant),
        collection=legible(document.collection),
        source=legible(document.source, LONGEST_SOURCE),
    )


def legible(text: str, longest: int = _ID_LENGTH) -> str:
    """The first `longest` characters, control characters and line separators replaced by U+FFFD."""
    return _ILLEGIBLE.sub("\ufffd", text[:longest])


def _with_legible_labels(record: Submitted) -> Submitted:
    """Labels are handed back whole or not at all: a label cut short would be another label."""
    return replace(
        record,
        metadata={} if metadata_problem(record.metadata) else record.metadata,
        traceparent="" if traceparent_problem(record.traceparent) else record.traceparent,
    )
