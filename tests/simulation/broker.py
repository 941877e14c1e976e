"""Kafka as a twin: the log of `daytwo.memory`, reached over a network that delays and loses, with groups as Kafka keeps them.

A member that dies is missed after the session's time-out, unless one of the same name joins before; one that stops leaves. While a
group rebalances nothing is read, and what a member that is out commits is refused. What a process had sent lands even if the
process is dead.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Final, TypeVar

from daytwo.broker import GroupReader, Outgoing, Partition, Raw, Reader, Sender
from daytwo.clock import Clock
from daytwo.errors import RetryableError, TerminalError
from daytwo.memory import MemoryBroker
from daytwo.topics import TOPIC_NAMED
from tests.simulation.loop import Process
from tests.simulation.network import Network, fail, give, process_now

T = TypeVar("T")

SESSION_S: Final = 8.0
HEARTBEAT_S: Final = 0.3
REQUEST_S: Final = 15.0
ASLEEP_S: Final = 4.0
STRAGGLES_S: Final = 7.0
"""So late lands what is sent to a broker that is slow, whatever became of who sent it."""


class SimulatedBroker(MemoryBroker):
    """A Broker for whichever process asks for a sender or a reader."""

    def __init__(self, clock: Clock, network: Network) -> None:
        super().__init__(clock)
        self.network = network
        self.groups: dict[str, Group] = {}
        self._awaited: dict[str, list[asyncio.Future[None]]] = defaultdict(list)
        self._members: list[SimulatedGroupReader] = []
        self.on_write: Callable[[Raw], None] = lambda raw: None
        self.on_read: Callable[[str, Sequence[Raw]], None] = lambda group, raws: None
        self.on_commit: Callable[[str, Partition, int, int], None] = lambda group, partition, before, offset: None

    def sender(self) -> Sender:
        return SimulatedSender(self)

    def reader(self, *, patience_ms: int = 0) -> Reader:
        return SimulatedReader(self)

    def group(self, group: str, instance: str, topics: Sequence[str], *, patience_ms: int = 0) -> GroupReader:
        found = self.groups.setdefault(group, Group(self, group))
        found.topics.update(dict.fromkeys(topics))
        member = SimulatedGroupReader(self, found, f"{group}-{instance}", topics)
        self._members.append(member)
        return member

    def members_of(self, process: Process) -> list[SimulatedGroupReader]:
        return [member for member in self._members if member.process is process]

    def write(self, record: Outgoing, timestamp_ms: int) -> tuple[int, int]:
        """Appends; the time is that of the writer's own clock."""
        place = self.append_at(record, timestamp_ms)
        self.on_write(self.logs[Partition(record.topic, place[0])][-1])
        for waiting in self._awaited.pop(record.topic, ()):
            give(waiting, None)
        network = self.network
        if network.story.wanted:
            network.story.tell(_described(record, *place))
        return place

    async def wait(self, topics: Sequence[str], timeout_s: float) -> None:
        """Until something is written to one of the topics."""
        loop = self.network.loop
        written: asyncio.Future[None] = loop.create_future()
        for topic in topics:
            self._awaited[topic].append(written)
        timer = loop.call_later(timeout_s, give, written, None)
        try:
            await written
        finally:
            timer.cancel()

    def clock_of(self, process: Process | None) -> Clock:
        return self.clock if process is None else process.clock


def _described(record: Outgoing, partition: int, offset: int) -> str:
    who = (record.headers.get("request-id") or record.headers.get("document-id") or record.key or b"").decode(errors="replace")
    return f"{record.topic} {partition}/{offset}: {who[:24]}"


@dataclass(eq=False)
class _Batch:
    """The records of one call of `send`. `doomed`: its producer was replaced; what has not landed may land or not."""

    answer: asyncio.Future[Sequence[tuple[int, int]]]
    open: int
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    doomed: bool = False


