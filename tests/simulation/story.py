"""What happened in a run, for people: time, process, event."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.simulation.loop import PROCESS


class Event(NamedTuple):
    at_s: float
    process: str
    what: str


class Story:
    """Keeps what is told, if it is wanted: most runs are only judged."""

    def __init__(self, time: Callable[[], float], *, wanted: bool) -> None:
        """`time`: seconds since the start."""
        self.events: list[Event] = []
        self.wanted = wanted
        self._time = time

    def tell(self, what: str, process: str | None = None) -> None:
        if self.wanted:
            teller = PROCESS.get()
            self.events.append(Event(self._time(), process or (teller.name if teller else "-"), what))

    def lines(self) -> list[str]:
        return [f"{event.at_s:9.3f}  {event.process:20} {event.what}" for event in self.events]
