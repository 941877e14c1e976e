"""Gives every question and every chunk the vector that its tenant's model gives it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from daytwo.errors import DaytwoError, TerminalError
from daytwo.flow import Context, Input, Output, Service, Table
from daytwo.question import question_key, question_text
from daytwo.records import (
    ChunkAccepted,
    ChunkEmbedded,
    DocumentOutcome,
    RequestAdmitted,
    RequestEmbedded,
    RequestFinished,
    TenantConfigured,
    Vector,
)
from daytwo.results import document_ended, ended_by, outcome_of
from daytwo.topics import CHUNK_ACCEPTED, REQUEST_ADMITTED
from services.embedder.need import grounded, needs_vector

VectorsOf = Callable[[str, Sequence[str]], Awaitable[Sequence[Vector | TerminalError]]]
"""Per text its vector by the model of that name, or why it has none."""

Found = Vector | TerminalError | None
"""A vector, why there is none, or that none is wanted."""

_UNKNOWN_TENANT = TerminalError("unknown_tenant", "the tenant is no longer configured")


def service(
    vectors_of: VectorsOf,
    *,
    tenants: Table[TenantConfigured],
    start: Callable[[], Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
) -> Service:
    async def embed_requests(batch: Sequence[tuple[RequestAdmitted, Context]]) -> list[Sequence[Output]]:
        wanted = [_wanted_by_request(admitted, tenants) for admitted, _ in batch]
        found = await _found(vectors_of, wanted)
        return [_request_embedded(admitted, context, each) for (admitted, context), each in zip(batch, found, strict=True)]

    async def embed_chunks(batch: Sequence[tuple[ChunkAccepted, Context]]) -> list[Sequence[Output]]:
        wanted = [_wanted_by_chunk(chunk, tenants) for chunk, _ in batch]
        found = await _found(vectors_of, wanted)
        return [_chunk_embedded(chunk, context, each) for (chunk, context), each in zip(batch, found, strict=True)]

    requests = Input(
        topic=REQUEST_ADMITTED,
        handle_batch=embed_requests,
        ending=_request_ended,
        deadline_ms=lambda admitted: admitted.request.deadline_ms,
    )
    chunks = Input(topic=CHUNK_ACCEPTED, handle_batch=embed_chunks, ending=_chunk_ended)
    return Service(name="embedder", inputs=[requests, chunks], followers=[tenants], start=start, stop=stop)


Wanted = tuple[str, str] | TerminalError | None
"""A model and a text, why there can be no vector, or that none is wanted."""


def _wanted_by_request(admitted: RequestAdmitted, tenants: Table[TenantConfigured]) -> Wanted:
    if admitted.admission.straight:
        return None
    tenant = tenants.get(admitted.request.tenant)
    if tenant is None:
        return _UNKNOWN_TENANT
    text = question_text(admitted.request)
    if not text or not needs_vector(admitted.request, admitted.admission, tenant.cache):
        return None
    return tenant.embedding_model, text


def _wanted_by_chunk(chunk: ChunkAccepted, tenants: Table[TenantConfigured]) -> Wanted:
    if chunk.count == 0:
        return None
    tenant = tenants.get(chunk.tenant)
    return _UNKNOWN_TENANT if tenant is None else (tenant.embedding_model, chunk.text)


async def _found(vectors_of: VectorsOf, wanted: Sequence[Wanted]) -> list[Found]:
    """One call per model, the same text embedded once."""
    texts: dict[str, dict[str, None]] = {}
    for each in wanted:
        if isinstance(each, tuple):
            texts.setdefault(each[0], {})[each[1]] = None
    vectors: Mapping[tuple[str, str], Vector | TerminalError] = {
        (model, text): vector
        for model, unique in texts.items()
        for text, vector in zip(unique, await vectors_of(model, list(unique)), strict=True)
    }
    return [vectors[each] if isinstance(each, tuple) else each for each in wanted]


def _request_embedded(admitted: RequestAdmitted, context: Context, found: Found) -> Sequence[RequestEmbedded | RequestFinished]:
    if admitted.admission.straight:
        return []
    if isinstance(found, TerminalError):
        if found.reason != "text_too_long" or grounded(admitted.request, admitted.admission):
            return _request_ended(admitted, context, found)
        # Too long to be matched by meaning, but it can still be answered.
        found = None
    question, steps = question_key(admitted.request), (*admitted.steps, context.step())
    return [
        RequestEmbedded(
            request=admitted.request,
            fingerprint=admitted.fingerprint,
            admission=admitted.admission,
            question=question,
            vector=found,
            steps=steps,
        )
    ]


def _request_ended(admitted: RequestAdmitted, context: Context, error: DaytwoError) -> Sequence[RequestFinished]:
    """None of a request that another service ends: it says so itself where its record has lost the header that would."""
    if admitted.admission.straight:
        return []
    now_ms, steps = context.clock.now_ms(), (*admitted.steps, context.step())
    return [ended_by(admitted.request, error, now_ms=now_ms, fingerprint=admitted.fingerprint, steps=steps)]


def _chunk_embedded(chunk: ChunkAccepted, context: Context, found: Found) -> Sequence[Output]:
    if isinstance(found, TerminalError):
        return _chunk_ended(chunk, context, found)
    return [ChunkEmbedded(chunk=chunk, vector=found)]


def _chunk_ended(chunk: ChunkAccepted, context: Context, error: DaytwoError) -> Sequence[Output]:
    """The document's end; and, without a vector, the chunk, so that the retriever does not serve the rest of this version."""
    outcome: DocumentOutcome = "refused" if outcome_of(error.reason) == "refused" else "failed"
    ended = document_ended(chunk, now_ms=context.clock.now_ms(), outcome=outcome, reason=error.reason, detail=error.detail)
    return [ended] if chunk.count == 0 else [ended, ChunkEmbedded(chunk=chunk, vector=None)]
