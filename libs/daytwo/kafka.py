"""Apache Kafka behind the broker port, by aiokafka. What is set here, and why, is in docs/adr/0002-aiokafka.md."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from daytwo.broker import GroupReader, Outgoing, Partition, Raw, Reader, Sender
from daytwo.errors import RetryableError, TerminalError

log = logging.getLogger(__name__)

MAX_RECORD_BYTES = 24 * 1024 * 1024


class KafkaBroker:
    """Makes senders and readers for the cluster at `bootstrap` (host:port, comma-separated)."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    def sender(self) -> Sender:
        return KafkaSender(self.bootstrap)

    def reader(self) -> Reader:
        return KafkaReader(self.bootstrap)

    def group(self, group: str, instance: str, topics: Sequence[str]) -> GroupReader:
        return KafkaGroupReader(self.bootstrap, group, instance, topics)


class KafkaSender:
    """One idempotent producer, fed by one task: aiokafka collapses when many coroutines call `send` at once (#528).

    After any failed send the sequence of a partition may have a hole, so the producer is replaced; the caller sends again.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._producer: AIOKafkaProducer | None = None
        self._queue: deque[tuple[Outgoing, asyncio.Future[tuple[int, int]]]] = deque()
        self._wake = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._unacknowledged: set[asyncio.Future[tuple[int, int]]] = set()
        self._closing: set[asyncio.Future[None]] = set()

    async def start(self) -> None:
        # Connects with the first record: a service that starts before Kafka waits there, trying again.
        self._pump = asyncio.create_task(self._run(), name="kafka-sender")

    async def stop(self) -> None:
        if waiting := [future for _, future in self._queue]:
            await asyncio.wait(waiting, timeout=5)
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, *self._closing, return_exceptions=True)
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(producer.stop(), 5)

    async def send(self, records: Sequence[Outgoing]) -> Sequence[tuple[int, int]]:
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[tuple[int, int]]] = [loop.create_future() for _ in records]
        self._queue.extend(zip(records, futures, strict=True))
        self._wake.set()
        if len(futures) == 1:
            return [await futures[0]]
        # All of them are awaited even if one fails, so that none is left with an exception nobody took.
        results = await asyncio.gather(*futures, return_exceptions=True)
        if failed := [result for result in results if isinstance(result, BaseException)]:
            raise failed[0]
        return [result for result in results if not isinstance(result, BaseException)]

    async def _open(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap,
                enable_idempotence=True,
                acks="all",
                max_batch_size=512 * 1024,
                max_request_size=MAX_RECORD_BYTES,
                request_timeout_ms=15_000,
                retry_backoff_ms=50,
                metadata_max_age_ms=60_000,
            )
            try:
                await producer.start()
            except (KafkaError, OSError) as error:
                with contextlib.suppress(Exception):
                    await producer.stop()
                raise RetryableError("store_unavailable", f"Kafka at {self._bootstrap}: {error!r}") from error
            self._producer = producer
        return self._producer

    async def _replace(self, producer: Any, why: BaseException) -> None:
        """Gives the producer up. Whatever it has not acknowledged by then is unknown, and said to be so."""
        if producer is None or producer is not self._producer:
            return
        log.warning("replacing the producer after %r", why)
        self._producer = None
        gone: AIOKafkaProducer = producer
        unknown, self._unacknowledged = self._unacknowledged, set()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(gone.stop(), 5)
        for future in unknown:
            _fail(future, RetryableError("store_unavailable", "the producer was replaced"))

    async def _run(self) -> None:
        while True:
            while not self._queue:
                self._wake.clear()
                await self._wake.wait()
            record, future = self._queue.popleft()
            if not future.done():
                await self._hand_over(record, future)

    async def _hand_over(self, record: Outgoing, future: asyncio.Future[tuple[int, int]]) -> None:
        producer = self._producer
        try:
            producer = producer or await self._open()
            sent = await producer.send(record.topic, value=record.value, key=record.key, headers=list(record.headers.items()))
        except MessageSizeTooLargeError as error:
            _fail(future, TerminalError("too_large", f"a record of {record.topic}: {error}"))
        except RetryableError as error:
            _fail(future, error)
        except (KafkaError, OSError, TimeoutError, ValueError) as error:
            _fail(future, RetryableError("store_unavailable", f"sending to {record.topic}: {error!r}"))
            await self._replace(producer, error)
        else:
            self._unacknowledged.add(future)
            sent.add_done_callback(lambda done: self._acknowledged(done, future, producer))

    def _acknowledged(self, done: asyncio.Future[Any], future: asyncio.Future[tuple[int, int]], producer: AIOKafkaProducer) -> None:
        self._unacknowledged.discard(future)
        if done.cancelled():
            _fail(future, RetryableError("store_unavailable", "the producer was replaced"))
        elif (error := done.exception()) is None:
            if not future.done():
                future.set_result((done.result().partition, done.result().offset))
        elif isinstance(error, MessageSizeTooLargeError):
            _fail(future, TerminalError("too_large", str(error)))
        else:
            _fail(future, RetryableError("store_unavailable", f"no acknowledgement: {error!r}"))
            if producer is self._producer:
                closing = asyncio.ensure_future(self._replace(producer, error))
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _raw(record: Any) -> Raw:
    return Raw(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        key=record.key,
        value=record.value,
        headers=dict(record.headers) if record.headers else {},
    )


def _flat(batches: Mapping[TopicPartition, Sequence[Any]]) -> list[Raw]:
    return [_raw(record) for records in batches.values() for record in records]


class KafkaReader:
    """Reads partitions of its own choice, in no group. Times out, never hangs; a broken connection is a RetryableError."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._consumer: AIOKafkaConsumer | None = None

    @property
    def _open(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise RetryableError("store_unavailable", "the reader is not started")
        return self._consumer

    async def start(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            metadata_max_age_ms=60_000,
        )
        async with _unavailable(self._bootstrap):
            try:
                await consumer.start()
            except BaseException:
                with contextlib.suppress(Exception):
                    await consumer.stop()
                raise
        self._consumer = consumer

    async def stop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(consumer.stop(), 5)

    async def partitions(self, topic: str) -> Sequence[Partition]:
        async with _unavailable(self._bootstrap):
            # A consumer without subscription knows only the topics it asked for, and has no public way to ask.
            numbers = await self._open._client._wait_on_metadata(topic)
        return [Partition(topic, number) for number in sorted(numbers)]

    async def ends(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        return await _ends(self._open, partitions, self._bootstrap)

    async def offsets_at(self, partitions: Sequence[Partition], timestamp_ms: int) -> Mapping[Partition, int]:
        ends = await self.ends(partitions)  # asked first: what arrives meanwhile is then found, not passed over
        async with _unavailable(self._bootstrap):
            found = await self._open.offsets_for_times({TopicPartition(*p): timestamp_ms for p in partitions})
        offsets = {p: found.get(TopicPartition(*p)) for p in partitions}
        return {p: ends[p] if at is None else at.offset for p, at in offsets.items()}

    async def seek(self, offsets: Mapping[Partition, int | None]) -> None:
        async with _unavailable(self._bootstrap):
            self._open.assign([TopicPartition(*p) for p in offsets])
            for partition, offset in offsets.items():
                if offset is not None:
                    self._open.seek(TopicPartition(*partition), offset)
            if unset := [TopicPartition(*p) for p, offset in offsets.items() if offset is None]:
                await self._open.seek_to_beginning(*unset)

    async def read(self, timeout_s: float) -> Sequence[Raw]:
        async with _unavailable(self._bootstrap):
            return _flat(await self._open.getmany(timeout_ms=int(timeout_s * 1000)))

    async def positions(self) -> Mapping[Partition, int]:
        async with _unavailable(self._bootstrap):
            assigned = self._open.assignment()
            return {Partition(tp.topic, tp.partition): await asyncio.wait_for(self._open.position(tp), 10) for tp in assigned}


class _Epoch(ConsumerRebalanceListener):  # type: ignore[misc]
    """Counts revocations; commits what is done while the partitions are still owned."""

    def __init__(self, reader: KafkaGroupReader) -> None:
        self._reader = reader

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        self._reader.epoch += 1
        if revoked and self._reader.before_revocation is not None:
            await self._reader.before_revocation()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        log.info("assigned %d partitions", len(assigned))


class KafkaGroupReader:
    """A static member of a consumer group. Its positions are those of aiokafka; records of an older epoch are dropped and,
    where the partition is still ours, read again from the committed offset (#738).
    """

    def __init__(self, bootstrap: str, group: str, instance: str, topics: Sequence[str]) -> None:
        self.epoch = 0
        self.before_revocation: Callable[[], Awaitable[None]] | None = None
        self._bootstrap = bootstrap
        self._topics = list(topics)
        self._arguments = {"group_id": group, "group_instance_id": f"{group}-{instance}"}
        self._consumer: AIOKafkaConsumer | None = None

    @property
    def _open(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise RetryableError("store_unavailable", "the reader is not started")
        return self._consumer

    async def start(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_interval_ms=86_400_000,
            session_timeout_ms=10_000,
            heartbeat_interval_ms=3_000,
            max_partition_fetch_bytes=1024 * 1024,
            metadata_max_age_ms=60_000,
            retry_backoff_ms=100,
            **self._arguments,
        )
        consumer.subscribe(self._topics, listener=_Epoch(self))
        async with _unavailable(self._bootstrap):
            try:
                await consumer.start()
            except BaseException:
                with contextlib.suppress(Exception):
                    await consumer.stop()
                raise
        self._consumer = consumer

    async def stop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(consumer.stop(), 5)

    async def read(self, timeout_s: float, most: int) -> Sequence[Raw]:
        epoch = self.epoch
        async with _unavailable(self._bootstrap):
            batches = await self._open.getmany(timeout_ms=int(timeout_s * 1000), max_records=most)
            if self.epoch == epoch:
                return _flat(batches)
            for partition in [tp for tp in batches if tp in self._open.assignment()]:
                committed = await self._open.committed(partition)
                if committed is None:
                    await self._open.seek_to_beginning(partition)
                else:
                    self._open.seek(partition, committed)
        return []

    def assignment(self) -> frozenset[Partition]:
        return frozenset(Partition(tp.topic, tp.partition) for tp in self._open.assignment())

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        async with _unavailable(self._bootstrap):
            await self._open.commit({TopicPartition(*p): offset for p, offset in offsets.items()})

    async def committed(self, partition: Partition) -> int | None:
        async with _unavailable(self._bootstrap):
            committed: int | None = await self._open.committed(TopicPartition(*partition))
        return committed

    async def ends(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        return await _ends(self._open, partitions, self._bootstrap)

    async def position(self, partition: Partition) -> int:
        async with _unavailable(self._bootstrap):
            position: int = await asyncio.wait_for(self._open.position(TopicPartition(*partition)), 10)
        return position

    def pause(self, partitions: Sequence[Partition]) -> None:
        self._open.pause(*[TopicPartition(*p) for p in partitions])

    def resume(self, partitions: Sequence[Partition]) -> None:
        self._open.resume(*[TopicPartition(*p) for p in partitions])


async def _ends(consumer: AIOKafkaConsumer, partitions: Sequence[Partition], bootstrap: str) -> Mapping[Partition, int]:
    if not partitions:
        return {}
    async with _unavailable(bootstrap):
        found = await consumer.end_offsets([TopicPartition(*p) for p in partitions])
    return {Partition(tp.topic, tp.partition): offset for tp, offset in found.items()}


@contextlib.asynccontextmanager
async def _unavailable(bootstrap: str) -> AsyncIterator[None]:
    """What aiokafka raises, as a RetryableError."""
    try:
        yield
    except (KafkaError, OSError, TimeoutError) as error:
        raise RetryableError("store_unavailable", f"Kafka at {bootstrap}: {error!r}") from error
