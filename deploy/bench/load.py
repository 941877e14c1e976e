"""The load generator: a process of its own. `python -m deploy.bench.load` takes its orders as JSON on standard input.

It prints a line when it begins and ends to measure, so that others can look at the clocks at the same moments, and then the
result. What it sends is encoded beforehand; results are known by their header, and decoded afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import resource
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from daytwo.codec import decode, encode
from daytwo.fate import REQUEST_ID_HEADER
from daytwo.records import RequestFinished
from daytwo.topics import REQUEST_FINISHED, REQUEST_SUBMITTED
from deploy.bench.quantiles import quantiles
from deploy.bench.questions import Scenario, requests

DRAIN_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Either so many requests `in_flight` at once, or so many a second; one of the two is 0."""

    bootstrap: str
    scenario: Scenario
    run: str
    in_flight: int = 0
    per_s: int = 0
    warm_s: float
    measure_s: float
    most: int
    """Requests that are made beforehand; the load ends when they are used up."""
    submit_to: str = REQUEST_SUBMITTED.name
    read_from: str = REQUEST_FINISHED.name


@dataclass(slots=True)
class Load:
    order: Order
    ready: list[tuple[str, bytes, bytes]]
    sent: dict[bytes, float] = field(default_factory=dict)
    """When each request that has no result was sent, in seconds of time.perf_counter."""
    arrived: list[tuple[float, float, bytes]] = field(default_factory=list)
    """Sent, arrived, and the result."""
    begins: float = 0.0
    ends: float = 0.0

    async def run(self) -> dict[str, Any]:
        producer = AIOKafkaProducer(bootstrap_servers=self.order.bootstrap, enable_idempotence=True, acks="all", max_batch_size=512 * 1024)
        consumer = AIOKafkaConsumer(bootstrap_servers=self.order.bootstrap, enable_auto_commit=False)
        await producer.start()
        await consumer.start()
        try:
            await self._at_the_end(consumer)
            return await self._measured(producer, consumer)
        finally:
            await consumer.stop()
            await producer.stop()

    async def _at_the_end(self, consumer: AIOKafkaConsumer) -> None:
        numbers = await consumer._client._wait_on_metadata(self.order.read_from)
        partitions = [TopicPartition(self.order.read_from, number) for number in numbers]
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        for partition in partitions:
            await consumer.position(partition)

    async def _measured(self, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer) -> dict[str, Any]:
        gc.disable()
        start = time.perf_counter()
        self.begins, self.ends = start + self.order.warm_s, start + self.order.warm_s + self.order.measure_s
        marks = asyncio.create_task(self._mark())
        if self.order.in_flight:
            await self._closed(producer, consumer)
        else:
            await self._open(producer, consumer)
        cpu_s, wall_s = await marks
        return {**self.summary(), "generator_cpu": round(cpu_s / wall_s, 3)}

    async def _mark(self) -> tuple[float, float]:
        """Tells when measuring begins and ends; returns the seconds of processor and clock in between."""
        await asyncio.sleep(self.begins - time.perf_counter())
        tell({"event": "begins"})
        cpu, wall = _cpu_s(), time.perf_counter()
        await asyncio.sleep(self.ends - time.perf_counter())
        tell({"event": "ends"})
        return _cpu_s() - cpu, time.perf_counter() - wall

    async def _closed(self, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer) -> None:
        """As many at once as ordered: each result lets the next request go."""
        free = self.order.in_flight
        while time.perf_counter() < self.ends and (self.ready or self.sent):
            for _ in range(min(free, len(self.ready))):
                await self._send(producer)
            free = await self._receive(consumer)
        self.ends = min(self.ends, time.perf_counter())
        await self._drain(consumer)

    async def _open(self, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer) -> None:
        """At a steady rate, whatever comes back."""
        sending = asyncio.create_task(self._steadily(producer))
        while not sending.done():
            await self._receive(consumer)
        await sending
        await self._drain(consumer)

    async def _steadily(self, producer: AIOKafkaProducer) -> None:
        start, number = time.perf_counter(), 0
        while self.ready and time.perf_counter() < self.ends:
            await self._send(producer)
            number += 1
            await asyncio.sleep(start + number / self.order.per_s - time.perf_counter())

    async def _drain(self, consumer: AIOKafkaConsumer) -> None:
        late = time.perf_counter() + DRAIN_S
        while self.sent and time.perf_counter() < late:
            await self._receive(consumer)

    async def _send(self, producer: AIOKafkaProducer) -> None:
        request_id, key, value = self.ready.pop()
        identity = request_id.encode()
        self.sent[identity] = time.perf_counter()
        await producer.send(self.order.submit_to, value=value, key=key, headers=[(REQUEST_ID_HEADER, identity)])

    async def _receive(self, consumer: AIOKafkaConsumer) -> int:
        """Takes what is there, waiting for something up to 50 ms; returns how many results were ours."""
        batches = await consumer.getmany(timeout_ms=50)
        now = time.perf_counter()
        ours = 0
        for records in batches.values():
            for record in records:
                sent = self.sent.pop(_request_id(record), None)
                if sent is not None:
                    self.arrived.append((sent, now, record.value))
                    ours += 1
        return ours

    def summary(self) -> dict[str, Any]:
        """Throughput counts what arrived in the measured time, latency what was sent in it."""
        seconds = self.ends - self.begins
        count = sum(self.begins <= arrived < self.ends for _, arrived, _ in self.arrived)
        latencies = [(arrived - sent) * 1000 for sent, arrived, _ in self.arrived if self.begins <= sent < self.ends]
        results = [decode(REQUEST_FINISHED, value) for _, _, value in self.arrived]
        return {
            "requests": count,
            "seconds": round(seconds, 3),
            "per_s": round(count / seconds, 1),
            **quantiles(latencies),
            "missing": len(self.sent),
            "answers": dict(Counter(_kind(result) for result in results)),
            "provider_p50_ms": quantiles([sum(a.latency_ms for a in result.attempts) for result in results])["p50_ms"],
            "steps_ms": _steps(results),
        }


def _steps(results: list[RequestFinished]) -> dict[str, dict[str, float]]:
    """Median milliseconds of each step: waiting for it, and in it."""
    queued: dict[str, list[float]] = {}
    executing: dict[str, list[float]] = {}
    for result in results:
        for step in result.steps:
            queued.setdefault(step.step, []).append(step.queued_ms)
            executing.setdefault(step.step, []).append(step.executing_ms)
    return {step: {"queued": quantiles(queued[step])["p50_ms"], "executing": quantiles(executing[step])["p50_ms"]} for step in queued}


def _kind(result: RequestFinished) -> str:
    match = f" {result.cache_match.kind}" if result.cache_match else ""
    return f"{result.outcome} {result.reason} {result.served_by or '-'}{match}"


def _request_id(record: Any) -> bytes:
    for name, value in record.headers:
        if name == REQUEST_ID_HEADER:
            return bytes(value)
    return b""


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def tell(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    order = Order(**json.load(sys.stdin))
    ready = [
        (request.request_id, REQUEST_SUBMITTED.key(request).encode(), encode(REQUEST_SUBMITTED, request))
        for request in islice(requests(order.scenario, order.run), order.most)
    ]
    with contextlib.suppress(KeyboardInterrupt):
        tell({"event": "result", **uvloop.run(Load(order, ready).run())})


if __name__ == "__main__":
    main()
