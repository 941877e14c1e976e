"""`python -m deploy.bench_money`: admissions through the real cost-meter, latency at half the goal, memory, and a lost ledger rebuilt.

Kafka, the ledger's Redis and cost-meter are real; what comes before and after on the road is not there. Writes docs/bench-money.json.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
import psutil
from redis import Redis

from daytwo.broker import Outgoing, Partition, Reader, outgoing
from daytwo.kafka import KafkaBroker
from daytwo.topics import REQUEST_ACCEPTED, REQUEST_ADMITTED
from deploy.bench import machine
from deploy.bench.processes import cpu_s
from deploy.bench.progress import say
from deploy.bench.quantiles import quantiles
from deploy.bench.stack import ROOT, fresh_stack
from deploy.bench_money import traffic
from deploy.local.settings import read_settings

GOAL_PER_S: Final = 5000
TENANTS: Final = 10_000
FEW: Final = 10
PARTS: Final = ("memory", "admissions", "rebuilt", "latency")
SETTLED_S: Final = 3.0
"""Until what was sent has been followed."""
LATE_S: Final = 180.0


class Meter:
    """A cost-meter process of the bench."""

    def __init__(self, where: Mapping[str, Any], folder: Path) -> None:
        self._env = {**os.environ, "DAYTWO_KAFKA": where["kafka"], "DAYTWO_LEDGER_REDIS": where["ledger_redis"], "DAYTWO_HTTP_PORT": "0"}
        self._log = folder / "cost-meter.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as out:
            self._process = subprocess.Popen([sys.executable, "-m", "services.cost_meter"], env=self._env, cwd=ROOT, stdout=out, stderr=out)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def cpu_s(self) -> float:
        return cpu_s({"cost-meter": self.pid})["cost-meter"]

    def memory(self) -> int:
        return int(psutil.Process(self.pid).memory_full_info().uss)


async def send(bootstrap: str, records: Sequence[Outgoing], per_s: int = 0) -> None:
    """At once, or so many a second."""
    sender = KafkaBroker(bootstrap).sender()
    await sender.start()
    try:
        if not per_s:
            for first in range(0, len(records), 2000):
                await sender.send(records[first : first + 2000])
            return
        begun, step = time.monotonic(), max(1, per_s // 200)
        waiting = []
        for first in range(0, len(records), step):
            await asyncio.sleep(max(0.0, begun + first / per_s - time.monotonic()))
            waiting.append(asyncio.create_task(sender.send(records[first : first + step])))
        await asyncio.gather(*waiting)
    finally:
        await sender.stop()


async def moments(bootstrap: str, topic: str, starts: Mapping[Partition, int], count: int) -> dict[bytes, int]:
    """Of `count` records from there on the timestamps (epoch milliseconds) by request id. Raises TimeoutError."""
    reader = KafkaBroker(bootstrap).reader()
    await reader.start()
    found: dict[bytes, int] = {}
    late = time.monotonic() + LATE_S
    try:
        await reader.seek(dict(starts))
        while len(found) < count:
            for raw in await reader.read(0.5):
                found.setdefault(raw.headers["request-id"], raw.timestamp_ms)
            if time.monotonic() > late:
                raise TimeoutError(f"{len(found)} of {count} records on {topic} after {LATE_S:.0f} s")
    finally:
        await reader.stop()
    return found


async def ends(bootstrap: str, topic: str) -> Mapping[Partition, int]:
    reader: Reader = KafkaBroker(bootstrap).reader()
    await reader.start()
    try:
        return await reader.ends(await reader.partitions(topic))
    finally:
        await reader.stop()


async def saturated(meter: Meter, redis: Redis, bootstrap: str, records: Sequence[Outgoing]) -> dict[str, Any]:
    """All at once: admissions a second by their timestamps, and a second of the processor time of cost-meter and of its Redis."""
    starts = await ends(bootstrap, REQUEST_ADMITTED.name)
    await send(bootstrap, records[: len(records) // 10])
    await moments(bootstrap, REQUEST_ADMITTED.name, starts, len(records) // 10)
    rest = records[len(records) // 10 :]
    starts, before, redis_before = await ends(bootstrap, REQUEST_ADMITTED.name), meter.cpu_s(), _redis_cpu_s(redis)
    await send(bootstrap, rest)
    # Read only when it is done: the reader is no part of what is measured.
    while sum((await ends(bootstrap, REQUEST_ADMITTED.name)).values()) < sum(starts.values()) + len(rest):
        await asyncio.sleep(0.5)
    spent, redis_spent = meter.cpu_s() - before, _redis_cpu_s(redis) - redis_before
    found = await moments(bootstrap, REQUEST_ADMITTED.name, starts, len(rest))
    seconds = (max(found.values()) - min(found.values())) / 1000
    return {
        "admissions": len(rest),
        "seconds": round(seconds, 2),
        "per_s": round(len(rest) / seconds),
        "cpu_us_per_admission": round(spent / len(rest) * 1e6, 1),
        "redis_cpu_us_per_admission": round(redis_spent / len(rest) * 1e6, 1),
        "per_s_of_a_core": round(len(rest) / spent),
    }


async def steady(bootstrap: str, records: Sequence[Outgoing], per_s: int) -> dict[str, Any]:
    """At a rate: milliseconds from the timestamp of request-accepted to that of request-admitted."""
    accepted = await ends(bootstrap, REQUEST_ACCEPTED.name)
    admitted = await ends(bootstrap, REQUEST_ADMITTED.name)
    # Looking for garbage among the records to send takes the sender 45 ms, and what it sends then comes in a burst.
    gc.freeze()
    await send(bootstrap, records, per_s)
    begun = await moments(bootstrap, REQUEST_ACCEPTED.name, accepted, len(records))
    done = await moments(bootstrap, REQUEST_ADMITTED.name, admitted, len(records))
    warm = len(records) // 4
    waits = [float(done[request] - begun[request]) for request in list(begun)[warm:]]
    return {"per_s": per_s, "admissions": len(waits), **quantiles(waits)}


def rebuild(where: Mapping[str, Any]) -> float:
    """Seconds from the loss of everything until the gate is open again."""
    redis = Redis.from_url(where["ledger_redis"])
    redis.flushall()
    begun = time.monotonic()
    while not redis.exists("ledger/open"):
        if time.monotonic() - begun > LATE_S:
            raise TimeoutError("the ledger was not rebuilt")
        time.sleep(0.02)
    return time.monotonic() - begun


@click.command()
@click.option("--quick", is_flag=True, help="Few requests, to see that the bench works; figures mean nothing.")
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="Measure only this; the rest of the file stays.")
@click.option("--state", type=click.Path(path_type=Path), default=ROOT / ".daytwo-bench", help="State folder of the stack; emptied.")
@click.option("--to", "target", type=click.Path(path_type=Path), default=ROOT / "docs" / "bench-money.json", help="What is written.")
def main(quick: bool, only: Sequence[str], state: Path, target: Path) -> None:
    """Measure the money part on this machine."""
    count = 4000 if quick else 50_000
    parts = only or PARTS
    with fresh_stack(state.resolve()) as stack:
        say("starting Kafka and the ledger's Redis")
        where = stack.up("kafka", "topics", "ledger-redis")
        figures = asyncio.run(measured(where, state, count, parts))
    figures["machine"] = machine.describe(read_settings(os.environ, ROOT, Path(sys.executable)).cache)
    known = json.loads(target.read_text()) if only and target.exists() else {}
    target.write_text(json.dumps({**known, **figures}, indent=2) + "\n")
    say(f"written: {target}")


async def measured(where: Mapping[str, Any], state: Path, count: int, parts: Sequence[str]) -> dict[str, Any]:
    bootstrap, now_ms = where["kafka"], time.time_ns() // 1_000_000
    names = traffic.tenants(TENANTS)
    meter = Meter(where, state)
    meter.start()
    try:
        figures: dict[str, Any] = {"command": "make bench-money"}
        await send(bootstrap, [outgoing(record) for record in (*traffic.configuration([traffic.HOT]), *traffic.routes())])
        await asyncio.sleep(SETTLED_S)
        before = meter.memory()
        await send(bootstrap, [outgoing(record) for record in traffic.configuration(names)])
        await asyncio.sleep(SETTLED_S * 2)
        if "memory" in parts:
            figures["bytes_per_idle_tenant"] = round((meter.memory() - before) / TENANTS)
            say(f"memory: {figures['bytes_per_idle_tenant']} bytes an idle tenant")
        if "admissions" in parts or "rebuilt" in parts:
            redis = Redis.from_url(where["ledger_redis"])
            hot = await saturated(meter, redis, bootstrap, traffic.asked("hot", [traffic.HOT], count, now_ms))
            say(f"one tenant: {hot}")
            many = await saturated(meter, redis, bootstrap, traffic.asked("many", names, count, now_ms))
            say(f"ten thousand tenants: {many}")
        if "rebuilt" in parts:
            figures["rebuilt"] = await _rebuilt(meter, where, bootstrap, count, now_ms)
            say(f"rebuilt: {figures['rebuilt']}")
        if "admissions" in parts:
            # After the rebuilding, which is of what was admitted before.
            ten = await saturated(meter, redis, bootstrap, traffic.asked("ten", names[:FEW], count, now_ms))
            say(f"ten tenants: {ten}")
            figures["one_tenant"], figures["ten_tenants"], figures["ten_thousand_tenants"] = hot, ten, many
        if "latency" in parts:
            steadily = traffic.asked("steady", names, min(count, 25_000), now_ms)
            figures["half_the_goal"] = await steady(bootstrap, steadily, GOAL_PER_S // 2)
            say(f"half the goal: {figures['half_the_goal']}")
        return figures
    finally:
        meter.stop()


async def _rebuilt(meter: Meter, where: Mapping[str, Any], bootstrap: str, count: int, now_ms: int) -> dict[str, Any]:
    """Of all that was admitted, the hot tenant's is settled and the rest is open."""
    await send(bootstrap, [outgoing(record) for record in traffic.ended("hot", [traffic.HOT], count, now_ms)])
    redis = Redis.from_url(where["ledger_redis"])
    while redis.scard(f"{{{traffic.HOT}}}/open"):
        await asyncio.sleep(0.5)
    before, redis_before = meter.cpu_s(), _redis_cpu_s(redis)
    seconds = await asyncio.to_thread(rebuild, where)
    admitted = sum((await ends(bootstrap, REQUEST_ADMITTED.name)).values())
    return {
        "admitted": admitted,
        "settled": count,
        "seconds": round(seconds, 2),
        "cpu_s": round(meter.cpu_s() - before, 2),
        "redis_cpu_s": round(_redis_cpu_s(redis) - redis_before, 2),
        "load_average": round(os.getloadavg()[0], 1),
    }


def _redis_cpu_s(redis: Redis) -> float:
    told: Any = redis.info("cpu")
    return float(told["used_cpu_sys"] + told["used_cpu_user"])


if __name__ == "__main__":
    main()
