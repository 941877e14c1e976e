"""Runs as they are ordered: a seed, what of it, and what is done to the services. Picklable, for child processes."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.simulation.batches import in_children
from tests.simulation.run import Outcome, run
from tests.simulation.sabotage import parts_of
from tests.simulation.scenario import Scenario, scenario
from tests.simulation.shrink import Broken


@dataclass(frozen=True, slots=True)
class Job:
    """`asks` and `faults` by their numbers; None: all. `sabotage` is a name of sabotage.SABOTAGES."""

    seed: int
    asks: tuple[int, ...] | None = None
    faults: tuple[int, ...] | None = None
    alone: bool = False
    sabotage: str | None = None

    def scenario(self) -> Scenario:
        whole = scenario(self.seed)
        some = whole.keeping(None if self.asks is None else set(self.asks), None if self.faults is None else set(self.faults))
        return some.alone() if self.alone else some

    def command(self) -> str:
        """What plays it again."""
        words = ["python -m tests.simulation --seed", str(self.seed)]
        words += [] if self.asks is None else ["--asks", ",".join(map(str, self.asks))]
        words += [] if self.faults is None else ["--faults", ",".join(map(str, self.faults)) or "''"]
        words += ["--alone"] if self.alone else []
        words += ["--sabotage", self.sabotage] if self.sabotage else []
        return " ".join(words)


def played(job: Job) -> tuple[Outcome, float]:
    """The outcome, and the processor's seconds it took."""
    began = time.process_time()
    return run(job.scenario(), parts=parts_of(job.sabotage)), time.process_time() - began


def told(job: Job) -> Outcome:
    return run(job.scenario(), parts=parts_of(job.sabotage), told=True)


def broken_by(job: Job) -> Broken:
    """Which rules a scenario breaks with the job's sabotage, found out in a child process."""

    def broken(smaller: Scenario) -> frozenset[str]:
        (rules,) = in_children(_rules, [(smaller, job.sabotage)], cores=1)
        return rules

    return broken


def _rules(job: tuple[Scenario, str | None]) -> frozenset[str]:
    chosen, sabotage = job
    return run(chosen, parts=parts_of(sabotage)).rules
