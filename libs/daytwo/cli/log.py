"""Reading the log: all of a topic up to now, or from now on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from daytwo.broker import Broker, Partition, Raw, Reader
from daytwo.codec import decode
from daytwo.errors import RetryableError, UnreadableError
from daytwo.records import RequestFinished
from daytwo.topic import R, Topic
from daytwo.topics import REQUEST_FINISHED

READ_S = 0.5
STUCK_READS = 60
REPEATS_WITHIN_MS = 3_600_000
"""A repeat of a terminal result comes from a redelivery, within minutes of the first; this is how far back to look for that first."""


async def scan(broker: Broker, topic: Topic[Any], *, since_ms: int | None = None) -> AsyncIterator[Raw]:
    """Every record from `since_ms` (epoch milliseconds; None: the first kept) to the end as of now. Raises RetryableError."""
    reader = broker.reader()
    await reader.start()
    try:
        async for raw in _scan(reader, topic, since_ms):
            yield raw
    finally:
        await reader.stop()


async def _scan(reader: Reader, topic: Topic[Any], since_ms: int | None) -> AsyncIterator[Raw]:
    partitions = await reader.partitions(topic.name)
    ends = await reader.ends(partitions)
    starts = await reader.offsets_at(partitions, since_ms or 0)
    ends = {partition: end for partition, end in ends.items() if starts[partition] < end}
    if not ends:
        return
    await reader.seek({partition: starts[partition] for partition in ends})
    idle = 0
    while not _reached(await reader.positions(), ends):
        found = await reader.read(READ_S)
        idle = 0 if found else idle + 1
        if idle == STUCK_READS:
            raise RetryableError("store_unavailable", f"{topic.name} stands still before its end")
        for raw in found:
            if raw.offset < ends[Partition(raw.topic, raw.partition)]:
                yield raw


def _reached(positions: Any, ends: dict[Partition, int]) -> bool:
    return all(positions.get(partition, 0) >= end for partition, end in ends.items())


async def follow(broker: Broker, topic: Topic[Any], *, from_beginning: bool) -> AsyncIterator[Raw]:
    """Every record from the first kept, or from now on; never ends. Raises RetryableError."""
    reader = broker.reader()
    await reader.start()
    try:
        partitions: Sequence[Partition] = await reader.partitions(topic.name)
        ends = await reader.ends(partitions)
        await reader.seek({partition: None if from_beginning else ends[partition] for partition in partitions})
        while True:
            for raw in await reader.read(READ_S):
                yield raw
    finally:
        await reader.stop()


def readable(topic: Topic[R], raw: Raw) -> R | None:
    """The record, or None for a tombstone and for what is none: those who only look pass over it."""
    try:
        return decode(topic, raw.value) if raw.value is not None else None
    except UnreadableError:
        return None


class FirstResults:
    """Tells the first terminal record of a request, its result, from later ones. A refusal at the door is the end of a record under
    the request's id, and takes nobody's place."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, str, str]] = set()

    def take(self, raw: Raw) -> RequestFinished | None:
        """The result, or None for a repeat and for what cannot be read."""
        result = readable(REQUEST_FINISHED, raw)
        if result is None:
            return None
        identity = (result.tenant, result.request_id, result.submission)
        if identity in self._seen:
            return None
        self._seen.add(identity)
        return result


class Bookings:
    """What each record of request-finished adds to what was spent, as the ledger books it: the first result of a request all of its
    cost, a later one of the same request the attempts that none before it listed.
    """

    def __init__(self) -> None:
        self._firsts = FirstResults()
        self._fingerprints: dict[tuple[str, str], str] = {}
        self._attempts: set[str] = set()

    def take(self, raw: Raw) -> tuple[RequestFinished | None, int]:
        """The result that counts and 0, or the later one and its late nano-dollars; None: it adds nothing."""
        first = self._firsts.take(raw)
        record = first or readable(REQUEST_FINISHED, raw)
        if record is None or not record.fingerprint or record.submission:
            return first, 0
        of_first = self._fingerprints.setdefault((record.tenant, record.request_id), record.fingerprint)
        if of_first != record.fingerprint:
            return first, 0
        late = [attempt for attempt in record.attempts if attempt.attempt_id not in self._attempts]
        self._attempts.update(attempt.attempt_id for attempt in late)
        late_nano = 0 if first is not None else sum(attempt.cost_nano for attempt in late)
        return (record, late_nano) if first is not None or late_nano else (None, 0)


async def bookings(broker: Broker, *, since_ms: int | None = None) -> AsyncIterator[tuple[RequestFinished, int]]:
    """As `results`; with later results of what has ended that list attempts of their own, and their nano-dollars (of results: 0)."""
    found = Bookings()
    start = None if since_ms is None else max(0, since_ms - REPEATS_WITHIN_MS)
    async for raw in scan(broker, REQUEST_FINISHED, since_ms=start):
        record, late_nano = found.take(raw)
        if record is not None and raw.timestamp_ms >= (since_ms or 0):
            yield record, late_nano


async def results(broker: Broker, *, since_ms: int | None = None) -> AsyncIterator[RequestFinished]:
    """Results that ended at or after `since_ms`, up to now."""
    firsts = FirstResults()
    start = None if since_ms is None else max(0, since_ms - REPEATS_WITHIN_MS)
    async for raw in scan(broker, REQUEST_FINISHED, since_ms=start):
        result = firsts.take(raw)
        if result is not None and raw.timestamp_ms >= (since_ms or 0):
            yield result
