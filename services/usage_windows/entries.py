"""What usage-windows takes from a request that was admitted or has ended. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from daytwo.records import Usage, UsageEntry, UsageRecorded


class Listed(NamedTuple):
    """What is known of a request: the offset of its first record, and of each attempt that of the first record that lists it."""

    first: int
    attempts: tuple[tuple[str, int], ...] = ()


class FirstOfEach:
    """Tells which record of a partition is the first of its request, and which is the first to list an attempt. Remembers the last
    `kept` requests of the partition.

    By offset, so that a record read twice is what it was.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._known: OrderedDict[tuple[str, str], Listed] = OrderedDict()

    def is_first(self, tenant: str, request_id: str, offset: int, attempts: Sequence[str] = ()) -> bool:
        """Whether the record at `offset` is the first of the request. `attempts`: those that it lists."""
        known = self._known.get((tenant, request_id))
        if known is None:
            self._known[tenant, request_id] = Listed(offset, tuple([(each, offset) for each in attempts]))
            if len(self._known) > self._kept:
                self._known.popitem(last=False)
            return True
        if offset != known.first:
            listed = dict(known.attempts)
            listed.update({each: min(offset, listed.get(each, offset)) for each in attempts})
            self._known[tenant, request_id] = Listed(min(offset, known.first), tuple(listed.items()))
        return offset <= known.first

    def is_first_to_list(self, tenant: str, request_id: str, offset: int, attempt: str) -> bool:
        """Of a record that `is_first` was asked about."""
        return (attempt, offset) in self._known[tenant, request_id].attempts


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


def of_late(record: Mapping[str, Any], offset: int, at_ms: int, is_first: Callable[[str], bool]) -> UsageEntry | None:
    """Of a later result of a request: those of its attempts that it is the first to list. None: it adds nothing."""
    late = [attempt for attempt in record["attempts"] if is_first(attempt["attempt_id"])]
    tokens, nano = sum(attempt["tokens"] for attempt in late), sum(attempt["cost_nano"] for attempt in late)
    made = of_finished(record, offset, at_ms) if tokens or nano else None
    if made is None:
        return None
    return replace(made, late=True, refused=False, cached=False, usage=Usage(input_tokens=tokens), cost_nano=nano, saved_nano=0)


def by_tenant(topic: str, entries: Iterable[tuple[str, int, UsageEntry]]) -> Iterator[UsageRecorded]:
    """Records of (tenant, partition, entry). One for each tenant and partition: if the write of one fails, no later one is there."""
    gathered: dict[tuple[str, int], list[UsageEntry]] = {}
    for tenant, partition, entry in entries:
        gathered.setdefault((tenant, partition), []).append(entry)
    for (tenant, partition), found in gathered.items():
        yield UsageRecorded(tenant=tenant, topic=topic, partition=partition, entries=tuple(found))
