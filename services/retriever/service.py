"""Finds the passages that ground an answer, and keeps the index they are found in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, cast

from daytwo.batching import Batcher
from daytwo.errors import DaytwoError, TerminalError
from daytwo.flow import Context, Input, Output, Service
from daytwo.records import (
    ChunkAccepted,
    ChunkEmbedded,
    DocumentFinished,
    DocumentOutcome,
    Grounding,
    Passage,
    RequestFinished,
    RequestGrounded,
    RequestMissed,
    Vector,
)
from daytwo.results import document_ended, ended_by, outcome_of
from daytwo.topics import CHUNK_EMBEDDED, REQUEST_MISSED
from services.retriever.ports import FIELD_BYTES, Hit, Index, Scope, Space
from services.retriever.stages import Stage, ends_source, oversized, stages, superseded


class Search(NamedTuple):
    space: Space
    scope: Scope
    top_k: int
    vector: bytes


def service(index: Index) -> Service:
    async def search_together(searches: Sequence[Search]) -> Sequence[Sequence[Hit]]:
        return await _search_together(index, searches)

    search = Batcher(search_together, max_size=128, concurrency=2)

    async def ground(missed: RequestMissed, context: Context) -> Sequence[Output]:
        request = missed.request
        passages: Sequence[Passage] = ()
        if request.grounding is not None and missed.vector is not None:
            hits = await search(_search(request.tenant, request.grounding, missed.vector))
            passages = _own(hits, request.tenant)
        return [_grounded(missed, context, passages)]

    async def store(batch: Sequence[tuple[ChunkEmbedded, Context]]) -> list[Sequence[Output]]:
        for embedded, _ in batch:
            _check_vector(embedded)
        complete: list[bool] = []
        for stage in stages([embedded for embedded, _ in batch]):
            complete += await _carry_out(index, stage)
        ended = iter(complete)
        return [_stored(each.chunk, context, next(ended) if ends_source(each.chunk) else None) for each, context in batch]

    requests = Input(topic=REQUEST_MISSED, handle=ground, ending=_request_ended, deadline_ms=lambda missed: missed.request.deadline_ms)
    chunks = Input(topic=CHUNK_EMBEDDED, handle_batch=store, ending=_chunk_ended, batch_size=128, concurrent_batches=1)
    return Service(name="retriever", inputs=[requests, chunks], start=index.open, stop=index.close)


def _search(tenant: str, grounding: Grounding, vector: Vector) -> Search:
    scope = Scope(
        tenant=tenant,
        collection=grounding.collection,
        sources=grounding.sources,
        categories=grounding.categories,
        after_ms=grounding.after_ms,
        before_ms=grounding.before_ms,
    )
    return Search(Space.of(vector), scope, grounding.top_k, vector.values)


async def _search_together(index: Index, searches: Sequence[Search]) -> Sequence[Sequence[Hit]]:
    """One call of the index for all that look in the same place. An error in the place of hits fails its own searches only."""
    alike: dict[tuple[Space, Scope, int], list[int]] = {}
    for number, each in enumerate(searches):
        alike.setdefault(each[:3], []).append(number)
    calls = [index.search(*place, [searches[number].vector for number in numbers]) for place, numbers in alike.items()]
    found: list[Sequence[Hit] | BaseException] = [()] * len(searches)
    for numbers, answer in zip(alike.values(), await asyncio.gather(*calls, return_exceptions=True), strict=True):
        for place, number in enumerate(numbers):
            found[number] = answer if isinstance(answer, BaseException) else answer[place]
    return cast("Sequence[Sequence[Hit]]", found)


def _own(hits: Sequence[Hit], tenant: str) -> Sequence[Passage]:
    """The passages, after one more look at whose they are."""
    foreign = [hit.passage.chunk_id for hit in hits if hit.tenant != tenant]
    if foreign:
        raise RuntimeError(f"the index returned chunks of another tenant than {tenant}: {foreign}")
    return tuple(hit.passage for hit in hits)


def _grounded(missed: RequestMissed, context: Context, passages: Sequence[Passage]) -> RequestGrounded:
    return RequestGrounded(
        request=missed.request,
        fingerprint=missed.fingerprint,
        admission=missed.admission,
        question=missed.question,
        passages=tuple(passages),
        steps=(*missed.steps, context.step()),
    )


def _request_ended(missed: RequestMissed, context: Context, error: DaytwoError) -> Sequence[RequestFinished]:
    steps = (*missed.steps, context.step())
    now_ms = context.clock.now_ms()
    return [ended_by(missed.request, error, now_ms=now_ms, fingerprint=missed.fingerprint, question=missed.question, steps=steps)]


def _check_vector(embedded: ChunkEmbedded) -> None:
    vector = embedded.vector
    if vector is not None and len(vector.values) != 4 * vector.dimension:
        raise TerminalError("internal_error", f"a vector of {len(vector.values)} bytes cannot have dimension {vector.dimension}")


async def _carry_out(index: Index, stage: Stage) -> list[bool]:
    """Writes, then clears up after each source that ends; says of each, in order, whether it is complete."""
    if stage.writes:
        await index.upsert(stage.writes)
    stored = await index.stored(list(stage.ends)) if stage.ends else []
    verdicts = [superseded(last, [each for each in stored if each.source == source]) for source, last in stage.ends.items()]
    gone = [each for _, chunks in verdicts for each in chunks]
    if gone:
        await index.delete(gone)
    return [complete for complete, _ in verdicts]


def _stored(chunk: ChunkAccepted, context: Context, complete: bool | None) -> Sequence[DocumentFinished]:
    """The end of the document, where this chunk decides it. `complete` is None if it is not the last."""
    now_ms = context.clock.now_ms()
    field = oversized(chunk)
    if field is not None:
        detail = f"chunk {chunk.index}: {field} has more than {FIELD_BYTES[field]} bytes"
        return [document_ended(chunk, now_ms=now_ms, outcome="refused", reason="text_too_long", detail=detail)]
    if complete is None:
        return []
    if not complete:
        return [document_ended(chunk, now_ms=now_ms, outcome="failed", reason="incomplete_document")]
    if chunk.count == 0:
        return [document_ended(chunk, now_ms=now_ms, outcome="removed", reason="ok")]
    return [document_ended(chunk, now_ms=now_ms, outcome="indexed", reason="ok", version=chunk.version, chunks=chunk.count)]


def _chunk_ended(embedded: ChunkEmbedded, context: Context, error: DaytwoError) -> Sequence[DocumentFinished]:
    outcome: DocumentOutcome = "refused" if outcome_of(error.reason) == "refused" else "failed"
    now_ms = context.clock.now_ms()
    return [document_ended(embedded.chunk, now_ms=now_ms, outcome=outcome, reason=error.reason, detail=error.detail)]
