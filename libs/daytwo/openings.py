"""Which opening of the ledger is the latest, known no later than a moment after it was announced (docs/money.md, "A grant is good
for one opening").

Whoever opens the ledger announces its number first, waits `LANDS_S`, and only then reads for the last time what was granted
before; what lies behind that on the log and was granted before is void (`is_void`). Whoever buys looks here first: `latest` answers
with what the log said at a moment at most `FRESH_S` ago, or waits until it can. So after the wait nobody buys on an earlier grant
without knowing that it is one, and what was bought on before was on the log in time to be read. Only durations count, and only that
they pass equally fast everywhere; what the clocks show does not matter.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Final

from daytwo.broker import Partition, Raw, Reader, reopening
from daytwo.clock import Clock
from daytwo.codec import decode
from daytwo.errors import RetryableError, UnreadableError
from daytwo.records import LedgerOpened
from daytwo.topics import LEDGER_OPENED

MAIN: Final = "main"
"""The one ledger there is."""
FRESH_S: Final = 1.0
LANDS_S: Final = 1.25
"""Above FRESH_S by what two clocks may run differently in that time, and much more."""
LOOK_S: Final = 0.25
SILENCE_S: Final = 10.0


class Openings:
    """One reader of ledger-opened, in no group."""

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._lock = asyncio.Lock()
        self._at: dict[Partition, int] = {}
        self._latest = 0
        self._by: dict[int, str] = {}
        """Of each number whose it is."""
        self._read_to: dict[int, Sequence[int]] = {}
        """Of each opening, by partition of request-admitted; none where it did not come to that."""
        self._as_of = float("-inf")
        """Monotonic seconds: a moment before the log was asked last."""
        self._looked = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._reader.start()
        self._looking = asyncio.create_task(self._look_again(), name="openings")

    async def stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait((self._looking,))
        await self._reader.stop()

    async def latest(self) -> int:
        """The highest number announced up to `FRESH_S` ago, or later; 0: none was. Waits while the log does not answer."""
        while self._clock.monotonic() - self._as_of > FRESH_S:
            self._looked.clear()
            await self._looked.wait()
        return self._latest

    def whose(self, number: int) -> str:
        """As of the last look."""
        return self._by.get(number, "")

    def is_void(self, number: int, partition: int, offset: int) -> bool:
        """Whether an opening after `number` came before what that one granted was on the log there, in request-admitted, and so does
        not know of it. As of the last look; of number 0 nothing is known."""
        after = (read_to for opening, read_to in self._read_to.items() if opening > number > 0)
        return any(offset >= read_to[partition] for read_to in after)

    async def look(self) -> int:
        """The highest number announced up to now. Raises RetryableError where the log does not answer."""
        async with self._lock, reopening(self._reader):
            asked = self._clock.monotonic()
            partitions = await self._reader.partitions(LEDGER_OPENED.name)
            ends = await self._reader.ends(partitions)
            if any(self._at.get(partition, 0) < end for partition, end in ends.items()):
                await self._read(ends)
            self._as_of = asked
        self._looked.set()
        return self._latest

    async def _look_again(self) -> None:
        while True:
            with contextlib.suppress(RetryableError):
                await self.look()
            await self._clock.sleep(LOOK_S)

    async def _read(self, ends: Mapping[Partition, int]) -> None:
        await self._reader.seek({partition: self._at.get(partition) for partition in ends})
        moved, at = self._clock.monotonic(), dict(self._at)
        while any(at.get(partition, 0) < end for partition, end in ends.items()):
            for raw in await self._reader.read(0.2):
                self._take(raw)
            before, at = at, dict(await self._reader.positions())
            if at != before:
                moved = self._clock.monotonic()
            elif self._clock.monotonic() - moved > SILENCE_S:
                raise RetryableError("store_unavailable", f"{LEDGER_OPENED.name} stands still before its end")
        self._at = at
        # A fetch that waits for more would keep the next question waiting: they share a connection.
        await self._reader.seek({})

    def _take(self, raw: Raw) -> None:
        with contextlib.suppress(UnreadableError):
            self.take(decode(LEDGER_OPENED, raw.value or b""))

    def take(self, opening: LedgerOpened) -> None:
        self._latest = max(self._latest, opening.number)
        if self._by.setdefault(opening.number, opening.by) == opening.by and opening.read_to:
            self._read_to[opening.number] = opening.read_to
