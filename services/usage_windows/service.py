"""usage-windows: what tenants, users, workflows and agents use by time, and who is over a rate limit until when.

First what was used is written again by tenant (here), then the stream sums it up (`stream.py`). A batch is acknowledged before the
next is written, and has one record of a tenant and partition: so in usage-recorded no entry is missing before a later one of its
partition, and a reader may skip what it has by offset alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from prometheus_client.registry import Collector

from daytwo.broker import Partition, Raw
from daytwo.codec import decode
from daytwo.errors import UnreadableError
from daytwo.flow import Change, Context, Follower, Input, Output, Service, Table
from daytwo.records import RequestAdmitted, RequestFinished, TenantConfigured, UsageEntry
from daytwo.topic import Topic
from daytwo.topics import REQUEST_ADMITTED, REQUEST_FINISHED, TENANT_CONFIGURED
from services.usage_windows.entries import FirstOfEach, by_tenant, of_admitted, of_finished
from services.usage_windows.past import Past
from services.usage_windows.settings import Settings

Used = RequestAdmitted | RequestFinished


class Tenants(Table[TenantConfigured]):
    """Follows tenant-configured, and says whose configuration is another."""

    def __init__(self) -> None:
        super().__init__(TENANT_CONFIGURED)
        self.changed: Callable[[Sequence[str]], None] = lambda _: None

    async def apply(self, changes: Sequence[Change[TenantConfigured]]) -> None:
        before = {change.key: self.get(change.key) for change in changes}
        await super().apply(changes)
        self.changed([key for key, row in before.items() if _rates(row) != _rates(self.get(key))])


def service(
    *,
    past: Past,
    settings: Settings,
    followers: Sequence[Follower[Any]],
    start: Callable[[], Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
    view: Callable[[], Awaitable[Any]],
    metrics: Collector | None = None,
) -> Service:
    """The first half, and what starts and stops the second."""

    async def begin() -> None:
        await past.start()
        await start()

    async def end() -> None:
        await stop()
        await past.stop()

    return Service(
        name="usage-windows",
        inputs=(_input(REQUEST_ADMITTED, past, settings), _input(REQUEST_FINISHED, past, settings)),
        followers=followers,
        start=begin,
        stop=end,
        views={"/windows": view},
        collectors=() if metrics is None else (metrics,),
    )


def _input(topic: Topic[Any], past: Past, settings: Settings) -> Input[Any]:
    recorder = Recorder(topic, past, settings.remembered)
    return Input(
        topic=topic,
        handle_batch=recorder.record,
        batch_size=500,
        concurrent_batches=1,
        ending=lambda _record, _context, _error: (),
        prepare=recorder.prepare,
        release=recorder.release,
    )


class Recorder:
    """Writes again by tenant what a topic of the road says."""

    def __init__(self, topic: Topic[Any], past: Past, remembered: int) -> None:
        self._topic = topic
        self._past = past
        self._remembered = remembered
        self._seen: defaultdict[int, FirstOfEach] = defaultdict(lambda: FirstOfEach(remembered))

    async def record(self, batch: Sequence[tuple[Used, Context]]) -> Sequence[Sequence[Output]]:
        """All outputs stand at the first record: the batch is one write."""
        entries = []
        for record, context in batch:
            entry = self._entry(record, context.partition, context.offset, context.timestamp_ms)
            if entry is not None:
                entries.append((_tenant(record), context.partition, entry))
        return [list(by_tenant(self._topic.name, entries)), *[()] * (len(batch) - 1)]

    async def prepare(self, partition: int, timestamp_ms: int) -> None:
        """Remembers the requests before the first record of a partition (its timestamp: epoch milliseconds)."""
        await self._past.read(Partition(self._topic.name, partition), timestamp_ms, self._remembered, self._remember)

    def release(self, partition: int) -> None:
        self._seen.pop(partition, None)

    def _remember(self, raw: Raw) -> None:
        try:
            record = decode(self._topic, raw.value or b"")
        except UnreadableError:
            return
        self._entry(record, raw.partition, raw.offset, raw.timestamp_ms)

    def _entry(self, record: Used, partition: int, offset: int, at_ms: int) -> UsageEntry | None:
        """None: it is no use, or a repeat."""
        made = of_admitted(record, offset, at_ms) if isinstance(record, RequestAdmitted) else of_finished(record, offset, at_ms)
        if made is None or not self._seen[partition].is_first(_tenant(record), _request_id(record), offset):
            return None
        return made


def _tenant(record: Used) -> str:
    return record.request.tenant if isinstance(record, RequestAdmitted) else record.tenant


def _request_id(record: Used) -> str:
    return record.request.request_id if isinstance(record, RequestAdmitted) else record.request_id


def _rates(tenant: TenantConfigured | None) -> Any:
    return tenant.rate_limits if tenant is not None else ()
