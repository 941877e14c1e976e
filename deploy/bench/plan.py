"""How long and how hard is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Seconds, and requests at once or a second."""

    in_flight: int = 200
    """For the most the road can do."""
    per_s: int = 100
    rehearse_s: float = 20.0
    """Saturated and not measured, before anything is: Kafka is five times as slow until its compiler has seen some traffic."""
    warm_s: float = 5.0
    saturated_s: float = 20.0
    steady_s: float = 30.0
    idle_s: float = 30.0
    proxy_s: float = 20.0
    most_per_s: int = 4000
    """Requests made beforehand for each second of a saturated run."""
    floor_most_per_s: int = 9000


QUICK = Plan(rehearse_s=4.0, warm_s=1.0, saturated_s=3.0, steady_s=4.0, idle_s=5.0, proxy_s=4.0)
"""Shows that the bench works. Its figures mean nothing."""
