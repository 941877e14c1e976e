"""The bare floor: the hops and records of an uncached request with nothing but aiokafka, fastavro and aiohttp, a process each."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from daytwo.topics import REQUEST_FINISHED, REQUEST_SUBMITTED
from deploy.bench.bare_hop import PREFIX
from deploy.bench.bare_records import HOPS, TOPICS
from deploy.bench.load import Order
from deploy.bench.plan import Plan
from deploy.bench.progress import say
from deploy.bench.runs import LoadError, run_load
from deploy.bench.stack import ROOT

ASSIGNED_S = 6.0
"""Until the groups of the new processes have their partitions."""


def measure(bootstrap: str, provider_url: str, pids: Mapping[str, int], plan: Plan) -> dict[str, Any]:
    """Requests a second when saturated, latency at a steady rate, processor time per request. `pids`: what runs beside the hops.

    `kafka_only` is saturated without the hop to the provider.
    """
    asyncio.run(_create_topics(bootstrap))
    with _hops(bootstrap) as hops:
        say("rehearsing")
        run_load(asdict(_order(bootstrap, plan, "fr", in_flight=plan.in_flight, measure_s=plan.rehearse_s)), {})
        say(f"bare floor without the provider, {plan.in_flight} requests in flight")
        kafka_only = _saturated(bootstrap, plan, "fk", {**pids, **hops})
    with _hops(bootstrap, provider_url) as hops:
        say(f"bare floor, {plan.in_flight} requests in flight")
        saturated = _saturated(bootstrap, plan, "fs", {**pids, **hops})
        say(f"  now {plan.per_s} a second")
        steady = run_load(asdict(_order(bootstrap, plan, "fl", in_flight=0, measure_s=plan.steady_s)), {**pids, **hops})
        say(f"  p50 {steady['p50_ms']} ms, p99 {steady['p99_ms']} ms")
    return {"saturated": saturated, "steady": steady, "kafka_only": kafka_only}


def _saturated(bootstrap: str, plan: Plan, run: str, watched: Mapping[str, int]) -> dict[str, Any]:
    found = run_load(asdict(_order(bootstrap, plan, run, in_flight=plan.in_flight, measure_s=plan.saturated_s)), watched)
    say(f"  {found['per_s']:.0f} requests/s")
    return found


def _order(bootstrap: str, plan: Plan, run: str, *, in_flight: int, measure_s: float) -> Order:
    """So many in flight; 0: at the steady rate."""
    return Order(
        bootstrap=bootstrap,
        scenario="uncached",
        run=run,
        in_flight=in_flight,
        per_s=0 if in_flight else plan.per_s,
        warm_s=plan.warm_s,
        measure_s=measure_s,
        most=int((plan.warm_s + measure_s) * (plan.floor_most_per_s if in_flight else plan.per_s)) + 1,
        submit_to=PREFIX + REQUEST_SUBMITTED.name,
        read_from=PREFIX + REQUEST_FINISHED.name,
    )


async def _create_topics(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(PREFIX + topic.name, topic.partitions, 1) for topic in TOPICS])
    finally:
        await admin.close()


@contextmanager
def _hops(bootstrap: str, provider_url: str = "") -> Iterator[Mapping[str, int]]:
    """The process id of each hop by name, while they run."""
    command = [sys.executable, "-m", "deploy.bench.bare_hop", bootstrap]
    processes = [subprocess.Popen([*command, str(number), provider_url], cwd=ROOT) for number in range(len(HOPS))]
    try:
        time.sleep(ASSIGNED_S)
        yield {f"hop {number}": process.pid for number, process in enumerate(processes, 1)}
        if died := [process.args for process in processes if process.poll() is not None]:
            raise LoadError(f"a hop ended by itself: {died[0]!r}")
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(15)
