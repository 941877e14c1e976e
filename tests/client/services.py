"""What stands in for the services: answers every request and document on a memory broker, or on any other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from daytwo.broker import Broker, Outgoing, outgoing
from daytwo.clock import Clock
from daytwo.codec import decode
from daytwo.fate import headers_of
from daytwo.memory import MemoryBroker
from daytwo.records import DocumentFinished, DocumentSubmitted, Message, RequestFinished, RequestSubmitted
from daytwo.results import document_ended, finished
from daytwo.topics import DOCUMENT_SUBMITTED, REQUEST_SUBMITTED

Answer = Callable[[RequestSubmitted], Sequence[RequestFinished]]


def answered(request: RequestSubmitted, text: str = "", **rest: Any) -> RequestFinished:
    answer = Message(role="assistant", content=text or f"echo: {request.messages[-1].content}")
    return finished(request, now_ms=0, outcome="answered", reason="ok", **{"message": answer, "served_by": "deployment", **rest})


def echo(request: RequestSubmitted) -> Sequence[RequestFinished]:
    return [answered(request)]


def indexed(document: DocumentSubmitted) -> DocumentFinished:
    outcome = "removed" if document.content is None else "indexed"
    return document_ended(document, now_ms=0, outcome=outcome, reason="ok", chunks=3)  # type: ignore[arg-type]


def sent(result: RequestFinished | DocumentFinished, *, header: bool = True) -> Outgoing:
    return outgoing(result, headers_of(result) if header else {})


@asynccontextmanager
async def services(
    broker: Broker,
    answer: Answer = echo,
    document: Callable[[DocumentSubmitted], DocumentFinished] = indexed,
    *,
    header: bool = True,
    tenant: str = "acme",
) -> AsyncIterator[None]:
    """Answers everything that the tenant submitted, from the start of the log on."""
    reader, sender = broker.reader(), broker.sender()
    await reader.start()
    await sender.start()
    topics = (REQUEST_SUBMITTED.name, DOCUMENT_SUBMITTED.name)
    await reader.seek({partition: None for topic in topics for partition in await reader.partitions(topic)})

    async def serve() -> None:
        while True:
            answers: list[Outgoing] = []
            for raw in await reader.read(0.2):
                if not (raw.key or b"").startswith(f"{tenant}/".encode()):
                    continue
                value = raw.value or b""
                if raw.topic == REQUEST_SUBMITTED.name:
                    results: Sequence[RequestFinished | DocumentFinished] = answer(decode(REQUEST_SUBMITTED, value))
                else:
                    results = [document(decode(DOCUMENT_SUBMITTED, value))]
                answers += [sent(result, header=header) for result in results]
            if answers:
                await sender.send(answers)

    task = asyncio.create_task(serve())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await reader.stop()
        await sender.stop()


class AnsweringBroker(MemoryBroker):
    """Has the answer on the log as soon as the request is: for what runs an event loop of its own."""

    def __init__(self, clock: Clock, answer: Answer = echo, document: Callable[[DocumentSubmitted], DocumentFinished] = indexed) -> None:
        super().__init__(clock)
        self._answer = answer
        self._document = document

    def append(self, record: Outgoing) -> tuple[int, int]:
        place = super().append(record)
        if record.topic == REQUEST_SUBMITTED.name:
            for result in self._answer(decode(REQUEST_SUBMITTED, record.value or b"")):
                super().append(sent(result))
        if record.topic == DOCUMENT_SUBMITTED.name:
            super().append(sent(self._document(decode(DOCUMENT_SUBMITTED, record.value or b""))))
        return place
