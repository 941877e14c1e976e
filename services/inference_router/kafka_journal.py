"""The journal as it lies on the log, read partition by partition."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final

from daytwo.broker import Partition, Raw, Reader
from daytwo.clock import Clock
from daytwo.codec import decode
from daytwo.errors import RetryableError, UnreadableError
from daytwo.records import AttemptFinished, AttemptStarted
from daytwo.topics import ATTEMPT_FINISHED, ATTEMPT_STARTED

STILL_S: Final = 10.0
"""Seconds without progress after which the log counts as not there."""


class KafkaJournal:
    """A JournalReader (ports.py) over one reader; partitions are read one after another."""

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        await self._reader.start()

    async def stop(self) -> None:
        await self._reader.stop()

    async def read(self, partition: int, since_ms: int) -> AsyncIterator[AttemptStarted | AttemptFinished]:
        places = [Partition(ATTEMPT_STARTED.name, partition), Partition(ATTEMPT_FINISHED.name, partition)]
        async with self._lock:
            ends = await self._reader.ends(places)
            at = await self._reader.offsets_at(places, since_ms)
            await self._reader.seek(at)
            progress = self._clock.monotonic()
            while not _reached(at, ends):
                records = await self._reader.read(0.2)
                for raw in records:
                    if (record := _record(raw)) is not None:
                        yield record
                before, at = at, await self._reader.positions()
                if at != before:
                    progress = self._clock.monotonic()
                elif self._clock.monotonic() - progress > STILL_S:
                    raise RetryableError("store_unavailable", f"the journal's partition {partition} cannot be read to its end")


def _reached(at: Mapping[Partition, int], ends: Mapping[Partition, int]) -> bool:
    return all(at[place] >= end for place, end in ends.items())


def _record(raw: Raw) -> AttemptStarted | AttemptFinished | None:
    """None for bytes that are no attempt: nobody but a router writes here, and no router wrote them."""
    try:
        if raw.topic == ATTEMPT_STARTED.name:
            return decode(ATTEMPT_STARTED, raw.value or b"")
        return decode(ATTEMPT_FINISHED, raw.value or b"")
    except UnreadableError:
        return None