class SimulatedSender:
    """One producer: the records of a partition land in the order they were sent. After a failure it is replaced, and whatever it
    had not acknowledged is unknown."""

    def __init__(self, broker: SimulatedBroker) -> None:
        self._broker = broker
        self._network = broker.network
        self._process = process_now()
        self._landed: dict[Partition, float] = {}
        self._open: dict[_Batch, None] = {}

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        return None

    async def send(self, records: Sequence[Outgoing]) -> Sequence[tuple[int, int]]:
        if not records:
            return []
        for record in records:
            if len(record.value or b"") > TOPIC_NAMED[record.topic].max_bytes:
                raise TerminalError("too_large", f"a record of {record.topic}")
        parts: dict[Partition, list[tuple[int, Outgoing]]] = defaultdict(list)
        for index, record in enumerate(records):
            parts[self._broker.partition_of(record)].append((index, record))
        batch = _Batch(self._network.loop.create_future(), len(parts))
        self._open[batch] = None
        for partition, part in parts.items():
            self._post(batch, partition, part)
        return await batch.answer

    def _post(self, batch: _Batch, partition: Partition, part: Sequence[tuple[int, Outgoing]]) -> None:
        network = self._network
        fate = "lost" if self._broker.down else network.fate(f"send {partition.topic}")
        now = network.loop.time()
        if fate != "lost":
            late = network.rng.random() * STRAGGLES_S if fate == "slow" else 0.0
            land_at = self._landed[partition] = max(self._landed.get(partition, 0.0), now + network.delay() + late)
            network.later(land_at - now, self._land, batch, part, fate == "unheard")
        if fate in ("lost", "unheard"):
            network.later(0.05 + network.rng.random() * 2.0, self._replace)

    def _land(self, batch: _Batch, part: Sequence[tuple[int, Outgoing]], unheard: bool) -> None:
        if self._broker.down or (batch.doomed and self._network.rng.random() < 0.5):
            self._network.later(0.2, self._replace)
            return
        clock = self._broker.clock_of(self._process)
        for index, record in part:
            batch.places[index] = self._broker.write(record, clock.now_ms())
        batch.open -= 1
        if not batch.open and not unheard:
            self._network.later(self._network.delay(), self._acknowledge, batch)

    def _acknowledge(self, batch: _Batch) -> None:
        self._open.pop(batch, None)
        give(batch.answer, [batch.places[index] for index in sorted(batch.places)])

    def _replace(self) -> None:
        unknown, self._open = self._open, {}
        for batch in unknown:
            batch.doomed = True
            fail(batch.answer, "send")


