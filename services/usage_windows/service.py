"""usage-windows: what tenants, users, workflows and agents use by time, and who is over a rate limit until when.

First what was used is written again by tenant (here), then the stream sums it up (`stream.py`). A batch is acknowledged before the
next is written, and has one record of a tenant and partition: so in usage-recorded no entry is missing before a later one of its
partition, and a reader may skip what it has by offset alone.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from prometheus_client.registry import Collector

from daytwo.broker import Partition, Raw
from daytwo.clock import Clock
from daytwo.codec import decode_until
from daytwo.errors import RetryableError, UnreadableError
from daytwo.fate import dead_letter
from daytwo.flow import Change, Follower, Input, Output, Service, Table
from daytwo.records import TenantConfigured, UsageEntry
from daytwo.results import result_until
from daytwo.topic import Topic
from daytwo.topics import REQUEST_ADMITTED, REQUEST_FINISHED, TENANT_CONFIGURED
from services.usage_windows.entries import FirstOfEach, by_tenant, of_admitted, of_finished, of_late
from services.usage_windows.past import Past
from services.usage_windows.settings import Settings

log = logging.getLogger(__name__)


class Tenants(Table[TenantConfigured]):
    """Follows tenant-configured, and says whose configuration is another."""

    def __init__(self) -> None:
        super().__init__(TENANT_CONFIGURED)
        self.changed: Callable[[Sequence[str]], None] = lambda _: None
        self._counted: set[bytes] = set()

    async def apply(self, changes: Sequence[Change[TenantConfigured]]) -> None:
        before = {change.key: self.get(change.key) for change in changes}
        await super().apply(changes)
        for key in before:
            (self._counted.add if _limits_requests(self.get(key)) else self._counted.discard)(key.encode())
        self.changed([key for key, row in before.items() if _rates(row) != _rates(self.get(key))])

    def are_requests_limited(self, tenant: bytes) -> bool:
        """Whether admitted requests mean anything: only limits of requests count them. A new limit counts from when it is known here."""
        return tenant in self._counted


def service(
    *,
    tenants: Tenants,
    clock: Clock,
    past: Past,
    settings: Settings,
    followers: Sequence[Follower[Any]],
    start: Callable[[], Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
    view: Callable[[], Awaitable[Any]],
    ready: Callable[[], bool],
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
        inputs=(
            _input(Recorder(ADMITTED, past, clock, settings.remembered, tenants.are_requests_limited)),
            _input(Recorder(FINISHED, past, clock, settings.remembered)),
        ),
        followers=(tenants, *followers),
        start=begin,
        stop=end,
        ready=ready,
        views={"/windows": view},
        collectors=() if metrics is None else (metrics,),
    )


PATIENCE_MS: Final = 100
"""Nobody waits for it. A throttle comes so much later, and is decided so much earlier (`rates.coming`)."""


class Source(NamedTuple):
    """What is taken from a topic of the road."""

    topic: Topic[Any]
    read: Callable[[bytes], Mapping[str, Any]]
    """The leading fields of a record. Raises UnreadableError."""
    made: Callable[[Mapping[str, Any], int, int], UsageEntry | None]
    """An entry of the leading fields, the offset and the timestamp."""
    named: Callable[[Mapping[str, Any]], tuple[str, str]]
    """Tenant and id of the request."""


ADMITTED: Final = Source(
    REQUEST_ADMITTED,
    lambda data: decode_until(REQUEST_ADMITTED, data, "admission"),
    of_admitted,
    lambda row: (row["request"]["tenant"], row["request"]["request_id"]),
)
FINISHED: Final = Source(
    REQUEST_FINISHED, lambda data: result_until(data, "attempts"), of_finished, lambda row: (row["tenant"], row["request_id"])
)


def _input(recorder: Recorder) -> Input[Any]:
    return Input(
        topic=recorder.source.topic,
        handle_bulk=recorder.record,
        ending=lambda _record, _context, _error: (),
        release=recorder.release,
        patience_ms=PATIENCE_MS,
    )


class Recorder:
    """Writes again by tenant what a topic of the road says."""

    def __init__(self, source: Source, past: Past, clock: Clock, remembered: int, wanted: Callable[[bytes], bool] | None = None) -> None:
        """`wanted`: whether anything is to be taken of a tenant; None: of all."""
        self.source = source
        self._past = past
        self._clock = clock
        self._remembered = remembered
        self._wanted = wanted
        self._seen: dict[int, FirstOfEach] = {}

    async def record(self, raws: Sequence[Raw]) -> Sequence[Output]:
        """One write for all of them."""
        if self._wanted is not None:
            raws = [raw for raw in raws if self._wanted((raw.key or b"").partition(b"/")[0])]
        for raw in raws:
            if raw.partition not in self._seen:
                self._seen[raw.partition] = await self._begun(raw)
        entries: list[tuple[str, int, UsageEntry]] = []
        letters: list[Output] = []
        for raw in raws:
            try:
                entries += self._take(raw)
            except UnreadableError as error:
                letters.append(dead_letter(raw, error, service="usage-windows", now_ms=self._clock.now_ms()))
        return [*by_tenant(self.source.topic.name, entries), *letters]

    async def _begun(self, first: Raw) -> FirstOfEach:
        """The requests before the first record of a partition. Tries until it can."""
        place = Partition(first.topic, first.partition)
        while True:
            seen = FirstOfEach(self._remembered)
            try:
                await self._past.read(place, first.offset, self._remembered, partial(self._remember, seen))
            except RetryableError as error:
                log.info("preparing %s: %s", place, error)
                await self._clock.sleep(0.5)
            else:
                return seen

    def release(self, partition: int) -> None:
        self._seen.pop(partition, None)

    def _remember(self, seen: FirstOfEach, raw: Raw) -> None:
        try:
            row = self.source.read(raw.value or b"")
        except UnreadableError:
            return
        if self.source.made(row, raw.offset, raw.timestamp_ms) is not None:
            seen.is_first(*self.source.named(row), raw.offset, _attempts(row))

    def _take(self, raw: Raw) -> list[tuple[str, int, UsageEntry]]:
        """Tenant, partition and entry; nothing if it is no use, or a repeat."""
        row = self.source.read(raw.value or b"")
        made = self.source.made(row, raw.offset, raw.timestamp_ms)
        if made is None:
            return []
        name, seen = self.source.named(row), self._seen[raw.partition]
        if not seen.is_first(*name, raw.offset, _attempts(row)):
            made = of_late(row, raw.offset, raw.timestamp_ms, partial(seen.is_first_to_list, *name, raw.offset)) if _attempts(row) else None
        return [] if made is None else [(name[0], raw.partition, made)]


def _attempts(row: Mapping[str, Any]) -> Sequence[str]:
    """Ids of the attempts that a result lists."""
    return [attempt["attempt_id"] for attempt in row.get("attempts", ())]


def _rates(tenant: TenantConfigured | None) -> Any:
    return tenant.rate_limits if tenant is not None else ()


def _limits_requests(tenant: TenantConfigured | None) -> bool:
    return tenant is not None and any(rate.kind == "requests" for rate in tenant.rate_limits)
