"""The runs: sessions, the shape of a trace, a burst, the search for the knee, and twice as much as that."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from daytwo.kafka import KafkaBroker
from daytwo.records import CachePolicy, DeploymentConfigured, PriceConfigured, TenantConfigured
from deploy.bench.processes import cpu_s, memory_mib, used
from deploy.bench.progress import say
from deploy.bench.questions import price
from deploy.bench.road import CONFIGURED_S, of_services, send
from deploy.bench.runs import LoadError
from deploy.bench.sessions_load import Order
from deploy.bench.sessions_plan import Plan
from deploy.bench.stack import ROOT, Stack

TENANT: Final = "bench-sessions"
HOLDS_SHARE: Final = 0.98
"""A rate is held where so much of what was asked is answered, in time."""
MEMORY_S: Final = 15.0
PROVIDER_MOST_MS: Final = 180_000
"""Time-out and deadline. Of 250,000 draws of that log-normal distribution some take a minute and more, which is nobody's failure."""
IN_FLIGHT: Final = 50_000
"""Of the deployment: the provider is not what is measured."""


class SkippedError(Exception):
    """What was to be measured needs something that is not there."""


def configure(bootstrap: str, provider_url: str, plan: Plan) -> None:
    """The tenant, the mock provider as the one deployment, and how long the provider takes."""
    records: list[TenantConfigured | DeploymentConfigured | PriceConfigured] = [
        # No cache: every question goes the whole road and to the provider.
        TenantConfigured(tenant=TENANT, cache=CachePolicy(enabled=False), default_timeout_ms=PROVIDER_MOST_MS),
        DeploymentConfigured(
            deployment="bench",
            provider="mock",
            model="mock",
            base_url=provider_url,
            aliases=("bench",),
            timeout_ms=PROVIDER_MOST_MS,
            max_in_flight=IN_FLIGHT,
        ),
        price(),
    ]
    asyncio.run(send(KafkaBroker(bootstrap), records))
    take(provider_url, plan.median_ms, plan.p99_ms)
    time.sleep(CONFIGURED_S)


