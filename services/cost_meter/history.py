"""What the log says of requests, for the rebuilding of the ledger: who was admitted with what, and what it cost.

Of the records only the fields up to the last that counts are read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from daytwo.broker import Partition, Raw, Reader
from daytwo.clock import Clock
from daytwo.codec import decode, decode_until
from daytwo.errors import RetryableError, UnreadableError
from daytwo.records import TenantConfigured
from daytwo.results import result_until
from daytwo.topics import REQUEST_ADMITTED, REQUEST_FINISHED, TENANT_CONFIGURED
from services.cost_meter.budget import Subjects
from services.cost_meter.ports import Settlement

OPENED_AT_ONCE: Final = 200
"""Records opened before others have their turn: some milliseconds, in which nothing is sent to Redis."""
SILENCE_S: Final = 30.0
"""So long may the broker be silent while there is something to read."""


class Admitted(NamedTuple):
    """One record of request-admitted."""

    tenant: str
    request_id: str
    subjects: Subjects
    fingerprint: str
    admission: Mapping[str, Any]
    """As Admission.to_avro."""
    timestamp_ms: int
    partition: int
    offset: int


class Ended(NamedTuple):
    """One record of request-finished that has a fingerprint, and is not a refusal at the door."""

    settlement: Settlement
    subjects: Subjects
    timestamp_ms: int


class History:
    """Raises RetryableError while the log does not answer."""

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._read_to: dict[Partition, int] = {}

    async def start(self) -> None:
        await self._reader.start()

    async def stop(self) -> None:
        await self._reader.stop()

    async def rest(self) -> None:
        """Until it is read again nothing is fetched."""
        await self._reader.seek({})

    async def whole(self) -> bool:
        """Whether the first request of all times is on it still."""
        for topic in (REQUEST_ADMITTED, REQUEST_FINISHED):
            partitions = await self._reader.partitions(topic.name)
            if any((await self._reader.offsets_at(partitions, 0)).values()):
                return False
        return True

    async def tenants(self) -> Mapping[str, TenantConfigured]:
        found: dict[str, TenantConfigured] = {}
        for partition in await self._reader.partitions(TENANT_CONFIGURED.name):
            self._read_to.pop(partition, None)
        async for raws in self._raws(TENANT_CONFIGURED.name):
            for raw in raws:
                name = (raw.key or b"").decode("utf-8", "replace")
                try:
                    if raw.value is None:
                        found.pop(name, None)
                    else:
                        found[name] = decode(TENANT_CONFIGURED, raw.value)
                except UnreadableError:
                    found.pop(name, None)
        return found

    async def begin(self, since_ms: int | None) -> None:
        """What follows is read from a moment on; None: from the beginning."""
        self._read_to.clear()
        if since_ms is not None:
            for topic in (REQUEST_ADMITTED, REQUEST_FINISHED):
                self._read_to.update(await self._reader.offsets_at(await self._reader.partitions(topic.name), max(0, since_ms)))

    async def admitted(self) -> AsyncIterator[Sequence[Admitted]]:
        """All that lies between where it was read to and the end as of now."""
        async for raws in self._raws(REQUEST_ADMITTED.name):
            yield [one for raw in raws if (one := _admitted(raw)) is not None]

    async def ended(self) -> AsyncIterator[Sequence[Ended]]:
        async for raws in self._raws(REQUEST_FINISHED.name):
            yield [one for raw in raws if (one := _ended(raw)) is not None]

    async def read_to(self) -> Sequence[int]:
        """Of each partition of request-admitted the offset up to which it was read."""
        return [self._read_to.get(partition, 0) for partition in sorted(await self._reader.partitions(REQUEST_ADMITTED.name))]

    async def _raws(self, topic: str) -> AsyncIterator[Sequence[Raw]]:
        partitions = await self._reader.partitions(topic)
        ends = await self._reader.ends(partitions)
        left = {partition: end for partition, end in ends.items() if self._read_to.get(partition, 0) < end}
        if not left:
            return
        await self._reader.seek({partition: self._read_to.get(partition) for partition in left})
        last = self._clock.monotonic()
        while left:
            records = await self._reader.read(0.2)
            wanted = [raw for raw in records if raw.offset < ends[Partition(raw.topic, raw.partition)]]
            for first in range(0, len(wanted), OPENED_AT_ONCE):
                yield wanted[first : first + OPENED_AT_ONCE]
                await asyncio.sleep(0)
            positions = await self._reader.positions()
            left = {partition: end for partition, end in left.items() if positions[partition] < end}
            if records:
                last = self._clock.monotonic()
            elif self._clock.monotonic() - last > SILENCE_S:
                raise RetryableError("store_unavailable", f"{topic} stands still before its end")
        self._read_to.update(ends)


def _read(fields: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """None: the bytes are no record of the topic."""
    try:
        return fields()
    except UnreadableError:
        return None


def _subjects(value: Mapping[str, str]) -> Subjects:
    return {
        "tenant": "",
        "user": value["user"],
        "workflow": value["workflow"],
        "session": value["session"],
        "agent": value["agent"],
    }


def _admitted(raw: Raw) -> Admitted | None:
    value = _read(lambda: decode_until(REQUEST_ADMITTED, raw.value or b"", "admission"))
    if value is None:
        return None
    request = value["request"]
    return Admitted(
        tenant=request["tenant"],
        request_id=request["request_id"],
        subjects=_subjects(request),
        fingerprint=value["fingerprint"],
        admission=value["admission"],
        timestamp_ms=raw.timestamp_ms,
        partition=raw.partition,
        offset=raw.offset,
    )


def _ended(raw: Raw) -> Ended | None:
    value = _read(lambda: result_until(raw.value or b"", "attempts"))
    if value is None or not value["fingerprint"] or value["submission"]:
        return None
    settlement = Settlement(
        tenant=value["tenant"],
        request_id=value["request_id"],
        fingerprint=value["fingerprint"],
        cost_nano=value["cost_nano"],
        tokens=value["usage"]["input_tokens"] + value["usage"]["output_tokens"],
        partition=raw.partition,
        offset=raw.offset,
        attempts=tuple([(attempt["attempt_id"], attempt["cost_nano"], attempt["tokens"]) for attempt in value["attempts"]]),
    )
    return Ended(settlement=settlement, subjects=_subjects(value), timestamp_ms=raw.timestamp_ms)
