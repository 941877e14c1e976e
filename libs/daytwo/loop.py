"""The loop every service runs on: reads as a group, runs handlers concurrently with records of one key in order, bounds what is
in flight, and moves the offset only past records whose every output is acknowledged. docs/guarantees.md says what follows from it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from daytwo.broker import Broker, Partition, Raw, Sender
from daytwo.errors import DisownedError, RetryableError
from daytwo.fate import NOT_FOR_HEADER
from daytwo.flow import Input, Service
from daytwo.follow import Following
from daytwo.metrics import Metrics
from daytwo.progress import Progress
from daytwo.suspects import RecordId, Suspects
from daytwo.work import Worker
from daytwo.world import World

log = logging.getLogger(__name__)

Key = tuple[str, bytes | None]


def loops_of(
    service: Service, broker: Broker, world: World, metrics: Metrics, *, sender: Sender, settings: LoopSettings | None = None
) -> list[Loop]:
    """The loops that run a service: one, and where some inputs have patience and others not, one more for the patient ones."""
    patient = [source for source in service.inputs if source.patience_ms]
    urgent = [source for source in service.inputs if not source.patience_ms]
    loop = kind_of(service)(service, broker, world, metrics, sender=sender, settings=settings, inputs=urgent or patient)
    if not urgent or not patient:
        return [loop]
    return [loop, Loop(service, broker, world, metrics, sender=sender, settings=settings, inputs=patient, leader=loop)]


def kind_of(service: Service) -> type[Loop]:
    return BulkLoop if all(source.handle_bulk is not None for source in service.inputs) else Loop


class StuckError(Exception):
    """A partition stands still while its end moves: the process must be started anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """Times in seconds. `marks` is the folder of the in-flight marks (suspects.py); None: none are kept."""

    commit_interval_s: float = 0.5
    watch_interval_s: float = 5.0
    stuck_after_s: float = 15.0
    drain_s: float = 10.0
    hand_over_s: float = 3.0
    metrics_interval_s: float = 10.0
    pause_after_s: float = 0.1
    """How long a topic's records in flight are at the bound before it is paused."""
    alone_s: float = 0.05
    """The moment in which a suspect starts alone, or with few others; it is shorter where all of them would take `all_alone_s`."""
    all_alone_s: float = 5.0
    marks: Path | None = None


@dataclass(slots=True)
class _Lane:
    """The records of one input that are in flight."""

    source: Input[Any]
    in_flight: int = 0
    bytes: int = 0
    full_since: float | None = None
    paused: bool = False
    waiting: deque[Raw] = field(default_factory=deque)
    """For `handle_batch`: what no batch has taken yet."""
    busy: set[Key] = field(default_factory=set)
    batches: int = 0

    def count(self, raw: Raw, number: int) -> None:
        self.in_flight += number
        self.bytes += number * len(raw.value or b"")


