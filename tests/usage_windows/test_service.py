"""The first half, in the loop that runs it: what of the road is written again by tenant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from daytwo.broker import Broker, Outgoing, outgoing
from daytwo.clock import SystemClock
from daytwo.codec import decode
from daytwo.flow import Change, Service
from daytwo.memory import MemoryBroker
from daytwo.records import UsageRecorded
from daytwo.topics import DEAD_LETTER, TENANT_CONFIGURED, USAGE_RECORDED
from services.usage_windows.past import Past
from services.usage_windows.service import Tenants, service
from services.usage_windows.settings import Settings
from tests.libs.builders import Bench, until
from tests.usage_windows.builders import admitted, finished, rate, tenant


async def nothing() -> None:
    return None


async def no_view() -> Any:
    return {}


def first_half(broker: Broker) -> Service:
    past = Past(broker.reader(), SystemClock())
    return service(
        tenants=Tenants(),
        clock=SystemClock(),
        past=past,
        settings=Settings(remembered=100),
        followers=(),
        start=nothing,
        stop=nothing,
        view=no_view,
        ready=lambda: True,
    )


def recorded(broker: MemoryBroker) -> Sequence[UsageRecorded]:
    return [decode(USAGE_RECORDED, raw.value or b"") for raw in broker.records(USAGE_RECORDED.name)]


async def test_what_was_admitted_and_what_has_ended_is_written_again_by_tenant() -> None:
    broker = MemoryBroker(SystemClock())
    bench = Bench(broker)
    await bench.send(outgoing(tenant(rate())))
    async with bench.running(first_half(broker)):
        await bench.send(outgoing(admitted()), outgoing(finished(tenant="other")), outgoing(finished()))
        await until(lambda: len(recorded(broker)) >= 3, timeout_s=5)
    found = sorted((row.tenant, row.topic, row.entries[0].usage.input_tokens) for row in recorded(broker))
    assert found == [("acme", "request-admitted", 0), ("acme", "request-finished", 7), ("other", "request-finished", 7)]


async def test_admitted_requests_of_a_tenant_without_a_limit_of_requests_are_not_even_read() -> None:
    broker = MemoryBroker(SystemClock())
    bench = Bench(broker)
    await bench.send(outgoing(tenant(rate(kind="tokens"))))
    async with bench.running(first_half(broker)):
        await bench.send(outgoing(admitted()), outgoing(admitted(tenant="other")))
        await bench.send(outgoing(finished()))
        await until(lambda: len(recorded(broker)) >= 1, timeout_s=5)
    assert [row.topic for row in recorded(broker)] == ["request-finished"]


async def test_what_cannot_be_read_is_a_dead_letter_and_what_came_with_it_is_counted() -> None:
    broker = MemoryBroker(SystemClock())
    bench = Bench(broker)
    async with bench.running(first_half(broker)):
        await bench.send(outgoing(finished()), Outgoing("request-finished", b"acme/s", b"?"), outgoing(finished(request_id="r-2")))
        await until(lambda: sum(len(row.entries) for row in recorded(broker)) >= 2, timeout_s=5)
    (letter,) = [decode(DEAD_LETTER, raw.value or b"") for raw in broker.records(DEAD_LETTER.name)]
    assert (letter.service, letter.reason) == ("usage-windows", "unreadable")


async def test_a_repeat_is_not_written_again_even_if_the_first_was_read_by_the_process_before() -> None:
    broker = MemoryBroker(SystemClock())
    bench = Bench(broker)
    async with bench.running(first_half(broker)):
        await bench.send(outgoing(finished()))
        await until(lambda: len(recorded(broker)) >= 1, timeout_s=5)
    async with bench.running(first_half(broker)):
        await bench.send(outgoing(finished()), outgoing(finished(session="")))
        await bench.send(outgoing(finished(request_id="r-2")))
        await until(lambda: sum(len(row.entries) for row in recorded(broker)) >= 2, timeout_s=5)
    assert sum(len(row.entries) for row in recorded(broker)) == 2


async def test_entries_of_a_place_are_written_in_the_order_of_its_offsets() -> None:
    broker = MemoryBroker(SystemClock())
    bench = Bench(broker)
    async with bench.running(first_half(broker)):
        for start in range(0, 300, 30):
            await bench.send(*[outgoing(finished(request_id=f"r-{start + number}", session=f"s-{number}")) for number in range(30)])
        await until(lambda: sum(len(row.entries) for row in recorded(broker)) >= 300, timeout_s=10)
    by_place: dict[int, list[int]] = {}
    for row in recorded(broker):
        by_place.setdefault(row.partition, []).extend(entry.offset for entry in row.entries)
    assert all(found == sorted(found) for found in by_place.values())


async def test_whose_rate_limits_are_others_is_said_and_nobody_else() -> None:
    tenants, said = Tenants(), list[str]()
    tenants.changed = said.extend
    for record in (tenant(), tenant(rate()), tenant(rate()), tenant(rate(limit=5))):
        await tenants.apply([Change(key=TENANT_CONFIGURED.key(record), record=record, partition=0, offset=0)])
    assert said == ["acme", "acme"]
