"""The windows as a Faust application over usage-recorded, with its memory in windows-saved.

What Faust does not promise is done here. Its commit passes an event when the agent has seen it, while a write may still fail, and
passes events that it has skipped around a rebalance. Its tables forget, at the end of a recovery, what was read for a stand-by, empty
the queue of what they have fetched, and let a process go on with states that are another's by then. So nothing is acknowledged to it,
and it has no table: the states are read from windows-saved whenever partitions are dealt out, and dropped before they are taken away.
The place in usage-recorded is saved behind the states, once Kafka has acknowledged all of them up to it; reading begins there, and
every offset must follow the one before. A state carries the offsets of the road that are in it, so what is read again is not counted
again. Whatever goes wrong stops the process: what follows then is the same as after a kill -9.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import faust
from faust.types import TP

from daytwo.broker import Partition, Raw, Reader
from daytwo.clock import Clock
from daytwo.codec import encode
from daytwo.errors import RetryableError, UnreadableError
from daytwo.fate import dead_letter
from daytwo.flow import Output, Table
from daytwo.records import TenantConfigured, UsageWindowed
from daytwo.topics import USAGE_RECORDED, WINDOWS_SAVED
from services.usage_windows.holding import Holding, Saved
from services.usage_windows.publisher import Publisher
from services.usage_windows.throttling import Throttling
from services.usage_windows.windows import Place, Sums, Windows

log = logging.getLogger(__name__)

GROUP: Final = "usage-windows-stream"
LOOK_S: Final = 1.0
"""How often it is looked for what is due."""
AT_ONCE: Final = 200
"""Subjects that are saved or published in one go, so that the event loop is not held."""
SOUGHT_S: Final = 1.0
"""After a seek, how long records may come that were fetched before it."""
WATCH_S: Final = 2.0
STUCK_S: Final = 20.0
STOPPED_S: Final = 10.0
ACKNOWLEDGED_S: Final = 60.0
"""The longest a save may take before the process gives up."""
LET_GO_S: Final = 10.0
"""The longest that partitions are kept from being taken away until what is being written of them is."""
SESSION_S: Final = 10
TICK_S: Final = 0.5
ASLEEP_S: Final = 6.0
"""Below the session's time: a process that has not run for so long may have lost its partitions without knowing."""
RESTORED_S: Final = 600


