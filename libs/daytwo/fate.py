"""What becomes of a record that cannot be processed: its dead letter, and the terminal result of its request. Pure."""

from __future__ import annotations

import hashlib
import traceback
from typing import Any, Final

from daytwo.broker import Raw
from daytwo.errors import DaytwoError
from daytwo.records import DeadLetter, DocumentFinished, RequestAdmitted, RequestFinished
from daytwo.topics import DEAD_LETTER

REQUEST_ID_HEADER = "request-id"
DOCUMENT_ID_HEADER = "document-id"
NOT_FOR_HEADER = "not-for"
"""Names a service that would only find, by decoding the record, that it has nothing to do with it."""

MOST_BYTES_KEPT: Final = DEAD_LETTER.max_bytes - (1 << 20)
"""Largest record, with its key and headers, that a dead letter carries."""
_LONGEST_DETAIL: Final = 4096
_LONGEST_NAME: Final = 256
_LONGEST_TRACEBACK: Final = 64 << 10


def dead_letter(raw: Raw, error: BaseException, *, service: str, now_ms: int, record: Any = None) -> DeadLetter:
    """The record as it was, and why. A bug (no DaytwoError) has its traceback.

    It always fits its topic. A record that does not fit into it (compression let it through) is named and left where it is.
    """
    known = isinstance(error, DaytwoError)
    detail = error.detail if isinstance(error, DaytwoError) else repr(error)
    kept = raw
    if (size := _bytes_of(raw)) > MOST_BYTES_KEPT:
        kept = raw._replace(key=None, value=None, headers={})
        detail = f"{detail[:_LONGEST_DETAIL]} (its {size} bytes are too many for a dead letter: look for them in {raw.topic})"
    return DeadLetter(
        service=service,
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
        timestamp_ms=raw.timestamp_ms,
        key=kept.key,
        value=kept.value,
        headers=kept.headers,
        reason=error.reason if isinstance(error, DaytwoError) else "internal_error",
        detail=detail[: 2 * _LONGEST_DETAIL],
        traceback="" if known else "".join(traceback.format_exception(error))[-_LONGEST_TRACEBACK:],
        request_id=(request_id(record) or _text(raw.headers.get(REQUEST_ID_HEADER)))[:_LONGEST_NAME],
        tenant=(tenant(record) or _text((raw.key or b"").split(b"/")[0]))[:_LONGEST_NAME],
        failed_at_ms=now_ms,
    )


def unreadable_ended(raw: Raw, error: DaytwoError, *, now_ms: int) -> list[RequestFinished | DocumentFinished]:
    """The terminal result of a record that cannot be read but says in a header whose it was to be."""
    whose, _, rest = _text(raw.key).partition("/")
    said: dict[str, Any] = {"tenant": whose, "outcome": "refused", "reason": error.reason, "detail": error.detail, "finished_at_ms": now_ms}
    if raw.topic.startswith("request-") and (identity := _text(raw.headers.get(REQUEST_ID_HEADER))):
        session = "" if rest == identity else rest
        return [RequestFinished(request_id=identity, session=session, submission=submission(raw.value), **said)]
    if raw.topic.startswith(("document-", "chunk-")) and (identity := _text(raw.headers.get(DOCUMENT_ID_HEADER))):
        return [DocumentFinished(document_id=identity, collection="", source=rest, **said)]
    return []


def submission(value: bytes | None) -> str:
    """Names the bytes of a record that was submitted: first 32 hex digits of their SHA-256."""
    return hashlib.sha256(value or b"").hexdigest()[:32]


def headers_of(record: Any) -> dict[str, bytes]:
    """The headers by which a reader knows a record without decoding it."""
    if identity := request_id(record):
        named = {REQUEST_ID_HEADER: identity.encode()}
        return named | {NOT_FOR_HEADER: whom} if (whom := _not_for(record)) else named
    document = getattr(getattr(record, "chunk", record), "document_id", "")
    return {DOCUMENT_ID_HEADER: document.encode()} if document else {}


def _not_for(record: Any) -> bytes:
    if isinstance(record, RequestAdmitted):
        return b"embedder" if record.admission.straight else b"inference-router"
    # Answered by the cache itself, or it never came there.
    unlearned = isinstance(record, RequestFinished) and (record.served_by == "cache" or not record.question)
    return b"cache" if unlearned else b""


def request_id(record: Any) -> str:
    """Id of the request a record belongs to, or empty."""
    identity = getattr(getattr(record, "request", record), "request_id", "")
    return identity if isinstance(identity, str) else ""


def tenant(record: Any) -> str:
    """Tenant a record belongs to, or empty."""
    inner = getattr(record, "request", None) or getattr(record, "chunk", None) or record
    whose = getattr(inner, "tenant", "")
    return whose if isinstance(whose, str) else ""


def _bytes_of(raw: Raw) -> int:
    headers = sum(len(name.encode()) + len(value) + 8 for name, value in raw.headers.items())
    return len(raw.key or b"") + len(raw.value or b"") + headers


def _text(data: bytes | None) -> str:
    return (data or b"")[: 4 * _LONGEST_NAME].decode("utf-8", "replace")[:_LONGEST_NAME]
