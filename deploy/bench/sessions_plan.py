"""How many sessions, for how long, and how hard the road is pushed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PARTS: Final = ("sessions", "trace", "burst", "knee", "overload")
"""What is measured, in this order."""
_Z99: Final = 2.3263
"""So many standard deviations above the mean lies the 99th percentile of a normal distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Seconds, unless it says otherwise."""

    sessions: int = 10_000
    seconds: float = 600.0
    think_s: float = 20.0
    median_ms: float = 2000.0
    p99_ms: float = 15_000.0
    """The provider's latency, log-normal, milliseconds."""
    kill: str = "inference-router"
    """Killed (-9) in the middle of the run of the sessions."""
    bucket_s: float = 60.0
    rehearse_s: float = 30.0
    """At half the rate of the sessions, not judged: Kafka is slow until its compiler has seen some traffic."""
    trace_s: float = 300.0
    trace: Path = Path("../shared/data/azure_llm_trace_2023/AzureLLMInferenceTrace_conv.csv")
    """From the checkout, where it is not absolute."""
    burst_median_ms: float = 30_000.0
    burst_most_ms: float = 45_000.0
    """The provider's latency (median, p99) of those that ask all at once: longer than the road needs to let them all in, so that all are
    in flight at the same moment."""
    knee_median_ms: float = 1000.0
    knee_most_ms: float = 3000.0
    """The provider's latency (median, p99) while the knee is looked for, and at twice the knee: with no long tail a step ends soon."""
    knee_p99_ms: float = 500.0
    """A rate is held where p99 of added latency is at most that, milliseconds, and 98 % are answered."""
    knee_per_s: float = 0.0
    """Where overload is measured without looking for the knee: what it is held to be."""
    first_per_s: float = 200.0
    """The knee is looked for from here on, each step by `step` times more."""
    step: float = 1.2
    steps: int = 14
    step_s: float = 25.0
    step_warm_s: float = 10.0
    overload_s: float = 90.0
    overload_warm_s: float = 30.0
    overload_deadline_s: float = 10.0
    grace_s: float = 190.0
    """How long the last results are awaited."""

    def takes_s(self, part: str) -> float:
        """About how long a part takes, with what ends after the last question; the knee where about nine rates are tried."""
        tail_s = min(self.grace_s, 3 * self.p99_ms / 1000)
        return {
            "sessions": self.seconds + tail_s,
            "trace": self.trace_s + tail_s,
            "burst": 30.0 + 2 * self.burst_most_ms / 1000,
            "knee": min(9, self.steps + 1) * (self.step_s + 2 * self.knee_most_ms / 1000 + 3.0),
            "overload": self.overload_s + self.overload_deadline_s + 5.0,
        }[part]

    @property
    def session_per_s(self) -> float:
        """What the sessions ask in a second, in the mean, if the road added nothing."""
        sigma = math.log(self.p99_ms / self.median_ms) / _Z99
        mean_s = self.median_ms / 1000 * math.exp(sigma * sigma / 2)
        return self.sessions / (self.think_s + mean_s)


QUICK: Final = Plan(
    sessions=300,
    trace_s=12.0,
    burst_median_ms=1000.0,
    burst_most_ms=2000.0,
    knee_median_ms=100.0,
    knee_most_ms=300.0,
    steps=2,
    overload_warm_s=5.0,
    seconds=12.0,
    think_s=3.0,
    median_ms=100.0,
    p99_ms=800.0,
    bucket_s=3.0,
    rehearse_s=2.0,
    overload_s=15.0,
    step_s=6.0,
    step_warm_s=2.0,
    grace_s=20.0,
)
"""Shows that the bench works. Its figures mean nothing."""
