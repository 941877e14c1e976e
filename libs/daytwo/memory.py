"""A broker in memory, for unit tests and simulation: the promises of `broker.py`, no network, the clock passed in."""

from __future__ import annotations

import asyncio
import zlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence

from daytwo.broker import GroupReader, Outgoing, Partition, Raw, Reader, Sender
from daytwo.clock import Clock
from daytwo.errors import RetryableError, TerminalError
from daytwo.topics import TOPIC_NAMED


class MemoryBroker:
    """The log of every topic, and the groups that read it. `down` makes every call fail as an absent cluster does."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.down = False
        self.logs: dict[Partition, list[Raw]] = defaultdict(list)
        self.offsets: dict[tuple[str, Partition], int] = {}
        self._groups: dict[str, list[MemoryGroupReader]] = defaultdict(list)
        self._written = asyncio.Event()

    def sender(self) -> Sender:
        return MemorySender(self)

    def reader(self, *, patience_ms: int = 0) -> Reader:
        return MemoryReader(self)

    def group(self, group: str, instance: str, topics: Sequence[str], *, patience_ms: int = 0) -> GroupReader:
        return MemoryGroupReader(self, group, topics)

    def partitions(self, topic: str) -> list[Partition]:
        return [Partition(topic, number) for number in range(TOPIC_NAMED[topic].partitions)]

    def records(self, topic: str) -> list[Raw]:
        """All records of a topic, by partition and offset."""
        return [record for partition in self.partitions(topic) for record in self.logs[partition]]

    def partition_of(self, record: Outgoing) -> Partition:
        return Partition(record.topic, zlib.crc32(record.key or b"") % TOPIC_NAMED[record.topic].partitions)

    def append(self, record: Outgoing) -> tuple[int, int]:
        return self.append_at(record, self.clock.now_ms())

    def append_at(self, record: Outgoing, timestamp_ms: int) -> tuple[int, int]:
        """Partition and offset. The time is that of the writer's clock, epoch milliseconds."""
        if len(record.value or b"") > TOPIC_NAMED[record.topic].max_bytes:
            raise TerminalError("too_large", f"a record of {record.topic}")
        partition = self.partition_of(record)
        log = self.logs[partition]
        log.append(
            Raw(
                topic=record.topic,
                partition=partition.number,
                offset=len(log),
                timestamp_ms=timestamp_ms,
                key=record.key,
                value=record.value,
                headers=record.headers,
            )
        )
        self._written.set()
        self._written = asyncio.Event()
        return partition.number, len(log) - 1

    async def wait_for_records(self, timeout_s: float) -> None:
        written = self._written
        waiting = asyncio.ensure_future(written.wait())
        sleeping = asyncio.ensure_future(self.clock.sleep(timeout_s))
        await asyncio.wait((waiting, sleeping), return_when=asyncio.FIRST_COMPLETED)
        for task in (waiting, sleeping):
            task.cancel()

    def check(self) -> None:
        if self.down:
            raise RetryableError("store_unavailable", "the memory broker is down")

    async def rebalance(self, group: str) -> None:
        """Revokes all partitions of a group and deals them out again, as an eager assignor does."""
        members = self._groups[group]
        for member in members:
            member.epoch += 1
            if member.before_revocation is not None:
                await member.before_revocation()
        for member in members:
            dealt = [p for topic in member.topics for p in self._share(topic, member, members)]
            member.assign({p: self.offsets.get((group, p), 0) for p in dealt})

    def _share(self, topic: str, member: MemoryGroupReader, members: Sequence[MemoryGroupReader]) -> list[Partition]:
        reading = [each for each in members if topic in each.topics]
        return [p for p in self.partitions(topic) if reading[p.number % len(reading)] is member]

    async def join(self, member: MemoryGroupReader) -> None:
        self._groups[member.name].append(member)
        await self.rebalance(member.name)

    async def leave(self, member: MemoryGroupReader) -> None:
        if member in self._groups[member.name]:
            self._groups[member.name].remove(member)
            await self.rebalance(member.name)


