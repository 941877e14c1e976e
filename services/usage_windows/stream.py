"""The windows as a Faust application: a stream of usage-recorded, a table of windows, its changelog windows-saved.

What Faust does not promise is done here. Its own commit passes an event when the agent has seen it, while the write to the changelog
may still fail, and then only says so in its log. Here an event is acknowledged to Faust once Kafka has acknowledged the state that
contains it; Faust commits only what is acknowledged. A state carries the offsets that are in it, so what is read again is not counted
again. Whatever goes wrong stops the process: what follows then is the same as after a kill -9.
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
WATCH_S: Final = 5.0
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
        reader: Reader,
        clock: Clock,
        most_subjects: int,
        save_ms: int,
        fatal: Callable[[str, BaseException | None], None],
    ) -> None:
        self._clock = clock
        self._tenants = tenants
        self._publisher = publisher
        self._reader = reader
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
        self._unacknowledged: list[Any] = []
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
        await self._reader.stop()

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
            "unacknowledged": len(self._unacknowledged),
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
        self._unacknowledged.append(event)
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
            events, self._unacknowledged = self._unacknowledged, []
            for windows in _in_parts(list(unsaved.values())):
                await self._save(windows)
            await self._forget()
            for event in events:
                event.ack()

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
        """Faust's consumer may stand still after a rebalance or a restart of Kafka, and not know it (aiokafka #1187)."""
        await self.ready.wait()
        await self._reader.start()
        still: dict[TP, tuple[int, float]] = {}
        while True:
            await self._clock.sleep(WATCH_S)
            try:
                still = await self._standing(still)
            except RetryableError as error:
                log.info("watching: %s", error)

    async def _standing(self, before: Mapping[TP, tuple[int, float]]) -> dict[TP, tuple[int, float]]:
        """Partitions that have more than was read, with the position and since when it is the same. The process ends after a while."""
        places = [tp for tp in self._app.consumer.assignment() if tp.topic == USAGE_RECORDED.name]
        ends = await self._reader.ends([Partition(*tp) for tp in places])
        now, found = self._clock.monotonic(), {}
        for tp in places:
            position = await self._app.consumer.position(tp)
            known = before.get(tp)
            if position is None or position >= ends[Partition(*tp)]:
                continue
            found[tp] = known if known is not None and known[0] == position else (position, now)
            if now - found[tp][1] > STUCK_S:
                self._fatal(f"{tp} stands still at {position}, its end is {ends[Partition(*tp)]}", None)
        return found

    # ending

    async def _start_faust(self) -> None:
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
        broker_commit_interval=0.5,
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
