"""What the retriever needs from a vector index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from daytwo.records import ChunkEmbedded, Passage, Vector

ID_BYTES: Final = 512
"""128 characters of UTF-8."""
FIELD_BYTES: Final = {"tenant": ID_BYTES, "collection": ID_BYTES, "source": 2048, "category": 1024, "title": 4096, "text": 4096}
"""Most bytes of a field of the index. Reservations count on `text`: no passage is longer."""


class SourceKey(NamedTuple):
    """A document, whatever its version."""

    tenant: str
    collection: str
    source: str


class Space(NamedTuple):
    """Vectors of one space may be compared, others may not."""

    model: str
    version: str
    dimension: int

    @classmethod
    def of(cls, vector: Vector) -> Space:
        return cls(vector.model, vector.version, vector.dimension)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which chunks are looked at: those of one tenant and collection, and of these the ones that pass every filter."""

    tenant: str
    collection: str
    sources: tuple[str, ...] = ()
    """Empty: all."""
    categories: tuple[str, ...] = ()
    """Empty: all."""
    after_ms: int | None = None
    """Published at this moment or later, epoch milliseconds."""
    before_ms: int | None = None
    """Published before this moment, epoch milliseconds."""


class Hit(NamedTuple):
    """A chunk found, and whose it is."""

    tenant: str
    passage: Passage


class Stored(NamedTuple):
    """A chunk in the index."""

    place: str
    """Where in the index, as the index names it."""
    chunk_id: str
    source: SourceKey
    version: str


class Index(Protocol):
    """Chunks by vector. Every call raises RetryableError while the index does not answer; a write that returned is read by what follows."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def upsert(self, chunks: Sequence[ChunkEmbedded]) -> None:
        """Writes chunks, each with its vector, over those of the same chunk_id and space."""
        ...

    async def stored(self, sources: Sequence[SourceKey]) -> Sequence[Stored]:
        """All chunks of these sources, in every space."""
        ...

    async def delete(self, stored: Sequence[Stored]) -> None: ...

    async def search(self, space: Space, scope: Scope, top_k: int, vectors: Sequence[bytes]) -> Sequence[Sequence[Hit]]:
        """Per vector at most `top_k` chunks of `scope`, nearest first. None where nothing was ever written to `space`."""
        ...
