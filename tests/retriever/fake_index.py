"""An index in a dict, exact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from daytwo.errors import DaytwoError
from daytwo.records import ChunkAccepted, ChunkEmbedded, Passage
from services.retriever.ports import Hit, Scope, SourceKey, Space, Stored
from services.retriever.stages import source_key


class FakeIndex:
    """`fail_next` is raised by the next call; `calls` has the name of each call and how many vectors or chunks it was for."""

    def __init__(self) -> None:
        self.rows: dict[tuple[Space, str], ChunkEmbedded] = {}
        self.calls: list[tuple[str, int]] = []
        self.fail_next: DaytwoError | None = None

    async def open(self) -> None:
        return None

    async def close(self) -> None:
        return None

    async def upsert(self, chunks: Sequence[ChunkEmbedded]) -> None:
        self._called("upsert", len(chunks))
        for each in chunks:
            assert each.vector is not None
            self.rows[Space.of(each.vector), each.chunk.chunk_id] = each

    async def stored(self, sources: Sequence[SourceKey]) -> Sequence[Stored]:
        self._called("stored", len(sources))
        rows = [(repr(space), row.chunk) for (space, _), row in self.rows.items() if source_key(row.chunk) in sources]
        return [Stored(place, chunk.chunk_id, source_key(chunk), chunk.version) for place, chunk in rows]

    async def delete(self, stored: Sequence[Stored]) -> None:
        self._called("delete", len(stored))
        gone = {(each.place, each.chunk_id) for each in stored}
        self.rows = {key: row for key, row in self.rows.items() if (repr(key[0]), key[1]) not in gone}

    async def search(self, space: Space, scope: Scope, top_k: int, vectors: Sequence[bytes]) -> Sequence[Sequence[Hit]]:
        self._called("search", len(vectors))
        rows = [row for (place, _), row in self.rows.items() if place == space and inside(scope, row.chunk)]
        return [_nearest(rows, vector)[:top_k] for vector in vectors]

    def _called(self, name: str, size: int) -> None:
        self.calls.append((name, size))
        error, self.fail_next = self.fail_next, None
        if error is not None:
            raise error


def inside(scope: Scope, chunk: ChunkAccepted) -> bool:
    return (
        (chunk.tenant, chunk.collection) == (scope.tenant, scope.collection)
        and (not scope.sources or chunk.source in scope.sources)
        and (not scope.categories or chunk.category in scope.categories)
        and (scope.after_ms is None or chunk.published_at_ms >= scope.after_ms)
        and (scope.before_ms is None or chunk.published_at_ms < scope.before_ms)
    )


def _nearest(rows: Sequence[ChunkEmbedded], vector: bytes) -> list[Hit]:
    hits = [_hit(row.chunk, float(np.frombuffer(vector, "<f4") @ np.frombuffer(row.vector.values, "<f4"))) for row in rows if row.vector]
    return sorted(hits, key=lambda hit: (-hit.passage.score, hit.passage.chunk_id))


def _hit(chunk: ChunkAccepted, score: float) -> Hit:
    passage = Passage(
        chunk_id=chunk.chunk_id, source=chunk.source, title=chunk.title, category=chunk.category, text=chunk.text, score=score
    )
    return Hit(chunk.tenant, passage)
