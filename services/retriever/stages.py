"""What a batch of chunks does to the index, in an order in which no version of a source undoes another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from daytwo.records import ChunkAccepted, ChunkEmbedded
from services.retriever.ports import FIELD_BYTES, SourceKey, Stored


@dataclass(frozen=True, slots=True)
class Stage:
    """First all writes, then the sources that end: their last chunk, or their removal."""

    writes: list[ChunkEmbedded] = field(default_factory=list)
    ends: dict[SourceKey, ChunkAccepted] = field(default_factory=dict)


def stages(chunks: Sequence[ChunkEmbedded]) -> list[Stage]:
    """The batch in as few stages as can be: a source that has ended in a stage goes on in the next."""
    planned = [Stage()]
    for embedded in chunks:
        chunk = embedded.chunk
        if source_key(chunk) in planned[-1].ends:
            planned.append(Stage())
        if embedded.vector is not None and oversized(chunk) is None:
            planned[-1].writes.append(embedded)
        if ends_source(chunk):
            planned[-1].ends[source_key(chunk)] = chunk
    return planned


def source_key(chunk: ChunkAccepted) -> SourceKey:
    return SourceKey(chunk.tenant, chunk.collection, chunk.source)


def ends_source(chunk: ChunkAccepted) -> bool:
    """Whether `chunk` is the last of its version, or removes its source."""
    return chunk.index == chunk.count - 1 or chunk.count == 0


def oversized(chunk: ChunkAccepted) -> str | None:
    """The first field that the index does not take, or None."""
    return next((name for name, most in FIELD_BYTES.items() if len(getattr(chunk, name).encode()) > most), None)


def superseded(last: ChunkAccepted, stored: Sequence[Stored]) -> tuple[bool, list[Stored]]:
    """Whether the version of `last` is all there, and which chunks of its source are to go.

    An incomplete version goes itself: what was served before still is. A removal is complete when all are gone.
    """
    if last.count == 0:
        return True, list(stored)
    complete = len({each.chunk_id for each in stored if each.version == last.version}) == last.count
    return complete, [each for each in stored if (each.version != last.version) == complete]