class MemorySender:
    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def start(self) -> None:
        self._broker.check()

    async def stop(self) -> None:
        return None

    async def send(self, records: Sequence[Outgoing]) -> Sequence[tuple[int, int]]:
        self._broker.check()
        sent = [self._broker.append(record) for record in records]
        await asyncio.sleep(0)
        return sent


class _Positions:
    """What both kinds of reader share: positions in the log, and reading from them."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._at: dict[Partition, int] = {}
        self._paused: set[Partition] = set()

    async def start(self) -> None:
        self._broker.check()

    async def _wait_and_take(self, timeout_s: float, most: int) -> list[Raw]:
        self._broker.check()
        if not (found := self._take(most)):
            await self._broker.wait_for_records(timeout_s)
            self._broker.check()
            found = self._take(most)
        return found

    def _take(self, most: int) -> list[Raw]:
        found: list[Raw] = []
        for partition, at in self._at.items():
            if partition not in self._paused:
                records = self._broker.logs[partition][at : at + most - len(found)]
                self._at[partition] = at + len(records)
                found.extend(records)
        return found

    async def ends(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        self._broker.check()
        return {partition: len(self._broker.logs[partition]) for partition in partitions}


class MemoryReader(_Positions):
    async def read(self, timeout_s: float) -> Sequence[Raw]:
        return await self._wait_and_take(timeout_s, 500)

    async def stop(self) -> None:
        self._at.clear()

    async def partitions(self, topic: str) -> Sequence[Partition]:
        return self._broker.partitions(topic)

    async def offsets_at(self, partitions: Sequence[Partition], timestamp_ms: int) -> Mapping[Partition, int]:
        return {p: sum(record.timestamp_ms < timestamp_ms for record in self._broker.logs[p]) for p in partitions}

    async def seek(self, offsets: Mapping[Partition, int | None]) -> None:
        self._at = {partition: offset or 0 for partition, offset in offsets.items()}

    async def positions(self) -> Mapping[Partition, int]:
        return dict(self._at)


class MemoryGroupReader(_Positions):
    def __init__(self, broker: MemoryBroker, group: str, topics: Sequence[str]) -> None:
        super().__init__(broker)
        self.epoch = 0
        self.before_revocation: Callable[[], Awaitable[None]] | None = None
        self._tenures: dict[Partition, int] = {}
        self.name = group
        self.topics = list(topics)

    async def start(self) -> None:
        await super().start()
        await self._broker.join(self)

    async def stop(self) -> None:
        await self._broker.leave(self)

    def assign(self, positions: Mapping[Partition, int]) -> None:
        self._at = dict(positions)
        self._tenures = {partition: self._tenures.get(partition, self.epoch) for partition in positions}
        self._paused.clear()

    async def read(self, timeout_s: float, most: int) -> Sequence[Raw]:
        epoch = self.epoch
        found = await self._wait_and_take(timeout_s, most)
        if self.epoch != epoch:
            self._at.update({p: self._broker.offsets.get((self.name, p), 0) for p in self._at})
            return []
        return found

    def assignment(self) -> frozenset[Partition]:
        return frozenset(self._at)

    def tenure(self, partition: Partition) -> int:
        return self._tenures.get(partition, 0)

    async def owns(self, partition: Partition, tenure: int) -> bool:
        return bool(tenure) and self.tenure(partition) == tenure

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        self._broker.check()
        if not offsets.keys() <= self._at.keys():
            raise RetryableError("store_unavailable", "not the owner any more")
        self._broker.offsets.update({(self.name, partition): offset for partition, offset in offsets.items()})

    async def committed(self, partition: Partition) -> int | None:
        return self._broker.offsets.get((self.name, partition))

    async def position(self, partition: Partition) -> int:
        return self._at[partition]

    def pause(self, partitions: Sequence[Partition]) -> None:
        self._paused.update(partitions)

    def resume(self, partitions: Sequence[Partition]) -> None:
        self._paused.difference_update(partitions)