class _Positions:
    def __init__(self, broker: SimulatedBroker) -> None:
        self._broker = broker
        self._network = broker.network
        self._at: dict[Partition, int] = {}
        self._paused: set[Partition] = set()

    async def start(self) -> None:
        await self._call("connect", lambda: None)

    async def _call(self, name: str, effect: Callable[[], T]) -> T:
        return await self._network.call(name, lambda: self._up(effect))

    def _up(self, effect: Callable[[], T]) -> T:
        self._broker.check()
        return effect()

    async def ends(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        return await self._call("ends", lambda: {partition: len(self._broker.logs[partition]) for partition in partitions})

    def _there(self) -> bool:
        logs, paused = self._broker.logs, self._paused
        return any(len(logs[partition]) > at and partition not in paused for partition, at in self._at.items())

    def _take(self, most: int) -> list[Raw]:
        """In log order within a partition; between partitions in any."""
        order = [partition for partition in self._at if partition not in self._paused]
        if not self._network.calm:
            self._network.rng.shuffle(order)
            most = self._network.rng.randint(1, most)
        found: list[Raw] = []
        for partition in order:
            at = self._at[partition]
            records = self._broker.logs[partition][at : at + most - len(found)]
            if records:
                self._at[partition] = at + len(records)
                found.extend(records)
        return found


class SimulatedReader(_Positions):
    async def stop(self) -> None:
        self._at.clear()

    async def partitions(self, topic: str) -> Sequence[Partition]:
        return await self._call("metadata", lambda: self._broker.partitions(topic))

    async def offsets_at(self, partitions: Sequence[Partition], timestamp_ms: int) -> Mapping[Partition, int]:
        return await self._call("offsets", lambda: {partition: self._offset_at(partition, timestamp_ms) for partition in partitions})

    def _offset_at(self, partition: Partition, timestamp_ms: int) -> int:
        # As Kafka's time index: the first record that is not older, whatever lies behind it.
        log = self._broker.logs[partition]
        return next((record.offset for record in log if record.timestamp_ms >= timestamp_ms), len(log))

    async def seek(self, offsets: Mapping[Partition, int | None]) -> None:
        self._at = {partition: offset or 0 for partition, offset in offsets.items()}

    async def read(self, timeout_s: float) -> Sequence[Raw]:
        if not self._there():
            await self._broker.wait(_topics(self._at), timeout_s)
        return await self._call("read", lambda: self._take(500)) if self._there() else []

    async def positions(self) -> Mapping[Partition, int]:
        return dict(self._at)


def _topics(partitions: Mapping[Partition, int]) -> list[str]:
    return list(dict.fromkeys(partition.topic for partition in partitions))


class SimulatedGroupReader(_Positions):
    def __init__(self, broker: SimulatedBroker, group: Group, instance: str, topics: Sequence[str]) -> None:
        super().__init__(broker)
        self.epoch = 0
        self.before_revocation: Callable[[], Awaitable[None]] | None = None
        self.instance = instance
        self.topics = list(topics)
        self.process = process_now()
        self.context: Context = self.process.context if self.process is not None else copy_context()
        self.generation = -1
        self._commits = self._committed = 0
        self.fenced = False
        self.stopped = False
        self.member_of = group
        self._assigned = asyncio.Event()
        self._tenures: dict[Partition, int] = {}
        self._awake = 0.0
        """When this member last ran and knew that it is one."""
        self._rejoining: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await super().start()
        await self._call("join", lambda: self.member_of.join(self))

    async def stop(self) -> None:
        self.stopped = True
        try:
            await self._call("leave", lambda: self.member_of.missed(self))
        except RetryableError:
            self.member_of.missed_later(self)

    def gone(self) -> bool:
        """Whether it sends no heartbeats."""
        return self.stopped or (self.process is not None and (self.process.dead or self.process.paused))

    def assign(self, generation: int, partitions: Sequence[Partition]) -> None:
        """Reading begins at what is committed at this moment."""
        if generation < self.generation or self.fenced:
            return
        self.generation = generation
        self._at = {partition: self._broker.offsets.get((self.member_of.name, partition), 0) for partition in partitions}
        self._paused.clear()
        self._tenures = {partition: self.member_of.tenures[partition] for partition in partitions}
        self._awake = self._network.loop.time()
        self._assigned.set()

    def revoke(self) -> None:
        """A heartbeat said that the group rebalances, or that it is out of it. Runs in the member's own process."""
        if self.stopped or self.fenced or not self.member_of.misses(self):
            return
        if self._rejoining is None:
            self._rejoining = self._network.loop.create_task(self._rejoin())
        else:
            self._network.loop.call_later(HEARTBEAT_S, self.revoke)

    async def _rejoin(self) -> None:
        self._assigned.clear()
        self.epoch += 1
        if self._at and self.before_revocation is not None:
            await self.before_revocation()
        while not self.stopped:
            try:
                await self._call("join", lambda: self.member_of.join(self))
                break
            except RetryableError:
                await asyncio.sleep(0.1)
        self._rejoining = None

    async def read(self, timeout_s: float, most: int) -> Sequence[Raw]:
        epoch = self.epoch
        if self.fenced:
            raise RetryableError("store_unavailable", "another member has this name")
        if not self._assigned.is_set():
            await asyncio.sleep(min(timeout_s, 0.05))
            return []
        if not self._there():
            await self._broker.wait(self.topics, timeout_s)
        if not self._there():
            return []
        found = await self._call("read", lambda: self._take(most))
        if self.epoch != epoch:
            self._at.update({p: self._broker.offsets.get((self.member_of.name, p), 0) for p in self._at})
            return []
        self._broker.on_read(self.member_of.name, found)
        return found

    def tenure(self, partition: Partition) -> int:
        return self._tenures.get(partition, 0) if self._assigned.is_set() else 0

    async def owns(self, partition: Partition, tenure: int) -> bool:
        await self._assigned.wait()
        slept = self._network.loop.time() - self._awake > ASLEEP_S
        if slept and not await self._call("heartbeat", lambda: self.member_of.has(self)):
            return False
        self._awake = self._network.loop.time()
        await self._assigned.wait()
        return bool(tenure) and self._tenures.get(partition, 0) == tenure

    def positions(self) -> Mapping[Partition, int]:
        return self._at

    def assignment(self) -> frozenset[Partition]:
        return frozenset(self._at)

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        if not offsets.keys() <= self._at.keys():
            raise RetryableError("store_unavailable", "not assigned")
        generation = self.generation
        self._commits += 1
        number = self._commits
        await self._call("commit", lambda: self._commit(number, generation, offsets))

    def _commit(self, number: int, generation: int, offsets: Mapping[Partition, int]) -> None:
        # What one connection carries keeps its order: a commit that lands late does not undo a later one.
        if number > self._committed:
            self._committed = number
            self.member_of.commit(self, generation, offsets)

    async def committed(self, partition: Partition) -> int | None:
        return await self._call("committed", lambda: self._broker.offsets.get((self.member_of.name, partition)))

    async def position(self, partition: Partition) -> int:
        if partition not in self._at:
            raise RetryableError("store_unavailable", "not assigned")
        return self._at[partition]

    def pause(self, partitions: Sequence[Partition]) -> None:
        self._paused.update(partitions)

    def resume(self, partitions: Sequence[Partition]) -> None:
        self._paused.difference_update(partitions)


class Group:
    """A consumer group with static members and an eager assignor."""

    def __init__(self, broker: SimulatedBroker, name: str) -> None:
        self.name = name
        self.members: dict[str, SimulatedGroupReader] = {}
        self.topics: dict[str, None] = {}
        self.generation = 0
        self._broker = broker
        self._network = broker.network
        self._awaited: set[str] | None = None
        """Members that have not come back to the rebalance under way; None: there is none."""
        self._dealt: dict[str, list[Partition]] = {}
        self._owners: dict[Partition, SimulatedGroupReader] = {}
        self.tenures: dict[Partition, int] = defaultdict(int)
        """By partition how often it went to another member."""

    def has(self, member: SimulatedGroupReader) -> bool:
        return self.members.get(member.instance) is member

    def join(self, member: SimulatedGroupReader) -> None:
        before = self.members.get(member.instance)
        if member.stopped:
            return
        self.members[member.instance] = member
        if before is not None and before is not member:
            before.fenced = True
            if self._awaited is None:
                self._assign(member)
                return
        if self._awaited is None:
            self.rebalance(but=member)
        else:
            self._awaited.discard(member.instance)
        if not self._awaited:
            self._complete()

    def rebalance(self, *, but: SimulatedGroupReader | None = None) -> None:
        """Every member but the one that joins hears of it with its next heartbeat, and comes back within the session's time."""
        if self._awaited is not None:
            return
        others = [member for member in self.members.values() if member is not but]
        self._awaited = {member.instance for member in others}
        for member in others:
            self._tell(member)
        self._network.later(SESSION_S, self._late, self.generation)

    def missed_later(self, member: SimulatedGroupReader) -> None:
        """After the session's time-out a member that sends no heartbeats is out of the group."""
        self._network.later(SESSION_S, self.missed, member)

    def told_again(self, member: SimulatedGroupReader) -> None:
        """A member that was away sends a heartbeat again."""
        if self.misses(member):
            self._tell(member)

    def misses(self, member: SimulatedGroupReader) -> bool:
        """Whether the member has to join again."""
        return self.members.get(member.instance) is not member or (self._awaited is not None and member.instance in self._awaited)

    def commit(self, member: SimulatedGroupReader, generation: int, offsets: Mapping[Partition, int]) -> None:
        current = self.members.get(member.instance) is member
        rejoined = self._awaited is not None and member.instance not in self._awaited
        if not current or rejoined or not generation == member.generation == self.generation:
            raise RetryableError("store_unavailable", "not of this generation")
        for partition, offset in offsets.items():
            before = self._broker.offsets.get((self.name, partition), 0)
            self._broker.offsets[self.name, partition] = offset
            self._broker.on_commit(self.name, partition, before, offset)

    def unread(self) -> list[Partition]:
        """Partitions that a member has not read to their end."""
        logs = self._broker.logs
        return [p for member in self.members.values() if not member.gone() for p, at in member.positions().items() if at < len(logs[p])]

    def _tell(self, member: SimulatedGroupReader) -> None:
        wait = 0.001 if self._network.calm else self._network.rng.random() * HEARTBEAT_S
        self._network.loop.call_later(wait, member.revoke, context=member.context)

    def missed(self, member: SimulatedGroupReader) -> None:
        """It has left, or has been silent for too long."""
        if self.members.get(member.instance) is member and member.gone():
            del self.members[member.instance]
            if self._awaited is not None:
                self._awaited.discard(member.instance)
                if not self._awaited:
                    self._complete()
            elif self.members:
                self.rebalance()

    def _late(self, generation: int) -> None:
        if self._awaited and generation == self.generation:
            for instance in sorted(self._awaited):
                self._tell(self.members.pop(instance))
            self._complete()

    def _complete(self) -> None:
        self._awaited = None
        self._network.story.tell(f"group {self.name}: {', '.join(sorted(self.members))}", "kafka")
        self._deal()

    def _deal(self) -> None:
        self.generation += 1
        members = [self.members[instance] for instance in sorted(self.members)]
        self._dealt = {each.instance: [p for topic in each.topics for p in self._share(topic, each, members)] for each in members}
        for member in members:
            for partition in self._dealt[member.instance]:
                if self._owners.get(partition) is not member:
                    self._owners[partition] = member
                    self.tenures[partition] += 1
            self._assign(member)

    def _assign(self, member: SimulatedGroupReader) -> None:
        dealt = self._dealt.get(member.instance, [])
        self._network.loop.call_later(self._network.delay(), member.assign, self.generation, dealt, context=member.context)

    def _share(self, topic: str, member: SimulatedGroupReader, members: Sequence[SimulatedGroupReader]) -> list[Partition]:
        reading = [each for each in members if topic in each.topics]
        return [p for p in self._broker.partitions(topic) if reading[p.number % len(reading)] is member]
