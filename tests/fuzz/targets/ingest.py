"""ingest at its door: any key, headers and value on its topics have the fate they must have; any text is cut or refused."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from daytwo.broker import Outgoing, Raw
from daytwo.fate import DOCUMENT_ID_HEADER, REQUEST_ID_HEADER
from daytwo.flow import Change, Service
from daytwo.metrics import Metrics
from daytwo.records import SigningKey
from daytwo.signing import KEY_HEADER, SIGNATURE_HEADER, sign
from daytwo.topics import DOCUMENT_SUBMITTED, REQUEST_SUBMITTED
from services.ingest.chunking import Chunker
from services.ingest.chunks import ChunkRules, UnsplittableError
from services.ingest.service import service
from services.ingest.settings import Settings
from services.ingest.signature import signature_refusal
from services.ingest.tokenizer_file import find_tokenizer
from services.ingest.validation import MEDIA_TYPES
from tests.fuzz.corpus import DOCUMENTS, KEY, REQUESTS, TENANTS, examples
from tests.fuzz.fates import KeepingSender, NotingWorker, nobody
from tests.fuzz.submissions import whole
from tests.ingest.builders import NOW_MS, LineSplitter, StoppedClock

TOPICS: Final = (REQUEST_SUBMITTED, DOCUMENT_SUBMITTED)
_ABSENT: Final = b"-"


class ForgivingSplitter(LineSplitter):
    async def split(self, document: Any) -> Any:
        try:
            return await super().split(document)
        except UnicodeDecodeError:
            raise UnsplittableError("invalid_document", "content: not UTF-8") from None


def door(data: bytes) -> None:
    """Topic number, lines of key, request-id, key id and signature ("-" stands for none), then the value."""
    topic = TOPICS[(data[0] if data else 0) % 2]
    key, identity, key_id, signature, value = (data[1:].split(b"\n", 4) + [b""] * 5)[:5]
    named = REQUEST_ID_HEADER if topic is REQUEST_SUBMITTED else DOCUMENT_ID_HEADER
    headers = {named: identity, KEY_HEADER: key_id, SIGNATURE_HEADER: signature}
    raw = Raw(
        topic=topic.name,
        partition=0,
        offset=7,
        timestamp_ms=NOW_MS,
        key=None if key == _ABSENT else key,
        value=None if value == _ABSENT else value,
        headers={name: text for name, text in headers.items() if text != _ABSENT},
    )
    worker = NotingWorker(KeepingSender(), StoppedClock(), random.Random(0), Metrics(), nobody())
    asyncio.run(_handled(worker, raw))
    assert not worker.findings, worker.findings[0][1]
    assert worker.done == 1


async def _handled(worker: NotingWorker, raw: Raw) -> None:
    ingest = _ingest()
    for follower in ingest.followers:
        await follower.apply([Change(key=row.tenant, record=row, partition=0, offset=0) for row in TENANTS])
    await worker.one(next(source for source in ingest.inputs if source.topic.name == raw.topic), raw)


@cache
def _ingest() -> Service:
    return service(Settings(), ForgivingSplitter())


def splitting(data: bytes) -> None:
    """Media type number, title up to the first line end, content."""
    title, _, content = data[1:].partition(b"\n")
    media_type = MEDIA_TYPES[(data[0] if data else 0) % len(MEDIA_TYPES)]
    try:
        pieces = _chunker().cut(content, media_type, title.decode("utf-8", "replace"))
    except UnsplittableError as error:
        assert error.reason in ("invalid_document", "too_large")
        return
    assert pieces
    assert all(piece.text and len(piece.title) <= 512 for piece in pieces)


@cache
def _chunker() -> Chunker:
    return Chunker(ChunkRules(), find_tokenizer())


def signature(data: bytes) -> None:
    """Lines of key id and signature, then the value: only the signature of these very bytes with a known key lets in."""
    key_id, given, value = (data.split(b"\n", 2) + [b""] * 3)[:3]
    headers: Mapping[str, bytes] = {KEY_HEADER: key_id, SIGNATURE_HEADER: given}
    for keys in ((KEY,), (KEY, SigningKey(id="empty", secret=""))):
        refused = signature_refusal(keys, value, headers)
        right = key_id == KEY.id.encode() and given == sign(KEY.secret, value).encode()
        assert (refused is None) == right


def door_seeds() -> list[bytes]:
    found = []
    for record in (*REQUESTS, *DOCUMENTS):
        message: Outgoing = whole(record, random.Random(0))
        lines = [message.key or b"", message.headers.get(REQUEST_ID_HEADER) or message.headers.get(DOCUMENT_ID_HEADER, _ABSENT)]
        lines += [message.headers[KEY_HEADER], message.headers[SIGNATURE_HEADER], message.value or b""]
        found.append(bytes([record in DOCUMENTS]) + b"\n".join(lines))
    others = [value for topic in TOPICS for value in examples()[topic.name]]
    return [*found, *(b"\0-\n-\n-\n-\n" + value for value in others), b"\0open/s\nr\n-\n-\n-"]


def splitting_seeds() -> list[bytes]:
    texts = [(document.media_type, document.content) for document in DOCUMENTS if document.content]
    hostile = [("text/markdown", b"> " * 400 + b"x\n"), ("text/markdown", b"- " * 200 + b"\n# A"), ("text/html", b"<div>" * 900 + b"x")]
    hostile += [("text/html", b"<table><tr><td>" * 50), ("text/html", b"<![CDATA[x]]><!DOCTYPE a [<!ENTITY b 'c'>]>&b;&#0;&#xFFFFFFFF;")]
    return [bytes([MEDIA_TYPES.index(media_type)]) + b"T\n" + content for media_type, content in (*texts, *hostile)]


def signature_seeds() -> list[bytes]:
    return [b"k1\n" + sign(KEY.secret, b"value").encode() + b"\nvalue", b"empty\n" + sign("", b"v").encode() + b"\nv", b"k1\n\xff\nv"]
