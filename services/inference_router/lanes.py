"""Room for a number of calls at the same time, and two lanes before the door. No I/O."""

from __future__ import annotations

import asyncio
from collections import deque

from daytwo.clock import Clock
from daytwo.records import Lane


class Lanes:
    """At most `limit` are in. Whoever waits is let in interactive before batch, each lane in order of arrival."""

    def __init__(self, limit: int, clock: Clock) -> None:
        self.limit = limit
        self.inside = 0
        self._clock = clock
        self._waiting: dict[Lane, deque[asyncio.Future[None]]] = {"interactive": deque(), "batch": deque()}

    @property
    def full(self) -> bool:
        return self.inside >= self.limit

    async def enter(self, lane: Lane, timeout_s: float) -> bool:
        """True once in; `leave` must follow. False: no room came free in `timeout_s` seconds."""
        if not self.full:
            self.inside += 1
            return True
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[lane].append(turn)
        timer = asyncio.ensure_future(self._clock.sleep(timeout_s))
        try:
            await asyncio.wait((turn, timer), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if turn.done():
                self.leave()
            raise
        finally:
            timer.cancel()
            if not turn.done():
                turn.cancel()
                self._waiting[lane].remove(turn)
        return not turn.cancelled()

    def leave(self) -> None:
        self.inside -= 1
        self.let_in()

    def let_in(self) -> None:
        """Lets in who waits, as far as there is room; to be called, too, when `limit` was raised."""
        for lane in self._waiting.values():
            while lane and not self.full:
                self.inside += 1
                lane.popleft().set_result(None)
