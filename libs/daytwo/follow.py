"""Follows compacted topics: from their start to their end as of now, and then live. Readers of the service's own, in no group."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from daytwo import fate
from daytwo.broker import Broker, Partition, Raw
from daytwo.clock import Clock
from daytwo.codec import decode
from daytwo.errors import RetryableError, UnreadableError
from daytwo.flow import Change, Follower
from daytwo.work import Worker

log = logging.getLogger(__name__)


PATIENCE_MS = 200
"""How old a followed configuration may be, beside what reading takes, where the follower says nothing else (its `patience_ms`)."""

AT_ONCE = 500
"""Records decoded and applied together. Ten thousand at once leave holes in the memory of the process that it never gives back."""


class Following:
    """Feeds the followers of one service. `caught_up` is set once all that was there at the start has been applied."""

    def __init__(self, followers: Sequence[Follower[Any]], broker: Broker, worker: Worker, clock: Clock) -> None:
        self.caught_up = asyncio.Event()
        by_patience: Mapping[int, list[Follower[Any]]] = defaultdict(list)
        for follower in followers:
            by_patience[getattr(follower, "patience_ms", PATIENCE_MS)].append(follower)
        self._readings = [_Reading(alike, broker, patience, worker, clock) for patience, alike in by_patience.items()]

    async def run(self) -> None:
        reading = [asyncio.create_task(one.run()) for one in self._readings]
        try:
            for one in self._readings:
                await _first_of(one.caught_up.wait(), *reading)
            self.caught_up.set()
            await asyncio.gather(*reading)
        finally:
            for task in reading:
                task.cancel()

    async def stop(self) -> None:
        for one in self._readings:
            await one.stop()


async def _first_of(waiting: Coroutine[Any, Any, Any], *reading: asyncio.Task[None]) -> None:
    """Waits; raises what a reading raises meanwhile."""
    waited = asyncio.ensure_future(waiting)
    try:
        done, _ = await asyncio.wait((waited, *reading), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        waited.cancel()


class _Reading:
    """One reader, and the followers of equal patience that it feeds."""

    def __init__(self, followers: Sequence[Follower[Any]], broker: Broker, patience_ms: int, worker: Worker, clock: Clock) -> None:
        self.caught_up = asyncio.Event()
        self._followers = {follower.topic.name: follower for follower in followers}
        self._reader = broker.reader(patience_ms=patience_ms)
        self._worker = worker
        self._clock = clock
        self._positions: dict[Partition, int | None] = {}

    async def run(self) -> None:
        while True:
            try:
                await self._follow()
            except RetryableError as error:
                log.info("following: %s", error)
                await self._reader.stop()
                await self._clock.sleep(0.5)

    async def stop(self) -> None:
        await self._reader.stop()

    async def _follow(self) -> None:
        await self._reader.start()
        partitions = [p for topic in self._followers for p in await self._reader.partitions(topic)]
        ends = await self._reader.ends(partitions)
        await self._reader.seek({partition: self._positions.get(partition) for partition in partitions})
        while True:
            records = await self._reader.read(0.05 if not self.caught_up.is_set() else 1.0)
            await self._apply(records)
            if not self.caught_up.is_set():
                at = await self._reader.positions()
                if all(at[partition] >= end for partition, end in ends.items()):
                    self.caught_up.set()

    async def _apply(self, records: Sequence[Raw]) -> None:
        for first in range(0, len(records), AT_ONCE):
            await self._apply_some(records[first : first + AT_ONCE])

    async def _apply_some(self, records: Sequence[Raw]) -> None:
        changes: Mapping[str, list[Change[Any]]] = defaultdict(list)
        for raw in records:
            if (change := await self._change(raw)) is not None:
                changes[raw.topic].append(change)
        for topic, of_topic in changes.items():
            await self._followers[topic].apply(of_topic)
        for raw in records:
            self._positions[Partition(raw.topic, raw.partition)] = raw.offset + 1

    async def _change(self, raw: Raw) -> Change[Any] | None:
        key = (raw.key or b"").decode("utf-8", "replace")
        record = None
        if raw.value is not None:
            try:
                record = decode(self._followers[raw.topic].topic, raw.value)
            except UnreadableError as error:
                letter = fate.dead_letter(raw, error, service=self._worker.service, now_ms=self._clock.now_ms())
                await self._worker.send([letter])
                return None
        return Change(key=key, record=record, partition=raw.partition, offset=raw.offset)