def take(provider_url: str, median_ms: float, p99_ms: float) -> None:
    """Tells the mock provider how long it is to take."""
    latency = {"latency_ms": {"median": median_ms, "p99": p99_ms}, "latency_by": "question"}
    request = urllib.request.Request(  # noqa: S310 - the stack's own address
        provider_url.removesuffix("/v1") + "/config",
        data=json.dumps(latency).encode(),
        method="PUT",
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310
        pass


class Bench:
    """The parts of the bench by name; each returns what it measured."""

    def __init__(self, stack: Stack, where: Mapping[str, str], plan: Plan) -> None:
        self._stack = stack
        self._provider_url = where["mock_provider"]
        self._plan = plan
        self._order = Order(
            bootstrap=where["kafka"],
            run="000000",
            tenant=TENANT,
            seconds=plan.seconds,
            median_ms=plan.median_ms,
            p99_ms=plan.p99_ms,
            bucket_s=plan.bucket_s,
            grace_s=plan.grace_s,
        )
        self._runs = 0
        self._knee_per_s = plan.knee_per_s
        self._knee_goodput = 0.0

    def rehearse(self) -> None:
        say("rehearsing")
        self._run(per_s=self._plan.session_per_s / 2, seconds=self._plan.rehearse_s)

    def sessions(self) -> dict[str, Any]:
        plan = self._plan
        say(f"{plan.sessions} sessions for {plan.seconds:.0f} s, about {plan.session_per_s:.0f} requests/s")
        return self._run(kill=plan.kill, sessions=plan.sessions, think_s=plan.think_s, warm_s=plan.bucket_s)

    def trace(self) -> dict[str, Any]:
        file = (ROOT / self._plan.trace).resolve()
        if not file.exists():
            raise SkippedError(f"no file {self._plan.trace} beside the checkout; --trace or TRACE names another")
        per_s = 0.6 * self._plan.session_per_s
        self._provider_takes(self._plan.median_ms, self._plan.p99_ms)
        say(f"arrivals in the shape of {file.name}, {per_s:.0f} requests/s in the mean")
        return {
            **self._run(per_s=per_s, trace=str(file), seconds=self._plan.trace_s, warm_s=self._plan.bucket_s),
            "mean_per_s": round(per_s, 1),
        }

    def burst(self) -> dict[str, Any]:
        """All ask in one moment, and the provider takes longer than the road needs to bring them there."""
        plan = self._plan
        say(f"{plan.sessions} requests at the same moment, provider {plan.burst_median_ms / 1000:g} s")
        self._provider_takes(plan.burst_median_ms, plan.burst_most_ms)
        return self._run(sessions=plan.sessions, think_s=0.0, seconds=5.0, bucket_s=5.0)

    def knee(self) -> dict[str, Any]:
        """Raises the rate until it is no longer held. `held` is the last that was; `broke` the first that was not."""
        plan, steps, per_s = self._plan, [], self._plan.first_per_s
        self._provider_takes(plan.knee_median_ms, plan.knee_most_ms)
        for _ in range(plan.steps):
            step = self._step(per_s)
            if not step["holds"]:  # once more: one bad moment of the machine is no knee
                steps.append(step)
                step = self._step(per_s)
            steps.append(step)
            if not step["holds"]:
                break
            per_s *= plan.step
        held = [step for step in steps if step["holds"]]
        self._knee_per_s = held[-1]["offered_per_s"] if held else 0.0
        self._knee_goodput = _goodput(held[-1]) if held else 0.0
        return {"knee_per_s": self._knee_per_s, "reached": not steps[-1]["holds"], "steps": steps}

    def _step(self, per_s: float) -> dict[str, Any]:
        plan = self._plan
        say(f"{per_s:.0f} requests/s")
        found = self._run(per_s=per_s, seconds=plan.step_s, bucket_s=plan.step_s / 5, warm_s=plan.step_warm_s)
        return {"offered_per_s": round(per_s, 1), "holds": _holds(found, plan.knee_p99_ms), **found}

    def overload(self) -> dict[str, Any]:
        """Twice the knee, as clients that give an answer ten seconds."""
        plan = self._plan
        if not self._knee_per_s:
            raise SkippedError("no rate was held, or the knee was not looked for")
        self._provider_takes(plan.knee_median_ms, plan.knee_most_ms)
        if not self._knee_goodput:
            self._knee_goodput = _goodput(self._step(self._knee_per_s))
        per_s = 2 * self._knee_per_s
        say(f"twice the knee: {per_s:.0f} requests/s for {plan.overload_s:.0f} s, deadline {plan.overload_deadline_s:.0f} s")
        found = self._run(
            per_s=per_s,
            seconds=plan.overload_s,
            bucket_s=plan.overload_s / 9,
            warm_s=plan.overload_warm_s,
            deadline_s=plan.overload_deadline_s,
        )
        return {
            **found,
            "offered_per_s": per_s,
            "goodput_per_s": _goodput(found),
            "knee_goodput_per_s": self._knee_goodput,
        }

    def _provider_takes(self, median_ms: float, p99_ms: float) -> None:
        take(self._provider_url, median_ms, p99_ms)
        self._order = replace(self._order, median_ms=median_ms, p99_ms=p99_ms)

    def _run(self, *, kill: str = "", **changes: Any) -> dict[str, Any]:
        self._runs += 1
        order = replace(self._order, run=f"r{self._runs:02d}{os.urandom(2).hex()[:3]}", **changes)
        if kill:
            order = replace(order, disturbed_s=order.seconds / 2)
        watch = _Watch(self._stack, order, kill)
        found = {**_generate(order, watch.look), **watch.found()}
        judged = found["judged"]
        say(
            f"  {found['asked']} asked, {found['answered']} answered, {found['ends'] or 'none otherwise'}, {found['missing']} missing, "
            f"added p50 {judged['added']['p50_ms']} ms, p99 {judged['added']['p99_ms']} ms"
        )
        if found["stopped"]:
            raise KeyboardInterrupt
        return found


def _goodput(found: dict[str, Any]) -> float:
    """Answered in time of what was asked in the judged time, per second of it."""
    return round(float(found["judged"]["in_time"]) / float(found["judged"]["seconds"]), 1)


def _holds(found: dict[str, Any], p99_ms: float) -> bool:
    judged = found["judged"]
    return bool(judged["answered"] >= HOLDS_SHARE * judged["asked"] and judged["added"]["p99_ms"] <= p99_ms)


class _Watch:
    """Looks at the processes while the load runs, says how it goes, and kills where it is to."""

    def __init__(self, stack: Stack, order: Order, kill: str) -> None:
        self._stack = stack
        self._order = order
        self._kill = kill
        self._killed: dict[str, Any] = {}
        self._pids = stack.pids()
        self._cpu = cpu_s(self._pids)
        self._memory: list[dict[str, Any]] = []
        self._began = time.monotonic()
        self._looked = float("-inf")

    def look(self, at: dict[str, Any]) -> None:
        say(
            f"  {at['at_s']:5.0f} s  {at['asked']:6} asked, {at['answered']:6} answered, {at['not answered']:5} not, {at['open']:6} open, "
            f"added p50 {at['added_p50_ms']:.0f} p99 {at['added_p99_ms']:.0f} ms" + (f", {_mib(self._memory)}" if self._memory else "")
        )
        if time.monotonic() - self._looked >= MEMORY_S:
            self._looked = time.monotonic()
            self._pids = self._stack.pids() if self._killed else self._pids
            found, spent = memory_mib(self._pids), cpu_s(self._pids)
            self._memory.append(
                {
                    "at_s": at["at_s"],
                    "asking": at["at_s"] <= self._order.seconds,
                    "services_mib": round(sum(of_services(found).values()), 1),
                    "mib": found,
                    "cpu_s": {name: round(seconds, 2) for name, seconds in of_services(spent).items()},
                }
            )
        if self._kill and not self._killed and at["at_s"] >= self._order.disturbed_s:
            self._strike(at["at_s"])

    def _strike(self, at_s: float) -> None:
        name = next(name for name in self._pids if name.startswith(self._kill))
        os.kill(self._pids[name], signal.SIGKILL)
        self._killed = {"service": name, "at_s": at_s}
        say(f"  killed {name} (-9)")

    def found(self) -> dict[str, Any]:
        spent, seconds = used(self._cpu, cpu_s(self._pids)), time.monotonic() - self._began
        return {
            "killed": self._killed,
            "memory": self._memory,
            # What was killed has begun to count anew.
            "cpu_share": {name: round(cpu / seconds, 3) for name, cpu in spent.items() if name != self._killed.get("service")},
        }


def _mib(memory: Sequence[Mapping[str, Any]]) -> str:
    return f"services {memory[-1]['services_mib']:.0f} MiB"


def _generate(order: Order, look: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The result of the load generator, which is asked to stop when we are. Raises LoadError."""
    command = [sys.executable, "-m", "deploy.bench.sessions_load"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(asdict(order)))
        process.stdin.close()
        result: dict[str, Any] = {}
        try:
            for line in process.stdout:
                message = json.loads(line)
                if message["event"] == "progress":
                    look(message)
                elif message["event"] == "result":
                    result = message
        except BaseException:
            process.terminate()
            raise
    if process.returncode or not result:
        raise LoadError(f"the load generator ended with {process.returncode}")
    return result
