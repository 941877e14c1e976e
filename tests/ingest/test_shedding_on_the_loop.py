"""ingest on the real loop before a road that is too slow: what it hears from the log is enough to refuse in time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress

from daytwo.broker import outgoing
from daytwo.clock import SystemClock
from daytwo.codec import decode
from daytwo.fate import headers_of
from daytwo.loop import Loop
from daytwo.memory import MemoryBroker
from daytwo.metrics import Metrics
from daytwo.records import AttemptStarted, RequestAccepted
from daytwo.topics import REQUEST_ACCEPTED, REQUEST_FINISHED
from daytwo.world import World
from services.ingest.kafka_road_ends import KafkaRoadEnds
from services.ingest.service import service
from services.ingest.settings import Settings
from services.ingest.shedding import SheddingRules
from tests.ingest.builders import LineSplitter, request, tenant

PER_S = 200
CAN_PER_S = 80
SECONDS = 6.0
DEADLINE_MS = 1_600


class SlowRoad:
    """Takes up what ingest lets in, one after another, as fast as it can. `in_time`: while half of the time was left."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self.in_time: Counter[bool] = Counter()

    async def run(self) -> None:
        reader = self._broker.reader()
        await reader.start()
        partitions = await reader.partitions(REQUEST_ACCEPTED.name)
        await reader.seek(dict.fromkeys(partitions))
        while True:
            for raw in await reader.read(0.05):
                await asyncio.sleep(1 / CAN_PER_S)
                self._take_up(decode(REQUEST_ACCEPTED, raw.value or b""))

    def _take_up(self, accepted: RequestAccepted) -> None:
        asked = accepted.request
        now_ms = SystemClock().now_ms()
        self.in_time[asked.deadline_ms - now_ms >= DEADLINE_MS / 4] += 1
        started = AttemptStarted(
            attempt_id=f"a-{asked.request_id}",
            request_id=asked.request_id,
            tenant=asked.tenant,
            session=asked.session,
            number=1,
            deployment="d",
            model="m",
            bound_nano=1,
            started_at_ms=now_ms,
        )
        self._broker.append(outgoing(started, headers_of(started)))


async def test_twice_what_the_road_can_do_is_refused_at_the_door_and_the_rest_is_in_time() -> None:
    clock, world = SystemClock(), World(env={})
    broker = MemoryBroker(clock)
    broker.append(outgoing(tenant()))
    rules = SheddingRules(target_ms=400, patience_ms=1_500)
    ingest = service(Settings(shedding=rules), LineSplitter(), KafkaRoadEnds(broker, clock, random.Random(1)))
    loop, road = Loop(ingest, broker, world, Metrics(), sender=broker.sender()), SlowRoad(broker)
    running, taking_up = asyncio.create_task(loop.run()), asyncio.create_task(road.run())

    for number in range(int(PER_S * SECONDS)):
        asked = request(request_id=f"r-{number}", session=f"s-{number}", deadline_ms=clock.now_ms() + DEADLINE_MS)
        broker.append(outgoing(asked, headers_of(asked)))
        await asyncio.sleep(1 / PER_S)
    loop.stop()
    await running
    taking_up.cancel()
    with suppress(asyncio.CancelledError):
        await taking_up

    refused = [decode(REQUEST_FINISHED, raw.value or b"") for raw in broker.records(REQUEST_FINISHED.name)]
    assert {(each.outcome, each.reason) for each in refused} == {("refused", "overloaded")}
    assert all((each.retry_after_ms or 0) >= 1_000 and each.fingerprint and each.submission for each in refused)
    assert len(refused) > PER_S
    assert road.in_time[True] > 0.8 * road.in_time.total()
