"""What becomes of a record that cannot be processed: its dead letter, and the terminal result of its request. Pure."""

from __future__ import annotations

import hashlib
import traceback
from typing import Any

from daytwo.broker import Raw
from daytwo.errors import DaytwoError
from daytwo.records import DeadLetter, RequestFinished

REQUEST_ID_HEADER = "request-id"
DOCUMENT_ID_HEADER = "document-id"


def dead_letter(raw: Raw, error: BaseException, *, service: str, now_ms: int, record: Any = None) -> DeadLetter:
    """The record as it was, and why. A bug (no DaytwoError) has its traceback."""
    known = isinstance(error, DaytwoError)
    return DeadLetter(
        service=service,
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
        timestamp_ms=raw.timestamp_ms,
        key=raw.key,
        value=raw.value,
        headers=raw.headers,
        reason=error.reason if isinstance(error, DaytwoError) else "internal_error",
        detail=error.detail if isinstance(error, DaytwoError) else repr(error),
        traceback="" if known else "".join(traceback.format_exception(error)),
        request_id=request_id(record) or _text(raw.headers.get(REQUEST_ID_HEADER)),
        tenant=tenant(record) or _text((raw.key or b"").split(b"/")[0]),
        failed_at_ms=now_ms,
    )


def unreadable_request(raw: Raw, error: DaytwoError, *, now_ms: int) -> list[RequestFinished]:
    """The terminal result of a record that is no request but says in a header whose request it was to be."""
    identity = _text(raw.headers.get(REQUEST_ID_HEADER))
    if not identity:
        return []
    whose, _, session = _text(raw.key).partition("/")
    return [
        RequestFinished(
            request_id=identity,
            tenant=whose,
            session="" if session == identity else session,
            outcome="refused",
            reason=error.reason,
            detail=error.detail,
            finished_at_ms=now_ms,
            submission=submission(raw.value),
        )
    ]


def submission(value: bytes | None) -> str:
    """Names the bytes of a record that was submitted: first 32 hex digits of their SHA-256."""
    return hashlib.sha256(value or b"").hexdigest()[:32]


def headers_of(record: Any) -> dict[str, bytes]:
    """The headers by which a reader knows a record without decoding it."""
    if identity := request_id(record):
        return {REQUEST_ID_HEADER: identity.encode()}
    document = getattr(getattr(record, "chunk", record), "document_id", "")
    return {DOCUMENT_ID_HEADER: document.encode()} if document else {}


def request_id(record: Any) -> str:
    """Id of the request a record belongs to, or empty."""
    identity = getattr(getattr(record, "request", record), "request_id", "")
    return identity if isinstance(identity, str) else ""


def tenant(record: Any) -> str:
    """Tenant a record belongs to, or empty."""
    inner = getattr(record, "request", None) or getattr(record, "chunk", None) or record
    whose = getattr(inner, "tenant", "")
    return whose if isinstance(whose, str) else ""


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace")[:256]
