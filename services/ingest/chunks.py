"""Chunks as records: their identity and version. How a text is cut is in `chunking.py`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Final, NamedTuple
from uuid import NAMESPACE_DNS, uuid5

import orjson

from daytwo.records import ChunkAccepted, DocumentSubmitted

# Part of every version. Raise it when `chunking.py` cuts differently, so that documents sent again replace what is indexed.
_METHOD: Final = 1
_NAMESPACE: Final = uuid5(NAMESPACE_DNS, "chunk.daytwo")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRules:
    """Largest chunk and largest overlap of neighbours, in tokens of MiniLM's WordPiece; most chunks of a document."""

    tokens: int = 200
    overlap: int = 30
    most: int = 20_000


class Piece(NamedTuple):
    """A part of a text, titled with the document's title and the headings above it."""

    text: str
    title: str


class UnsplittableError(Exception):
    """The content cannot be cut into chunks: `reason` is invalid_document or too_large, `detail` says why."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def removal_of(document: DocumentSubmitted) -> ChunkAccepted:
    """The record that removes the document's source."""
    return _chunk(document, Piece("", document.title), version="", chunk_id="", index=0, count=0)


def chunks_of(document: DocumentSubmitted, pieces: Sequence[Piece], rules: ChunkRules) -> list[ChunkAccepted]:
    """One record a piece, in order. The same document under the same rules gives the same records."""
    version = version_of(document, rules)
    # None of these holds a line end, so no two places share a name.
    place = f"{document.tenant}\n{document.collection}\n{document.source}\n{version}"
    return [
        _chunk(document, piece, version=version, chunk_id=str(uuid5(_NAMESPACE, f"{place}\n{index}")), index=index, count=len(pieces))
        for index, piece in enumerate(pieces)
    ]


def version_of(document: DocumentSubmitted, rules: ChunkRules) -> str:
    """First 32 hex digits of SHA-256 over all that makes the chunks what they are."""
    about = [_METHOD, astuple(rules), document.media_type, document.title, document.category, document.published_at_ms]
    return hashlib.sha256(orjson.dumps(about) + b"\n" + (document.content or b"")).hexdigest()[:32]


def _chunk(document: DocumentSubmitted, piece: Piece, *, version: str, chunk_id: str, index: int, count: int) -> ChunkAccepted:
    return ChunkAccepted(
        document_id=document.document_id,
        tenant=document.tenant,
        collection=document.collection,
        source=document.source,
        version=version,
        chunk_id=chunk_id,
        index=index,
        count=count,
        text=piece.text,
        title=piece.title,
        category=document.category,
        published_at_ms=document.published_at_ms,
        metadata=document.metadata,
        traceparent=document.traceparent,
    )
