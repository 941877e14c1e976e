"""The windows as a Faust application: a stream of usage-recorded, a table of windows, its changelog windows-saved.

What Faust does not promise is done here. Its offsets are not to be trusted: its commit passes an event when the agent has seen it,
while the write to the changelog may still fail, and passes events that it has skipped around a rebalance. So nothing is acknowledged
to it. The place in usage-recorded is saved in the changelog itself, once Kafka has acknowledged all states up to it; reading begins
there, and every offset must follow the one before. A state carries the offsets of the road that are in it, so what is read again is
not counted again. Whatever goes wrong stops the process: what follows then is the same as after a kill -9.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import faust
from faust.types import TP

from daytwo.broker import Partition, Raw, Reader
from daytwo.clock import Clock
from daytwo.codec import decode, encode
from daytwo.errors import RetryableError, UnreadableError
from daytwo.fate import dead_letter
from daytwo.flow import Output, Table
from daytwo.records import RateLimit, TenantConfigured, ThrottlePublished, UsageWindowed
from daytwo.topics import USAGE_RECORDED, WINDOWS_SAVED
from services.usage_windows.publisher import Publisher
from services.usage_windows.subjects import Subjects
from services.usage_windows.throttling import Throttling
from services.usage_windows.windows import Place, Sums, Windows, restored

log = logging.getLogger(__name__)

GROUP: Final = "usage-windows-stream"
LOOK_S: Final = 1.0
"""How often it is looked for what is due."""
AT_ONCE: Final = 200
"""Subjects that are saved or published in one go, so that the event loop is not held."""
POSITION: Final = "position"
"""Scope of the records that say how far usage-recorded is in the states."""
SOUGHT_S: Final = 1.0
"""After a seek, how long records may come that were fetched before it."""
WATCH_S: Final = 2.0
STUCK_S: Final = 20.0
STOPPED_S: Final = 10.0
ACKNOWLEDGED_S: Final = 60.0
"""The longest a save may take before the process gives up."""


class WindowTable(faust.Table):  # type: ignore[misc]
    """Windows in memory. A zombie may have written an old state after a newer one: the newer holds, wherever it lies."""

    clock: Clock
    fatal: Callable[[str, BaseException | None], None]

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        try:
            self._apply(batch)
        except Exception as error:
            # Faust would say so in its log and wait for ever.
            self.fatal("a saved state cannot be read", error)
            raise

    def _apply(self, batch: Iterable[Any]) -> None:
        for event in batch:
            key, data, partition = event.key, event.message.value, event.message.partition
            if data is None:
                self.data.data.pop(key, None)
                continue
            windows = restored(decode(WINDOWS_SAVED, data), partition, self.clock.now_ms())
            known = self.data.data.get(key)
            if known is None or windows.is_newer_than(known):
                self.data.data[key] = windows
            self.data._key_partition[key] = partition


class Stream:
    """Runs the application within the process's event loop. `fatal` ends the process."""

    def __init__(
        self,
        *,
        kafka: str,
        instance: str,
        state: Path,
        tenants: Table[TenantConfigured],
        publisher: Publisher,
        reader: Callable[[], Reader],
        clock: Clock,
        most_subjects: int,
        save_ms: int,
        fatal: Callable[[str, BaseException | None], None],
    ) -> None:
        self._clock = clock
        self._tenants = tenants
        self._publisher = publisher
        self._reader, self._watcher = reader(), reader()
        self._fatal = fatal
        self._save_s = save_ms / 1000
        self._app = _application(kafka, instance, state)
        source = self._app.topic(USAGE_RECORDED.name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        changelog = self._app.topic(WINDOWS_SAVED.name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        self._table = self._app.Table("windows", key_type=bytes, value_type=bytes, changelog_topic=changelog, on_recover=self._recovered)
        self._table.clock, self._table.fatal = clock, fatal
        self._app.agent(source, name="windows")(self._consume)
        self._subjects = Subjects(self._table.data.data, most_subjects)
        self.throttling = Throttling(publisher.soon)
        self._unsaved: dict[str, Windows] = {}
        self._next: dict[int, int] = {}
        """By partition of usage-recorded the offset that must come next."""
        self._went_back: dict[int, float] = {}
        self._news = asyncio.Event()
        self._due: list[tuple[int, str]] = []
        self._scheduled: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self.ready = asyncio.Event()
        self.behind_ms = 0
        """Age of the last record when it was counted."""

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(job) for job in self._jobs()]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    def _jobs(self) -> tuple[Coroutine[Any, Any, None], ...]:
        return self._start_faust(), self._saves(), self._looks(), self._watch(), self._publisher.run()

    async def stop(self) -> None:
        for task in self._tasks:
            task.remove_done_callback(self._ended)
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # What was not saved is counted again by whoever comes next.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._app.stop(), STOPPED_S)
        await self._watcher.stop()

    def tenants_changed(self, tenants: Iterable[str]) -> None:
        """Their limits may be others now."""
        for tenant in tenants:
            config = self._tenants.get(tenant)
            subjects = [(w, self._subjects.limits(config, w.scope, w.subject)) for w in self._subjects.of_tenant(tenant)]
            self.throttling.judge_anew(subjects, self._clock.now_ms())

    def view(self) -> Mapping[str, Any]:
        return {
            "ready": self.ready.is_set(),
            "subjects": len(self._subjects.kept),
            "unsaved": len(self._unsaved),
            "behind_ms": self.behind_ms,
            "throttled": len(self.throttling.rows),
            "throttles_published": self.throttling.published,
        }

    def windows_of(self, tenant: str) -> list[Windows]:
        return self._subjects.of_tenant(tenant)

    # counting

    async def _consume(self, stream: Any) -> None:
        async for event in stream.noack().events():
            try:
                self._count(event)
            except Exception as error:
                # Faust would acknowledge it and go on.
                self._fatal("an event could not be counted", error)
                raise

    def _count(self, event: Any) -> None:
        message, now_ms = event.message, self._clock.now_ms()
        if not self._follows(message):
            return
        self._next[message.partition] = message.offset + 1
        self._news.set()
        self.behind_ms = max(0, now_ms - int(message.timestamp * 1000))
        try:
            record = decode(USAGE_RECORDED, message.value or b"")
        except UnreadableError as error:
            self._publisher.soon(dead_letter(_raw(message), error, service="usage-windows", now_ms=now_ms))
            return
        tenant = self._tenants.get(record.tenant)
        touched = self._subjects.apply(record, message.partition, tenant, now_ms)
        for windows in touched.values():
            self.throttling.judge(windows, self._subjects.limits(tenant, windows.scope, windows.subject), now_ms)
            self._schedule(windows, now_ms)
        self._unsaved |= touched

    def _follows(self, message: Any) -> bool:
        """Whether it is the next of its partition. If one before it is missing, reading goes back."""
        wanted = self._next.get(message.partition)
        if wanted is not None and message.offset > wanted:
            self._go_back(message.partition)
        return bool(message.offset == wanted)

    def _go_back(self, partition: int) -> None:
        """Faust drops what it reads before it has resumed its flow after a recovery, and goes on behind it."""
        now = self._clock.monotonic()
        if now - self._went_back.get(partition, 0.0) > SOUGHT_S:
            self._went_back[partition] = now
            log.info("reading partition %d again from %d", partition, self._next[partition])
            seeking = asyncio.create_task(self._app.consumer.seek(TP(USAGE_RECORDED.name, partition), self._next[partition]))
            seeking.add_done_callback(self._sought)

    def _sought(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._fatal("the place to read from could not be set", task.exception())

    async def _seek_to_saved(self) -> Mapping[TP, int]:
        """Takes the place of Faust's seek to what it has committed."""
        places = [tp for tp in self._app.consumer.assignment() if tp.topic == USAGE_RECORDED.name]
        await self._reader.start()
        first = await self._reader.offsets_at([Partition(*tp) for tp in places], 0)
        await self._reader.stop()
        found = {tp: max(first[Partition(*tp)], self._position(tp.partition).applied.get(USAGE_RECORDED.name, -1) + 1) for tp in places}
        self._next = {tp.partition: offset for tp, offset in found.items()}
        await self._app.consumer.seek_wait(found)
        log.info("reading goes on at %s", self._next)
        return found

    def _position(self, partition: int) -> Windows:
        """What is saved of a partition: the last offset of usage-recorded that is in the states."""
        known: Windows | None = self._table.data.data.get(f"/{POSITION}/{partition}".encode())
        return known or Windows(tenant="", scope=POSITION, subject=str(partition), partition=partition)

    async def _recovered(self) -> None:
        self._subjects.rebuild()
        now_ms = self._clock.now_ms()
        for windows in self._subjects.kept.values():
            tenant = self._tenants.get(windows.tenant)
            self.throttling.judge(windows, self._subjects.limits(tenant, windows.scope, windows.subject), now_ms)
            if windows.changed:
                self._schedule(windows, now_ms)
        log.info("%d subjects restored", len(self._subjects.kept))
        self.ready.set()

    # saving

    async def _saves(self) -> None:
        while True:
            await self._news.wait()
            await self._clock.sleep(self._save_s)
            self._news.clear()
            unsaved, self._unsaved = self._unsaved, {}
            counted = dict(self._next)
            for windows in _in_parts(list(unsaved.values())):
                await self._save(windows)
            await self._forget()
            await self._save(list(self._moved(counted)))

    def _moved(self, counted: Mapping[int, int]) -> Iterator[Windows]:
        for partition, offset in counted.items():
            position = self._position(partition)
            if position.applied.get(USAGE_RECORDED.name, -1) < offset - 1:
                position.applied[USAGE_RECORDED.name] = offset - 1
                self._table.data.data[position.key.encode()] = position
                yield position

    async def _save(self, subjects: list[Windows]) -> None:
        """Returns once Kafka has acknowledged the states. The write of one that was lost with its partition harms nobody: it is older."""
        sent = [self._send(windows, encode(WINDOWS_SAVED, windows.saved())) for windows in subjects]
        await asyncio.wait_for(asyncio.gather(*sent), ACKNOWLEDGED_S)

    async def _forget(self) -> None:
        forgotten, self._subjects.forgotten = self._subjects.forgotten, []
        await asyncio.wait_for(asyncio.gather(*(self._send(windows, None) for windows in forgotten)), ACKNOWLEDGED_S)

    def _send(self, windows: Windows, data: bytes | None) -> Any:
        return self._table.send_changelog(windows.partition, windows.key.encode(), data)

    # publishing

    def _schedule(self, windows: Windows, now_ms: int) -> None:
        if windows.key not in self._scheduled:
            self._scheduled.add(windows.key)
            # At full ten seconds and two, so that a minute is published as closed as soon as it is.
            heapq.heappush(self._due, (now_ms - now_ms % 10_000 + 12_000, windows.key))

    async def _looks(self) -> None:
        while True:
            await self._clock.sleep(LOOK_S)
            now_ms = self._clock.now_ms()
            self.throttling.sweep(self._rates_of, now_ms)
            for subjects in _in_parts(list(self._take_due(now_ms))):
                await self._publish(subjects)

    def _take_due(self, now_ms: int) -> Iterator[Windows]:
        while self._due and self._due[0][0] <= now_ms:
            _, key = heapq.heappop(self._due)
            self._scheduled.discard(key)
            windows = self._subjects.kept.get(key.encode())
            if windows is not None:
                yield windows

    async def _publish(self, subjects: list[Windows]) -> None:
        now_ms = self._clock.now_ms()
        records: list[UsageWindowed] = []
        as_they_were: list[tuple[Windows, dict[Place, Sums]]] = []
        for windows in subjects:
            places = windows.due(now_ms)
            as_they_were.append((windows, {place: windows.sums[place] for place in places}))
            records += windows.publications(places, now_ms)
        outputs: list[Output] = [*records]
        await self._publisher.write(outputs)
        for windows, sums in as_they_were:
            windows.published(sums, now_ms)
            if sums:
                self._unsaved[windows.key] = windows
                self._news.set()
            if windows.changed:
                self._schedule(windows, now_ms)

    def _rates_of(self, row: ThrottlePublished) -> Sequence[RateLimit] | None:
        tenant = self._tenants.get(row.tenant)
        return None if tenant is None else self._subjects.limits(tenant, row.scope, row.subject)

    # watching

    async def _watch(self) -> None:
        """Faust, or its consumer, may stand still and not know it (aiokafka #1187): then the process ends."""
        await self.ready.wait()
        reader, still = self._watcher, dict[Partition, tuple[int, float]]()
        await reader.start()
        while True:
            await self._clock.sleep(WATCH_S)
            try:
                ends = await reader.ends([Partition(USAGE_RECORDED.name, number) for number in self._next])
            except RetryableError as error:
                log.info("watching: %s", error)
                continue
            still = self._standing(still, ends)

    def _standing(self, before: Mapping[Partition, tuple[int, float]], ends: Mapping[Partition, int]) -> dict[Partition, tuple[int, float]]:
        """Partitions that have more than was counted, with the place and since when it is the same."""
        now, found = self._clock.monotonic(), {}
        for place, end in ends.items():
            wanted = self._next.get(place.number, end)
            if wanted < end:
                known = before.get(place)
                found[place] = known if known is not None and known[0] == wanted else (wanted, now)
                if found[place][1] < now:
                    self._go_back(place.number)
                if now - found[place][1] > STUCK_S:
                    self._fatal(f"{place} stands still at {wanted}, its end is {end}", None)
        return found

    # ending

    async def _start_faust(self) -> None:
        self._app.consumer.seek_to_committed = self._seek_to_saved
        await self._app.start()
        await self._app.wait_until_stopped()
        if self._app.crash_reason is not None:
            raise self._app.crash_reason
        raise RuntimeError("Faust has stopped")

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._fatal("a part of the stream has ended", task.exception())


def _application(kafka: str, instance: str, state: Path) -> Any:
    return faust.App(
        GROUP,
        broker=f"aiokafka://{kafka.replace(',', ';')}",
        store="memory://",
        processing_guarantee="at_least_once",
        Table=WindowTable,
        datadir=str(state),
        web_enabled=False,
        autodiscover=False,
        # A static member: after a kill it goes on at once, instead of after the session's time.
        consumer_group_instance_id=f"{GROUP}-{instance}",
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=10,
        broker_heartbeat_interval=3,
        broker_commit_interval=3600,
        producer_acks=-1,
        producer_compression_type="lz4",
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        # Ours: the process has logging already.
        loghandlers=[],
    )


def _in_parts(subjects: list[Windows]) -> Iterator[list[Windows]]:
    for at in range(0, len(subjects), AT_ONCE):
        yield subjects[at : at + AT_ONCE]


def _raw(message: Any) -> Raw:
    return Raw(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp_ms=int(message.timestamp * 1000),
        key=message.key,
        value=message.value,
    )
