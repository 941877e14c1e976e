"""What ingest needs from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from daytwo.records import DocumentSubmitted
from services.ingest.chunks import Piece


class Splitter(Protocol):
    async def split(self, document: DocumentSubmitted) -> Sequence[Piece]:
        """The pieces of the document's content, in order, at least one. Raises UnsplittableError."""
        ...

    async def close(self) -> None: ...
