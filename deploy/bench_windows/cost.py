"""`python -m deploy.bench_windows.cost`: processor time a request of usage-windows and the alerter, on real Kafka, without the road.

Writes what the road would write (one record of request-admitted and one of request-finished a request) at a steady rate, and reads
what the two processes used meanwhile. With limits: every tenant has a limit of requests and a cap.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from daytwo.broker import Outgoing, outgoing
from daytwo.kafka import KafkaBroker
from daytwo.records import (
    Admission,
    AttemptSummary,
    Cap,
    Message,
    RateLimit,
    RequestAdmitted,
    RequestFinished,
    RequestSubmitted,
    StepTime,
    TenantConfigured,
    Usage,
)
from deploy.bench.processes import cpu_s, used
from deploy.bench.progress import say
from deploy.bench.stack import ROOT, Stack, fresh_stack
from deploy.bench_windows.load import send

MEASURED = ("usage-windows", "alerter")
TENANTS = 4
SETTLED_S = 3.0
STEP_S = 0.02
TIMES = tuple(StepTime(step=name, queued_ms=1.0, executing_ms=1.0) for name in ("ingest", "cost-meter", "embedder", "cache", "router"))


@click.command()
@click.option("--per-s", default=800, help="Requests a second.")
@click.option("--seconds", default=15.0, help="How long, each.")
@click.option("--state", type=click.Path(path_type=Path), default=ROOT / ".daytwo-bench-windows", help="State folder; emptied.")
def main(per_s: int, seconds: float, state: Path) -> None:
    """Measure processor time a request."""
    with fresh_stack(state.resolve()) as stack:
        where = stack.up("kafka", "topics", *MEASURED)
        found = asyncio.run(measure(stack, KafkaBroker(where["kafka"]), per_s, seconds))
    stack.clean()
    click.echo(json.dumps(found, indent=2))


async def measure(stack: Stack, broker: KafkaBroker, per_s: int, seconds: float) -> dict[str, Any]:
    tenants = [TenantConfigured(tenant=f"plain-{number}") for number in range(TENANTS)]
    await send(broker, [*tenants, *(limited(f"limited-{number}") for number in range(TENANTS))])
    found: dict[str, Any] = {"idle, of a core": await spent(stack, seconds)}
    for kind in ("plain", "limited"):
        await flow(broker, kind, per_s, SETTLED_S)
        say(f"{kind}: {per_s} requests/s, {seconds:.0f} s")
        before, begun = cpu_s(stack.pids()), time.monotonic()
        count = await flow(broker, kind, per_s, seconds)
        await asyncio.sleep(1)
        cost = used(before, cpu_s(stack.pids()))
        took = time.monotonic() - begun
        found[kind] = {name: f"{cost[f'{name}-0'] * 1e6 / count:.0f} us a request" for name in MEASURED} | {"per_s": round(count / took)}
        say(f"  {found[kind]}")
    return found


async def spent(stack: Stack, seconds: float) -> dict[str, float]:
    await asyncio.sleep(SETTLED_S)
    before = cpu_s(stack.pids())
    await asyncio.sleep(seconds)
    cost = used(before, cpu_s(stack.pids()))
    return {name: round(cost[f"{name}-0"] / seconds, 4) for name in MEASURED}


def limited(name: str) -> TenantConfigured:
    rate = RateLimit(scope="tenant", kind="requests", period="minute", limit=10_000_000, burst=0)
    return TenantConfigured(tenant=name, rate_limits=(rate,), caps=(Cap(scope="tenant", period="day", limit_nano=10**15),))


async def flow(broker: KafkaBroker, kind: str, per_s: int, seconds: float) -> int:
    """Writes for so long; returns how many requests."""
    sender = broker.sender()
    begun, sent = time.monotonic(), 0
    try:
        while (now := time.monotonic() - begun) < seconds:
            records = [record for number in range(sent, int(now * per_s)) for record in of_request(kind, number)]
            sent += len(records) // 2
            await sender.send(records)
            await asyncio.sleep(STEP_S)
    finally:
        await sender.stop()
    return sent


def of_request(kind: str, number: int) -> Iterator[Outgoing]:
    name, words = f"{kind}-{number % TENANTS}", "What does a consumer group do? " * 8
    request = RequestSubmitted(
        request_id=f"{time.monotonic_ns():x}-{number}",
        tenant=name,
        session=f"s-{number % 50}",
        model="bench",
        messages=(Message(role="user", content=words),),
    )
    admission = Admission(cache_only=False, reserved_nano=1, input_tokens_bound=1, attempts_bound=1)
    yield outgoing(RequestAdmitted(request=request, fingerprint="f" * 32, admission=admission, steps=TIMES[:2]))
    yield outgoing(finished(request, words))


def finished(request: RequestSubmitted, words: str) -> RequestFinished:
    attempt = AttemptSummary(attempt_id=request.request_id, deployment="bench", outcome="succeeded", latency_ms=20.0, cost_nano=12_345)
    return RequestFinished(
        request_id=request.request_id,
        tenant=request.tenant,
        session=request.session,
        fingerprint="f" * 32,
        outcome="answered",
        reason="ok",
        message=Message(role="assistant", content=words),
        usage=Usage(input_tokens=100, output_tokens=60),
        cost_nano=12_345,
        served_by="deployment",
        deployment="bench",
        model="mock",
        attempts=(attempt,),
        steps=TIMES,
        finished_at_ms=time.time_ns() // 1_000_000,
    )


if __name__ == "__main__":
    main()
