"""In which order deployments are tried, and which one is next. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from random import Random

from daytwo.records import DeploymentConfigured

_READY = (0.0, False, 0)
"""None can stand better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How a deployment stands for one request, now. `ready_in_s`: seconds until it may be called; 0 or less: now."""

    ready_in_s: float
    full: bool
    """As many calls under way as it takes; one more would wait."""
    tries: int
    """Attempts of this request it has had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    deployment: DeploymentConfigured
    wait_s: float
    """Seconds to wait before it is worth looking again; 0: now."""


def order(candidates: Iterable[DeploymentConfigured], quoted: Iterable[str], rng: Random) -> list[DeploymentConfigured]:
    """Active candidates with a quote, tier by tier; within a tier in random order in which a deployment comes first as
    often as its weight says (Efraimidis and Spirakis 2006, weighted sampling without replacement)."""
    names = frozenset(quoted)
    usable = sorted((c for c in candidates if c.active and c.deployment in names), key=lambda c: c.priority)
    ordered: list[DeploymentConfigured] = []
    for _, tier in groupby(usable, key=lambda c: c.priority):
        members = list(tier)
        if len(members) > 1:
            members.sort(key=lambda c: rng.random() ** (1 / max(1, c.weight)), reverse=True)
        ordered += members
    return ordered


def choose(ordered: Sequence[DeploymentConfigured], condition: Callable[[DeploymentConfigured], Condition]) -> Choice | None:
    """The next deployment: of those that may be called now, one with room, tried least, first in order; where none may,
    the one that may soonest. None: there is none at all."""
    best: tuple[tuple[float, bool, int], DeploymentConfigured] | None = None
    for deployment in ordered:
        now = condition(deployment)
        rank = (max(0.0, now.ready_in_s), now.full, now.tries)
        if best is None or rank < best[0]:
            best = (rank, deployment)
        if rank == _READY:
            break
    return None if best is None else Choice(deployment=best[1], wait_s=best[0][0])
