"""The whole road: all services on real parts, asked by the load generator."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from daytwo.broker import Broker, outgoing
from daytwo.codec import decode
from daytwo.fate import headers_of
from daytwo.kafka import KafkaBroker
from daytwo.records import DocumentFinished, RequestFinished
from daytwo.topic import Record, Topic
from daytwo.topics import DOCUMENT_FINISHED, REQUEST_FINISHED
from deploy.bench.load import Order
from deploy.bench.plan import Plan
from deploy.bench.processes import cpu_s, memory_mib, used
from deploy.bench.progress import say
from deploy.bench.questions import Scenario, configuration, documents, warming
from deploy.bench.runs import run_load
from deploy.bench.stack import SERVICES

CONFIGURED_S = 2.0
"""Until services have followed the configuration."""
ANSWERED_S = 120.0
LEARNED_S = 2.0
"""Until the last answers are learned and followed."""


class RoadError(Exception):
    """The road does not do what is to be measured."""


def configure(bootstrap: str, provider_url: str) -> None:
    asyncio.run(send(KafkaBroker(bootstrap), configuration(provider_url)))
    time.sleep(CONFIGURED_S)


def idle(pids: Mapping[str, int], plan: Plan) -> dict[str, Any]:
    """Without traffic: memory of our services, and the share of a core that they use."""
    say(f"our services without traffic, {plan.idle_s:.0f} s")
    before, begun = cpu_s(pids), time.monotonic()
    time.sleep(plan.idle_s)
    seconds, spent = time.monotonic() - begun, used(before, cpu_s(pids))
    shares = {name: round(cpu / seconds, 4) for name, cpu in spent.items()}
    return {"cpu_share": shares, "services_cpu_share": round(sum(of_services(shares).values()), 4)}


def memory(pids: Mapping[str, int]) -> dict[str, Any]:
    found = memory_mib(pids)
    return {"mib": found, "services_mib": round(sum(of_services(found).values()), 1)}


def of_services(figures: Mapping[str, float]) -> dict[str, float]:
    """Those of our own services."""
    return {name: figure for name, figure in figures.items() if name.rpartition("-")[0] in SERVICES}


def rehearse(bootstrap: str, plan: Plan) -> None:
    """Traffic that is not measured."""
    say("rehearsing")
    run_load(asdict(_order("uncached", "rehearsal", bootstrap, plan, in_flight=plan.in_flight, measure_s=plan.rehearse_s)), {})


def measure(scenario: Scenario, bootstrap: str, pids: Mapping[str, int], plan: Plan) -> dict[str, Any]:
    """Requests a second when saturated, latency at a steady rate, processor time per request. Raises RoadError."""
    asyncio.run(_prepare(scenario, KafkaBroker(bootstrap)))
    say(f"{scenario}: {plan.in_flight} in flight")
    order = _order(scenario, f"{scenario}-saturated", bootstrap, plan, in_flight=plan.in_flight, measure_s=plan.saturated_s)
    saturated = run_load(asdict(order), pids)
    say(f"  {saturated['per_s']:.0f} requests/s, missing {saturated['missing']}, {saturated['answers']}")
    say(f"{scenario}: {plan.per_s} requests a second")
    order = _order(scenario, f"{scenario}-steady", bootstrap, plan, in_flight=0, measure_s=plan.steady_s)
    steady = run_load(asdict(order), pids)
    say(f"  p50 {steady['p50_ms']} ms, p99 {steady['p99_ms']} ms, missing {steady['missing']}")
    return {"saturated": saturated, "steady": steady}


def _order(scenario: Scenario, run: str, bootstrap: str, plan: Plan, *, in_flight: int, measure_s: float) -> Order:
    """So many in flight; 0: at the steady rate."""
    return Order(
        bootstrap=bootstrap,
        scenario=scenario,
        run=run,
        in_flight=in_flight,
        per_s=0 if in_flight else plan.per_s,
        warm_s=plan.warm_s,
        measure_s=measure_s,
        most=int((plan.warm_s + measure_s) * (plan.most_per_s if in_flight else plan.per_s)) + 1,
    )


async def _prepare(scenario: Scenario, broker: Broker) -> None:
    """Has documents indexed, or questions answered that the cache then knows."""
    if scenario == "grounded":
        say("grounded: indexing documents")
        ends = await ask(broker, documents("bench"), DOCUMENT_FINISHED)
        wrong = [end.reason for end in ends if isinstance(end, DocumentFinished) and end.outcome != "indexed"]
        if wrong:
            raise RoadError(f"{len(wrong)} documents were not indexed: {wrong[0]}")
    if first := warming(scenario, f"{scenario}-warm"):
        ends = await ask(broker, first, REQUEST_FINISHED)
        wrong = [end.reason for end in ends if isinstance(end, RequestFinished) and end.outcome != "answered"]
        if wrong:
            raise RoadError(f"{len(wrong)} questions were not answered: {wrong[0]}")
        await asyncio.sleep(LEARNED_S)


async def ask(broker: Broker, asked: Sequence[Any], results: Topic[Any]) -> list[Record]:
    """Sends requests or documents and returns the result of each. Raises RoadError when they do not come."""
    reader = broker.reader()
    await reader.start()
    try:
        partitions = await reader.partitions(results.name)
        await reader.seek(dict(await reader.ends(partitions)))
        await send(broker, asked)
        waiting = {value for record in asked for value in headers_of(record).values()}
        found: list[Record] = []
        late = time.monotonic() + ANSWERED_S
        while waiting and time.monotonic() < late:
            for raw in await reader.read(0.5):
                identity = next(iter(raw.headers.values()), b"")
                if identity in waiting and raw.value is not None:
                    waiting.discard(identity)
                    found.append(decode(results, raw.value))
    finally:
        await reader.stop()
    if waiting:
        raise RoadError(f"{len(waiting)} of {len(asked)} have no result in {results.name} after {ANSWERED_S:.0f} s")
    return found


async def send(broker: Broker, records: Sequence[Any]) -> None:
    sender = broker.sender()
    await sender.start()
    try:
        await sender.send([outgoing(record, headers_of(record)) for record in records])
    finally:
        await sender.stop()
