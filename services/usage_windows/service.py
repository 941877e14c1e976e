"""usage-windows: what tenants, users, workflows and agents use by time, and who is over a rate limit until when.

First what was used is written again by tenant (here), then the stream sums it up (`stream.py`). A batch is acknowledged before the
next is written, and has one record of a tenant and partition: so in usage-recorded no entry is missing before a later one of its
partition, and a reader may skip what it has by offset alone.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

from prometheus_client.registry import Collector

from daytwo.broker import Partition, Raw
from daytwo.codec import decode
from daytwo.errors import RetryableError, UnreadableError
from daytwo.flow import Change, Context, Follower, Input, Output, Service, Table
from daytwo.records import RequestAdmitted, RequestFinished, TenantConfigured, UsageEntry
from daytwo.topic import Topic
from daytwo.topics import REQUEST_ADMITTED, REQUEST_FINISHED, TENANT_CONFIGURED
from services.usage_windows.entries import FirstOfEach, by_tenant, of_admitted, of_finished
from services.usage_windows.past import Past
from services.usage_windows.settings import Settings

log = logging.getLogger(__name__)

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


PATIENCE_MS: Final = 50


def _input(topic: Topic[Any], past: Past, settings: Settings) -> Input[Any]:
    recorder = Recorder(topic, past, settings.remembered)
    return Input(
        topic=topic,
        handle_batch=recorder.record,
        batch_size=500,
        concurrent_batches=1,
        ending=lambda _record, _context, _error: (),
        release=recorder.release,
        # Nobody waits for it. A throttle comes so much later, beside the half second that it is decided for.
        patience_ms=PATIENCE_MS,
    )


class Recorder:
    """Writes again by tenant what a topic of the road says."""

    def __init__(self, topic: Topic[Any], past: Past, remembered: int) -> None:
        self._topic = topic
        self._past = past
        self._remembered = remembered
        self._seen: dict[int, FirstOfEach] = {}

    async def record(self, batch: Sequence[tuple[Used, Context]]) -> Sequence[Sequence[Output]]:
        """All outputs stand at the first record: the batch is one write."""
        entries = []
        for record, context in batch:
            if context.partition not in self._seen:
                await self._begin(context)
            entry = self._entry(record, context.partition, context.offset, context.timestamp_ms)
            if entry is not None:
                entries.append((_tenant(record), context.partition, entry))
        return [list(by_tenant(self._topic.name, entries)), *[()] * (len(batch) - 1)]

    async def _begin(self, first: Context) -> None:
        """Remembers the requests before the first record of a partition. Tries until it can: the batch must stay one write."""
        place = Partition(first.topic, first.partition)
        while True:
            seen = FirstOfEach(self._remembered)
            try:
                await self._past.read(place, first.offset, self._remembered, partial(self._remember, seen))
            except RetryableError as error:
                log.info("preparing %s: %s", place, error)
                await first.clock.sleep(0.5)
            else:
                self._seen[first.partition] = seen
                return

    def release(self, partition: int) -> None:
        self._seen.pop(partition, None)

    def _remember(self, seen: FirstOfEach, raw: Raw) -> None:
        try:
            record = decode(self._topic, raw.value or b"")
        except UnreadableError:
            return
        if _made(record, raw.offset, raw.timestamp_ms) is not None:
            seen.is_first(_tenant(record), _request_id(record), raw.offset)

    def _entry(self, record: Used, partition: int, offset: int, at_ms: int) -> UsageEntry | None:
        """None: it is no use, or a repeat."""
        made = _made(record, offset, at_ms)
        if made is None or not self._seen[partition].is_first(_tenant(record), _request_id(record), offset):
            return None
        return made


def _made(record: Used, offset: int, at_ms: int) -> UsageEntry | None:
    return of_admitted(record, offset, at_ms) if isinstance(record, RequestAdmitted) else of_finished(record, offset, at_ms)


def _tenant(record: Used) -> str:
    return record.request.tenant if isinstance(record, RequestAdmitted) else record.tenant


def _request_id(record: Used) -> str:
    return record.request.request_id if isinstance(record, RequestAdmitted) else record.request_id


def _rates(tenant: TenantConfigured | None) -> Any:
    return tenant.rate_limits if tenant is not None else ()
