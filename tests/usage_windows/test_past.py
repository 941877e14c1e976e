"""The records before the place where reading begins, on the broker in memory and on real Kafka."""

from __future__ import annotations

import asyncio
import uuid

from daytwo.broker import Broker, Partition, Raw, outgoing
from daytwo.clock import SystemClock
from daytwo.topics import REQUEST_FINISHED
from services.usage_windows.past import Past
from tests.usage_windows.builders import finished


async def test_the_last_records_before_a_moment_are_handed_over_in_order(broker: Broker) -> None:
    tenant = f"past-{uuid.uuid4().hex[:8]}"
    sender = broker.sender()
    await sender.start()
    places = list[tuple[int, int]]()
    for number in range(6):
        places += await sender.send([outgoing(finished(tenant=tenant, session="s", request_id=f"r-{number}"))])
        await asyncio.sleep(0.02)
    await sender.stop()
    partition = places[0][0]
    past, found = Past(broker.reader(), SystemClock()), list[Raw]()
    await past.start()
    moments = list[Raw]()
    await past.read(Partition(REQUEST_FINISHED.name, partition), 2**62, 6, moments.append)

    await past.read(Partition(REQUEST_FINISHED.name, partition), moments[4].timestamp_ms, 3, found.append)

    await past.stop()
    assert [raw.offset for raw in found] == [offset for _, offset in places[1:4]]


async def test_before_the_first_record_there_is_nothing(broker: Broker) -> None:
    past, found = Past(broker.reader(), SystemClock()), list[Raw]()
    await past.start()
    await past.read(Partition(REQUEST_FINISHED.name, 0), 0, 100, found.append)
    await past.stop()
    assert found == []
