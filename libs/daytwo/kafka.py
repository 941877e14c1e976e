"""Apache Kafka behind the broker port, by aiokafka. What is set here, and why, is in docs/adr/0002-aiokafka.md."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import struct
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError
from aiokafka.producer.message_accumulator import BatchBuilder

from daytwo import kafka_records
from daytwo.broker import NO_HEADERS, GroupReader, Outgoing, Partition, Raw, Reader, Sender
from daytwo.errors import RetryableError, TerminalError
from daytwo.fate import NOT_FOR_HEADER
from daytwo.pace import Pace
from daytwo.processor_wait import ProcessorWait
from daytwo.topics import TOPIC_NAMED

log = logging.getLogger(__name__)
kafka_records.install()

MAX_RECORD_BYTES = 24 * 1024 * 1024
MOST_HEADERS = 1000
SESSION_MS = 8_000
"""A member that is silent for so long loses its partitions."""
ASKING_MS = 20
"""Patience of a reader that seeks, reads and asks in turns."""
REQUEST_TIMEOUT_MS = SESSION_MS + 2_000
"""An answer takes half a second, and in a rebalance as long as a member may be silent. What takes longer never comes."""
ASLEEP_S = 4.0
"""Below the session's time. A member that has not run for so long does not trust itself."""
FETCH_EVERY_S = 0.006
FETCHES_AT_ONCE = 4
"""The pace (pace.py) of fetches, each of which costs some half a millisecond, whatever it brings. Up to a hundred records a second come
one by one, at once; above, they come together."""
FETCH_SELDOM_S = 0.024
"""The pace while all that comes is for others."""
FREE_WAIT_S = 0.0002
FETCH_PER_WAIT = 100
FETCH_SLOWEST_S = 0.06
"""Where this process waits for a processor longer than `FREE_WAIT_S` at each turn, there is not enough of them, and every record waits
for that: a group's pace becomes so many times what is beyond it, up to the slowest. Then fetches take less of what is short, and records
wait less. docs/speed.md has the figures."""


class KafkaBroker:
    """Makes senders and readers for the cluster at `bootstrap` (host:port, comma-separated)."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    def sender(self) -> Sender:
        return KafkaSender(self.bootstrap)

    def reader(self, *, patience_ms: int = 0) -> Reader:
        """Whatever is asked of a broker waits behind its fetch, for as long as the broker may hold that back: half a second without
        patience. Who seeks and asks in turns takes `ASKING_MS`."""
        return KafkaReader(self.bootstrap, patience_ms=patience_ms)

    def group(self, group: str, instance: str, topics: Sequence[str], *, patience_ms: int = 0) -> GroupReader:
        return KafkaGroupReader(self.bootstrap, group, instance, topics, patience_ms=patience_ms)


@dataclass(slots=True)
class _Call:
    """One call of `send`: the places of its records as they are acknowledged, and how many are not yet."""

    places: list[tuple[int, int]]
    open: int
    ended: asyncio.Future[None]


class _Waiting(NamedTuple):
    """A record that waits for its batch, and which of its call's records it is."""

    record: Outgoing
    call: _Call
    number: int


