"""`python -m deploy.bench_windows`: how far rate limits are overshot, what a flood does to others, what many tenants and no traffic cost.

The whole road on real parts, with the mock provider. Writes docs/bench-windows.json.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
import click

from daytwo.broker import Broker
from daytwo.codec import decode
from daytwo.kafka import KafkaBroker
from daytwo.records import CachePolicy, DeploymentConfigured, PriceConfigured, RateLimit, RequestFinished, TenantConfigured
from daytwo.topics import REQUEST_ADMITTED, REQUEST_FINISHED
from deploy.bench import machine
from deploy.bench.processes import cpu_s, memory_mib, used
from deploy.bench.progress import say
from deploy.bench.quantiles import quantiles
from deploy.bench.stack import PARTS, ROOT, SERVICES, Stack, fresh_stack
from deploy.bench_windows.load import Stream, ends_of, run, send, since
from deploy.local.settings import read_settings

OURS: Final = SERVICES
PERIOD_S: Final = {"minute": 60, "day": 86_400}
FOLLOWED_S: Final = 2.0
TENANTS: Final = 10_000
ROUNDS: Final = 3
PARTS_OF: Final = ("idle", "overshoot", "fairness", "tenants")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A limit of one tenant, and the requests a second that come against it."""

    name: str
    kind: str
    limit: int
    burst: int
    per_s: float
    provider_ms: int = 0


CASES: Final = (
    Case(name="requests-6000", kind="requests", limit=6000, burst=200, per_s=150),
    Case(name="requests-600", kind="requests", limit=600, burst=200, per_s=100),
    Case(name="requests-60", kind="requests", limit=60, burst=20, per_s=50),
    Case(name="tokens-60k", kind="tokens", limit=60_000, burst=5_000, per_s=100),
    Case(name="tokens-60k-200ms", kind="tokens", limit=60_000, burst=5_000, per_s=100, provider_ms=200),
)


@click.command()
@click.option("--quick", is_flag=True, help="Short runs, to see that the bench works; figures mean nothing.")
@click.option("--only", type=click.Choice(PARTS_OF), multiple=True, help="Measure this only; the file keeps the figures of the rest.")
@click.option("--to", type=click.Path(path_type=Path), default=ROOT / "docs" / "bench-windows.json", help="File of the figures.")
@click.option("--state", type=click.Path(path_type=Path), default=ROOT / ".daytwo-bench-windows", help="State folder; emptied.")
def main(quick: bool, only: tuple[str, ...], to: Path, state: Path) -> None:
    """Measure usage-windows and the gate that obeys it."""
    seconds = 6.0 if quick else 15.0
    figures: dict[str, Any] = {
        "command": " ".join(["python -m deploy.bench_windows", *sys.argv[1:]]),
        "seconds": seconds,
        "machine": machine.describe(read_settings(os.environ, ROOT, Path(sys.executable)).cache),
    }
    with fresh_stack(state.resolve()) as stack:
        where = stack.up(*PARTS, *OURS)
        figures |= asyncio.run(measure(stack, where, seconds, only or PARTS_OF))
    stack.clean()
    known = json.loads(to.read_text()) if only and to.exists() else {}
    to.write_text(json.dumps({**known, **figures}, indent=2) + "\n")


async def measure(stack: Stack, where: Mapping[str, Any], seconds: float, parts: Sequence[str]) -> dict[str, Any]:
    broker = KafkaBroker(where["kafka"])
    await send(broker, configuration(where["mock_provider"]))
    await asyncio.sleep(FOLLOWED_S)
    await run(broker, [Stream(tenants=["quiet-0"], per_s=20)], seconds)  # what is first is slow
    measured: dict[str, Callable[[], Awaitable[dict[str, Any]]]] = {
        "idle": partial(without_traffic, stack, seconds),
        "overshoot": partial(overshoots, broker, where["mock_provider"], seconds),
        "fairness": partial(fairness, broker, seconds),
        "tenants": partial(many_tenants, stack, broker, seconds),
    }
    return {name: await measured[name]() for name in PARTS_OF if name in parts}


