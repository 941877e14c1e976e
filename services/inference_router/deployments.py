"""The deployments as configured, followed live, and the door of each: its breaker and its room. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from daytwo.clock import Clock
from daytwo.flow import Change, Table
from daytwo.records import DeploymentConfigured
from daytwo.routes import candidates
from daytwo.topics import DEPLOYMENT_CONFIGURED
from services.inference_router.breaker import Breaker, BreakerPolicy
from services.inference_router.lanes import MOST_STARTING, Lanes


@dataclass(slots=True)
class Door:
    """What stands before a deployment. `served` is what tells whether it is still the same one."""

    breaker: Breaker
    lanes: Lanes
    served: tuple[str, ...]


class Deployments(Table[DeploymentConfigured]):
    """The table of deployments. A change of weight, priority, time-out or room leaves a door's breaker as it is; another
    address, model or key is another deployment, with a breaker of its own."""

    def __init__(self, policy: BreakerPolicy, clock: Clock, most_starting: int = MOST_STARTING) -> None:
        super().__init__(DEPLOYMENT_CONFIGURED)
        self._most_starting = most_starting
        self._policy = policy
        self._clock = clock
        self._doors: dict[str, Door] = {}
        self._serving: dict[str, list[DeploymentConfigured]] = {}

    async def apply(self, changes: Sequence[Change[DeploymentConfigured]]) -> None:
        await super().apply(changes)
        self._serving.clear()
        for name in {change.key for change in changes}:
            row = self.rows.get(name)
            if row is None:
                self._doors.pop(name, None)
            elif name in self._doors:
                self._adjust(name, self._doors[name], row)

    def serving(self, model: str) -> list[DeploymentConfigured]:
        """The active deployments that serve a model, by priority."""
        found = self._serving.get(model)
        if found is None:
            found = candidates(model, self.rows.values())
            if found:
                self._serving[model] = found
        return found

    def door(self, deployment: DeploymentConfigured) -> Door:
        door = self._doors.get(deployment.deployment)
        if door is None:
            lanes = Lanes(deployment.max_in_flight, self._clock, self._most_starting)
            door = Door(Breaker(self._policy, self._clock.monotonic), lanes, _served(deployment))
            self._doors[deployment.deployment] = door
        return door

    async def view(self) -> list[dict[str, Any]]:
        """For operators: each deployment, its breaker and the calls under way."""
        return [self._line(self.rows[name]) for name in sorted(self.rows)]

    def _line(self, row: DeploymentConfigured) -> dict[str, Any]:
        door = self.door(row)
        opens_in_ms = max(0, round(door.breaker.opens_in() * 1000))
        return {
            "deployment": row.deployment,
            "active": row.active,
            "breaker": door.breaker.state,
            "opens_in_ms": opens_in_ms,
            "in_flight": door.lanes.inside,
            "starting": door.lanes.starting,
            "waiting": door.lanes.waiting,
            "max_in_flight": row.max_in_flight,
        }

    def _adjust(self, name: str, door: Door, row: DeploymentConfigured) -> None:
        # The lanes stay in any case: whoever is inside leaves through them.
        if door.served != _served(row):
            self._doors[name] = Door(Breaker(self._policy, self._clock.monotonic), door.lanes, _served(row))
        door.lanes.limit = row.max_in_flight
        door.lanes.let_in()


def _served(row: DeploymentConfigured) -> tuple[str, ...]:
    return (row.provider, row.model, row.base_url, row.api_key_env)
