"""Followers of unequal patience have readers of their own, and a service begins when all of them have caught up."""

from __future__ import annotations

from collections.abc import Sequence

from daytwo.broker import Reader, outgoing
from daytwo.clock import SystemClock
from daytwo.flow import Context, Input, Output, Service, Table
from daytwo.follow import PATIENCE_MS
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
