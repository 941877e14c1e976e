"""How often something that has a price of its own may happen: at once where that is seldom, in even steps where it is not. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Pace:
    """Lets `burst` through at once, and then one every `every_s`. What was not used comes back with time, so there is nothing to
    measure and nothing to switch: a rate below one every `every_s` never waits.

    Source: the generic cell rate algorithm (ITU-T I.371), as a scheduler instead of a policer.
    """

    burst: int
    _next_s: float = float("-inf")

    def wait_s(self, now_s: float, every_s: float) -> float:
        """Takes the next turn; returns how many seconds it is away."""
        self._next_s = max(self._next_s, now_s - self.burst * every_s) + every_s
        return max(0.0, self._next_s - now_s)
