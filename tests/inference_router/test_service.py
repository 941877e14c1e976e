"""The service on the real loop, a broker in memory and the mock provider over loopback, checked against the provider's bill."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from aiohttp import web

from daytwo.broker import outgoing
from daytwo.clock import SystemClock
from daytwo.codec import decode
from daytwo.fate import headers_of
from daytwo.loop import Loop, LoopSettings
from daytwo.memory import MemoryBroker
from daytwo.metrics import Metrics
from daytwo.openings import Openings
from daytwo.records import DeploymentConfigured, RequestAdmitted
from daytwo.topic import Record
from daytwo.topics import TOPIC_NAMED
from daytwo.world import World
from services.inference_router.kafka_journal import KafkaJournal
from services.inference_router.openai_provider import OpenAIProvider
from services.inference_router.service import service
from services.inference_router.settings import Settings
from services.mock_provider.bill import Bill
from services.mock_provider.chat import Provider
from services.mock_provider.faults import Faults, read_rules
from services.mock_provider.service import create_app
from services.mock_provider.settings import AT_ONCE
from tests.inference_router.builders import deployment, grounded


@dataclass
class Road:
    """A broker, a provider with its bill, and the service between them."""

    broker: MemoryBroker
    faults: Faults
    bill: Bill
    base_url: str

    def rows(self) -> list[DeploymentConfigured]:
        return [
            deployment("a", model="mock", base_url=self.base_url),
            deployment("b", model="mock-other", base_url=self.base_url, priority=1),
        ]

    async def send(self, *records: Record) -> None:
        await self.broker.sender().send([outgoing(record) for record in records])

    def read(self, topic: str) -> list[Any]:
        return [decode(TOPIC_NAMED[topic], raw.value or b"") for raw in self.broker.records(topic)]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Loop]:
        clock, rng = SystemClock(), random.Random(3)
        router = service(
            provider=OpenAIProvider({}, most_bytes=100_000, connect_s=1.0),
            reader=KafkaJournal(self.broker.reader(), clock),
            openings=Openings(self.broker.reader(), clock),
            clock=clock,
            rng=rng,
            settings=Settings(),
        )
        world = World(env={}, clock=clock, rng=rng)
        loop = Loop(router, self.broker, world, Metrics(), sender=self.broker.sender(), settings=LoopSettings(commit_interval_s=0.05))
        task = asyncio.create_task(loop.run())
        try:
            yield loop
        finally:
            loop.stop()
            await asyncio.wait_for(task, 10)

    async def finished(self, count: int) -> Sequence[Any]:
        async with asyncio.timeout(20):
            while len(self.read("request-finished")) < count:
                await asyncio.sleep(0.01)
        return self.read("request-finished")


@pytest.fixture
async def road() -> AsyncIterator[Road]:
    faults, bill = Faults(), Bill(capacity=10_000)
    app = create_app(Provider(behaviour=AT_ONCE, faults=faults, bill=bill, rng=random.Random(5), clock=time.time))
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    road = Road(MemoryBroker(SystemClock()), faults, bill, f"http://{host}:{port}/v1")
    await road.send(*road.rows())
    yield road
    await runner.cleanup()


def requests(count: int) -> list[Any]:
    deadline_ms = SystemClock().now_ms() + 15_000
    return [grounded(request_id=f"r-{number}", session="", deadline_ms=deadline_ms) for number in range(count)]


def billed_ids(bill: Bill) -> list[str | None]:
    return [call["attempt_id"] for call in bill.page(0, bill.listed)]  # type: ignore[misc]


def admitted(request_id: str, *, straight: bool) -> RequestAdmitted:
    whole = requests(1)[0]
    request = replace(whole.request, request_id=request_id)
    return RequestAdmitted(request=request, fingerprint=whole.fingerprint, admission=replace(whole.admission, straight=straight))


async def test_what_needs_only_a_model_is_read_from_request_admitted_and_nothing_else_there(road: Road) -> None:
    records = [admitted("straight", straight=True), admitted("by-the-embedder", straight=False)]
    without_headers = [admitted("straight-unmarked", straight=True), admitted("by-the-embedder-unmarked", straight=False)]
    await road.broker.sender().send([outgoing(record, headers_of(record)) for record in records])
    await road.send(*without_headers, *requests(1))

    async with road.running():
        await road.finished(3)
        await asyncio.sleep(0.2)
        committed = await asyncio.wait_for(_committed(road.broker, 4), 10)

    assert {result.request_id for result in road.read("request-finished")} == {"straight", "straight-unmarked", "r-0"}
    assert committed == 4, "what is passed over is done"


async def _committed(broker: MemoryBroker, count: int) -> int:
    while (done := sum(at for (_, place), at in broker.offsets.items() if place.topic == "request-admitted")) < count:
        await asyncio.sleep(0.02)
    return done


async def test_under_faults_every_request_ends_once_and_the_log_covers_the_providers_bill(road: Road) -> None:
    kinds = ["status_500", "cut_body", "malformed_json", "no_usage"]
    road.faults.replace(read_rules([{"kind": kind, "probability": 0.1, "model": "mock"} for kind in kinds]))
    await road.send(*requests(200))
    async with road.running():
        results = await road.finished(200)
    assert len({result.request_id for result in results}) == 200
    assert {result.outcome for result in results} == {"answered"}
    attempts = {attempt.attempt_id: attempt for attempt in road.read("attempt-finished")}
    assert attempts.keys() == {started.attempt_id for started in road.read("attempt-started")}
    ids = billed_ids(road.bill)
    assert len(ids) == len(set(ids))
    assert set(ids) == {identity for identity, attempt in attempts.items() if attempt.outcome != "failed"}
    assert sum(attempt.cost_nano for attempt in attempts.values()) == sum(result.cost_nano for result in results)
    assert sum(attempt.usage.output_tokens for attempt in attempts.values()) >= road.bill.totals.completion_tokens


async def test_records_that_come_again_are_answered_from_the_journal_and_not_billed_again(road: Road) -> None:
    await road.send(*requests(50))
    async with road.running():
        first = await road.finished(50)
    road.broker.offsets.clear()
    async with road.running():
        both = await road.finished(100)
    assert road.bill.totals.calls == 50
    answers = {result.request_id: (result.message, result.cost_nano, result.attempts) for result in first}
    assert all((result.message, result.cost_nano, result.attempts) == answers[result.request_id] for result in both)


async def test_what_was_bought_is_given_even_when_its_record_comes_again_after_the_deadline(road: Road) -> None:
    await road.send(grounded(deadline_ms=SystemClock().now_ms() + 1500))
    async with road.running():
        await road.finished(1)
    await asyncio.sleep(1.0)
    road.broker.offsets.clear()
    async with road.running():
        results = await road.finished(2)
    assert [result.outcome for result in results] == ["answered", "answered"]
    assert road.bill.totals.calls == 1


async def test_a_deployment_configured_while_running_is_used(road: Road) -> None:
    async with road.running() as loop:
        while loop.state != "ready":
            await asyncio.sleep(0.01)
        await road.send(deployment("c", model="mock-new", base_url=road.base_url, priority=-1))
        await asyncio.sleep(0.2)
        await road.send(grounded(quotes=("a", "c"), deadline_ms=SystemClock().now_ms() + 5000))
        (result,) = await road.finished(1)
    assert (result.deployment, result.model) == ("c", "mock-new")
