"""A run: load and probes, one fault after another, each until the road is as fast as before; then the checks."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from daytwo.broker import outgoing
from daytwo.kafka import KafkaBroker
from tests.chaos.checks import Verdict, judge
from tests.chaos.faults import SkippedError, fault
from tests.chaos.load import Sent, client, configuration
from tests.chaos.plan import WARM_S, Step
from tests.chaos.probing import Probing, probing
from tests.chaos.recovery import recovered_at, slow_ways, usual
from tests.chaos.site import Site

CLIENTS = 3
PER_SECOND = 4.0
"""Records of each client."""
MOST_S = 60.0
"""Longest wait for recovery."""
GOAL_S = 10.0
KAFKA_GOAL_S = 30.0

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`recovered_s`: from the end of the fault; None: not within MOST_S, or skipped with a `note` why."""

    step: Step
    recovered_s: float | None
    note: str = ""
    slow: Sequence[str] = ()
    """The ways that had not recovered, where some had not."""

    @property
    def goal_s(self) -> float:
        return KAFKA_GOAL_S if any(target.startswith("kafka") for target in self.step.targets) else GOAL_S


@dataclass(slots=True, kw_only=True)
class Run:
    usual_ms: float = 0.0
    busy: list[float] = field(default_factory=list)
    """The machine's load average of the last minute, after each fault: what recovery took says little where it is high."""
    outcomes: list[Outcome] = field(default_factory=list)
    sent: Sent = field(default_factory=Sent)
    probes: int = 0
    verdict: Verdict = field(default_factory=Verdict)

    def as_json(self) -> dict[str, Any]:
        return {
            "usual_ms": self.usual_ms,
            "load_average": self.busy,
            "faults": [
                {**asdict(outcome.step), "recovered_s": outcome.recovered_s, "note": outcome.note, "slow": outcome.slow}
                for outcome in self.outcomes
            ],
            "sent": dict(self.sent.kinds),
            "probes": self.probes,
            "verdict": asdict(self.verdict),
        }


async def run(site: Site, steps: Sequence[Step], rng: random.Random, tell: Tell) -> Run:
    """`rng` makes the load. The plan's times are kept as far as recovery lets them be."""
    await configure(site)
    found, kafka = Run(), site.where["kafka"]
    name = f"{rng.getrandbits(32):08x}"
    clients = [
        asyncio.create_task(client(f"{name}-c{number}", kafka, random.Random(rng.random()), PER_SECOND, found.sent))
        for number in range(CLIENTS)
    ]
    try:
        async with probing(kafka, f"{name}-p") as probes:
            await _faults(site, steps, probes, found, tell)
            for task in clients:
                task.cancel()
            ends = await asyncio.gather(*clients, return_exceptions=True)
    finally:
        for task in clients:
            task.cancel()
    if broken := [end for end in ends if not isinstance(end, asyncio.CancelledError)]:
        raise RuntimeError(f"a client of the load ended: {broken[0]!r}")
    found.probes = len(probes.done)
    found.verdict = await judge(site, found.sent)
    return found


async def configure(site: Site) -> None:
    sender = KafkaBroker(site.where["kafka"]).sender()
    await sender.start()
    await sender.send([outgoing(record) for record in configuration(site.provider)])
    await sender.stop()
    await asyncio.sleep(2)  # every service follows within a second; none says when it has


async def _faults(site: Site, steps: Sequence[Step], probes: Probing, found: Run, tell: Tell) -> None:
    await _settled(probes)
    began = time.monotonic()
    await asyncio.sleep(WARM_S)
    usual_s = usual([probe for probe in probes.done if probe.sent >= began])
    found.usual_ms = round(usual_s * 1000, 1)
    for step in steps:
        await asyncio.sleep(began + step.at_s - time.monotonic())
        outcome = await _one(site, step, probes, usual_s)
        found.outcomes.append(outcome)
        found.busy.append(round(os.getloadavg()[0], 1))
        took = f"NOT RECOVERED: {', '.join(outcome.slow)}" if outcome.recovered_s is None else f"recovered in {outcome.recovered_s:.1f} s"
        tell(f"{time.monotonic() - began:6.1f} s  {step}: {outcome.note or took}")


async def _settled(probes: Probing) -> None:
    """Waits, a minute at most, until every way has answered in a second: models are loaded at their first use."""
    async with asyncio.timeout(MOST_S):
        while recovered_at(list(probes.done), 0.0, 0.4) is None:
            await asyncio.sleep(0.2)


async def _one(site: Site, step: Step, probes: Probing, usual_s: float) -> Outcome:
    try:
        harm = fault(site, step)
    except SkippedError as error:
        return Outcome(step=step, recovered_s=None, note=f"SKIPPED: {error}")
    await harm.begin()
    await asyncio.sleep(step.lasts_s)
    await harm.end()
    ended = time.monotonic()
    while time.monotonic() - ended < MOST_S:
        await asyncio.sleep(0.2)
        at = recovered_at(list(probes.done), ended, usual_s)
        if at is not None:
            return Outcome(step=step, recovered_s=round(at - ended, 2))
    return Outcome(step=step, recovered_s=None, slow=slow_ways(list(probes.done), ended, usual_s))
