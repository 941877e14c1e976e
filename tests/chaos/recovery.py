"""How long after a fault the road is as fast as before. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

FLOOR_S = 0.25
"""Below twice the usual latency and this much, nobody calls it slow; keeps a machine's own noise out."""
IN_A_ROW = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One request that is sent to see how long it takes. Times in seconds of one monotonic clock; `row`: the way it takes."""

    row: str
    sent: float
    done: float
    answered: bool

    @property
    def latency(self) -> float:
        return self.done - self.sent


def usual(probes: Sequence[Probe]) -> float:
    """Median latency of the slowest row, in seconds."""
    return max(median(latencies) for latencies in _latencies(probes).values())


def _latencies(probes: Sequence[Probe]) -> dict[str, list[float]]:
    rows: dict[str, list[float]] = {}
    for probe in probes:
        rows.setdefault(probe.row, []).append(probe.latency)
    return rows


def recovered_at(probes: Sequence[Probe], ended: float, usual_s: float) -> float | None:
    """When, at the latest over all rows, the first of IN_A_ROW normal probes had its answer that were sent after `ended`.

    None while that is not so yet. Normal is answered within twice `usual_s` and the floor.
    """
    found = _firsts(probes, ended, usual_s)
    done = [first for first in found.values() if first is not None]
    return max(done) if done and len(done) == len(found) else None


def slow_ways(probes: Sequence[Probe], ended: float, usual_s: float) -> list[str]:
    """The rows that have not recovered."""
    return [row for row, first in _firsts(probes, ended, usual_s).items() if first is None]


def _firsts(probes: Sequence[Probe], ended: float, usual_s: float) -> dict[str, float | None]:
    rows: dict[str, list[Probe]] = {}
    for probe in sorted(probes, key=lambda probe: probe.sent):
        row = rows.setdefault(probe.row, [])
        if probe.sent >= ended:
            row.append(probe)
    return {name: _first(row, 2 * usual_s + FLOOR_S) for name, row in rows.items()}


def _first(probes: Sequence[Probe], normal_s: float) -> float | None:
    for place in range(len(probes) - IN_A_ROW + 1):
        row = probes[place : place + IN_A_ROW]
        if all(probe.answered and probe.latency <= normal_s for probe in row):
            return row[0].done
    return None
