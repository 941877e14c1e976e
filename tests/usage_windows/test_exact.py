"""usage-windows on real Kafka, killed again and again: its sums are those of the log."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from daytwo.broker import Raw
from daytwo.codec import decode
from daytwo.kafka import KafkaBroker
from daytwo.records import RequestFinished, UsageWindowed
from daytwo.topics import REQUEST_FINISHED, USAGE_WINDOWED
from tests.usage_windows.process import Process
from tests.usage_windows.traffic import Bucket, counted, traffic

pytestmark = pytest.mark.stack

REQUESTS = int(os.environ.get("DAYTWO_TEST_WINDOWS_REQUESTS", "6000"))
KILLS = int(os.environ.get("DAYTWO_TEST_WINDOWS_KILLS", "8"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def everything(kafka: str, topic: str) -> list[Raw]:
    reader = KafkaBroker(kafka).reader()
    await reader.start()
    try:
        partitions = await reader.partitions(topic)
        ends = await reader.ends(partitions)
        await reader.seek(dict.fromkeys(partitions))
        found: list[Raw] = []
        here = await reader.positions()
        while any(here[place] < end for place, end in ends.items()):
            found += await reader.read(0.2)
            here = await reader.positions()
        return found
    finally:
        await reader.stop()


async def on_the_log(kafka: str, tenants: list[str]) -> Mapping[Bucket, tuple[int, int, int]]:
    by_place: defaultdict[int, list[tuple[RequestFinished, int]]] = defaultdict(list)
    for raw in await everything(kafka, REQUEST_FINISHED.name):
        record = decode(REQUEST_FINISHED, raw.value or b"")
        if record.tenant in tenants:
            by_place[raw.partition].append((record, raw.timestamp_ms))
    return counted([entry for entries in by_place.values() for entry in entries])


async def published(kafka: str, tenants: list[str]) -> Mapping[Bucket, tuple[int, int, int]]:
    latest: dict[Bucket, UsageWindowed] = {}
    for raw in await everything(kafka, USAGE_WINDOWED.name):
        row = decode(USAGE_WINDOWED, raw.value or b"")
        if row.tenant in tenants:
            place = (row.tenant, row.scope, row.subject, row.model, row.width, row.start_ms)
            # Of a bucket the record with the most requests holds: a process that was taken for dead may write an older one late.
            if place not in latest or row.requests >= latest[place].requests:
                latest[place] = row
    return {place: (row.requests, row.usage.input_tokens + row.usage.output_tokens, row.cost_nano) for place, row in latest.items()}


async def write_all(kafka: str, rng: random.Random, tenants: list[str], seconds: float, requests: int = REQUESTS) -> None:
    now_ms = time.time_ns() // 1_000_000
    producer = AIOKafkaProducer(bootstrap_servers=kafka, enable_idempotence=True, acks="all")
    await producer.start()
    try:
        records = list(traffic(rng, tenants, requests, now_ms - 3_600_000, now_ms - 240_000))
        for at in range(0, len(records), 50):
            for record in records[at : at + 50]:
                await producer.send(record.topic, record.value, key=record.key, timestamp_ms=record.timestamp_ms)
            await asyncio.sleep(seconds * 50 / len(records))
    finally:
        await producer.stop()


async def difference(kafka: str, tenants: list[str]) -> dict[Bucket, Any]:
    wanted, there = await on_the_log(kafka, tenants), await published(kafka, tenants)
    assert wanted
    return {place: (wanted.get(place), there.get(place)) for place in wanted.keys() | there.keys() if wanted.get(place) != there.get(place)}


async def settled(kafka: str, tenants: list[str], width: str) -> dict[Bucket, Any]:
    """What differs in the buckets of a width, when nothing differs or two minutes are over."""
    late = time.monotonic() + 120
    while time.monotonic() < late:
        left = {place: values for place, values in (await difference(kafka, tenants)).items() if width in ("", place[4])}
        if not left:
            break
        await asyncio.sleep(2)
    return left


@pytest.mark.parametrize("processes", [1, 2])
async def test_killed_again_and_again_the_windows_are_what_the_log_says(tmp_path: Path, processes: int) -> None:
    kafka, seed = os.environ["DAYTWO_KAFKA"], random.randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    tenants = [f"w-{uuid.uuid4().hex[:8]}" for _ in range(12)]
    running = [Process(kafka, tmp_path, free_port(), DAYTWO_INSTANCE=f"usage-windows-{number}") for number in range(processes)]
    try:
        await asyncio.gather(*(process.start() for process in running))
        writing = asyncio.create_task(write_all(kafka, rng, tenants, seconds=KILLS * 4.0))
        for _ in range(KILLS):
            await asyncio.sleep(rng.uniform(2.5, 5))
            process = rng.choice(running)
            await process.kill()
            await process.start()
        await writing
        left = await settled(kafka, tenants, "minute")
        assert not left, f"{len(left)} minutes differ: {list(left.items())[:5]}"
        # What an open hour, day or week has not published yet, a new process publishes first of all.
        for process in running:
            await process.kill()
            await process.start()
        left = await settled(kafka, tenants, "")
        assert not left, f"{len(left)} of the buckets differ: {list(left.items())[:5]}"
    finally:
        for process in running:
            await process.kill()
