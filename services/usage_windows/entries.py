"""What usage-windows takes from a request that was admitted or has ended. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from daytwo.records import Usage, UsageEntry, UsageRecorded


class FirstOfEach:
    """Tells which record of a partition is the first of its request. Remembers the last `kept` requests of the partition.

    By offset, so that a record read twice is what it was.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._first: OrderedDict[tuple[str, str], int] = OrderedDict()

    def is_first(self, tenant: str, request_id: str, offset: int) -> bool:
        first = self._first.setdefault((tenant, request_id), offset)
        if offset < first:
            self._first[tenant, request_id] = offset
        elif first == offset and len(self._first) > self._kept:
            self._first.popitem(last=False)
        return offset <= first


def of_admitted(record: Mapping[str, Any], offset: int, at_ms: int) -> UsageEntry | None:
    """Of the leading fields of request-admitted. None: it may only be answered from the cache, so it is no use of a provider."""
    if record["admission"]["cache_only"]:
        return None
    request = record["request"]
    return UsageEntry(
        offset=offset,
        at_ms=at_ms,
        user=request["user"],
        workflow=request["workflow"],
        session=request["session"],
        agent=request["agent"],
    )


def of_finished(record: Mapping[str, Any], offset: int, at_ms: int) -> UsageEntry | None:
    """Of the leading fields of request-finished. None: it was never accepted; anybody may have written that in this tenant's name."""
    if not record["fingerprint"] or record["submission"]:
        return None
    return UsageEntry(
        offset=offset,
        at_ms=at_ms,
        user=record["user"],
        workflow=record["workflow"],
        session=record["session"],
        agent=record["agent"],
        model=record["model"],
        refused=record["outcome"] == "refused",
        cached=record["served_by"] == "cache",
        usage=Usage(**record["usage"]),
        cost_nano=record["cost_nano"],
        saved_nano=record["saved_nano"],
    )


def by_tenant(topic: str, entries: Iterable[tuple[str, int, UsageEntry]]) -> Iterator[UsageRecorded]:
    """Records of (tenant, partition, entry). One for each tenant and partition: if the write of one fails, no later one is there."""
    gathered: dict[tuple[str, int], list[UsageEntry]] = {}
    for tenant, partition, entry in entries:
        gathered.setdefault((tenant, partition), []).append(entry)
    for (tenant, partition), found in gathered.items():
        yield UsageRecorded(tenant=tenant, topic=topic, partition=partition, entries=tuple(found))
