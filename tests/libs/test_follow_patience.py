"""Followers of unequal patience have readers of their own, and a service begins when all of them have caught up."""

from __future__ import annotations

from collections.abc import Sequence

from daytwo.broker import Reader, outgoing
from daytwo.clock import SystemClock
from daytwo.flow import Change, Context, Input, Output, Service, Table
from daytwo.follow import AT_ONCE, PATIENCE_MS
from daytwo.memory import MemoryBroker
from daytwo.records import RequestSubmitted, TenantConfigured, ThrottlePublished
from daytwo.topics import REQUEST_SUBMITTED, TENANT_CONFIGURED, THROTTLE_PUBLISHED
from tests.libs.builders import Bench, ending, until

THROTTLE = ThrottlePublished(
    tenant="acme", scope="tenant", subject="", kind="requests", period="minute", limit=1, used=1, until_ms=1, published_at_ms=1
)


class Urgent(Table[ThrottlePublished]):
    patience_ms = 0


class Asked(MemoryBroker):
    """Notes the patience of each reader."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.patience: list[int] = []

    def reader(self, *, patience_ms: int = 0) -> Reader:
        self.patience.append(patience_ms)
        return super().reader(patience_ms=patience_ms)


async def nothing(_record: RequestSubmitted, _context: Context) -> Sequence[Output]:
    return []


async def test_each_follower_is_read_with_its_patience_and_all_have_caught_up_before_the_first_record() -> None:
    broker = Asked()
    bench = Bench(broker)
    tenants, urgent = Table(TENANT_CONFIGURED), Urgent(THROTTLE_PUBLISHED)
    await bench.send(outgoing(TenantConfigured(tenant="acme")), outgoing(THROTTLE))
    source = Input(topic=REQUEST_SUBMITTED, handle=nothing, ending=ending)
    service = Service(name="g", inputs=[source], followers=[tenants, urgent])

    async with bench.running(service):
        assert (len(tenants.rows), len(urgent.rows)) == (1, 1)
        await bench.send(outgoing(TenantConfigured(tenant="other")))
        await until(lambda: len(tenants.rows) == 2)

    assert sorted(broker.patience[:2]) == [0, PATIENCE_MS]


class Counted(Table[TenantConfigured]):
    def __init__(self) -> None:
        super().__init__(TENANT_CONFIGURED)
        self.at_once: list[int] = []

    async def apply(self, changes: Sequence[Change[TenantConfigured]]) -> None:
        self.at_once.append(len(changes))
        await super().apply(changes)


async def test_what_is_read_at_once_is_applied_a_few_hundred_at_a_time_in_its_order() -> None:
    """Ten thousand tenants decoded together cost 1.7 KB each for good, in holes of the heap; applied so, 0.2 KB."""
    bench, tenants = Bench(MemoryBroker(SystemClock())), Counted()
    await bench.send(*[outgoing(TenantConfigured(tenant=f"t-{number % 900}", default_timeout_ms=number)) for number in range(1800)])
    service = Service(name="g", inputs=[Input(topic=REQUEST_SUBMITTED, handle=nothing, ending=ending)], followers=[tenants])

    async with bench.running(service):
        assert sum(tenants.at_once) == 1800

    assert max(tenants.at_once) <= AT_ONCE
    assert {name: row.default_timeout_ms for name, row in tenants.rows.items()} == {f"t-{n % 900}": n for n in range(900, 1800)}
