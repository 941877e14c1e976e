"""The cache in the loop that runs it: on the broker in memory, and on real Kafka with real Redis."""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest

from daytwo.broker import Broker, outgoing
from daytwo.clock import SystemClock
from daytwo.flow import Service, Table
from daytwo.records import TenantConfigured
from daytwo.topics import TENANT_CONFIGURED
from daytwo.world import World
from services.cache.build import build
from services.cache.ports import Answers
from services.cache.service import service
from services.cache.settings import Settings
from tests.cache.builders import POLICY, again, embedded, result
from tests.cache.fake_answers import FakeAnswers
from tests.libs.builders import Bench


def cache(bench: Bench) -> Service:
    """The cache, in a group of this test alone."""
    return replace(_cache(bench.broker), name=f"cache-{bench.tenant}")


def _cache(broker: Broker) -> Service:
    clock = SystemClock()
    if hasattr(broker, "bootstrap"):
        return build(World(env={"DAYTWO_CACHE_REDIS": os.environ["DAYTWO_CACHE_REDIS"]}, clock=clock, rng=random.Random(7)))
    answers: Answers = FakeAnswers(clock)

    async def stop() -> None:
        return None

    return service(answers, tenants=Table(TENANT_CONFIGURED), clock=clock, settings=Settings(), stop=stop)


@pytest.fixture
async def bench(broker: Broker) -> Bench:
    bench = Bench(broker)
    await bench.send(outgoing(TenantConfigured(tenant=bench.tenant, cache=POLICY)))
    return bench


async def test_fifty_equal_questions_on_the_log_make_one_miss_and_fifty_ends(bench: Bench) -> None:
    deadline_ms = SystemClock().now_ms() + 30_000
    question = embedded(f"Who are you, {bench.tenant}?", tenant=bench.tenant, deadline_ms=deadline_ms)

    async with bench.running(cache(bench)):
        await bench.send(*[outgoing(again(question, f"r{n}")) for n in range(50)])
        (leader,) = await bench.records("request-grounded", 1)
        await bench.send(outgoing(result(leader.request, SystemClock().now_ms())))
        ends = await bench.records("request-finished", 50)

    cached = [end for end in ends if end.served_by == "cache"]
    assert len(cached) == 49
    assert {end.cache_match.kind for end in cached} == {"coalesced"}
    assert len({end.request_id for end in ends}) == 50


async def test_a_restarted_cache_answers_what_the_one_before_learned(bench: Bench) -> None:
    deadline_ms = SystemClock().now_ms() + 30_000
    question = embedded(f"Where are you, {bench.tenant}?", tenant=bench.tenant, deadline_ms=deadline_ms)
    async with bench.running(cache(bench)):
        await bench.send(outgoing(question))
        (missed,) = await bench.records("request-grounded", 1)
        await bench.send(outgoing(result(missed.request, SystemClock().now_ms())))
        await bench.records("answer-learned", 1)

    async with bench.running(cache(bench)):
        await bench.send(outgoing(again(question, "r2")))
        ends = await bench.records("request-finished", 2)

    (cached,) = [end for end in ends if end.served_by == "cache"]
    assert cached.cache_match.kind == "exact"
