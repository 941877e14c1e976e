"""cost-meter in the loop that runs it, on the broker in memory: what is on the topics, and what the audit would see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from daytwo.broker import outgoing
from daytwo.clock import SystemClock
from daytwo.codec import decode
from daytwo.memory import MemoryBroker
from daytwo.records import Admission
from daytwo.topics import TOPIC_NAMED
from services.cost_meter.kafka_log import KafkaLog
from services.cost_meter.service import service
from services.cost_meter.settings import Settings
from tests.cost_meter.builders import accepted, concurrency_cap, deployment, ended, price, tenant
from tests.cost_meter.memory_ledger import MemoryLedger
from tests.libs.builders import Bench, until


class Road:
    """A running cost-meter between its topics."""

    def __init__(self) -> None:
        self.broker = MemoryBroker(SystemClock())
        self.bench = Bench(self.broker)
        self.ledger = MemoryLedger()
        log = KafkaLog(self.broker.reader(), SystemClock())
        self.service = service(ledger=self.ledger, log=log, clock=SystemClock(), settings=Settings())
        self.deadline_ms = SystemClock().now_ms() + 60_000

    async def write(self, *records: Any) -> None:
        await self.bench.send(*[outgoing(record) for record in records])

    async def ask(self, *, fingerprint: str = "f-1", **fields: Any) -> None:
        await self.write(accepted(fingerprint=fingerprint, **{"deadline_ms": self.deadline_ms, **fields}))

    async def records(self, topic: str, count: int) -> list[Any]:
        await until(lambda: len(self.broker.records(topic)) >= count, timeout_s=5)
        return [decode(TOPIC_NAMED[topic], raw.value or b"") for raw in self.broker.records(topic)]

    async def closed(self) -> None:
        await until(lambda: self.ledger.books["acme"].requests["r-1"].closed, timeout_s=5)


@pytest.fixture
async def road() -> AsyncIterator[Road]:
    there = Road()
    await there.write(tenant(), deployment(), price())
    async with there.bench.running(there.service):
        yield there


async def test_a_request_is_admitted_and_settled_when_it_has_ended(road: Road) -> None:
    await road.ask()
    (admitted,) = await road.records("request-admitted", 1)
    await road.write(ended(cost_nano=5))
    await road.closed()

    (total,) = [c for c in (await road.ledger.accounts())["acme"].counters if c.path == "tenant//total/total"]

    assert admitted.admission.reserved_nano > 0
    assert (total.settled_nano, total.reserved_nano) == (5, 0)


async def test_a_repeat_of_an_ended_request_puts_the_same_result_on_the_log_again(road: Road) -> None:
    await road.ask()
    await road.records("request-admitted", 1)
    await road.write(ended(cost_nano=5, detail="the answer"))
    await road.closed()

    await road.ask()

    first, second = await road.records("request-finished", 2)
    assert first == second


async def test_a_reused_id_is_a_dead_letter_and_takes_no_result_from_the_first(road: Road) -> None:
    await road.ask()
    await road.records("request-admitted", 1)
    await road.ask(fingerprint="f-2")

    (letter,) = await road.records("dead-letter", 1)

    assert letter.reason == "id_reused"
    assert await road.records("request-finished", 0) == []


async def test_a_request_that_cannot_be_reserved_until_its_deadline_ends_and_costs_nothing(road: Road) -> None:
    road.ledger.away = True

    await road.ask(deadline_ms=SystemClock().now_ms() + 300)

    (result,) = await road.records("request-finished", 1)
    assert (result.outcome, result.cost_nano) in {("failed", 0), ("expired", 0)}
    assert await road.records("request-admitted", 0) == []


async def test_what_waited_for_the_ledger_is_admitted_when_it_is_back(road: Road) -> None:
    road.ledger.away = True
    await road.ask()
    road.ledger.away = False

    (admitted,) = await road.records("request-admitted", 1)

    assert isinstance(admitted.admission, Admission)


async def test_a_request_at_its_limit_waits_in_its_topic_and_goes_on_when_another_has_ended(road: Road) -> None:
    await road.write(tenant(concurrency_caps=(concurrency_cap(1),), at_limit=("wait",)))
    await until(lambda: len(road.broker.records("tenant-configured")) == 2, timeout_s=5)
    await asyncio.sleep(0.5)  # until it is followed
    await road.ask()
    await road.records("request-admitted", 1)
    await road.ask(request_id="r-2")
    (waiting, *_) = await road.records("request-waiting", 1)
    await road.write(ended(cost_nano=5))

    (second,) = [record for record in await road.records("request-admitted", 2) if record.request.request_id == "r-2"]

    assert (waiting.request.request_id, waiting.limit_hit.kind) == ("r-2", "concurrency")
    assert second.admission.round >= 2
