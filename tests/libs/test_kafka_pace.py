"""What comes seldom is fetched at once; what comes fast, together."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchRequest

from daytwo.broker import Outgoing, Partition
from daytwo.fate import NOT_FOR_HEADER
from daytwo.kafka import (
    FETCH_EVERY_S,
    FETCH_SELDOM_S,
    FETCH_SLOWEST_S,
    FETCHES_AT_ONCE,
    KafkaGroupReader,
    KafkaSender,
    _paced,
    _slowed,
)
from tests.libs.builders import until

TOPIC = "document-finished"
SOME_MORE = 5
"""Fetches that a count may be out by: those that begin or end outside the measured time."""


class Fetches:
    """Counts those that a client of aiokafka sends."""

    def __init__(self, client: Any) -> None:
        self.count = 0
        send = client.send

        async def counted(node_id: int, request: Any, **rest: Any) -> Any:
            self.count += isinstance(request, FetchRequest)
            return await send(node_id, request, **rest)

        client.send = counted


@contextlib.asynccontextmanager
async def group_and_sender(kafka: str) -> AsyncIterator[tuple[KafkaGroupReader, KafkaSender]]:
    """A group at the ends of the topic, and a sender that is connected."""
    reader, sender = KafkaGroupReader(kafka, f"g-{uuid.uuid4().hex}", "a", [TOPIC]), KafkaSender(kafka)
    await reader.start()
    try:
        await until(lambda: reader.assignment())
        for partition, end in (await reader.ends(list(reader.assignment()))).items():
            await until_at(reader, partition, end)
        await sender.send([record(0)])
        while not await reader.read(0.2, 500):
            pass
        yield reader, sender
    finally:
        await reader.stop()
        await sender.stop()


async def until_at(reader: KafkaGroupReader, partition: Partition, offset: int) -> None:
    async with asyncio.timeout(30):
        while await reader.position(partition) < offset:
            await reader.read(0.1, 5000)


def record(number: int, **headers: bytes) -> Outgoing:
    return Outgoing(topic=TOPIC, key=str(number).encode(), value=b"v", headers=headers)


async def sent_fast(sender: KafkaSender, seconds: float) -> tuple[int, float]:
    """Sends one by one, some milliseconds apart and none waiting for another; returns how many, and how many seconds that took."""
    began, tasks = time.monotonic(), list[asyncio.Task[Any]]()
    while time.monotonic() < began + seconds:
        tasks.append(asyncio.create_task(sender.send([record(len(tasks))])))
        await asyncio.sleep(0.001)
    await asyncio.gather(*tasks)
    return len(tasks), time.monotonic() - began


async def read_all(reader: KafkaGroupReader, count: int) -> None:
    async with asyncio.timeout(30):
        while count > 0:
            count -= len(await reader.read(0.2, 500))


@pytest.mark.stack
async def test_what_comes_fast_is_fetched_together(parts: dict[str, str]) -> None:
    async with group_and_sender(parts["kafka"]) as (reader, sender):
        fetches = Fetches(reader._open._client)
        reading = asyncio.create_task(read_all(reader, 150))

        count, seconds = await sent_fast(sender, 1.5)
        await reading

    assert count > 150
    assert fetches.count <= seconds / FETCH_EVERY_S + FETCHES_AT_ONCE + SOME_MORE


@pytest.mark.stack
async def test_who_finds_only_what_is_for_others_fetches_less_often_until_something_is_his(parts: dict[str, str]) -> None:
    async with group_and_sender(parts["kafka"]) as (reader, sender):
        for_others = record(1, **{NOT_FOR_HEADER: reader._group})

        await sender.send([for_others])
        await read_all(reader, 1)
        passing = reader._for_others
        await sender.send([record(2)])
        await read_all(reader, 1)

    assert (passing, reader._for_others) == (True, False)


def test_fetches_are_fewer_where_processors_are_short() -> None:
    waits_s = (0.0, 0.0001, 0.0003, 0.0004, 0.1)

    assert [_slowed(FETCH_EVERY_S, each) for each in waits_s] == pytest.approx([0.006, 0.006, 0.01, 0.02, FETCH_SLOWEST_S])
    assert _slowed(FETCH_SELDOM_S, 0.0004) == FETCH_SELDOM_S


class _Fetcher:
    def __init__(self) -> None:
        self.fetched: list[tuple[Any, ...]] = []

    async def _proc_fetch_request(self, *asked: Any) -> bool:
        self.fetched.append(asked)
        return True


class _Consumer:
    def __init__(self) -> None:
        self._fetcher = _Fetcher()


async def test_each_broker_of_a_cluster_is_asked_in_a_pace_of_its_own() -> None:
    consumer: Any = _Consumer()
    _paced(consumer, burst=1, every_s=lambda: 60.0)

    async with asyncio.timeout(20):
        await asyncio.gather(*[consumer._fetcher._proc_fetch_request("assignment", node, "first") for node in (1, 2, 3)])

    assert len(consumer._fetcher.fetched) == 3


async def test_a_fetch_that_is_cancelled_while_it_waits_ends_as_aiokafka_expects_of_its_own() -> None:
    """The fetcher awaits what it cancels when it is closed, and would let the cancellation out to who closes it."""
    consumer: Any = _Consumer()
    _paced(consumer, burst=1, every_s=lambda: 60.0)
    assert await consumer._fetcher._proc_fetch_request("assignment", 1, "first")
    waiting = asyncio.create_task(consumer._fetcher._proc_fetch_request("assignment", 1, "second"))
    await asyncio.sleep(0)

    waiting.cancel()

    assert await waiting is False
    assert consumer._fetcher.fetched == [("assignment", 1, "first")]
