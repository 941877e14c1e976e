"""Reads from the log what was spent: attempts, quotes, corrections. No command of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from daytwo.broker import Broker, outgoing
from daytwo.cli.log import readable, scan
from daytwo.money.attempts import Corrections, Journal, Quotes
from daytwo.records import CostCorrected
from daytwo.topic import R, Topic
from daytwo.topics import ATTEMPT_FINISHED, ATTEMPT_STARTED, COST_CORRECTED, REQUEST_ADMITTED


async def records(broker: Broker, topic: Topic[R], *, since_ms: int | None = None) -> AsyncIterator[R]:
    """What can be read of a topic, to its end as of now."""
    async for raw in scan(broker, topic, since_ms=since_ms):
        if (record := readable(topic, raw)) is not None:
            yield record


async def journal(broker: Broker, *, since_ms: int | None = None) -> Journal:
    """Ends first: an attempt that begins meanwhile is not taken for one without an end."""
    found = Journal()
    async for finished in records(broker, ATTEMPT_FINISHED, since_ms=since_ms):
        found.take(finished)
    async for started in records(broker, ATTEMPT_STARTED, since_ms=since_ms):
        found.take(started)
    return found


async def quotes(broker: Broker, *, since_ms: int | None = None) -> Quotes:
    found = Quotes()
    async for admitted in records(broker, REQUEST_ADMITTED, since_ms=since_ms):
        found.take(admitted)
    return found


async def corrections(broker: Broker) -> Corrections:
    found = Corrections()
    async for record in records(broker, COST_CORRECTED):
        found.take(record)
    return found


async def record(broker: Broker, corrected: list[CostCorrected]) -> None:
    sender = broker.sender()
    await sender.start()
    try:
        await sender.send([outgoing(each) for each in corrected])
    finally:
        await sender.stop()


def source_name(source: str | Path) -> str:
    """How a file or address is named in what it corrects: the same one is the same source, wherever it was called from."""
    text: Any = str(source)
    return text if "://" in text else Path(text).name
