"""Which fault befalls whom, and when: a pure function of a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

SERVICES = ("ingest-0", "cost-meter-0", "cost-meter-1", "embedder-0", "cache-0", "retriever-0", "inference-router-0", "inference-router-1")
"""What runs from the beginning."""
SPARES = ("ingest-1", "cost-meter-2", "embedder-1", "cache-1", "inference-router-2")
"""Replicas that scaling starts. Not of the retriever: Milvus Lite takes one writer."""
STORES = ("ledger-redis", "cache-redis", "milvus", "mock-provider")
LINKS = ("kafka", *STORES)

SESSION_S = 10.0
"""After this time of silence Kafka gives a member's partitions to others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """`at_s`: seconds from the start of the load; later where the fault before has not been overcome by then."""

    at_s: float
    fault: str
    targets: tuple[str, ...]
    lasts_s: float = 0.0

    def __str__(self) -> str:
        lasting = f" for {self.lasts_s:.1f} s" if self.lasts_s else ""
        return f"at {self.at_s:5.1f} s: {self.fault} {', '.join(self.targets)}{lasting}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of fault: of `among`, `fewest` to `most` are hit, for `shortest_s` to `longest_s`."""

    among: tuple[str, ...]
    fewest: int = 1
    most: int = 1
    shortest_s: float = 0.0
    longest_s: float = 0.0
    recovers_s: float = 6.0
    """Room that the plan leaves for recovery."""


KINDS = {
    "kill a service": Kind(among=SERVICES),
    "kill several services": Kind(among=SERVICES, fewest=2, most=5),
    "kill all services": Kind(among=SERVICES, fewest=len(SERVICES), most=len(SERVICES)),
    "freeze a service": Kind(among=SERVICES, shortest_s=SESSION_S + 2, longest_s=SESSION_S + 6, recovers_s=8),
    "scale up and down": Kind(among=SPARES, shortest_s=4, longest_s=8, recovers_s=12),
    "kill Kafka": Kind(among=("kafka",), recovers_s=15),
    "fill Kafka's disk": Kind(among=("kafka",), shortest_s=5, longest_s=8, recovers_s=15),
    "kill a store": Kind(among=STORES),
    "kill all stores": Kind(among=STORES, fewest=len(STORES), most=len(STORES)),
    "cut connections": Kind(among=LINKS, shortest_s=1, longest_s=5),
    "delay connections": Kind(among=LINKS, shortest_s=3, longest_s=6),
    "leave connections half-open": Kind(among=LINKS, shortest_s=2, longest_s=5, recovers_s=15),
    "send a poison record": Kind(among=("ingest", "cost-meter", "cache", "inference-router"), recovers_s=10),
}

WARM_S = 5.0
"""Before the first fault: normal latency is measured."""


def plan(seed: int, seconds: float, kinds: Sequence[str] = tuple(KINDS)) -> list[Step]:
    """Steps that have room in so many seconds: every kind once in a random order, as far as they fit, then any."""
    rng = random.Random(seed)
    steps: list[Step] = []
    at_s = WARM_S
    waiting = rng.sample(list(kinds), len(kinds))
    while True:
        name = waiting.pop(0) if waiting else rng.choice(list(kinds))
        kind = KINDS[name]
        targets = tuple(rng.sample(kind.among, rng.randint(kind.fewest, kind.most)))
        step = Step(at_s=round(at_s, 1), fault=name, targets=targets, lasts_s=round(rng.uniform(kind.shortest_s, kind.longest_s), 1))
        at_s += step.lasts_s + kind.recovers_s
        if at_s > seconds:
            return steps
        steps.append(step)


def written(steps: Sequence[Step]) -> str:
    return "[\n" + ",\n".join("  " + json.dumps(asdict(step)) for step in steps) + "\n]\n"


def read(file: Path) -> list[Step]:
    """Raises ValueError for what is no plan."""
    try:
        steps = [Step(**{**entry, "targets": tuple(entry["targets"])}) for entry in json.loads(file.read_text())]
    except (TypeError, KeyError) as error:
        raise ValueError(f"{file} is no plan: {error}") from error
    if unknown := [step.fault for step in steps if step.fault not in KINDS]:
        raise ValueError(f"{file}: no such fault: {unknown[0]!r}; known are {', '.join(KINDS)}")
    return steps
