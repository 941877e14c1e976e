"""Room for a number of calls at the same time, and two lanes before the door. No I/O."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

from daytwo.clock import Clock
from daytwo.records import Lane

MOST_STARTING: Final = 512
"""Enough to keep a router busy while Kafka takes half a second to acknowledge: with 128, on two starved cores, it used two thirds of the
processor time that it could have had; so few that their connections are made well within the time-out."""


class Lanes:
    """At most `limit` are in, and at most `most_starting` of them are still on their way to the provider.

    Whoever waits is let in interactive before batch, each lane in order of arrival. `most_starting` keeps the queue of a process that
    has too much to do in front of the door, where waiting costs nothing: a thousand calls that open connections at once in a starved
    event loop time out in connecting, each after it was announced.
    """

    def __init__(self, limit: int, clock: Clock, most_starting: int = MOST_STARTING) -> None:
        self.limit = limit
        self.inside = 0
        self.starting = 0
        self._most_starting = most_starting
        self._clock = clock
        self._waiting: dict[Lane, deque[asyncio.Future[None]]] = {"interactive": deque(), "batch": deque()}

    @property
    def full(self) -> bool:
        """Whether the deployment has as many calls as it takes. That we are slow to begin them is no reason to call another one."""
        return self.inside >= self.limit

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    async def enter(self, lane: Lane, timeout_s: float) -> Place | None:
        """A place, once there is one; its `leave` must follow. None: none came free in `timeout_s` seconds."""
        if not self._shut:
            return self._place()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[lane].append(turn)
        timer = asyncio.ensure_future(self._clock.sleep(timeout_s))
        try:
            await asyncio.wait((turn, timer), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if turn.done():
                Place(self).leave()
            raise
        finally:
            timer.cancel()
            if not turn.done():
                turn.cancel()
                self._waiting[lane].remove(turn)
        return None if turn.cancelled() else Place(self)

    def let_in(self) -> None:
        """Lets in who waits, as far as there is room; to be called, too, when `limit` was raised."""
        for lane in self._waiting.values():
            while lane and not self._shut:
                self._place()
                lane.popleft().set_result(None)

    @property
    def _shut(self) -> bool:
        return self.full or self.starting >= self._most_starting

    def _place(self) -> Place:
        self.inside += 1
        self.starting += 1
        return Place(self)


@dataclass(slots=True)
class Place:
    """Of one call that was let in."""

    _lanes: Lanes
    _starting: bool = True

    def on_its_way(self) -> None:
        """The call has left us: the next may start. Once counts."""
        if self._starting:
            self._starting = False
            self._lanes.starting -= 1
            self._lanes.let_in()

    def leave(self) -> None:
        """The call has ended."""
        self._lanes.inside -= 1
        if self._starting:
            self._starting = False
            self._lanes.starting -= 1
        self._lanes.let_in()
