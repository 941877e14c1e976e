"""Records and a running loop for tests of the libraries."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from daytwo.broker import Broker, Outgoing, Partition, Raw, outgoing
from daytwo.clock import SystemClock
from daytwo.codec import decode
from daytwo.errors import DaytwoError
from daytwo.flow import Context, Input, Output, Service
from daytwo.kafka import KafkaBroker
from daytwo.loop import Loop, LoopSettings, kind_of
from daytwo.memory import MemoryBroker
from daytwo.metrics import Metrics
from daytwo.records import Message, RequestAccepted, RequestSubmitted
from daytwo.results import ended_by
from daytwo.topics import REQUEST_SUBMITTED, TOPIC_NAMED
from daytwo.world import World


def submitted(request_id: str, tenant: str, session: str = "", **fields: Any) -> RequestSubmitted:
    return RequestSubmitted(
        request_id=request_id, tenant=tenant, session=session, messages=(Message(role="user", content="What is a topic?"),), **fields
    )


def accepted(request: RequestSubmitted) -> RequestAccepted:
    return RequestAccepted(request=request, fingerprint="0" * 32, accepted_at_ms=0)


def ending(record: RequestSubmitted, context: Context, error: DaytwoError) -> Sequence[Output]:
    return [ended_by(record, error, now_ms=context.clock.now_ms())]


class Bench:
    """A broker, a sender, a group and a tenant of one test, so that tests on one Kafka do not meet."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.tenant = f"t{uuid.uuid4().hex[:10]}"
        self.sender = broker.sender()
        self.started_ms = SystemClock().now_ms() - 1
        self._begun = False

    def service(self, handle: Any = None, *, max_in_flight: int = 1024, max_in_flight_bytes: int = 2**28, **fields: Any) -> Service:
        """A service that reads request-submitted and leaves other tests' tenants alone."""

        async def own(record: RequestSubmitted, context: Context) -> Sequence[Output]:
            result: Sequence[Output] = await handle(record, context) if record.tenant == self.tenant else []
            return result

        source = Input(topic=REQUEST_SUBMITTED, ending=ending, handle=own if handle else None, **fields)
        return Service(name=f"g-{self.tenant}", inputs=[source], max_in_flight=max_in_flight, max_in_flight_bytes=max_in_flight_bytes)

    def loop(self, service: Service, *, instance: str = "i0", **settings: Any) -> Loop:
        return kind_of(service)(
            service,
            self.broker,
            World(env={"DAYTWO_INSTANCE": instance}, rng=random.Random(7)),
            Metrics(),
            sender=self.broker.sender(),
            settings=LoopSettings(commit_interval_s=0.05, drain_s=2.0, **settings),
        )

    @asynccontextmanager
    async def running(self, service: Service, **settings: Any) -> AsyncIterator[Loop]:
        await self._begin_here(service)
        loop = self.loop(service, **settings)
        await loop._worker._sender.start()
        task = asyncio.create_task(loop.run())
        try:
            await until(lambda: loop.state == "ready" or task.done())
            yield loop
        finally:
            loop.stop()
            await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 20)
            await loop._worker._sender.stop()

    async def submit(self, *requests: RequestSubmitted) -> Sequence[tuple[int, int]]:
        return await self.send(*[outgoing(request) for request in requests])

    async def send(self, *records: Outgoing) -> Sequence[tuple[int, int]]:
        await self.sender.start()
        try:
            return await self.sender.send(records)
        finally:
            await self.sender.stop()

    async def records(self, topic: str, count: int, timeout_s: float = 20.0) -> list[Any]:
        """The first `count` records of this test's tenant in a topic; fails if they do not come."""
        found: list[Any] = []

        async def read() -> None:
            async with aclosing(self.raws(topic)) as raws:
                async for raw in raws:
                    record = decode(TOPIC_NAMED[topic], raw.value or b"")
                    if self.tenant in (raw.key or b"").decode() or getattr(record, "tenant", "") == self.tenant:
                        found.append(record)
                    if len(found) >= count:
                        return

        try:
            await asyncio.wait_for(read(), timeout_s)
        except TimeoutError:
            raise AssertionError(f"{len(found)} of {count} records in {topic}: {found}") from None
        return found

    async def raws(self, topic: str) -> AsyncGenerator[Raw, None]:
        reader = self.broker.reader()
        await reader.start()
        try:
            partitions = await reader.partitions(topic)
            await reader.seek(dict(await reader.offsets_at(partitions, self.started_ms)))
            while True:
                for raw in await reader.read(0.1):
                    yield raw
        finally:
            await reader.stop()

    async def committed(self, service: Service, partition: Partition) -> int | None:
        """What the group has committed."""
        if isinstance(self.broker, MemoryBroker):
            return self.broker.offsets.get((service.name, partition))
        async with self._member(service) as consumer:
            offset: int | None = await consumer.committed(TopicPartition(*partition))
            return offset

    async def _begin_here(self, service: Service) -> None:
        """Lets a new group begin where this test began: other tests have left records on the same topics of real Kafka."""
        if isinstance(self.broker, MemoryBroker) or self._begun:
            return
        self._begun = True
        reader = self.broker.reader()
        await reader.start()
        topics = [source.topic.name for source in service.inputs]
        partitions = [p for topic in topics for p in await reader.partitions(topic)]
        offsets = await reader.offsets_at(partitions, self.started_ms)
        await reader.stop()
        async with self._member(service) as consumer:
            consumer.assign([TopicPartition(*p) for p in offsets])
            await consumer.commit({TopicPartition(*p): offset for p, offset in offsets.items()})

    @asynccontextmanager
    async def _member(self, service: Service) -> AsyncIterator[Any]:
        assert isinstance(self.broker, KafkaBroker)
        consumer = AIOKafkaConsumer(bootstrap_servers=self.broker.bootstrap, group_id=service.name, enable_auto_commit=False)
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()


async def until(condition: Callable[[], Any], timeout_s: float = 20.0) -> None:
    """Waits until something is true; fails if it does not become so."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)
