"""ingest: checks what comes in, and splits documents into chunks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from daytwo.errors import DaytwoError
from daytwo.flow import Context, Input, Output, Service, Table
from daytwo.records import DocumentSubmitted, RequestAccepted, RequestSubmitted
from daytwo.topics import DOCUMENT_SUBMITTED, REQUEST_SUBMITTED, TENANT_CONFIGURED
from services.ingest.chunks import UnsplittableError, chunks_of, removal_of
from services.ingest.documents import document_refusal, end_document, refuse_document
from services.ingest.ports import NOTHING_IS_HEARD, RoadEnds, Splitter
from services.ingest.requests import end_request, judge, overloaded
from services.ingest.settings import Settings
from services.ingest.shedding import Shedding

# Up to here a request is judged within a millisecond; a larger one would keep the others waiting.
_JUDGED_IN_PLACE_BYTES: Final = 64 << 10


def service(settings: Settings, splitter: Splitter, road_ends: RoadEnds = NOTHING_IS_HEARD) -> Service:
    """Without `road_ends` no request is refused because there are too many: how many there are is not known then."""
    tenants = Table(TENANT_CONFIGURED)
    shedding = Shedding(settings.shedding)

    async def handle_request(request: RequestSubmitted, context: Context) -> Sequence[Output]:
        if len(context.value or b"") <= _JUDGED_IN_PLACE_BYTES:
            judged = judge(request, context, tenants.get, settings)
        else:
            judged = await asyncio.to_thread(judge, request, context, tenants.get, settings)
        return [shed(judged, context) if isinstance(judged, RequestAccepted) else judged]

    def shed(accepted: RequestAccepted, context: Context) -> Output:
        now_ms = context.started_ms
        arrived_ms = min(context.timestamp_ms, now_ms)  # a producer's clock may run ahead
        hint_ms = shedding.decide(accepted.request, partition=context.partition, arrived_ms=arrived_ms, now_ms=now_ms)
        return accepted if hint_ms is None else overloaded(accepted, context, hint_ms)

    async def own(partition: int, _first_timestamp_ms: int) -> None:
        shedding.own(partition)

    async def start() -> None:
        await road_ends.start(shedding)

    async def stop() -> None:
        await road_ends.stop()
        await splitter.close()

    async def handle_document(document: DocumentSubmitted, context: Context) -> Sequence[Output]:
        refusal = await asyncio.to_thread(document_refusal, document, context, tenants.get, settings)
        if refusal:
            return [refuse_document(document, context, *refusal)]
        if document.content is None:
            return [removal_of(document)]
        try:
            pieces = await splitter.split(document)
        except UnsplittableError as error:
            return [refuse_document(document, context, error.reason, error.detail)]
        return await asyncio.to_thread(chunks_of, document, pieces, settings.chunk_rules)

    return Service(
        name="ingest",
        inputs=[
            Input(topic=REQUEST_SUBMITTED, handle=handle_request, ending=_end_request, most_bytes=settings.max_request_bytes, prepare=own),
            Input(topic=DOCUMENT_SUBMITTED, handle=handle_document, ending=_end_document, most_bytes=settings.max_document_bytes),
        ],
        followers=[tenants],
        start=start,
        stop=stop,
    )


def _end_request(request: RequestSubmitted, context: Context, error: DaytwoError) -> Sequence[Output]:
    return [end_request(request, context, error)]


def _end_document(document: DocumentSubmitted, context: Context, error: DaytwoError) -> Sequence[Output]:
    return [end_document(document, context, error)]
