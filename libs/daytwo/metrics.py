"""The metrics of a service: the names stand here once, for /metrics, `metric-sampled` and the dashboards alike."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from daytwo.records import MetricSampled

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Durations:
    """How often it took how long."""

    def __init__(self) -> None:
        self.counts = [0] * (len(_SECONDS) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(_SECONDS, seconds)] += 1
        self.sum_s += seconds


class Histogram(Collector):
    """Durations by service and topic, in seconds. prometheus_client's own takes a lock twice for each: for the two histograms of the
    loop that was a seventh of the loop's time. Observed in the event loop, collected anywhere.
    """

    _labelnames = ("service", "topic")

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        self._name, self._documentation = name, documentation
        self._durations: dict[tuple[str, str], Durations] = {}
        registry.register(self)

    def labels(self, service: str, topic: str) -> Durations:
        return self._durations.setdefault((service, topic), Durations())

    def collect(self) -> Iterable[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labelnames)
        for labels, durations in list(self._durations.items()):
            sums = accumulate(durations.counts)
            buckets = [(most, float(sum_)) for most, sum_ in zip((*map(str, _SECONDS), "+Inf"), sums, strict=True)]
            family.add_metric(labels, buckets, durations.sum_s)
        return [family]


class Metrics:
    """Counters and histograms of one process. `registry` is what /metrics shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.records = Counter(
            "daytwo_records", "Records handled, by fate: done, expired, dead_letter.", ["service", "topic", "fate"], registry=self.registry
        )
        self.handler = Histogram(
            "daytwo_handler_seconds",
            "From the start of a record's handler to its last acknowledgement.",
            self.registry,
        )
        self.queue = Histogram(
            "daytwo_queue_seconds",
            "From a record's Kafka timestamp to the start of its handler.",
            self.registry,
        )
        self.dead_letters = Counter("daytwo_dead_letters", "Records set aside.", ["service", "reason"], registry=self.registry)
        self.retries = Counter("daytwo_retries", "Handlers tried again.", ["service", "reason"], registry=self.registry)
        self.in_flight = Gauge("daytwo_in_flight", "Records read and not finished.", ["service", "topic"], registry=self.registry)
        self.lag = Gauge("daytwo_lag", "Records on the log and not committed.", ["service", "topic", "partition"], registry=self.registry)
        self.finished = Counter(
            "daytwo_requests_finished", "Requests ended here.", ["service", "outcome", "reason", "served_by"], registry=self.registry
        )
        self.tokens = Counter("daytwo_tokens", "Tokens charged.", ["service", "kind"], registry=self.registry)
        self.cost = Counter("daytwo_cost_dollars", "Dollars spent and saved.", ["service", "kind"], registry=self.registry)

    def samples(self, service: str, instance: str, at_ms: int) -> Iterator[MetricSampled]:
        """Every sample but the histograms' buckets, as records."""
        for family in self.registry.collect():
            for sample in family.samples:
                if not sample.name.endswith(("_bucket", "_created")):
                    yield MetricSampled(
                        service=service, instance=instance, name=sample.name, labels=sample.labels, value=float(sample.value), at_ms=at_ms
                    )