class KafkaSender:
    """One idempotent producer. What is sent to a partition while a batch of it is on its way goes together in the next one: a
    coroutine, a future and a request for each record would cost more than the record (aiokafka #528).

    After any failed batch the sequence of a partition may have a hole, so the producer is replaced; the caller sends again.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._producer: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()
        self._numbers: dict[str, list[int]] = {}
        """The partitions of each topic, in order."""
        self._waiting: dict[TopicPartition, deque[_Waiting]] = {}
        """By partition with a pump at work."""
        self._pumps: set[asyncio.Task[None]] = set()
        self._unacknowledged: set[asyncio.Future[Any]] = set()

    async def start(self) -> None:
        # Connects with the first record: a service that starts before Kafka waits there, trying again.
        return None

    async def stop(self) -> None:
        if self._pumps:
            await asyncio.wait(self._pumps, timeout=5)
        producer, self._producer = self._producer, None
        await _stopped(producer)

    async def send(self, records: Sequence[Outgoing]) -> Sequence[tuple[int, int]]:
        for record in records:
            _check_size(record)
        for topic in {record.topic for record in records} - self._numbers.keys():
            await self._find(topic)
        call = _Call([(-1, -1)] * len(records), len(records), asyncio.get_running_loop().create_future())
        for number, record in enumerate(records):
            partition = TopicPartition(record.topic, _partition(record.key, self._numbers[record.topic]))
            self._put(partition, _Waiting(record, call, number))
        if records:
            await call.ended
        return call.places

    async def _find(self, topic: str) -> None:
        try:
            producer = self._producer or await self._open()
            self._numbers[topic] = sorted(await producer.partitions_for(topic))
        except (KafkaError, OSError, TimeoutError) as error:
            raise RetryableError("store_unavailable", f"looking for {topic}: {error!r}") from error

    def _put(self, partition: TopicPartition, waiting: _Waiting) -> None:
        if partition in self._waiting:
            self._waiting[partition].append(waiting)
            return
        self._waiting[partition] = deque([waiting])
        pump = asyncio.create_task(self._pump(partition))
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)

    async def _pump(self, partition: TopicPartition) -> None:
        """Sends one batch after another until nothing waits for this partition."""
        waiting = self._waiting[partition]
        try:
            while waiting:
                await self._send_batch(partition, waiting)
        finally:
            del self._waiting[partition]
            for each in waiting:
                _fail(each.call, RetryableError("store_unavailable", f"sending to {partition.topic}: the sender stopped"))

    async def _send_batch(self, partition: TopicPartition, waiting: deque[_Waiting]) -> None:
        producer: AIOKafkaProducer | None = None
        batch: list[_Waiting] = []
        try:
            producer = self._producer or await self._open()
            builder = producer.create_batch()
            while waiting and _appended(builder, waiting[0].record):
                batch.append(waiting.popleft())
            acknowledged = await producer.send_batch(builder, partition.topic, partition=partition.partition)
            self._unacknowledged.add(acknowledged)
            try:
                first = (await acknowledged).offset
            finally:
                self._unacknowledged.discard(acknowledged)
        except Exception as error:
            await self._replace(producer, error)
            failure = _unknown(partition, error)
            for each in batch or [waiting.popleft()]:
                _fail(each.call, failure)
        else:
            for offset, each in enumerate(batch, first):
                _acknowledge(each, partition.partition, offset)

    async def _open(self) -> AIOKafkaProducer:
        async with self._opening:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    enable_idempotence=True,
                    acks="all",
                    max_batch_size=512 * 1024,
                    max_request_size=MAX_RECORD_BYTES,
                    request_timeout_ms=REQUEST_TIMEOUT_MS,
                    retry_backoff_ms=50,
                    metadata_max_age_ms=60_000,
                )
                try:
                    await producer.start()
                except BaseException:
                    await _stopped(producer)
                    raise
                self._producer = producer
            return self._producer

    async def _replace(self, producer: AIOKafkaProducer | None, why: BaseException) -> None:
        """Gives the producer up. Whatever it has not acknowledged by then is unknown, and said to be so."""
        if producer is None or producer is not self._producer:
            return
        log.warning("replacing the producer after %r", why)
        self._producer = None
        unknown, self._unacknowledged = self._unacknowledged, set()
        await _stopped(producer)
        for acknowledged in unknown:
            if not acknowledged.done():
                acknowledged.set_exception(KafkaTimeoutError("the producer was replaced"))


def _check_size(record: Outgoing) -> None:
    """The broker refuses a whole batch for one record that is too large, so such a record must not get into one."""
    topic = TOPIC_NAMED.get(record.topic)
    most = MAX_RECORD_BYTES if topic is None else topic.max_bytes
    if len(record.value or b"") > most:
        raise TerminalError("too_large", f"a record of {record.topic}: {len(record.value or b'')} bytes, at most {most}")


@lru_cache(maxsize=65_536)
def _hash(key: bytes) -> int:
    """Murmur2 as Kafka's clients compute it, without the sign. Several records of one key follow each other.

    Source: org.apache.kafka.common.utils.Utils.murmur2. aiokafka's, which tests hold this against, goes byte by byte.
    """
    words, rest = divmod(len(key), 4)
    hashed = 0x9747B28C ^ len(key)
    for word in _words(words).unpack_from(key):
        mixed = word * _M & _MASK
        hashed = hashed * _M & _MASK ^ (mixed ^ mixed >> 24) * _M & _MASK
    if rest:
        hashed = (hashed ^ int.from_bytes(key[-rest:], "little")) * _M & _MASK
    hashed = (hashed ^ hashed >> 13) * _M & _MASK
    return (hashed ^ hashed >> 15) & 0x7FFF_FFFF


@cache
def _words(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}I")


_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFF_FFFF


def _partition(key: bytes | None, numbers: Sequence[int]) -> int:
    """Where every Kafka client puts a key."""
    return random.choice(numbers) if key is None else numbers[_hash(key) % len(numbers)]


def _appended(builder: BatchBuilder, record: Outgoing) -> bool:
    headers = list(record.headers.items())
    return builder.append(timestamp=None, key=record.key, value=record.value, headers=headers) is not None


def _acknowledge(each: _Waiting, partition: int, offset: int) -> None:
    call = each.call
    call.places[each.number] = (partition, offset)
    call.open -= 1
    if not call.open and not call.ended.done():
        call.ended.set_result(None)


def _unknown(partition: TopicPartition, error: Exception) -> Exception:
    """What the callers are told; a bug stays one, and nobody is left waiting for it."""
    if not isinstance(error, (KafkaError, OSError, TimeoutError, ValueError)):
        return error
    unknown = RetryableError("store_unavailable", f"sending to {partition.topic}: {error!r}")
    unknown.__cause__ = error
    return unknown


def _fail(call: _Call, error: Exception) -> None:
    """The others of the call may be sent all the same; whether they were is unknown to who called."""
    if not call.ended.done():
        call.ended.set_exception(error)


async def _stopped(client: AIOKafkaConsumer | AIOKafkaProducer | None) -> None:
    """Returns within five seconds and raises nothing of the client's. Its fetcher lets out the CancelledError of a fetch that failed
    just before: awaited directly, it would look as if whoever stops the client had been cancelled.
    """
    if client is None:
        return
    stopping = asyncio.ensure_future(client.stop())
    stopping.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        await asyncio.wait((stopping,), timeout=5)
    finally:
        stopping.cancel()


def _fetching(patience_ms: int) -> dict[str, Any]:
    """A fetch costs aiokafka half a millisecond whatever it brings: where there is time, the broker collects."""
    return {"fetch_max_wait_ms": patience_ms, "fetch_min_bytes": 512 * 1024} if patience_ms else {}


_processor_wait: Final = ProcessorWait()


def _slowed(every_s: float, waits_s: float) -> float:
    """A pace where each turn of this process waits so long for a processor."""
    return max(every_s, min(FETCH_SLOWEST_S, FETCH_PER_WAIT * (waits_s - FREE_WAIT_S)))


def _paced(consumer: AIOKafkaConsumer, *, burst: int, every_s: Callable[[], float]) -> None:
    """Lets a started consumer fetch from each broker no more often than that. aiokafka asks again the moment that it has handed records
    over, and has no setting for it; a longer wait at the broker would hold back a single record too.
    """
    fetcher = consumer._fetcher
    fetch = fetcher._proc_fetch_request
    paces: dict[int, Pace] = defaultdict(lambda: Pace(burst))

    async def paced(assignment: Any, node_id: int, request: Any) -> bool:
        wait_s = paces[node_id].wait_s(time.monotonic(), every_s())
        try:
            if wait_s:
                await asyncio.sleep(wait_s)
        except asyncio.CancelledError:  # the fetcher awaits what it has cancelled
            return False
        return bool(await fetch(assignment, node_id, request))

    fetcher._proc_fetch_request = paced


def _raw(record: Any) -> Raw:
    headers = _headers(record.headers) if record.headers else NO_HEADERS
    return Raw(record.topic, record.partition, record.offset, record.timestamp, record.key, record.value, headers)


def _headers(given: Sequence[tuple[str, bytes | None]]) -> dict[str, bytes]:
    """A producer may leave a header's value out; to us it is empty. Millions of them are named, and not kept in memory."""
    if len(given) > MOST_HEADERS:
        return {kafka_records.NOT_READ_HEADER: f"{len(given)} headers; at most {MOST_HEADERS}".encode()}
    return {name: value or b"" for name, value in given}