async def overshoots(broker: Broker, provider_url: str, seconds: float) -> dict[str, Any]:
    found = {}
    for case in CASES:
        await latency_of(provider_url, case.provider_ms)
        found[case.name] = await overshot(broker, case, seconds)
    await latency_of(provider_url, 0)
    return found


def configuration(provider_url: str) -> list[TenantConfigured | DeploymentConfigured | PriceConfigured]:
    deployment = DeploymentConfigured(deployment="bench", provider="mock", model="mock", base_url=provider_url, aliases=("bench",))
    price = PriceConfigured(
        provider="mock",
        model="mock",
        valid_from_ms=0,
        input_nano_per_mtok=150_000_000,
        cached_input_nano_per_mtok=75_000_000,
        output_nano_per_mtok=600_000_000,
    )
    limited = [tenant(case.name, rate(case.kind, case.limit, case.burst)) for case in CASES]
    return [*limited, *(tenant(f"quiet-{number}") for number in range(10)), deployment, price]


def tenant(name: str, *rates: RateLimit) -> TenantConfigured:
    policy = CachePolicy(enabled=False, threshold=2.0)
    return TenantConfigured(tenant=name, rate_limits=rates, over_budget="refuse", cache=policy)


def rate(kind: str, limit: int, burst: int) -> RateLimit:
    return RateLimit(scope="tenant", kind=kind, period="minute", limit=limit, burst=burst)


async def latency_of(provider_url: str, milliseconds: int) -> None:
    change = {"latency_ms": {"fixed": milliseconds}}
    async with aiohttp.ClientSession() as session, session.put(f"{provider_url.removesuffix('/v1')}/config", json=change) as answer:
        answer.raise_for_status()


async def without_traffic(stack: Stack, seconds: float) -> dict[str, Any]:
    say(f"without traffic, {seconds:.0f} s")
    await asyncio.sleep(5)
    pids = stack.pids()
    before, begun = cpu_s(pids), time.monotonic()
    await asyncio.sleep(seconds)
    spent, took = used(before, cpu_s(pids)), time.monotonic() - begun
    shares = {name: round(spent[name] / took, 4) for name in spent if name.rpartition("-")[0] in OURS}
    memory = {name: mib for name, mib in memory_mib(pids).items() if name in shares}
    found = {"cpu_share": shares, "cpu_share_together": round(sum(shares.values()), 4), "mib": memory}
    say(f"  {found['cpu_share_together']:.3f} of a core together, {sum(memory.values()):.0f} MiB")
    return {**found, "mib_together": round(sum(memory.values()), 1)}


async def overshot(broker: Broker, case: Case, seconds: float) -> dict[str, Any]:
    """What was admitted beyond burst and flow, at its most, in percent of the limit a minute."""
    say(f"{case.name}: {case.per_s:.0f} requests/s against {case.limit} {case.kind} a minute, burst {case.burst}")
    starts = {topic: await ends_of(broker, topic) for topic in (REQUEST_ADMITTED.name, REQUEST_FINISHED.name)}
    await asyncio.sleep(case.burst * 60 / case.limit)  # a rest fills the burst
    taken = await run(broker, [Stream(tenants=[case.name], per_s=case.per_s)], seconds)
    used_at = await (requests_of if case.kind == "requests" else tokens_of)(broker, case.name, starts)
    most = peak(used_at, case.limit / 60_000) - case.burst
    found = {
        "offered": len(taken[case.name]),
        "admitted_or_used": sum(amount for _, amount in used_at),
        "allowed": round(case.burst + case.limit * seconds / 60),
        "overshoot": round(max(0.0, most), 1),
        "overshoot_percent_of_limit": round(max(0.0, most) * 100 / case.limit, 2),
    }
    say(f"  {found}")
    return found


