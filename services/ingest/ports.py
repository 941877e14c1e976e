"""What ingest needs from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from daytwo.records import DocumentSubmitted
from services.ingest.chunks import Piece


class Splitter(Protocol):
    async def split(self, document: DocumentSubmitted) -> Sequence[Piece]:
        """The pieces of the document's content, in order, at least one. Raises UnsplittableError."""
        ...

    async def close(self) -> None: ...


class Heard(Protocol):
    """Who wants to hear what becomes of requests. Times are epoch milliseconds, of the record that says so."""

    def taken_up(self, request_id: bytes, at_ms: int) -> None:
        """An attempt of the request began."""
        ...

    def ended(self, request_id: bytes, at_ms: int) -> None:
        """The request has its result."""
        ...


class RoadEnds(Protocol):
    """Tells what becomes of requests, from the topics at the end of the road."""

    async def start(self, heard: Heard) -> None:
        """Tells of everything from now on. Raises RetryableError."""
        ...

    async def stop(self) -> None: ...


class _NothingIsHeard:
    async def start(self, heard: Heard) -> None:
        pass

    async def stop(self) -> None:
        pass


NOTHING_IS_HEARD: Final[RoadEnds] = _NothingIsHeard()