def _flat(batches: Mapping[TopicPartition, Sequence[Any]]) -> list[Raw]:
    return [_raw(record) for records in batches.values() for record in records]


class _Consumer:
    """An aiokafka consumer that can be started, stopped and started again."""

    def __init__(self, bootstrap: str, **settings: Any) -> None:
        self._bootstrap = bootstrap
        self._settings = settings
        self._consumer: AIOKafkaConsumer | None = None

    @property
    def _open(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise RetryableError("store_unavailable", "the reader is not started")
        return self._consumer

    def _subscribe(self, consumer: AIOKafkaConsumer) -> None:
        """What is to be read, where a group deals it out."""

    def _fetch_every_s(self) -> float:
        return FETCH_EVERY_S

    async def start(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            metadata_max_age_ms=60_000,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            **self._settings,
        )
        self._subscribe(consumer)
        async with _unavailable(self._bootstrap):
            try:
                await consumer.start()
            except BaseException:
                await _stopped(consumer)
                raise
        _paced(consumer, burst=FETCHES_AT_ONCE, every_s=self._fetch_every_s)
        self._consumer = consumer

    async def stop(self) -> None:
        consumer, self._consumer = self._consumer, None
        await _stopped(consumer)

    async def ends(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        if not partitions:
            return {}
        async with _unavailable(self._bootstrap):
            found = await self._open.end_offsets([TopicPartition(*p) for p in partitions])
        return {Partition(tp.topic, tp.partition): offset for tp, offset in found.items()}


class KafkaReader(_Consumer):
    """Reads partitions of its own choice, in no group. Times out, never hangs; a broken connection is a RetryableError."""

    def __init__(self, bootstrap: str, *, patience_ms: int = 0) -> None:
        super().__init__(bootstrap, **_fetching(patience_ms))

    async def partitions(self, topic: str) -> Sequence[Partition]:
        async with _unavailable(self._bootstrap):
            # A consumer without subscription knows only the topics it asked for, and has no public way to ask.
            numbers = await self._open._client._wait_on_metadata(topic)
        return [Partition(topic, number) for number in sorted(numbers)]

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

    def __init__(self, reader: KafkaGroupReader, consumer: AIOKafkaConsumer) -> None:
        self._reader = reader
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        self._reader.epoch += 1
        self._reader.dealt.clear()
        if revoked and self._reader.before_revocation is not None:
            await self._reader.before_revocation()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        log.info("assigned %d partitions", len(assigned))
        self._reader.take([Partition(tp.topic, tp.partition) for tp in assigned], self._consumer._coordinator.member_id)


class KafkaGroupReader(_Consumer):
    """A static member of a consumer group. Its positions are those of aiokafka; records of an older epoch are dropped and,
    where the partition is still ours, read again from the committed offset (#738).
    """

    def __init__(self, bootstrap: str, group: str, instance: str, topics: Sequence[str], *, patience_ms: int = 0) -> None:
        super().__init__(
            bootstrap,
            group_id=group,
            group_instance_id=f"{group}-{instance}",
            # No member is thrown out for thinking long; one that died is missed within the session's time.
            max_poll_interval_ms=86_400_000,
            session_timeout_ms=SESSION_MS,
            # A rebalance stands still until every member has heard of it.
            heartbeat_interval_ms=1_000,
            retry_backoff_ms=100,
            **_fetching(patience_ms),
        )
        self._group = group.encode()
        self._for_others = False
        """Whether all that came last was."""
        self.epoch = 0
        self.before_revocation: Callable[[], Awaitable[None]] | None = None
        self.dealt = asyncio.Event()
        """Cleared from a revocation to the next assignment."""
        self._awake = time.monotonic()
        """When this member last ran and knew that it is one."""
        self._member_id = ""
        self._tenures: dict[Partition, int] = {}
        self._held: tuple[int, Mapping[TopicPartition, Sequence[Any]]] | None = None
        self._topics = list(topics)

    async def stop(self) -> None:
        """Leaves the group, so that others take over at once. aiokafka leaves without a word where membership is static."""
        if self._consumer is not None:
            self._consumer._coordinator._group_instance_id = None
        await super().stop()

    def _subscribe(self, consumer: AIOKafkaConsumer) -> None:
        consumer.subscribe(self._topics, listener=_Epoch(self, consumer))

    async def read(self, timeout_s: float, most: int) -> Sequence[Raw]:
        async with _unavailable(self._bootstrap):
            epoch, batches = self._held or (self.epoch, await self._open.getmany(timeout_ms=int(timeout_s * 1000), max_records=most))
            self._held = epoch, batches  # until it is known that they may be handled here: they will not be read twice
            if self.epoch == epoch and not await self._is_member():
                await asyncio.sleep(0.1)
                return []
            self._held = None
            if self.epoch == epoch:
                return self._noted(_flat(batches))
            for partition in [tp for tp in batches if tp in self._open.assignment()]:
                committed = await self._open.committed(partition)
                if committed is None:
                    await self._open.seek_to_beginning(partition)
                else:
                    self._open.seek(partition, committed)
        return []

    def _noted(self, records: list[Raw]) -> list[Raw]:
        """Who only passes over records need not be quick about it."""
        if records:
            self._for_others = all(record.headers.get(NOT_FOR_HEADER) == self._group for record in records)
        return records

    def _fetch_every_s(self) -> float:
        waits_s = _processor_wait.of_late_s(time.monotonic())
        return _slowed(FETCH_SELDOM_S if self._for_others else FETCH_EVERY_S, waits_s)

    async def _is_member(self) -> bool:
        """A process that was stopped for a while may have lost its partitions without knowing: then the coordinator is asked."""
        if time.monotonic() - self._awake > ASLEEP_S and not await self._open._coordinator._do_heartbeat():
            return False
        self._awake = time.monotonic()
        return True

    def assignment(self) -> frozenset[Partition]:
        return frozenset(Partition(tp.topic, tp.partition) for tp in self._open.assignment())

    def take(self, assigned: Iterable[Partition], member_id: str) -> None:
        """New partitions. Whoever comes back under another member id was thrown out meanwhile, and others had what he had."""
        kept = self._tenures if member_id == self._member_id else {}
        self._member_id = member_id
        self._tenures = {partition: kept.get(partition, self.epoch) for partition in assigned}
        self._awake = time.monotonic()
        self.dealt.set()

    def tenure(self, partition: Partition) -> int:
        return self._tenures.get(partition, 0) if self.dealt.is_set() else 0

    async def owns(self, partition: Partition, tenure: int) -> bool:
        if self.dealt.is_set() and (now := time.monotonic()) - self._awake <= ASLEEP_S:
            self._awake = now
            return bool(tenure) and self._tenures.get(partition, 0) == tenure
        async with _unavailable(self._bootstrap):
            epoch = self.epoch
            await self.dealt.wait()
            while not await self._is_member() and self.epoch == epoch:
                await asyncio.sleep(0.1)
            await self.dealt.wait()
        return bool(tenure) and self._tenures.get(partition, 0) == tenure

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        async with _unavailable(self._bootstrap):
            await self._open.commit({TopicPartition(*p): offset for p, offset in offsets.items()})

    async def committed(self, partition: Partition) -> int | None:
        async with _unavailable(self._bootstrap):
            committed: int | None = await self._open.committed(TopicPartition(*partition))
        return committed

    async def position(self, partition: Partition) -> int:
        async with _unavailable(self._bootstrap):
            position: int = await asyncio.wait_for(self._open.position(TopicPartition(*partition)), 10)
        return position

    def pause(self, partitions: Sequence[Partition]) -> None:
        self._open.pause(*[TopicPartition(*p) for p in partitions])

    def resume(self, partitions: Sequence[Partition]) -> None:
        self._open.resume(*[TopicPartition(*p) for p in partitions])


@contextlib.asynccontextmanager
async def _unavailable(bootstrap: str) -> AsyncIterator[None]:
    """What aiokafka raises, as a RetryableError."""
    try:
        yield
    except (KafkaError, OSError, TimeoutError) as error:
        raise RetryableError("store_unavailable", f"Kafka at {bootstrap}: {error!r}") from error
