"""Writes what usage-windows has to say. Of one key the latest counts, so what is overtaken while it waits is not written."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence

from daytwo.broker import Outgoing, Sender, outgoing
from daytwo.clock import Clock
from daytwo.errors import RetryableError
from daytwo.flow import Output

log = logging.getLogger(__name__)


class Publisher:
    """`soon` returns at once; `write` once all is acknowledged. Both try until Kafka has it."""

    def __init__(self, sender: Sender, clock: Clock, rng: random.Random) -> None:
        self._sender = sender
        self._clock = clock
        self._rng = rng
        self._waiting: dict[tuple[str, bytes | None], Outgoing] = {}
        self._something = asyncio.Event()

    def soon(self, output: Output) -> None:
        record = outgoing(output)
        self._waiting[record.topic, record.key] = record
        self._something.set()

    async def run(self) -> None:
        """Writes what `soon` was given, in one go after another, for ever."""
        while True:
            await self._something.wait()
            self._something.clear()
            waiting, self._waiting = self._waiting, {}
            await self._write(list(waiting.values()))

    async def write(self, outputs: Sequence[Output]) -> None:
        await self._write([outgoing(output) for output in outputs])

    async def _write(self, records: Sequence[Outgoing]) -> None:
        pause = 0.05
        while True:
            try:
                await self._sender.send(records)
            except RetryableError as error:
                log.warning("sending again: %s", error)
                await self._clock.sleep(self._rng.uniform(0, pause))
                pause = min(2.0, pause * 2)
            else:
                return
