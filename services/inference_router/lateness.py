"""How late the event loop is: time that passed for whoever waits, and in which nobody could be served."""

from __future__ import annotations

import asyncio
from typing import Final

TICK_S: Final = 0.1


class Lateness:
    """Counts from `start` to `stop`. What a call lost is the difference of `lost_s` between its beginning and its end."""

    def __init__(self) -> None:
        self.lost_s = 0.0
        """Seconds by which ticks came later than they were due."""
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + TICK_S
        self._timer = loop.call_at(self._due, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self.lost_s += max(0.0, asyncio.get_running_loop().time() - self._due)
        self.start()
