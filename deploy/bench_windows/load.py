"""Requests of many tenants at a steady rate each, and when their results were read."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from daytwo.broker import Broker, Partition, Raw, Sender, outgoing
from daytwo.records import Message, RequestSubmitted
from daytwo.topic import Record
from daytwo.topics import REQUEST_FINISHED

LATE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Requests of tenants in turn, so many a second together."""

    tenants: Sequence[str]
    per_s: float


async def send(broker: Broker, records: Sequence[Record]) -> None:
    sender = broker.sender()
    await sender.start()
    try:
        for first in range(0, len(records), 1000):
            await sender.send([outgoing(record) for record in records[first : first + 1000]])
    finally:
        await sender.stop()


async def run(broker: Broker, streams: Sequence[Stream], seconds: float) -> dict[str, list[float]]:
    """Submits for so long; returns by tenant the milliseconds from submission to the reading of the result, in the order read.

    Raises TimeoutError where results are missing.
    """
    reader = broker.reader()
    await reader.start()
    await reader.seek(dict(await reader.ends(await reader.partitions(REQUEST_FINISHED.name))))
    sender = broker.sender()
    await sender.start()
    submitted: dict[bytes, tuple[str, float]] = {}
    taken: dict[str, list[float]] = {}
    sending = [asyncio.create_task(_submit(sender, stream, seconds, submitted)) for stream in streams]
    try:
        late = time.monotonic() + seconds + LATE_S
        while not all(task.done() for task in sending) or submitted:
            for raw in await reader.read(0.2):
                if found := submitted.pop(raw.headers.get("request-id", b""), None):
                    taken.setdefault(found[0], []).append((time.monotonic() - found[1]) * 1000)
            if time.monotonic() > late:
                raise TimeoutError(f"{len(submitted)} results are missing")
        await asyncio.gather(*sending)
    finally:
        for task in sending:
            task.cancel()
        await reader.stop()
        await sender.stop()
    return taken


async def _submit(sender: Sender, stream: Stream, seconds: float, submitted: dict[bytes, tuple[str, float]]) -> None:
    begun, step = time.monotonic(), 0.02
    sent, waiting = 0, []
    while (now := time.monotonic() - begun) < seconds:
        records = []
        for number in range(sent, int(now * stream.per_s)):
            request = _request(stream.tenants[number % len(stream.tenants)])
            submitted[request.request_id.encode()] = (request.tenant, time.monotonic())
            records.append(outgoing(request))
        sent += len(records)
        if records:
            waiting.append(asyncio.create_task(sender.send(records)))
        await asyncio.sleep(step)
    await asyncio.gather(*waiting)


def _request(tenant: str) -> RequestSubmitted:
    words = (Message(role="user", content="How much is in flight when a limit is reached?"),)
    return RequestSubmitted(request_id=uuid.uuid4().hex, tenant=tenant, messages=words, model="bench", max_tokens=64, cache="off")


async def since(broker: Broker, topic: str, starts: Mapping[Partition, int]) -> list[Raw]:
    """What is on a topic from there on."""
    reader = broker.reader()
    await reader.start()
    try:
        ends = await reader.ends(list(starts))
        await reader.seek(dict(starts))
        found: list[Raw] = []
        here = await reader.positions()
        while any(here[place] < end for place, end in ends.items()):
            found += await reader.read(0.2)
            here = await reader.positions()
        return found
    finally:
        await reader.stop()


async def ends_of(broker: Broker, topic: str) -> Mapping[Partition, int]:
    reader = broker.reader()
    await reader.start()
    try:
        return await reader.ends(await reader.partitions(topic))
    finally:
        await reader.stop()
