"""What happened in a run, for people: time, process, event."""

from __future__ import annotations

from typing import NamedTuple

from tests.simulation.loop import PROCESS, SimulatedLoop


class Event(NamedTuple):
    at_s: float
    process: str
    what: str


class Story:
    """Keeps what is told, if it is wanted: most runs are only judged."""

    def __init__(self, loop: SimulatedLoop, *, wanted: bool) -> None:
        self.events: list[Event] = []
        self.wanted = wanted
        self._loop = loop

    def tell(self, what: str, process: str | None = None) -> None:
        if self.wanted:
            teller = PROCESS.get()
            self.events.append(Event(self._loop.now, process or (teller.name if teller else "-"), what))

    def lines(self) -> list[str]:
        return [f"{event.at_s:9.3f}  {event.process:20} {event.what}" for event in self.events]
