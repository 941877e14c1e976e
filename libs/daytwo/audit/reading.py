"""Reads the log into a view: to its end as of now, and further when asked again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from daytwo.audit.view import Place, View
from daytwo.broker import Partition, Raw, Reader
from daytwo.clock import Clock
from daytwo.codec import decode
from daytwo.errors import RetryableError, UnreadableError
from daytwo.topic import Topic
from daytwo.topics import (
    ANSWER_LEARNED,
    ATTEMPT_FINISHED,
    ATTEMPT_STARTED,
    DEAD_LETTER,
    DOCUMENT_FINISHED,
    DOCUMENT_SUBMITTED,
    LEDGER_OPENED,
    REQUEST_ACCEPTED,
    REQUEST_ADMITTED,
    REQUEST_FINISHED,
    REQUEST_SUBMITTED,
    TENANT_CONFIGURED,
)

IN_CAUSAL_ORDER: Final[tuple[Topic[Any], ...]] = (
    TENANT_CONFIGURED,
    LEDGER_OPENED,
    DOCUMENT_SUBMITTED,
    REQUEST_SUBMITTED,
    REQUEST_ACCEPTED,
    REQUEST_ADMITTED,
    ATTEMPT_STARTED,
    ATTEMPT_FINISHED,
    ANSWER_LEARNED,
    REQUEST_FINISHED,
    DOCUMENT_FINISHED,
    DEAD_LETTER,
)
SILENCE_S: Final = 30.0
"""So long may the broker be silent while there is something to read."""


class Reading:
    """One reader over the topics of the audit. Raises RetryableError where the broker does not answer."""

    def __init__(self, reader: Reader, view: View, clock: Clock, *, since_ms: int | None = None) -> None:
        """`since_ms` (epoch milliseconds): begins there; None: at the beginning."""
        self._reader = reader
        self._view = view
        self._clock = clock
        self._since_ms = since_ms
        self._next: dict[Partition, int] = {}

    async def catch_up(self) -> None:
        """Reads everything up to the end as of now.

        Ends are taken against the causal order: what caused a record that is read is then read, too, though traffic goes on.
        """
        ends: dict[Topic[Any], Mapping[Partition, int]] = {}
        for topic in reversed(IN_CAUSAL_ORDER):
            ends[topic] = await self._reader.ends(await self._reader.partitions(topic.name))
        for topic in IN_CAUSAL_ORDER:
            await self._read(topic, ends[topic])

    async def _read(self, topic: Topic[Any], ends: Mapping[Partition, int]) -> None:
        begun = await self._begin(topic, list(ends))
        open_ends = {partition: end for partition, end in ends.items() if (begun[partition] or 0) < end}
        if not open_ends:
            return
        await self._reader.seek({partition: begun[partition] for partition in open_ends})
        last = self._clock.monotonic()
        while open_ends:
            records = await self._reader.read(0.2)
            for raw in records:
                self._take(topic, raw, open_ends)
            if records:
                last = self._clock.monotonic()
            elif self._clock.monotonic() - last > SILENCE_S:
                raise RetryableError("store_unavailable", f"{topic.name} stands still before its end")
            else:
                await self._pass_gaps(open_ends)
            open_ends = {partition: end for partition, end in open_ends.items() if self._next.get(partition, 0) < end}

    async def _begin(self, topic: Topic[Any], partitions: list[Partition]) -> dict[Partition, int | None]:
        """Where to read on; None: from the earliest that is kept."""
        if self._since_ms is None or topic.compacted or any(partition in self._next for partition in partitions):
            return {partition: self._next.get(partition) for partition in partitions}
        found = await self._reader.offsets_at(partitions, self._since_ms)
        self._next.update(found)
        self._note_start(topic, dict(found))
        return dict(found)

    def _take(self, topic: Topic[Any], raw: Raw, ends: Mapping[Partition, int]) -> None:
        partition = Partition(raw.topic, raw.partition)
        if raw.offset >= ends.get(partition, 0) or raw.offset < self._next.get(partition, 0):
            return
        if partition not in self._next:
            self._note_start(topic, {partition: raw.offset})
        self._next[partition] = raw.offset + 1
        take(self._view, topic, raw)

    async def _pass_gaps(self, ends: Mapping[Partition, int]) -> None:
        """Compaction leaves nothing before some ends."""
        for partition, position in (await self._reader.positions()).items():
            if partition in ends and position > self._next.get(partition, 0):
                self._next[partition] = position

    def _note_start(self, topic: Topic[Any], starts: Mapping[Partition, int]) -> None:
        """What is gone of a request topic limits what can be judged: nothing younger than its retention is ever gone."""
        if topic.retention_hours is None or topic is DEAD_LETTER or not any(starts.values()):
            return
        self._view.whole = False
        kept_since_ms = self._clock.now_ms() - topic.retention_hours * 3_600_000
        self._view.since_ms = max(self._view.since_ms, self._since_ms or kept_since_ms)


def take(view: View, topic: Topic[Any], raw: Raw) -> None:
    """Adds a record as it lies on the log. Those of a topic come in log order within a partition, topics in causal order."""
    if raw.value is None:
        return
    place = Place(raw.timestamp_ms, raw.partition, raw.offset)
    try:
        record = decode(topic, raw.value)
    except UnreadableError:
        view.take_unreadable(topic.name, place)
    else:
        view.take(record, place)
