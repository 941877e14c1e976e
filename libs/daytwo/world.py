"""What enters a service at `__main__` and nowhere else: environment, time, randomness."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from daytwo.clock import Clock, SystemClock


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """`env` is the environment; settings are read from it by each service's `settings.py`."""

    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    clock: Clock = field(default_factory=SystemClock)
    rng: random.Random = field(default_factory=random.Random)

    @property
    def kafka(self) -> str:
        return self.env.get("DAYTWO_KAFKA", "127.0.0.1:9092")

    def instance(self, service: str) -> str:
        """Name of this process among the replicas of a service, stable over restarts: ingest-0."""
        return self.env.get("DAYTWO_INSTANCE", f"{service}-0")
