"""The routes of a model and what they charge: worked out once, until a deployment, a price or the day is another."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from daytwo.flow import Change, Table
from daytwo.pricing import DAY_MS, PriceBook
from daytwo.records import DeploymentConfigured, Lane, PriceBound, PriceConfigured, Quote
from daytwo.routes import candidates
from daytwo.topics import DEPLOYMENT_CONFIGURED

MOST: Final = 4096
"""Models (by lane, bound and day) remembered; beyond that all are worked out anew."""


class Offer(NamedTuple):
    """What a model can be had for."""

    routes: Sequence[DeploymentConfigured]
    """The deployments that serve it; empty: none does."""
    quotes: tuple[Quote, ...]
    """Of those whose price is known, or bounded."""


class Quoting:
    """Follows deployment-configured and price-configured."""

    def __init__(self) -> None:
        self.deployments = _Deployments(self._changed)
        self.prices = _Prices(self._changed)
        self._offers: dict[tuple[str, Lane, PriceBound | None, int, int], Offer] = {}
        self._starts: list[int] = []
        """The moments (epoch milliseconds) at which a configured price begins to hold."""

    def offer(self, model: str, at_ms: int, *, lane: Lane = "interactive", bound: PriceBound | None = None) -> Offer:
        """At a moment (epoch milliseconds). `bound`: what a route without a known price may cost at most; None: it is not taken."""
        key = (model, lane, bound, at_ms // DAY_MS, bisect_right(self._starts, at_ms))
        found = self._offers.get(key)
        if found is None:
            if len(self._offers) >= MOST:
                self._offers.clear()
            routes = candidates(model, self.deployments.rows.values())
            found = self._offers[key] = Offer(routes, self.prices.quotes(routes, at_ms, lane=lane, bound=bound))
        return found

    def _changed(self) -> None:
        self._offers.clear()
        self._starts = sorted({row.valid_from_ms for row in self.prices.rows.values()})


class _Deployments(Table[DeploymentConfigured]):
    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__(DEPLOYMENT_CONFIGURED)
        self._changed = changed

    async def apply(self, changes: Sequence[Change[DeploymentConfigured]]) -> None:
        await super().apply(changes)
        self._changed()


class _Prices(PriceBook):
    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__()
        self._changed = changed

    async def apply(self, changes: Sequence[Change[PriceConfigured]]) -> None:
        await super().apply(changes)
        self._changed()
