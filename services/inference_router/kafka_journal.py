"""The journal as it lies on the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from daytwo.broker import Partition, Raw, Reader, reopening
from daytwo.clock import Clock
from daytwo.codec import decode
from daytwo.errors import RetryableError, UnreadableError
from daytwo.topics import ATTEMPT_FINISHED, ATTEMPT_STARTED
from services.inference_router.ports import Attempt

STILL_S: Final = 10.0
"""Seconds without progress after which the log counts as not there."""


class KafkaJournal:
    """A JournalReader (ports.py) over one reader; one call after another."""

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        await self._reader.start()

    async def stop(self) -> None:
        await self._reader.stop()

    async def read(self, since_ms: Mapping[int, int], take: Callable[[int, Attempt], None]) -> None:
        places = [Partition(topic.name, number) for number in since_ms for topic in (ATTEMPT_STARTED, ATTEMPT_FINISHED)]
        async with self._lock, reopening(self._reader):
            ends = await self._reader.ends(places)
            at = await self._reader.offsets_at(places, min(since_ms.values()))
            await self._reader.seek(at)
            await self._read_to(ends, at, take)
            # A fetch that waits for more would keep the next call waiting: they share a connection.
            await self._reader.seek({})

    async def _read_to(self, ends: Mapping[Partition, int], at: Mapping[Partition, int], take: Callable[[int, Attempt], None]) -> None:
        progress = self._clock.monotonic()
        while not _reached(at, ends):
            for raw in await self._reader.read(0.2):
                if (record := _record(raw)) is not None:
                    take(raw.partition, record)
            before, at = at, await self._reader.positions()
            if at != before:
                progress = self._clock.monotonic()
            elif self._clock.monotonic() - progress > STILL_S:
                raise RetryableError("store_unavailable", "the journal cannot be read to its end")


def _reached(at: Mapping[Partition, int], ends: Mapping[Partition, int]) -> bool:
    return all(at[place] >= end for place, end in ends.items())


def _record(raw: Raw) -> Attempt | None:
    """None for bytes that are no attempt: nobody but a router writes here, and no router wrote them."""
    try:
        if raw.topic == ATTEMPT_STARTED.name:
            return decode(ATTEMPT_STARTED, raw.value or b"")
        return decode(ATTEMPT_FINISHED, raw.value or b"")
    except UnreadableError:
        return None
