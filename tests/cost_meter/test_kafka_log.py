"""Reading one record back, on the broker in memory and on real Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from daytwo.broker import Broker, Partition, Raw, outgoing
from daytwo.clock import SystemClock
from daytwo.errors import RetryableError
from services.cost_meter.kafka_log import KafkaLog
from tests.cost_meter.builders import FixedClock, ended


async def test_records_are_read_back_by_their_place_by_many_at_once(broker: Broker) -> None:
    sender, log = broker.sender(), KafkaLog(broker.reader(), SystemClock())
    await sender.start()
    await log.start()
    written = [outgoing(ended(detail=f"answer {number}")) for number in range(20)]
    places = await sender.send(written)

    read = await asyncio.gather(*[log.read("request-finished", partition, offset) for partition, offset in reversed(places)])
    beyond = await log.read("request-finished", places[0][0], places[-1][1] + 1000)

    await log.stop()
    await sender.stop()
    assert read == [record.value for record in reversed(written)]
    assert beyond is None


class Tail:
    """A log whose records before `first` are gone; it may also be silent."""

    def __init__(self, first: int | None) -> None:
        self.first = first

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def partitions(self, topic: str) -> Sequence[Partition]:
        return [Partition(topic, 0)]

    async def ends(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        return dict.fromkeys(partitions, 100)

    async def offsets_at(self, partitions: Sequence[Partition], timestamp_ms: int) -> Mapping[Partition, int]:
        return dict.fromkeys(partitions, 0)

    async def seek(self, offsets: Mapping[Partition, int | None]) -> None: ...

    async def positions(self) -> Mapping[Partition, int]:
        return {}

    async def read(self, timeout_s: float) -> Sequence[Raw]:
        if self.first is None:
            clock.now += int(timeout_s * 1000)
            return []
        return [Raw(topic="t", partition=0, offset=self.first, timestamp_ms=0, key=None, value=b"later")]


clock = FixedClock()


async def test_a_record_that_is_no_longer_kept_is_none_and_not_the_next_one() -> None:
    assert await KafkaLog(Tail(first=50), clock).read("t", 0, 49) is None
    assert await KafkaLog(Tail(first=50), clock).read("t", 0, 50) == b"later"


async def test_a_silent_log_may_be_asked_again_later() -> None:
    with pytest.raises(RetryableError, match="store_unavailable"):
        await KafkaLog(Tail(first=None), clock).read("t", 0, 49)
