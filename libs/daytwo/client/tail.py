"""Follows topics from their end, over any number of broken connections."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence

from daytwo.broker import Broker, Partition, Raw, Reader
from daytwo.clock import Clock
from daytwo.errors import RetryableError

READ_S = 1.0
LONGEST_PAUSE_S = 5.0


class Tail:
    """Gives every record written after `start` to `take`, once and in log order within a partition.

    A broken connection is opened again where it broke, with growing pauses. `trouble` tells what is wrong, or that
    nothing is (empty); `died` gets what `take` raises, after which nothing is read any more.
    """

    def __init__(
        self,
        broker: Broker,
        topics: Sequence[str],
        *,
        take: Callable[[Raw], None],
        trouble: Callable[[str], None],
        died: Callable[[Exception], None],
        clock: Clock,
        rng: random.Random,
        patience_ms: int = 0,
    ) -> None:
        """`patience_ms`: how long records may be held back at the broker to come together."""
        self._broker = broker
        self._patience_ms = patience_ms
        self._topics = topics
        self._take = take
        self._trouble = trouble
        self._died = died
        self._clock = clock
        self._rng = rng
        self._reader: Reader | None = None
        self._next: dict[Partition, int | None] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns once the positions are taken. Raises RetryableError."""
        reader = self._reader = self._broker.reader(patience_ms=self._patience_ms)
        await reader.start()
        partitions = [partition for topic in self._topics for partition in await reader.partitions(topic)]
        self._next = dict(await reader.ends(partitions))
        await reader.seek(self._next)
        self._task = asyncio.create_task(self._run(), name="daytwo-client-tail")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._reader is not None:
            await self._reader.stop()

    async def _run(self) -> None:
        try:
            await self._follow()
        except Exception as error:
            self._died(error)

    async def _follow(self) -> None:
        failures = 0
        while True:
            try:
                await (self._read() if failures == 0 else self._reopen())
                if failures:
                    self._trouble("")
                failures = 0
            except RetryableError as error:
                self._trouble(f"no connection: {error.detail}")
                failures += 1
                await self._clock.sleep(min(LONGEST_PAUSE_S, 0.1 * 2 ** min(failures, 10)) * self._rng.uniform(0.5, 1.0))

    async def _read(self) -> None:
        if self._reader is None:
            raise RetryableError("store_unavailable", "the reader is closed")
        for raw in await self._reader.read(READ_S):
            self._take(raw)
            self._next[Partition(raw.topic, raw.partition)] = raw.offset + 1

    async def _reopen(self) -> None:
        if self._reader is not None:
            with contextlib.suppress(RetryableError):
                await self._reader.stop()
        self._reader = self._broker.reader(patience_ms=self._patience_ms)
        await self._reader.start()
        await self._reader.seek(self._next)