class App(faust.App):  # type: ignore[misc]
    """Says when partitions come and go before Faust itself does anything with them."""

    let_go: Callable[[], Awaitable[None]]
    take_over: Callable[[list[int]], None]

    async def _on_partitions_revoked(self, revoked: set[TP]) -> None:
        await self.let_go()
        await super()._on_partitions_revoked(revoked)

    async def _on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self.take_over(sorted(tp.partition for tp in assigned if tp.topic == USAGE_RECORDED.name))
        await super()._on_partitions_assigned(assigned, generation_id)


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
        self._publisher = publisher
        self._reader, self._watcher = reader, reader()
        self._fatal = fatal
        self._save_s = save_ms / 1000
        self._app = _application(kafka, instance, state)
        self._app.let_go, self._app.take_over = self._let_go, self._take_over
        raw = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
        self._saved_topic = self._app.topic(WINDOWS_SAVED.name, **raw)
        self._app.agent(self._app.topic(USAGE_RECORDED.name, **raw), name="windows")(self._consume)
        self.throttling = Throttling(publisher.soon)
        self._holding = Holding(tenants, self.throttling, most_subjects)
        self._writing = asyncio.Lock()
        """Held while something is written of the partitions that are owned."""
        self._restoring: asyncio.Task[Mapping[TP, int]] | None = None
        self._went_back: dict[int, float] = {}
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._awake = clock.monotonic()
        self.ready = asyncio.Event()
        self.behind_ms = 0
        """Age of the last record when it was counted."""

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(job) for job in self._jobs()]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    def _jobs(self) -> tuple[Coroutine[Any, Any, None], ...]:
        return self._start_faust(), self._saves(), self._looks(), self._ticks(), self._watch(), self._publisher.run()

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
        self._holding.tenants_changed(tenants, self._clock.now_ms())

    def view(self) -> Mapping[str, Any]:
        return {
            "ready": self.ready.is_set(),
            "partitions": sorted(self._holding.next),
            "subjects": len(self._holding.subjects.kept),
            "unsaved": len(self._holding.unsaved),
            "behind_ms": self.behind_ms,
            "throttled": len(self.throttling.rows),
            "throttles_published": self.throttling.published,
        }

    # counting

    async def _consume(self, stream: Any) -> None:
        async for event in stream.noack().events():
            try:
                self._count(event.message)
            except Exception as error:
                # Faust would acknowledge it and go on.
                self._fatal("an event could not be counted", error)
                raise

    def _count(self, message: Any) -> None:
        now_ms = self._clock.now_ms()
        if not self._follows(message):
            return
        self._holding.passed(message.partition, message.offset)
        self._news.set()
        self.behind_ms = max(0, now_ms - int(message.timestamp * 1000))
        try:
            self._holding.count(message.value or b"", message.partition, now_ms)
        except UnreadableError as error:
            self._publisher.soon(dead_letter(_raw(message), error, service="usage-windows", now_ms=now_ms))

    def _follows(self, message: Any) -> bool:
        """Whether it is the next of its partition. If one before it is missing, reading goes back."""
        if message.offset > self._holding.next.get(message.partition, message.offset):
            self._go_back(message.partition)
        return self._holding.follows(message.partition, message.offset)

    def _go_back(self, partition: int) -> None:
        """Faust drops what it reads before it has resumed its flow after a rebalance, and goes on behind it."""
        now = self._clock.monotonic()
        if now - self._went_back.get(partition, 0.0) > SOUGHT_S:
            self._went_back[partition] = now
            log.info("reading partition %d again from %d", partition, self._holding.next[partition])
            seeking = asyncio.create_task(self._app.consumer.seek(TP(USAGE_RECORDED.name, partition), self._holding.next[partition]))
            seeking.add_done_callback(self._sought)

    def _sought(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._fatal("the place to read from could not be set", task.exception())

    # partitions that come and go

    async def _let_go(self) -> None:
        """Returns once nothing is written any more of what was owned; it is owned until then."""
        self.ready.clear()
        restoring, self._restoring = self._restoring, None
        if restoring is not None:
            restoring.cancel()
        try:
            async with asyncio.timeout(LET_GO_S), self._writing:
                self._holding.let_go()
        except TimeoutError as error:
            self._fatal("what is being written cannot be waited for, and the partitions are another's then", error)

    def _take_over(self, partitions: list[int]) -> None:
        self._restoring = asyncio.create_task(self._restore(partitions))

    async def _restore(self, partitions: list[int]) -> Mapping[TP, int]:
        """Owns the partitions once it knows their states; returns where reading goes on."""
        saved, earliest = await self._read_saved(partitions) if partitions else (Saved(), {})
        self._holding.take_over(partitions, saved, earliest, self._clock.now_ms())
        if self._holding.unsaved:
            self._news.set()
        log.info("%d subjects restored, reading goes on at %s", len(self._holding.subjects.kept), self._holding.next)
        self.ready.set()
        return {TP(USAGE_RECORDED.name, number): offset for number, offset in self._holding.next.items()}

    async def _read_saved(self, partitions: list[int]) -> tuple[Saved, Mapping[int, int]]:
        """The states, and the first offsets of usage-recorded that are kept."""
        saved, reader = Saved(), self._reader()
        places = [Partition(WINDOWS_SAVED.name, number) for number in partitions]
        try:
            await reader.start()
            first = await reader.offsets_at([Partition(USAGE_RECORDED.name, number) for number in partitions], 0)
            ends = await reader.ends(places)
            await reader.seek(dict.fromkeys(places))
            here, moved = await reader.positions(), self._clock.monotonic()
            while any(here[place] < end for place, end in ends.items()):
                for raw in await reader.read(0.2):
                    saved.take(raw, self._clock.now_ms())
                before, here = here, await reader.positions()
                moved = self._clock.monotonic() if here != before else moved
                if self._clock.monotonic() - moved > STUCK_S:
                    raise RetryableError("store_unavailable", f"windows-saved cannot be read to its end, {ends}")
                await asyncio.sleep(0)  # what was fetched ahead is there at once, and others want their turn
        finally:
            await reader.stop()
        return saved, {place.number: offset for place, offset in first.items()}

    async def _seek_to_saved(self) -> Mapping[TP, int]:
        """Takes the place of Faust's seek to what it has committed."""
        restoring = self._restoring
        if restoring is None:
            return {}
        try:
            found = await asyncio.shield(restoring)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._fatal("the saved states cannot be read", error)
            raise
        await self._app.consumer.seek_wait(found)
        return found

    # saving

    async def _saves(self) -> None:
        while True:
            await self._news.wait()
            await self._clock.sleep(self._save_s)
            self._news.clear()
            async with self._writing:
                await self._save_all()

    async def _save_all(self) -> None:
        unsaved, counted = self._holding.take_unsaved(), dict(self._holding.next)
        for windows in _in_parts(unsaved):
            await self._save(windows)
        await self._forget()
        await self._save(list(self._holding.moved(counted)))

    async def _save(self, subjects: list[Windows]) -> None:
        """Returns once Kafka has acknowledged the states."""
        sent = [self._send(windows, encode(WINDOWS_SAVED, windows.saved())) for windows in subjects]
        await asyncio.wait_for(asyncio.gather(*sent), ACKNOWLEDGED_S)

    async def _forget(self) -> None:
        forgotten = list(self._holding.subjects.forgotten)
        self._holding.subjects.forgotten.clear()
        await asyncio.wait_for(asyncio.gather(*(self._send(windows, None) for windows in forgotten)), ACKNOWLEDGED_S)

    def _send(self, windows: Windows, data: bytes | None) -> Any:
        key = windows.key.encode()
        return self._saved_topic.send_soon(key=key, value=data, partition=windows.partition, eager_partitioning=True)

    # publishing

    async def _looks(self) -> None:
        while True:
            await self._clock.sleep(LOOK_S)
            now_ms = self._clock.now_ms()
            self._holding.sweep(now_ms)
            self._holding.save_early_again(now_ms)
            if self._holding.unsaved:
                self._news.set()
            async with self._writing:
                for subjects in _in_parts(list(self._holding.take_due(now_ms))):
                    await self._publish(subjects)

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
            self._holding.published(windows, sums, now_ms)
        if self._holding.unsaved:
            self._news.set()

    # watching

    async def _ticks(self) -> None:
        while True:
            now = self._clock.monotonic()
            if now - self._awake > ASLEEP_S:
                self._fatal(f"it stood still for {now - self._awake:.1f} s: its partitions may be another's", None)
            self._awake = now
            await self._clock.sleep(TICK_S)

    async def _watch(self) -> None:
        """Faust, or its consumer, may stand still and not know it (aiokafka #1187): then the process ends."""
        await self.ready.wait()
        reader, still = self._watcher, dict[Partition, tuple[int, float]]()
        await reader.start()
        while True:
            await self._clock.sleep(WATCH_S)
            try:
                ends = await reader.ends([Partition(USAGE_RECORDED.name, number) for number in self._holding.next])
            except RetryableError as error:
                log.info("watching: %s", error)
                continue
            still = self._standing(still, ends)

    def _standing(self, before: Mapping[Partition, tuple[int, float]], ends: Mapping[Partition, int]) -> dict[Partition, tuple[int, float]]:
        """Partitions that have more than was counted, with the place and since when it is the same."""
        now, found = self._clock.monotonic(), {}
        for place, end in ends.items():
            wanted = self._holding.next.get(place.number, end)
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


def _application(kafka: str, instance: str, state: Path) -> App:
    return App(
        GROUP,
        broker=f"aiokafka://{kafka.replace(',', ';')}",
        store="memory://",
        processing_guarantee="at_least_once",
        datadir=str(state),
        web_enabled=False,
        autodiscover=False,
        # A static member: after a kill it goes on at once, instead of after the session's time.
        consumer_group_instance_id=f"{GROUP}-{instance}",
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=SESSION_S,
        broker_heartbeat_interval=3,
        broker_commit_interval=3600,
        # Restoring goes on within the seek after a rebalance, for which Faust has no longer patience than that.
        broker_request_timeout=RESTORED_S,
        producer_acks=-1,
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        # Ours: the process has logging already.
        loghandlers=[],
    )


def _in_parts(subjects: Sequence[Windows]) -> Iterator[list[Windows]]:
    for at in range(0, len(subjects), AT_ONCE):
        yield list(subjects[at : at + AT_ONCE])


def _raw(message: Any) -> Raw:
    return Raw(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp_ms=int(message.timestamp * 1000),
        key=message.key,
        value=message.value,
    )
