"""What usage-windows says of itself, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

GAUGES: Final = {
    "subjects": ("daytwo_windows_subjects", "Subjects whose windows are kept.", 1.0),
    "throttled": ("daytwo_windows_throttled", "Rate limits that are reached now.", 1.0),
    "behind_ms": ("daytwo_windows_behind_seconds", "Age of the last record when it was counted.", 1000.0),
    "unacknowledged": ("daytwo_windows_unsaved_records", "Records counted whose sums are not saved yet.", 1.0),
}


class WindowsCollector(Collector):
    """Asks the stream when it is scraped."""

    def __init__(self, view: Callable[[], Mapping[str, Any]]) -> None:
        self._view = view

    def collect(self) -> Iterable[Metric]:
        view = self._view()
        for name, (metric, text, scale) in GAUGES.items():
            yield GaugeMetricFamily(metric, text, value=view[name] / scale)
        yield CounterMetricFamily("daytwo_windows_throttles_published", "Throttles published.", value=view["throttles_published"])
