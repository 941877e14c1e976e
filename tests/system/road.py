"""Sends whatever bytes to request-submitted and waits for what becomes of them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from daytwo.broker import Outgoing, Reader, Sender, outgoing
from daytwo.codec import decode
from daytwo.kafka import KafkaBroker
from daytwo.records import DeadLetter, DocumentFinished, Message, RequestFinished, RequestSubmitted
from daytwo.topics import DEAD_LETTER, TOPIC_NAMED


class Road:
    """One sender, and everything that has come out of daytwo since it was opened."""

    def __init__(self, sender: Sender, reader: Reader) -> None:
        self.sender = sender
        self.results: dict[str, list[RequestFinished]] = {}
        self.documents: dict[str, DocumentFinished] = {}
        self.dead_letters: list[DeadLetter] = []
        self._reader = reader

    async def follow(self) -> None:
        while True:
            for raw in await self._reader.read(0.2):
                record: Any = decode(TOPIC_NAMED[raw.topic], raw.value or b"")
                if raw.topic == DEAD_LETTER.name:
                    self.dead_letters.append(record)
                elif isinstance(record, DocumentFinished):
                    self.documents[record.document_id] = record
                else:
                    self.results.setdefault(record.request_id, []).append(record)

    async def send(self, *records: Outgoing) -> Sequence[tuple[int, int]]:
        return await self.sender.send(records)

    async def submit(self, request: RequestSubmitted, headers: Mapping[str, bytes] | None = None) -> None:
        await self.send(outgoing(request, headers))

    async def result(self, request_id: str, timeout_s: float = 30) -> RequestFinished:
        """The first terminal result of a request; fails if none comes."""
        async with asyncio.timeout(timeout_s):
            while request_id not in self.results:
                await asyncio.sleep(0.01)
        return self.results[request_id][0]

    async def answer(self, request: RequestSubmitted, headers: Mapping[str, bytes] | None = None) -> RequestFinished:
        await self.submit(request, headers)
        return await self.result(request.request_id)

    async def dead_letter(self, partition: int, offset: int, topic: str = "request-submitted") -> DeadLetter:
        """The dead letter of the record at this place; fails if none comes."""
        async with asyncio.timeout(30):
            while True:
                for letter in self.dead_letters:
                    if (letter.topic, letter.partition, letter.offset) == (topic, partition, offset):
                        return letter
                await asyncio.sleep(0.01)


@asynccontextmanager
async def road(stack: Mapping[str, Any]) -> AsyncIterator[Road]:
    broker = KafkaBroker(stack["kafka"])
    sender, reader = broker.sender(), broker.reader()
    await sender.start()
    await reader.start()
    topics = ("request-finished", "document-finished", "dead-letter")
    partitions = [p for topic in topics for p in await reader.partitions(topic)]
    await reader.seek(dict(await reader.ends(partitions)))
    opened = Road(sender, reader)
    following = asyncio.create_task(opened.follow())
    try:
        yield opened
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await reader.stop()
        await sender.stop()


def request(tenant: str = "plain", text: str = "What is a topic?", **fields: Any) -> RequestSubmitted:
    identity = fields.pop("request_id", f"r-{uuid.uuid4().hex}")
    messages = fields.pop("messages", (Message(role="user", content=text),))
    return RequestSubmitted(request_id=identity, tenant=tenant, messages=messages, **fields)
