"""Every crash point of the road, once: the process dies before its n-th handle, for each n and each service, on each kind of road."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.simulation.batches import in_children
from tests.simulation.run import Outcome, run
from tests.simulation.scenario import SERVICES, Ask, Fault, Scenario

POINTS: Final[Mapping[str, Scenario]] = {
    "answered": Scenario(1, (Ask(0, "plain", 0.5),), calm=True),
    "cached": Scenario(2, (Ask(0, "equal", 0.5), Ask(1, "equal", 0.9)), calm=True),
    "grounded": Scenario(3, (Ask(0, "document", 0.5), Ask(1, "grounded", 1.0)), calm=True),
    "refused": Scenario(4, (Ask(0, "no_model", 0.5), Ask(1, "invalid", 0.6)), calm=True),
    "failing": Scenario(5, (Ask(0, "plain", 0.5),), (Fault(0, "mood", ":status_500", 0.0, 4.0),), calm=True),
    "unknown": Scenario(6, (Ask(0, "plain", 0.5),), (Fault(0, "mood", "east:cut", 0.0, 4.0),), calm=True),
    "waiting": Scenario(8, (Ask(0, "crowd", 0.5), Ask(1, "crowd", 0.52)), calm=True),
    "document": Scenario(7, (Ask(0, "document", 0.5), Ask(2, "document", 1.2)), calm=True),
}
"""The roads: one request each that is answered, answered from the cache, grounded, refused, and so on; and a document."""


@dataclass(frozen=True, slots=True)
class CrashPoint:
    road: str
    service: str
    handle: int


def crash_points() -> list[CrashPoint]:
    """All of them: each handle of each service's process in a run without crashes."""
    roads = list(POINTS)
    return [
        CrashPoint(road, service, handle)
        for road, outcome in zip(roads, in_children(_whole, roads, per_child=10), strict=True)
        for service in SERVICES
        for handle in range(1, outcome.lives[f"{service}-0"] + 1)
    ]


def crashed(point: CrashPoint) -> Outcome:
    return run(POINTS[point.road], deaths={f"{point.service}-0": [point.handle]})


def _whole(road: str) -> Outcome:
    return run(POINTS[road])
