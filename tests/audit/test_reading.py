from __future__ import annotations

import uuid

from daytwo.audit import Reading, View
from daytwo.broker import Broker, outgoing
from daytwo.clock import SystemClock
from tests.audit.builders import accepted, finished


async def test_reading_goes_to_the_end_and_on_from_there_on_every_broker(broker: Broker) -> None:
    whose = f"t{uuid.uuid4().hex[:10]}"
    ids = [f"r{number}" for number in range(300)]
    sender, reader, view = broker.sender(), broker.reader(), View()
    await sender.start()
    await reader.start()
    reading = Reading(reader, view, SystemClock())
    try:
        await sender.send([outgoing(accepted(request_id, whose)) for request_id in ids])
        await reading.catch_up()
        seen = {request_id for (tenant, request_id), request in view.requests.items() if tenant == whose and request.first is None}
        assert seen == set(ids)

        await sender.send([outgoing(finished(request_id, whose, cost=0)) for request_id in ids])
        await reading.catch_up()
        await reading.catch_up()
        ends = [request for (tenant, _), request in view.requests.items() if tenant == whose and request.settling is not None]
        assert len(ends) == len(ids)
        assert sum(request.repeats for request in ends) == 0
    finally:
        await reader.stop()
        await sender.stop()
