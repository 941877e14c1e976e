"""Bad input meets the real loop on the broker in memory: each record ends with its reason, and the next one is served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from daytwo.broker import Outgoing, outgoing
from daytwo.clock import SystemClock
from daytwo.codec import decode, encode
from daytwo.loop import Loop
from daytwo.memory import MemoryBroker
from daytwo.metrics import Metrics
from daytwo.records import Message, TenantConfigured, Tool
from daytwo.topics import DEAD_LETTER, DOCUMENT_FINISHED, DOCUMENT_SUBMITTED, REQUEST_ACCEPTED, REQUEST_FINISHED, REQUEST_SUBMITTED
from daytwo.world import World
from services.ingest.service import service
from services.ingest.settings import Settings
from services.ingest.splitting_process import SplittingProcesses, make_chunker
from services.ingest.tokenizer_file import find_tokenizer
from tests.ingest.builders import SIGNING, document, request, tenant

OPEN = tenant(tenant="open")


@asynccontextmanager
async def running(*tenants: TenantConfigured) -> AsyncIterator[MemoryBroker]:
    world = World(env={})
    broker = MemoryBroker(SystemClock())
    for row in tenants:
        broker.append(outgoing(row))
    settings = Settings()
    splitter = SplittingProcesses(partial(make_chunker, settings.chunk_rules, find_tokenizer()), processes=1)
    loop = Loop(service(settings, splitter), broker, world, Metrics(), sender=broker.sender())
    task = asyncio.create_task(loop.run())
    try:
        yield broker
    finally:
        loop.stop()
        await task


async def arrives(broker: MemoryBroker, topic: str, count: int = 1) -> list[bytes]:
    async with asyncio.timeout(20):
        while len(broker.records(topic)) < count:
            await asyncio.sleep(0.005)
    return [record.value or b"" for record in broker.records(topic)]


def deep(opening: str) -> tuple[Tool, ...]:
    return (Tool(name="f", parameters=opening * 100_000),)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("an unknown tenant", {"tenant": "nobody"}, "unknown_tenant"),
    ("10 MB", {"messages": (Message(role="user", content="x" * 10_000_000),)}, "too_large"),
    ("no messages", {"messages": ()}, "invalid_request"),
    ("an empty message", {"messages": (Message(role="user", content=""),)}, "invalid_request"),
    ("a deadline in the past", {"deadline_ms": 1}, "deadline_in_past"),
    ("negative max_tokens", {"max_tokens": -1}, "invalid_request"),
    ("NaN", {"temperature": float("nan")}, "invalid_request"),
    ("a control character", {"messages": (Message(role="user", content="a\x00"),)}, "invalid_request"),
    ("deep JSON", {"tools": deep("[")}, "invalid_request"),
    ("deep JSON objects", {"tools": deep('{"a":')}, "invalid_request"),
    ("no signature", {"tenant": "acme"}, "missing_signature"),
]


@pytest.mark.parametrize(("fields", "reason"), [pytest.param(fields, reason, id=name) for name, fields, reason in REFUSED])
async def test_a_bad_request_has_one_result_and_the_next_is_served(fields: dict[str, Any], reason: str) -> None:
    async with running(OPEN, SIGNING) as broker:
        broker.append(outgoing(request(**{"request_id": "bad", "tenant": "open", "session": "s", **fields})))
        broker.append(outgoing(request(request_id="good", tenant="open", session="s")))
        [accepted] = await arrives(broker, REQUEST_ACCEPTED.name)
        [result] = await arrives(broker, REQUEST_FINISHED.name)
    assert decode(REQUEST_ACCEPTED, accepted).request.request_id == "good"
    finished = decode(REQUEST_FINISHED, result)
    assert (finished.request_id, finished.reason) == ("bad", reason)
    assert broker.records(DEAD_LETTER.name) == []


@pytest.mark.parametrize("value", [b"", b"garbage", b"\0\0\0\1\xff", encode(REQUEST_SUBMITTED, request())[:-3]])
async def test_unreadable_bytes_are_a_dead_letter_and_the_next_is_served(value: bytes) -> None:
    async with running(OPEN) as broker:
        broker.append(Outgoing(topic=REQUEST_SUBMITTED.name, key=b"open/r", value=value))
        broker.append(outgoing(request(request_id="r", tenant="open")))
        await arrives(broker, REQUEST_ACCEPTED.name)
        [letter] = await arrives(broker, DEAD_LETTER.name)
    assert decode(DEAD_LETTER, letter).reason == "unreadable"


async def test_a_request_with_bytes_behind_it_is_a_dead_letter_and_has_its_result() -> None:
    async with running(OPEN) as broker:
        broker.append(
            Outgoing(topic=REQUEST_SUBMITTED.name, key=b"open/r", value=encode(REQUEST_SUBMITTED, request(request_id="r")) + b"!")
        )
        [result] = await arrives(broker, REQUEST_FINISHED.name)
        await arrives(broker, DEAD_LETTER.name)
    finished = decode(REQUEST_FINISHED, result)
    assert (finished.request_id, finished.outcome, finished.reason) == ("r", "refused", "unreadable")


async def test_a_document_of_binary_junk_is_refused_and_the_next_becomes_chunks() -> None:
    async with running(OPEN) as broker:
        broker.append(outgoing(document(tenant="open", document_id="bad", content=bytes(range(256)) * 100)))
        broker.append(outgoing(document(tenant="open", document_id="good", content=b"# A\n\ntext", media_type="text/markdown")))
        await arrives(broker, "chunk-accepted")
        [result] = await arrives(broker, DOCUMENT_FINISHED.name)
    finished = decode(DOCUMENT_FINISHED, result)
    assert (finished.document_id, finished.outcome, finished.reason) == ("bad", "refused", "invalid_document")


BAD_DOCUMENTS: list[tuple[str, dict[str, Any], str]] = [
    ("9 MiB", {"content": b"x" * (9 << 20)}, "too_large"),
    ("an unknown tenant", {"tenant": "nobody"}, "unknown_tenant"),
    ("no signature", {"tenant": "acme"}, "missing_signature"),
    ("an unknown media type", {"media_type": "application/pdf"}, "invalid_document"),
    ("a control character in its name", {"source": "a\x1b[2J"}, "invalid_document"),
    ("a time before the epoch", {"published_at_ms": -1}, "invalid_document"),
    ("HTML a hundred thousand deep", {"content": b"<div>" * 100_000, "media_type": "text/html"}, "invalid_document"),
    ("half a character", {"content": "\u00e4".encode()[:1]}, "invalid_document"),
    ("nothing", {"content": b""}, "invalid_document"),
]


@pytest.mark.parametrize(("fields", "reason"), [pytest.param(fields, reason, id=name) for name, fields, reason in BAD_DOCUMENTS])
async def test_a_bad_document_has_one_result_and_the_next_becomes_chunks(fields: dict[str, Any], reason: str) -> None:
    async with running(OPEN, SIGNING) as broker:
        broker.append(outgoing(document(**{"document_id": "bad", "tenant": "open", **fields})))
        broker.append(outgoing(document(document_id="good", tenant="open")))
        await arrives(broker, "chunk-accepted")
        [result] = await arrives(broker, DOCUMENT_FINISHED.name)
    finished = decode(DOCUMENT_FINISHED, result)
    assert (finished.document_id, finished.outcome, finished.reason) == ("bad", "refused", reason)
    assert broker.records(DEAD_LETTER.name) == []


async def test_an_unreadable_document_that_says_its_id_in_a_header_has_its_result() -> None:
    async with running(OPEN) as broker:
        broker.append(
            Outgoing(topic=DOCUMENT_SUBMITTED.name, key=b"open/a.md", value=b"\0\0\0\xff\xffnew", headers={"document-id": b"d-9"})
        )
        [result] = await arrives(broker, DOCUMENT_FINISHED.name)
        [letter] = await arrives(broker, DEAD_LETTER.name)
    finished = decode(DOCUMENT_FINISHED, result)
    assert (finished.document_id, finished.tenant, finished.source) == ("d-9", "open", "a.md")
    assert (finished.outcome, finished.reason, decode(DEAD_LETTER, letter).reason) == ("refused", "unreadable", "unreadable")
