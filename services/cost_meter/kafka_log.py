"""Single records read back from the log."""

from __future__ import annotations

import asyncio
from typing import Final

from daytwo.broker import Partition, Reader, reopening
from daytwo.clock import Clock
from daytwo.errors import RetryableError

TIMEOUT_S: Final = 5.0


class KafkaLog:
    """One reader, one look at a time: repeats of closed requests are rare."""

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        await self._reader.start()

    async def stop(self) -> None:
        await self._reader.stop()

    async def read(self, topic: str, partition: int, offset: int) -> bytes | None:
        """The value at this place; None: it is no longer kept. Raises RetryableError when the log does not answer in time."""
        place = Partition(topic, partition)
        async with self._lock, reopening(self._reader):
            if (await self._reader.ends([place]))[place] <= offset:
                return None
            await self._reader.seek({place: offset})
            found = await self._look(place, offset)
            # A fetch that waits for more would keep the next call waiting: they share a connection.
            await self._reader.seek({})
            return found

    async def _look(self, place: Partition, offset: int) -> bytes | None:
        late = self._clock.monotonic() + TIMEOUT_S
        while self._clock.monotonic() < late:
            for record in await self._reader.read(0.5):
                # The first record from there on: it, or a later one if it is gone.
                return record.value if record.offset == offset else None
        raise RetryableError("store_unavailable", f"{place.topic}/{place.number}/{offset} could not be read in time")
