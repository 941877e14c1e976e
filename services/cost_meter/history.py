"""What the log says of requests, for the rebuilding of the ledger: who was admitted with what, and what it cost.

Of the records only the few fields that count are read; the rest is skipped over in its bytes.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Generic, TypeVar

from fastavro import parse_schema, schemaless_reader

from daytwo.broker import Partition, Raw, Reader
from daytwo.clock import Clock
from daytwo.codec import HEADER_BYTES, decode, registry
from daytwo.errors import RetryableError, UnreadableError
from daytwo.records import TenantConfigured
from daytwo.topic import Topic
from daytwo.topics import REQUEST_ADMITTED, REQUEST_FINISHED, TENANT_CONFIGURED
from services.cost_meter.budget import SCOPES, Subjects
from services.cost_meter.ports import Settlement

PATIENCE_MS: Final = 20
"""How long Kafka may hold back a fetch of this reader. Whatever else is asked of a broker waits behind it, and a rebuilding asks two dozen
questions: with Kafka's half second it took 5 s and more, however short the log."""
SILENCE_S: Final = 30.0
"""So long may the broker be silent while there is something to read."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """One record of request-admitted."""

    tenant: str
    request_id: str
    subjects: Subjects
    fingerprint: str
    admission: Mapping[str, Any]
    """As Admission.to_avro."""
    timestamp_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
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
            yield [raw for raw in records if raw.offset < ends[Partition(raw.topic, raw.partition)]]
            positions = await self._reader.positions()
            left = {partition: end for partition, end in left.items() if positions[partition] < end}
            if records:
                last = self._clock.monotonic()
            elif self._clock.monotonic() - last > SILENCE_S:
                raise RetryableError("store_unavailable", f"{topic} stands still before its end")
        self._read_to.update(ends)


class Projection(Generic[T]):
    """Reads some fields of a record, whatever version it was written in."""

    def __init__(self, topic: Topic[Any], fields: Mapping[str, Any]) -> None:
        """`fields`: those wanted, by name; of a record field a mapping of the same kind, else True."""
        self._topic = topic
        schema = registry()[topic.schema_id]["schema"]
        self._wanted = parse_schema(_pruned(schema, fields))

    def read(self, data: bytes) -> Mapping[str, Any] | None:
        """None: the bytes are no record of the topic."""
        entry = registry().get(int.from_bytes(data[1:HEADER_BYTES], "big"))
        if entry is None or entry["subject"] != f"{self._topic.name}-value":
            return None
        stream = io.BytesIO(data)
        stream.seek(HEADER_BYTES)
        try:
            value: Any = schemaless_reader(stream, _writer(int.from_bytes(data[1:HEADER_BYTES], "big")), self._wanted)
        except (ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, MemoryError, RecursionError):
            return None
        found: Mapping[str, Any] = value
        return found


def _pruned(schema: Mapping[str, Any], wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    fields = []
    for field in schema["fields"]:
        part = wanted.get(field["name"])
        if part is True:
            fields.append(field)
        elif part is not None:
            fields.append({**field, "type": _pruned(field["type"], part)})
    return {**schema, "fields": fields}


@cache
def _writer(schema_id: int) -> Any:
    return parse_schema(registry()[schema_id]["schema"])


_IDS: Final = dict.fromkeys(("request_id", "tenant", *SCOPES[1:]), True)


@cache
def _admissions() -> Projection[Any]:
    return Projection(REQUEST_ADMITTED, {"request": _IDS, "fingerprint": True, "admission": True})


@cache
def _ends() -> Projection[Any]:
    counts = {"input_tokens": True, "output_tokens": True}
    return Projection(
        REQUEST_FINISHED, {**_IDS, "fingerprint": True, "submission": True, "cost_nano": True, "usage": counts, "attempts": True}
    )


def _subjects(value: Mapping[str, str]) -> Subjects:
    return {"tenant": "", **{scope: value[scope] for scope in SCOPES[1:]}}


def _admitted(raw: Raw) -> Admitted | None:
    value = _admissions().read(raw.value or b"")
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
    )


def _ended(raw: Raw) -> Ended | None:
    value = _ends().read(raw.value or b"")
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
        attempts=tuple([(attempt["attempt_id"], attempt["cost_nano"]) for attempt in value["attempts"]]),
    )
    return Ended(settlement=settlement, subjects=_subjects(value), timestamp_ms=raw.timestamp_ms)
