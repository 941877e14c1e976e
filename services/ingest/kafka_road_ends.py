"""What becomes of requests, from the log: headers only, nothing is decoded."""

from __future__ import annotations

import logging
import random
from typing import Final

from daytwo.broker import Broker, Raw
from daytwo.client.tail import Tail
from daytwo.clock import Clock
from daytwo.fate import REQUEST_ID_HEADER
from daytwo.topics import ATTEMPT_STARTED, REQUEST_FINISHED
from services.ingest.ports import Heard

log = logging.getLogger(__name__)

PATIENCE_MS: Final = 200
"""How much later than it could be heard something is, for much fewer fetches."""


class KafkaRoadEnds:
    """A RoadEnds (ports.py) over a reader in no group: each ingest hears of every request, and knows its own."""

    def __init__(self, broker: Broker, clock: Clock, rng: random.Random) -> None:
        self._broker = broker
        self._clock = clock
        self._rng = rng
        self._tail: Tail | None = None

    async def start(self, heard: Heard) -> None:
        def take(raw: Raw) -> None:
            tell = heard.taken_up if raw.topic == ATTEMPT_STARTED.name else heard.ended
            tell(raw.headers.get(REQUEST_ID_HEADER, b""), raw.timestamp_ms)

        await self.stop()
        topics = (ATTEMPT_STARTED.name, REQUEST_FINISHED.name)
        tail = self._tail = Tail(
            self._broker, topics, take=take, trouble=_trouble, died=_died, clock=self._clock, rng=self._rng, patience_ms=PATIENCE_MS
        )
        await tail.start()

    async def stop(self) -> None:
        tail, self._tail = self._tail, None
        if tail is not None:
            await tail.stop()


def _trouble(what: str) -> None:
    if what:
        log.info("the ends of the road: %s", what)


def _died(error: Exception) -> None:
    # What is known is forgotten after a minute: without news nothing is refused.
    log.error("nothing more is heard of the ends of the road", exc_info=error)
