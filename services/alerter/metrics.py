"""What the alerter says of itself, for Prometheus. As many series as there are kinds of alerts, and the hundred fullest caps."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.alerter.raised import Raised

MOST_CAPS: Final = 100

Shares = Callable[[], Iterator[tuple[str, str, str, float]]]


class AlertsCollector(Collector):
    """Asks when it is scraped."""

    def __init__(self, raised: Raised, shares: Shares) -> None:
        self._raised = raised
        self._shares = shares

    def collect(self) -> Iterable[Metric]:
        counts = Counter((alert.kind, alert.severity) for alert in (*self._raised.rows.values(), *self._raised.others.values()))
        alerts = GaugeMetricFamily("daytwo_alerts", "Alerts about money that are not over.", labels=["kind", "severity"])
        for (kind, severity), count in sorted(counts.items()):
            alerts.add_metric([kind, severity], count)
        yield alerts
        caps = GaugeMetricFamily(
            "daytwo_cap_used_ratio", "Used part of a tenant's cap; the hundred fullest.", labels=["tenant", "period", "unit"]
        )
        for tenant, period, unit, share in heapq.nlargest(MOST_CAPS, self._shares(), key=lambda cap: cap[3]):
            caps.add_metric([tenant, period, unit], share)
        yield caps
