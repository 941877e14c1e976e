"""The requests of a partition before the place where reading begins, so that a repeat of one of them is known as one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from daytwo.broker import Partition, Raw, Reader
from daytwo.clock import Clock
from daytwo.errors import RetryableError

STILL_S: Final = 10.0
"""Seconds without progress after which the log counts as not there."""


class Past:
    """One reader; one call after another."""

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        await self._reader.start()

    async def stop(self) -> None:
        await self._reader.stop()

    async def read(self, place: Partition, until_ms: int, most: int, take: Callable[[Raw], None]) -> None:
        """Hands over the records before the first of `until_ms`, the last `most` of them, in order. Raises RetryableError."""
        async with self._lock:
            end = (await self._reader.offsets_at([place], until_ms))[place]
            await self._reader.seek({place: max(0, end - most)})
            await self._read_to(place, end, take)
            # A fetch that waits for more would keep the next call waiting: they share a connection.
            await self._reader.seek({})

    async def _read_to(self, place: Partition, end: int, take: Callable[[Raw], None]) -> None:
        at, progress = -1, self._clock.monotonic()
        while (position := (await self._reader.positions())[place]) < end:
            if position != at:
                at, progress = position, self._clock.monotonic()
            elif self._clock.monotonic() - progress > STILL_S:
                raise RetryableError("store_unavailable", f"{place.topic}/{place.number} cannot be read to {end}")
            for raw in await self._reader.read(0.2):
                if raw.offset < end:
                    take(raw)
