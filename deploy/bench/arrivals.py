"""When requests arrive, where no session decides it. Pure but for the reading of a trace."""

from __future__ import annotations

import csv
import random
from datetime import datetime
from itertools import pairwise
from pathlib import Path


def poisson(rng: random.Random, per_s: float, seconds: float) -> list[float]:
    """Moments in seconds, in order: a Poisson process of that rate."""
    moments, at = [], rng.expovariate(per_s)
    while at < seconds:
        moments.append(at)
        at += rng.expovariate(per_s)
    return moments


def shaped(rng: random.Random, recorded: list[float], per_s: float, seconds: float) -> list[float]:
    """The shape of `recorded` moments: their whole length made `seconds` long, their mean rate `per_s`.

    Each recorded arrival stands for several; each of those comes at some moment between it and the next one, so that bursts
    and lulls stay what they were.
    """
    first, length = recorded[0], recorded[-1] - recorded[0]
    scaled = [(at - first) / length * seconds for at in recorded]
    each = per_s * seconds / (len(scaled) - 1)
    moments: list[float] = []
    owed = 0.0
    for begin, end in pairwise(scaled):
        owed += each
        count = int(owed)
        owed -= count
        moments += [rng.uniform(begin, end) for _ in range(count)]
    return sorted(moments)


def recorded(file: Path) -> list[float]:
    """The moments of an Azure LLM inference trace (column TIMESTAMP), in seconds, in order. Raises OSError, ValueError."""
    with file.open(newline="") as lines:
        # Python reads six digits of a second; the trace has seven.
        return sorted(datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in csv.DictReader(lines))