async def requests_of(broker: Broker, name: str, starts: Mapping[str, Any]) -> list[tuple[int, int]]:
    raws = await since(broker, REQUEST_ADMITTED.name, starts[REQUEST_ADMITTED.name])
    of_tenant = [raw for raw in raws if (raw.key or b"").startswith(f"{name}/".encode())]
    return [(raw.timestamp_ms, 1) for raw in of_tenant if not decode(REQUEST_ADMITTED, raw.value or b"").admission.cache_only]


async def tokens_of(broker: Broker, name: str, starts: Mapping[str, Any]) -> list[tuple[int, int]]:
    raws = await since(broker, REQUEST_FINISHED.name, starts[REQUEST_FINISHED.name])
    ends = [(raw.timestamp_ms, decode(REQUEST_FINISHED, raw.value or b"")) for raw in raws]
    return [(at, _tokens(record)) for at, record in ends if record.tenant == name]


def _tokens(record: RequestFinished) -> int:
    return record.usage.input_tokens + record.usage.output_tokens


def peak(used_at: Sequence[tuple[int, int]], flow_per_ms: float) -> float:
    """The highest level of a bucket that is filled by what was used at (epoch milliseconds, amount)."""
    level, highest, before = 0.0, 0.0, 0
    for at, amount in sorted(used_at):
        level = max(0.0, level - flow_per_ms * (at - before)) + amount
        highest, before = max(highest, level), at
    return highest


async def fairness(broker: Broker, seconds: float) -> dict[str, Any]:
    """Latency of ten tenants at 20 requests a second together, alone and beside one that floods at 50 times its limit; in turns."""
    others = Stream(tenants=[f"quiet-{number}" for number in range(10)], per_s=20)
    flood = Stream(tenants=["requests-60"], per_s=50)
    alone: list[float] = []
    beside: list[float] = []
    for _ in range(ROUNDS):
        alone += _of_others(await run(broker, [others], seconds))
        beside += _of_others(await run(broker, [others, flood], seconds))
    found = {"alone": quantiles(alone), "beside_a_flood": quantiles(beside)}
    ratio = round(found["beside_a_flood"]["p99_ms"] / found["alone"]["p99_ms"], 3)
    say(f"fairness: {found}, p99 times {ratio}")
    return {**found, "p99_ratio": ratio, "rounds": ROUNDS}


def _of_others(taken: Mapping[str, list[float]]) -> list[float]:
    return [milliseconds for name, times in taken.items() if name.startswith("quiet-") for milliseconds in times]


async def many_tenants(stack: Stack, broker: Broker, seconds: float) -> dict[str, Any]:
    """Processor time a request of the gate and of usage-windows, with ten tenants and with ten thousand, each with limits; in turns."""
    names = [f"many-{number}" for number in range(TENANTS)]
    await send(broker, [tenant(name, rate("requests", 6000, 0), rate("tokens", 10_000_000, 0)) for name in names])
    await asyncio.sleep(10)
    spent: dict[str, list[dict[str, float]]] = {"10": [], str(TENANTS): []}
    for _ in range(ROUNDS):
        for label, of in (("10", names[:10]), (str(TENANTS), names)):
            pids = stack.pids()
            before = cpu_s(pids)
            taken = await run(broker, [Stream(tenants=of, per_s=60)], seconds)
            count = sum(map(len, taken.values()))
            cost = used(before, cpu_s(pids))
            spent[label].append({name: cost[f"{name}-0"] * 1e6 / count for name in ("cost-meter", "usage-windows")})
    found = {label: {name: round(min(row[name] for row in rows)) for name in rows[0]} for label, rows in spent.items()}
    memory = memory_mib(stack.pids())
    say(f"microseconds a request: {found}")
    return {"microseconds_a_request": found, "usage_windows_mib": memory["usage-windows-0"], "cost_meter_mib": memory["cost-meter-0"]}


if __name__ == "__main__":
    main()