class Loop:
    """Runs one service. `run` returns after `stop`, or raises what made it impossible to go on."""

    def __init__(
        self,
        service: Service,
        broker: Broker,
        world: World,
        metrics: Metrics,
        *,
        sender: Sender,
        settings: LoopSettings | None = None,
        inputs: Sequence[Input[Any]] | None = None,
        leader: Loop | None = None,
    ) -> None:
        """`inputs`: those of the service that this loop reads, by default all. `leader`: the loop that starts and stops the service,
        where this one reads the rest of its inputs.
        """
        self.service = service
        self._name = service.name.encode()
        self.ended = asyncio.Event()
        self._inputs = service.inputs if inputs is None else inputs
        self._leader = leader
        self._companions: list[Loop] = []
        if leader is not None:
            leader._companions.append(self)
        self.state: Literal["starting", "ready", "draining", "stopped"] = "starting"
        self._world = world
        self._broker = broker
        self._clock = world.clock
        self._settings = settings or LoopSettings()
        self._metrics = metrics
        instance = world.instance(service.name)
        if leader is not None:
            instance += "-patient"
        patience_ms = min(source.patience_ms for source in self._inputs)
        self._group = broker.group(service.name, instance, [source.topic.name for source in self._inputs], patience_ms=patience_ms)
        self._group.before_revocation = self._revoked
        self._worker = Worker(service.name, sender, world.clock, world.rng, metrics, self._group)
        self._following = Following(service.followers if leader is None else (), broker, self._worker, world.clock)
        self._lanes = {source.topic.name: _Lane(source) for source in self._inputs}
        self._progress: dict[Partition, Progress] = {}
        self._before: dict[Partition, Progress] = {}
        """That of the assignment before this one, where the partition is ours again."""
        self._preparing: dict[Partition, list[Raw]] = {}
        self._chains: dict[Key, deque[Raw]] = defaultdict(deque)
        self._running: set[RecordId] = set()
        self._again: set[RecordId] = set()
        """Of these, what waits to be handled once more."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._epoch = 0
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self._suspects = Suspects(self._settings.marks / f"{instance}-{service.name}.marks" if self._settings.marks else None)
        self._alone = asyncio.Semaphore(self._suspects.company)
        turns = max(1, len(self._suspects) // self._suspects.company)
        self._alone_s = min(self._settings.alone_s, self._settings.all_alone_s / turns)
        self._still_since: dict[Partition, tuple[int, float]] = {}
        self._last_read = 0.0
        self._saw = 0.0
        """When Kafka last told where the ends are."""

    def stop(self) -> None:
        """Asks the loop to finish what is in flight, commit and return."""
        self._stopping.set()

    def in_flight(self) -> int:
        return sum(lane.in_flight for lane in self._lanes.values())

    async def run(self) -> None:
        background: list[asyncio.Task[None]] = []
        try:
            await self._until_there(self._started)
            background.append(asyncio.create_task(self._following.run(), name="follow"))
            background[0].add_done_callback(self._ended)
            await self._first_of(self._following.caught_up.wait())
            if not self._stopping.is_set():
                await self._until_there(self._group.start)
                background += [asyncio.create_task(self._commits(), name="commit"), asyncio.create_task(self._watch(), name="watch")]
                for task in background[1:]:
                    task.add_done_callback(self._ended)
                self.state = "ready"
                await self._read()
            self.state = "draining"
            await self._drain()
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self._group.stop()
            await self._following.stop()
            for companion in self._companions:
                companion.stop()
                await companion.ended.wait()
            if self._leader is None:
                await self.service.stop()
            self.state = "stopped"
            self.ended.set()
        if self._failure is not None:
            raise self._failure

    async def _started(self) -> None:
        if self._leader is None:
            await self.service.start()
        elif self._leader.state == "starting":
            raise RetryableError("store_unavailable", "the service is starting")

    async def _first_of(self, waiting: Coroutine[Any, Any, Any]) -> None:
        tasks = [asyncio.ensure_future(waiting), asyncio.ensure_future(self._stopping.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()

    async def _until_there(self, start: Callable[[], Awaitable[None]]) -> None:
        """Starts something that may not be there yet; waits for it, however long it takes, or until we are stopped."""
        while not self._stopping.is_set():
            try:
                await start()
            except RetryableError as error:
                log.info("%s waits: %s", self.service.name, error)
                await self._clock.sleep(0.5)
            else:
                return

    # reading

    async def _read(self) -> None:
        while not self._stopping.is_set():
            room = self._balance()
            if not room:
                await self._clock.sleep(0.002)
                continue
            for raw in await self._received(0.01 if any(lane.paused for lane in self._lanes.values()) else 0.5, room):
                self._admit(raw)

    async def _received(self, timeout_s: float, most: int) -> Sequence[Raw]:
        """What was read; what belongs to an older assignment is forgotten before."""
        try:
            records = await self._group.read(timeout_s, most)
        except RetryableError as error:
            log.warning("reading: %s", error)
            await self._clock.sleep(0.2)
            return ()
        if self._group.epoch != self._epoch:
            self._reassigned()
        if records:
            self._last_read = self._clock.monotonic()
        return records

    def _balance(self) -> int:
        """Pauses topics whose records in flight stay at the bound, lets them go on at half of it; returns how many may be read."""
        bound, most_bytes = self.service.max_in_flight, self.service.max_in_flight_bytes
        for topic, lane in self._lanes.items():
            used = max(lane.in_flight / bound, lane.bytes / most_bytes)
            pause = used > 0.5 if lane.paused else self._stays_full(lane, used)
            if len(self._lanes) > 1 and pause != lane.paused:
                partitions = [p for p in self._group.assignment() if p.topic == topic]
                (self._group.pause if pause else self._group.resume)(partitions)
                lane.paused = pause
        reading = [lane for lane in self._lanes.values() if not lane.paused]
        return min((bound - lane.in_flight if lane.bytes < most_bytes else 0 for lane in reading), default=0)

    def _stays_full(self, lane: _Lane, used: float) -> bool:
        """A pause costs up to half a second: what comes after it waits for a fetch that waits for other topics. So not for a moment."""
        if used < 1:
            lane.full_since = None
            return False
        now = self._clock.monotonic()
        lane.full_since = now if lane.full_since is None else lane.full_since
        return now - lane.full_since >= self._settings.pause_after_s

    def _reassigned(self) -> None:
        """A new epoch: reading began anew at the committed offsets. What is running goes on; its records are not started twice, nor those
        that were done and not committed.
        """
        self._epoch = self._group.epoch
        for raw in self._not_started():
            record = RecordId(raw.topic, raw.partition, raw.offset)
            # What was to be handled once more is at work still.
            (self._again if record in self._again else self._running).discard(record)
            self._lanes[raw.topic].count(raw, -1)
        for partition in self._progress:
            release = self._lanes[partition.topic].source.release
            if release is not None:
                release(partition.number)
        assigned = self._group.assignment()
        self._before = {partition: progress for partition, progress in self._progress.items() if partition in assigned}
        self._progress.clear()
        self._still_since.clear()
        for lane in self._lanes.values():
            lane.paused = False

    def _not_started(self) -> list[Raw]:
        """Takes out what was read and has not been started. Whoever owns its partition now reads it again."""
        dropped = [raw for raws in self._preparing.values() for raw in raws]
        self._preparing.clear()
        for lane in self._lanes.values():
            dropped += lane.waiting
            lane.waiting.clear()
        for chain in self._chains.values():
            while len(chain) > 1:
                dropped.append(chain.pop())
        return dropped

    def _admit(self, raw: Raw) -> None:
        partition = Partition(raw.topic, raw.partition)
        source = self._lanes[raw.topic].source
        progress = self._progress.get(partition)
        if progress is None:
            progress = self._progress[partition] = Progress(raw.offset)
            if source.prepare is not None:
                self._preparing[partition] = []
                self._spawn(self._prepare(source, partition, raw.timestamp_ms, self._epoch))
        progress.started(raw.offset)
        if raw.headers.get(NOT_FOR_HEADER) == self._name and "client" not in source.topic.writers:
            progress.finished(raw.offset)
            return
        record = RecordId(raw.topic, raw.partition, raw.offset)
        # Read again after a rebalance. Not started twice, unless one before it of its key is handled again: what comes last must be
        # handled last.
        if record in self._running:
            if record in self._again or not self._waits_before(raw):
                return
            self._again.add(record)
        elif self._was_done(partition, raw.offset) and not self._waits_before(raw):
            progress.finished(raw.offset)
            return
        self._begin(raw, record, partition)

    def _begin(self, raw: Raw, record: RecordId, partition: Partition) -> None:
        self._running.add(record)
        self._lanes[raw.topic].count(raw, 1)
        if partition in self._preparing:
            self._preparing[partition].append(raw)
        else:
            self._schedule(raw)

    def _was_done(self, partition: Partition, offset: int) -> bool:
        before = self._before.get(partition)
        return before is not None and before.is_done(offset)

    def _waits_before(self, raw: Raw) -> bool:
        """Whether an earlier record of its key has been read and not been ended."""
        waiting = [*self._preparing.get(Partition(raw.topic, raw.partition), ()), *self._lanes[raw.topic].waiting]
        waiting += self._chains.get((raw.topic, raw.key), ())
        return any((each.key, each.partition) == (raw.key, raw.partition) and each.offset < raw.offset for each in waiting)

    async def _prepare(self, source: Input[Any], partition: Partition, timestamp_ms: int, epoch: int) -> None:
        assert source.prepare is not None
        while True:
            try:
                await source.prepare(partition.number, timestamp_ms)
                break
            except RetryableError as error:
                log.info("preparing %s: %s", partition, error)
                await self._clock.sleep(0.5)
        if epoch == self._epoch:
            for raw in self._preparing.pop(partition):
                self._schedule(raw)

    # handling

    def _schedule(self, raw: Raw) -> None:
        lane = self._lanes[raw.topic]
        if lane.source.handle_batch is not None:
            lane.waiting.append(raw)
            if lane.batches < lane.source.concurrent_batches:
                lane.batches += 1
                self._spawn(self._batches(lane))
            return
        chain = self._chains[(raw.topic, raw.key)]
        chain.append(raw)
        if len(chain) == 1:
            self._spawn(self._chain((raw.topic, raw.key), lane))

    async def _chain(self, key: Key, lane: _Lane) -> None:
        """Handles the records of one key, one after another."""
        chain = self._chains[key]
        while chain:
            if self._stopping.is_set() and self.state == "draining":
                return
            await self._one(lane, chain[0])
            chain.popleft()
        del self._chains[key]

    async def _one(self, lane: _Lane, raw: Raw) -> None:
        record = RecordId(raw.topic, raw.partition, raw.offset)
        try:
            await self._handled(lane, raw, record)
        except DisownedError as error:
            log.info("%s leaves %s/%d/%d to its new owner: %s", self.service.name, raw.topic, raw.partition, raw.offset, error)
            self._left(lane, raw, record)
        else:
            self._finished(lane, raw, record)

    async def _handled(self, lane: _Lane, raw: Raw, record: RecordId) -> None:
        condemned = self._suspects.is_condemned(record)
        self._suspects.begin(record)
        try:
            if self._suspects.is_suspect(record) and not condemned:
                await self._begin_alone(lane, raw, record)
            else:
                await self._worker.one(lane.source, raw, condemned=condemned)
        finally:
            self._suspects.end(record)

    async def _begin_alone(self, lane: _Lane, raw: Raw, record: RecordId) -> None:
        """Starts a suspect with no other suspect, or few, starting at the same time; should the process die now, it is the one."""
        async with self._alone:
            self._suspects.alone(record, alone=True)
            work = asyncio.ensure_future(self._worker.one(lane.source, raw))
            await asyncio.wait((work,), timeout=self._alone_s)
            self._suspects.alone(record, alone=False)
        await work

    async def _batches(self, lane: _Lane) -> None:
        """Takes batches until nothing waits. Records whose key is in another batch wait for it."""
        await asyncio.sleep(0)  # lets the records that were read together come together
        try:
            while batch := self._take(lane):
                keys = {(raw.topic, raw.key) for raw in batch}
                lane.busy |= keys
                try:
                    await self._one_batch(lane, batch)
                finally:
                    lane.busy -= keys
        finally:
            lane.batches -= 1
        if lane.waiting and not lane.batches and self.state != "draining":
            lane.batches += 1
            self._spawn(self._batches(lane))

    def _take(self, lane: _Lane) -> list[Raw]:
        if self.state == "draining":
            return []
        batch: list[Raw] = []
        left: list[Raw] = []
        blocked: set[Key] = set()
        while lane.waiting and len(batch) < lane.source.batch_size:
            raw = lane.waiting.popleft()
            key = (raw.topic, raw.key)
            if key in lane.busy or key in blocked:
                blocked.add(key)
                left.append(raw)
            else:
                batch.append(raw)
        lane.waiting.extendleft(reversed(left))
        return batch

    async def _one_batch(self, lane: _Lane, batch: Sequence[Raw]) -> None:
        records = [RecordId(raw.topic, raw.partition, raw.offset) for raw in batch]
        if any(self._suspects.is_suspect(record) for record in records):
            for raw in batch:
                await self._one(lane, raw)
            return
        for record in records:
            self._suspects.begin(record)
        try:
            await self._worker.batch(lane.source, batch)
        finally:
            for record in records:
                self._suspects.end(record)
        for raw, record in zip(batch, records, strict=True):
            self._finished(lane, raw, record)

    def _finished(self, lane: _Lane, raw: Raw, record: RecordId) -> None:
        lane.count(raw, -1)
        if record in self._again:
            self._again.discard(record)
            return
        self._running.discard(record)
        partition = Partition(raw.topic, raw.partition)
        for progress in (self._progress.get(partition), self._before.get(partition)):
            if progress is not None:
                progress.finished(raw.offset)

    def _left(self, lane: _Lane, raw: Raw, record: RecordId) -> None:
        """Whoever owns the partition now reads the record again; where that is this loop and it has, it was passed over as at work."""
        lane.count(raw, -1)
        if record in self._again:
            self._again.discard(record)
            return
        self._running.discard(record)
        partition = Partition(raw.topic, raw.partition)
        progress = self._progress.get(partition)
        if progress is not None and self._epoch == self._group.epoch and progress.is_open(raw.offset):
            self._begin(raw, record, partition)

    def _spawn(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._job_ended)

    def _job_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._ended(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and self._failure is None:
            log.error("%s stops", self.service.name, exc_info=error)
            self._failure = error
            self._stopping.set()

    # committing, watching, ending

    async def _commits(self) -> None:
        while True:
            await self._clock.sleep(self._settings.commit_interval_s)
            await self._commit()

    async def _commit(self) -> None:
        # What was done for an older assignment would set back what its next owner has committed since.
        if self._group.epoch == self._epoch:
            await self._commit_done()

    async def _commit_done(self) -> None:
        moved = {}
        for partition, progress in self._progress.items():
            if (offset := progress.committable()) > progress.committed:
                moved[partition] = offset
        if not moved:
            return
        try:
            await self._group.commit(moved)
        except RetryableError as error:
            log.warning("not committed, will be read again: %s", error)
            return
        for partition, offset in moved.items():
            self._suspects.committed(partition.topic, partition.number, offset)
            if partition in self._progress:
                self._progress[partition].committed = offset

    async def _revoked(self) -> None:
        """Partitions are being taken away, and are ours for this moment still."""
        # First: what is known to be done is forgotten as soon as reading notices. Of an assignment before this one it is too old.
        if self._group.epoch == self._epoch + 1:
            await self._commit_done()
        handing = [
            asyncio.ensure_future(source.hand_over(partition.number, self._worker.write_ahead))
            for partition in self._group.assignment()
            if (source := self._lanes[partition.topic].source).hand_over is not None
        ]
        if handing:
            _, late = await asyncio.wait(handing, timeout=self._settings.hand_over_s)
            for task in late:
                task.cancel()

    async def _watch(self) -> None:
        sampled = self._saw = self._clock.monotonic()
        while True:
            await self._clock.sleep(self._settings.watch_interval_s)
            assigned = list(self._group.assignment())
            try:
                for partition, end in (await self._group.ends(assigned)).items():
                    await self._watch_partition(partition, end)
                self._saw = self._clock.monotonic()
            except RetryableError as error:
                log.warning("watching: %s", error)
                await self._watch_blindness(assigned)
            for topic, lane in self._lanes.items():
                self._metrics.in_flight.labels(self.service.name, topic).set(lane.in_flight)
            if self._leader is None and self._clock.monotonic() - sampled >= self._settings.metrics_interval_s:
                sampled = self._clock.monotonic()
                await self._sample()

    async def _watch_blindness(self, assigned: Sequence[Partition]) -> None:
        """Where Kafka answers everybody but this member, its client is broken, and will not mend itself (aiokafka #1187)."""
        if self._clock.monotonic() - self._saw <= self._settings.stuck_after_s:
            return
        reader = self._broker.reader()
        try:
            await reader.start()
            await reader.ends(assigned)
        except RetryableError:
            return
        finally:
            await reader.stop()
        raise StuckError(f"Kafka does not answer {self.service.name}, but others")

    async def _watch_partition(self, partition: Partition, end: int) -> None:
        progress = self._progress.get(partition)
        position = await self._group.position(partition)
        done = progress.committable() if progress is not None else position
        self._metrics.lag.labels(self.service.name, partition.topic, str(partition.number)).set(max(0, end - done))
        since_position, since = self._still_since.get(partition, (-1, 0.0))
        now = self._clock.monotonic()
        if position >= end or self._full(partition.topic) or position != since_position:
            self._still_since[partition] = (position, now)
        # While others move, a partition may wait for its turn.
        elif now - max(since, self._last_read) > self._settings.stuck_after_s or now - since > 4 * self._settings.stuck_after_s:
            raise StuckError(f"{partition} stands at {position} while its end is {end}")

    def _full(self, topic: str) -> bool:
        lane = self._lanes[topic]
        return 2 * lane.in_flight > self.service.max_in_flight or 2 * lane.bytes > self.service.max_in_flight_bytes

    async def _sample(self) -> None:
        samples = list(self._metrics.samples(self.service.name, self._world.instance(self.service.name), self._clock.now_ms()))
        await self._worker.send([sample for sample in samples if sample.labels.get("service", self.service.name) == self.service.name])

    async def _drain(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._settings.drain_s)
        for task in self._tasks:
            task.cancel()
        await self._commit()


MOST_AT_ONCE: Final = 500
"""Records of one turn of a bulk loop: they hold the event loop for ten milliseconds, and what they lead to fits a record."""


class BulkLoop(Loop):
    """Runs a service whose inputs take their records in bulk (`Input.handle_bulk`): reads, handles, writes, and only then reads on."""

    async def _read(self) -> None:
        while not self._stopping.is_set():
            await self._take_all(await self._received(0.5, MOST_AT_ONCE))

    async def _take_all(self, records: Sequence[Raw]) -> None:
        by_topic: dict[str, list[Raw]] = {}
        ends: dict[Partition, int] = {}
        for raw in records:
            by_topic.setdefault(raw.topic, []).append(raw)
            partition = Partition(raw.topic, raw.partition)
            if partition not in self._progress:
                self._progress[partition] = Progress(raw.offset)
            ends[partition] = raw.offset
        for topic, raws in by_topic.items():
            await self._worker.bulk(self._lanes[topic].source, raws)
        for partition, offset in ends.items():
            self._progress[partition].passed(offset)
